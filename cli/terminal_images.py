"""Show an image in the terminal: with the protocol of kitty or iTerm2, as sixels, or as half blocks of text.

kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol · iTerm2: https://iterm2.com/documentation-images.html ·
sixels: DEC STD 070, chapter 9. Half blocks, sixels, and formats other than PNG in kitty need the package pillow.
"""

from __future__ import annotations

import base64
import io
import os
import re
import select
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from rich.color import Color
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Console

ANSWER_SECONDS: Final = 0.5
"""How long a terminal may take to say what it can."""
MAX_COLUMNS: Final = 72
SIXEL_COLORS: Final = 64
PIXELS_IN_A_COLUMN: Final = 8
"""For sixels; terminals differ, most have 7 to 10."""

_QUERY: Final = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c"
"""Asks for kitty's protocol, and then for the device's attributes (DA1), which every terminal answers."""
_DA1: Final = re.compile(rb"\x1b\[\?([0-9;]*)c")
_ITERM2: Final = frozenset({"iTerm.app", "WezTerm", "mintty"})
"""Values of TERM_PROGRAM that know the protocol of iTerm2."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class Protocol(StrEnum):
    """How an image is shown."""

    AUTO = "auto"
    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"
    NONE = "none"


def choose(wanted: Protocol, console: Console) -> Protocol:
    """Decide how an image is shown; with `auto` the terminal is asked what it can. Without a terminal: not at all."""
    if not console.is_terminal or console.is_dumb_terminal:
        return Protocol.NONE
    if wanted is not Protocol.AUTO:
        return wanted
    program = os.environ.get("TERM_PROGRAM", "")
    if program in _ITERM2 or (os.environ.get("LC_TERMINAL") == "iTerm2" and "TMUX" not in os.environ):
        return Protocol.ITERM2
    answer = b"" if program == "Apple_Terminal" else _ask_terminal()  # which would show kitty's question as text
    if b"_Gi=31;OK" in answer:
        return Protocol.KITTY
    attributes = _DA1.search(answer)
    if attributes and b"4" in attributes[1].split(b";"):
        return Protocol.SIXEL
    has_colors = console.color_system in {"256", "truecolor"} and not console.no_color
    return Protocol.BLOCKS if has_colors and console.encoding.startswith("utf") else Protocol.NONE


def show(content: bytes, protocol: Protocol, console: Console) -> bool:
    """Show an image on stdout; False: it cannot be shown this way."""
    if protocol is Protocol.NONE:
        return False
    if protocol is Protocol.ITERM2:
        options = f"inline=1;size={len(content)};width={min(console.width, MAX_COLUMNS)};preserveAspectRatio=1"
        sys.stdout.write(f"\x1b]1337;File={options}:{base64.b64encode(content).decode()}\x07\n")
        return True
    image = open_image(content)
    if protocol is Protocol.KITTY:
        png = content if content.startswith(_PNG) else None if image is None else _to_png(image)
        if png is not None:
            columns = min(console.width, MAX_COLUMNS) if image is None else _columns(image, console)
            sys.stdout.write(kitty(png, columns))
        return png is not None
    if image is None:
        return False
    if protocol is Protocol.SIXEL:
        sys.stdout.write(sixels(image, _columns(image, console) * PIXELS_IN_A_COLUMN) + "\n")
    else:
        console.print(half_blocks(image, console))
    return True


def open_image(content: bytes) -> Image | None:
    """Decode an image; None: without pillow, or if it is none."""
    try:
        from PIL import Image  # noqa: PLC0415 -- may not be installed
    except ImportError:
        return None
    try:
        image = Image.open(io.BytesIO(content)).convert("RGBA")
    except (OSError, Image.DecompressionBombError):
        return None
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")


def half_blocks(image: Image, console: Console) -> Text:
    """Draw an image with ▀: its upper half in the color of one pixel, its background in that of the pixel below."""
    columns = _columns(image, console)
    lines = max(1, round(columns * image.height / image.width / 2))
    small = image.resize((columns, 2 * lines))
    pixels = list(zip(*[iter(small.tobytes())] * 3, strict=True))
    text = Text()
    for line in range(lines):
        upper, lower = (pixels[row * columns : (row + 1) * columns] for row in (2 * line, 2 * line + 1))
        for above, below in zip(upper, lower, strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n" if line < lines - 1 else "")
    return text


def kitty(png: bytes, columns: int) -> str:
    """Write a PNG in pieces of 4,096 characters; q=2 asks the terminal not to answer."""
    text = base64.b64encode(png).decode()
    pieces = [text[start : start + 4096] for start in range(0, len(text), 4096)]
    last = len(pieces) - 1
    return (
        "".join(
            f"\x1b_G{f'a=T,f=100,q=2,c={columns},' if number == 0 else ''}m={int(number < last)};{piece}\x1b\\"
            for number, piece in enumerate(pieces)
        )
        + "\n"
    )


def sixels(image: Image, width: int) -> str:
    """Write an image in bands of six rows. For each color of a band, a character has the six pixels of a column."""
    height = max(1, round(width * image.height / image.width))
    indexed = image.resize((width, height)).quantize(SIXEL_COLORS)
    palette, pixels = indexed.getpalette() or [], indexed.tobytes()
    colors = [f"#{number};2;" for number in range(len(palette) // 3)]
    text = [f'\x1bP0;1q"1;1;{width};{height}']
    for number, color in enumerate(colors):
        text.append(color + ";".join(str(part * 100 // 255) for part in palette[3 * number : 3 * number + 3]))
    for top in range(0, height, 6):
        rows = [pixels[row * width : (row + 1) * width] for row in range(top, min(top + 6, height))]
        text.append("$".join(_sixel_line(color, rows) for color in sorted(set(b"".join(rows)))) + "-")
    return "".join([*text, "\x1b\\"])


def _sixel_line(color: int, rows: list[bytes]) -> str:
    mask = 0
    for bit, row in enumerate(rows):
        bits = bytearray(256)
        bits[color] = 1 << bit
        mask |= int.from_bytes(row.translate(bytes(bits)))
    line = mask.to_bytes(len(rows[0])).translate(_SIXEL_CHARACTERS).decode()
    return f"#{color}" + re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", line)


_SIXEL_CHARACTERS: Final = bytes((value % 64) + 63 for value in range(256))


def _columns(image: Image, console: Console) -> int:
    """How many columns the image may have, so that it fits the terminal; a line is as high as two columns are wide."""
    by_height = round(2 * max(console.height - 6, 8) * image.width / image.height)
    return max(1, min(console.width, MAX_COLUMNS, by_height))


def _to_png(image: Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _ask_terminal() -> bytes:
    """Ask the terminal what it can and read its answer; empty where it cannot be asked."""
    try:
        import termios  # noqa: PLC0415 -- not on Windows
        import tty  # noqa: PLC0415
    except ImportError:
        return b""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return b""
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    answer = b""
    try:
        tty.setcbreak(keyboard)
        sys.stdout.write(_QUERY)
        sys.stdout.flush()
        while not _DA1.search(answer) and select.select([keyboard], [], [], ANSWER_SECONDS)[0]:
            answer += os.read(keyboard, 1024)
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
    return answer
