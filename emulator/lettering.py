"""The prompt's words on a picture, readable, on a panel of their own."""

import re

from PIL import Image, ImageDraw, ImageFilter, ImageFont

_LINES = 4
_READ = 600  # characters; no more fit on four lines
_INK = (255, 255, 255)
_PALE = (214, 218, 228)
_PANEL = (14, 16, 28)
_PANEL_STRENGTH = 165
_EDGE = (255, 255, 255, 46)
_NOWHERE = "\ufffe"  # not a character, so in no font: it shows what a missing one looks like
_CAPTION = "Azure OpenAI emulator"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def inscribed(image: Image.Image, prompt: str) -> Image.Image:
    """Write the prompt on a panel at the picture's foot."""
    panel = _panel(image, prompt, strength=_PANEL_STRENGTH)
    left, top = _place(image, panel)
    under = image.crop((left, top, left + panel.width, top + panel.height))
    glass = under.filter(ImageFilter.BoxBlur(min(image.size) * 0.012))
    image.paste(glass, (left, top), panel.getchannel("A").point(lambda value: 255 if value else 0))
    image.paste(panel, (left, top), panel)
    return image


def sticker(image: Image.Image, prompt: str) -> Image.Image:
    """Cut the picture out as a disc and a panel; all around it is transparent."""
    width, height = image.size
    panel = _panel(image, prompt, strength=255)
    left, top = _place(image, panel)
    radius = min(width * 0.47, (top + panel.height * 0.3) / 2 * 0.96)
    x, y = width / 2, (top + panel.height * 0.3) / 2
    twice = Image.new("L", (width * 2, height * 2))
    disc = (2 * (x - radius), 2 * (y - radius), 2 * (x + radius), 2 * (y + radius))
    ImageDraw.Draw(twice).ellipse(disc, fill=255)
    cut = Image.new("RGBA", image.size)
    cut.paste(image, (0, 0), twice.reduce(2))
    cut.alpha_composite(panel, (left, top))
    return cut


def _place(image: Image.Image, panel: Image.Image) -> tuple[int, int]:
    margin = round(min(image.size) * 0.04)
    return (image.width - panel.width) // 2, image.height - panel.height - margin


def _panel(image: Image.Image, prompt: str, *, strength: int) -> Image.Image:
    unit = min(image.size)
    pad, room = round(unit * 0.035), round(image.width - unit * 0.15)
    font, lines = _fitted(_sayable(prompt[:_READ]), unit, room)
    small = ImageFont.load_default(size=max(9, round(unit * 0.019)))
    caption = f"{_CAPTION}  \u00b7  {image.width} x {image.height}"
    line_height, foot = round(_height(font) * 1.3), round(_height(small) * 1.5)
    text_width = max(*(font.getlength(line) for line in lines), small.getlength(caption))
    size = (round(text_width) + 2 * pad, len(lines) * line_height + foot + round(1.6 * pad))
    panel = Image.new("RGBA", size)
    draw = ImageDraw.Draw(panel)
    draw.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius=pad, fill=(*_PANEL, strength), outline=_EDGE)
    for i, line in enumerate(lines):
        draw.text((pad, round(pad * 0.7) + i * line_height), line, font=font, fill=_INK)
    draw.text((pad, size[1] - round(pad * 0.7) - foot), caption, font=small, fill=_PALE, anchor="la")
    return panel


def _sayable(text: str) -> str:
    """Put an ellipsis for what the one font that is always there cannot draw."""
    font = ImageFont.load_default(size=10)
    missing = bytes(font.getmask(_NOWHERE))
    drawable = {character: character.isspace() or _has(font, character, missing) for character in set(text)}
    clean = "".join(character if drawable[character] else "\u2026" for character in text)
    return " ".join(re.sub("(\u2026\\s*)+", "\u2026 ", clean).split())


def _has(font: Font, character: str, missing: bytes) -> bool:
    return character.isprintable() and bytes(font.getmask(character)) != missing


def _height(font: Font) -> float:
    _, top, _, bottom = font.getbbox("Mg")
    return bottom - top


def _fitted(text: str, unit: int, room: float) -> tuple[Font, list[str]]:
    """Find the largest letters with which the text has few lines; shorten what is still too long."""
    for share in (0.05, 0.042, 0.035, 0.029):
        font = ImageFont.load_default(size=max(10, round(unit * share)))
        lines = _wrapped(text, font, room)
        if len(lines) <= _LINES:
            return font, lines
    last = lines[_LINES - 1]
    while last and font.getlength(last + "\u2026") > room:
        last = last[:-1]
    return font, [*lines[: _LINES - 1], last + "\u2026"]


def _wrapped(text: str, font: Font, room: float) -> list[str]:
    lines: list[str] = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= room:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:  # a word may be longer than a line, as in languages without spaces
            if font.getlength(lines[-1] + character) > room:
                lines.append("")
            lines[-1] += character
    return lines
