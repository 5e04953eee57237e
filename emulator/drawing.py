"""Draws a picture with Pillow: colours and discs that follow from a seed, and the prompt's text on a panel."""

import textwrap
from random import Random

from PIL import Image, ImageColor, ImageDraw, ImageFont

_CAPTION = "Azure OpenAI emulator"
_MAX_LINES = 4
_MAX_CHARACTERS = 600
"""No more of a prompt fits on the panel."""
_FONT_SHARES = (0.055, 0.045, 0.037, 0.03)
"""Sizes of the prompt's letters, as shares of the picture's short edge; the first with which it fits is taken."""
_NOISE_SHARE = 0.03
"""Makes a file about as large as one from the real service."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def draw(prompt: str, size: tuple[int, int], seed: int, *, transparent: bool = False) -> Image.Image:
    """Draw a picture that is the same for the same arguments; if transparent, only a disc and the text are opaque."""
    random = Random(seed)  # noqa: S311 -- no secret
    image = _background(size, random)
    mask = Image.new("L", size)
    mask.paste(255, _square((size[0] / 2, size[1] * 0.45), min(size) * 0.45), _disc(min(size) * 0.45))
    caption = f"{_CAPTION} \u00b7 {size[0]} x {size[1]} \u00b7 seed {seed:08x}"
    _write(image, mask, _drawable(prompt[:_MAX_CHARACTERS]), caption)
    if transparent:
        image.paste((0, 0, 0), mask=mask.point(lambda value: 0 if value else 255))
        image.putalpha(mask)
    return image


def _background(size: tuple[int, int], random: Random) -> Image.Image:
    hue = random.randrange(360)
    colours = [_colour(hue + random.randrange(-50, 50), random.randrange(25, 80)) for _ in range(12)]
    image = Image.new("RGB", (4, 3))
    image.putdata(colours)
    image = image.resize(size, Image.Resampling.BICUBIC)
    for _ in range(random.randrange(5, 9)):
        radius = min(size) * random.uniform(0.04, 0.22)
        centre = size[0] * random.random(), size[1] * random.random()
        colour = _colour(hue + random.choice((0, 30, 150, 180, 210)), random.randrange(45, 85))
        image.paste(colour, _square(centre, radius), _disc(radius, strength=random.randrange(110, 230)))
    noise = Image.frombytes("RGB", size, random.randbytes(size[0] * size[1] * 3))
    return Image.blend(image, noise, _NOISE_SHARE)


def _colour(hue: int, lightness: int) -> tuple[int, ...]:
    return ImageColor.getrgb(f"hsl({hue % 360}, 65%, {lightness}%)")


def _disc(radius: float, *, strength: int = 255) -> Image.Image:
    """Make a mask of a disc with a smooth edge; Pillow's gradient is 0 in the middle and 255 at its corners."""
    disc = Image.radial_gradient("L").point(lambda value: max(0, min(strength, (181 - value) * 40)))
    across = max(1, round(2 * radius))
    return disc.resize((across, across), Image.Resampling.BICUBIC)


def _square(centre: tuple[float, float], radius: float) -> tuple[int, int]:
    return round(centre[0] - radius), round(centre[1] - radius)


def _write(image: Image.Image, mask: Image.Image, text: str, caption: str) -> None:
    """Write the text and a caption on a dark panel at the picture's foot, and mark the panel in the mask."""
    unit, room = min(image.size), image.width * 0.84
    font, lines = _fit(text, unit, room)
    small = ImageFont.load_default(size=max(9, unit * 0.02))
    written = "\n".join(lines)
    canvas = ImageDraw.Draw(image, "RGBA")
    _, _, width, height = canvas.multiline_textbbox((0, 0), written, font=font)
    width, pad, foot = max(width, small.getlength(caption)), round(unit * 0.03), unit * 0.05
    left, top = (image.width - width) / 2, image.height - unit * 0.06 - height - foot
    box = [round(at) for at in (left - pad, top - pad, left + width + pad, top + height + foot + pad / 2)]
    canvas.rounded_rectangle(box, radius=pad, fill=(14, 16, 28, 180))
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=pad, fill=255)
    canvas.multiline_text((left, top), written, font=font, fill="white")
    canvas.text((left, top + height + foot), caption, font=small, fill=(214, 218, 228), anchor="ls")


def _fit(text: str, unit: int, room: float) -> tuple[Font, list[str]]:
    """Find the largest letters with which the text has few lines; what is still too long is cut."""
    for share in _FONT_SHARES:
        font = ImageFont.load_default(size=max(10, unit * share))
        letter = font.getlength(text) / max(1, len(text))
        lines = textwrap.wrap(text, max(1, int(room / max(1, letter) * 0.95))) or [""]
        if len(lines) <= _MAX_LINES and max(map(font.getlength, lines)) <= room:
            return font, lines
    return font, [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1] + "\u2026"]


def _drawable(text: str) -> str:
    """Put a question mark for what Pillow's own font cannot draw: it has Latin letters only."""
    return "".join(letter if letter.isspace() or _is_latin(letter) else "?" for letter in text)


def _is_latin(letter: str) -> bool:
    return letter.isprintable() and letter < "\u0180"
