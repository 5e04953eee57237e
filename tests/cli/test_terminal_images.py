"""Images as a terminal is sent them, decoded again."""

from __future__ import annotations

import base64
import io
import re
import sys
from itertools import product

import pytest
from PIL import Image
from rich.console import Console

from cli import terminal_images
from cli.terminal_images import Protocol, half_blocks, kitty, open_image, show, sixels
from tests.cli.fake import PNG

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def terminal(width=80, height=24, **options):
    """A terminal with all colors."""
    return Console(
        file=io.StringIO(), force_terminal=True, color_system="truecolor", width=width, height=height, **options
    )


def picture(width, height, kind="PNG", mode="RGB"):
    """An image whose four quarters are red, green, blue and white."""
    image = Image.new("RGB", (2, 2))
    for place, color in (((0, 0), RED), ((1, 0), GREEN), ((0, 1), BLUE), ((1, 1), WHITE)):
        image.putpixel(place, color)
    content = io.BytesIO()
    image.resize((width, height), Image.Resampling.NEAREST).convert(mode).save(content, kind)
    return content.getvalue()


def decode_sixels(text):
    """The image that a terminal makes of sixels (DEC STD 070)."""
    width, height, data = re.fullmatch(r'\x1bP0;1q"1;1;(\d+);(\d+)(.*)\x1b\\', text).groups()
    image = Image.new("RGB", (int(width), int(height)), "magenta")
    colors, color, x, top = {}, 0, 0, 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([$\-?-~])", data):
        number, red, green, blue, times, repeated, single = token.groups()
        if number is not None:
            color = int(number)
            if red is not None:
                colors[color] = tuple(round(int(part) * 2.55) for part in (red, green, blue))
        elif single == "$":
            x = 0
        elif single == "-":
            x, top = 0, top + 6
        else:
            end = x + int(times or 1)
            bits = ord(repeated or single) - 63
            for column, bit in product(range(x, end), range(6)):
                if bits >> bit & 1:
                    image.putpixel((column, top + bit), colors[color])
            x = end
    return image


@pytest.mark.parametrize(("width", "height"), [(16, 16), (17, 13), (40, 7)])
def test_sixels_have_every_pixel_in_its_color(width, height):
    """Also where the last band has fewer than six rows."""
    found = decode_sixels(sixels(open_image(picture(width, height)), width))

    assert (width, height) == found.size
    corners = [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]
    assert [RED, GREEN, BLUE, WHITE] == [found.getpixel(corner) for corner in corners]
    assert 4 == len(found.getcolors())


def test_sixels_are_scaled_to_the_width():
    """And keep the image's shape."""
    assert (100, 50) == decode_sixels(sixels(open_image(picture(20, 10)), 100)).size


def test_a_half_block_has_two_pixels():
    """The upper one in front, the lower one behind."""
    console = terminal(width=2)

    console.print(half_blocks(open_image(PNG), console))

    assert (
        "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m\x1b[38;2;0;255;0;48;2;255;255;255m▀\x1b[0m\n"
        == console.file.getvalue()
    )


@pytest.mark.parametrize(
    ("size", "columns", "lines"),
    [((1024, 1024), 36, 18), ((1024, 1536), 24, 18), ((1536, 1024), 54, 18), ((3000, 10), 72, 1), ((10, 3000), 1, 150)],
)
def test_an_image_fits_into_the_terminal_and_keeps_its_shape(size, columns, lines):
    """A character is twice as high as wide. The thinnest image still has one column."""
    text = half_blocks(open_image(picture(*size)), terminal()).plain.splitlines()

    assert (columns, lines) == (len(text[0]), len(text))


def test_kitty_gets_the_very_png_in_pieces():
    """Only the first has the options, only the last ends it."""
    content = PNG + bytes(10_000)

    pieces = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", kitty(content, 40))

    assert ["a=T,f=100,q=2,c=40,m=1", "m=1", "m=1", "m=0"] == [options for options, _ in pieces]
    assert content == base64.b64decode("".join(data for _, data in pieces))


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_kitty_gets_other_formats_as_png(capsys, kind):
    """It reads no others."""
    assert show(picture(4, 4, kind), Protocol.KITTY, terminal())

    (data,) = re.findall(r"\x1b_G.*?;(.*?)\x1b\\", capsys.readouterr().out)
    assert b"\x89PNG" == base64.b64decode(data)[:4]


def test_iterm2_gets_the_image_as_it_is(capsys):
    """With its size, and never wider than the terminal."""
    assert show(PNG, Protocol.ITERM2, terminal(width=60))

    options, data = re.fullmatch(r"\x1b\]1337;File=(.*?):(.*)\x07\n", capsys.readouterr().out).groups()
    assert f"inline=1;size={len(PNG)};width=60;preserveAspectRatio=1" == options
    assert PNG == base64.b64decode(data)


def test_transparent_pixels_are_black():
    """As the background of most terminals."""
    content = io.BytesIO()
    Image.new("RGBA", (1, 1), (255, 0, 0, 0)).save(content, "PNG")

    assert (0, 0, 0) == open_image(content.getvalue()).getpixel((0, 0))


@pytest.mark.parametrize("content", [b"", b"no image", PNG[:50]])
@pytest.mark.parametrize("protocol", [Protocol.SIXEL, Protocol.BLOCKS])
def test_what_is_no_image_is_not_shown(capsys, content, protocol):
    """It is saved all the same."""
    assert not show(content, protocol, terminal())
    assert "" == capsys.readouterr().out


def test_without_pillow_a_png_is_shown_in_kitty_and_iterm2_only(capsys, monkeypatch):
    """It is not needed to install the command."""
    monkeypatch.setitem(sys.modules, "PIL", None)

    assert [True, True, False, False, False] == [
        show(PNG, Protocol.KITTY, terminal()),
        show(PNG, Protocol.ITERM2, terminal()),
        show(picture_in_jpeg := b"\xff\xd8\xff", Protocol.KITTY, terminal()),
        show(picture_in_jpeg, Protocol.SIXEL, terminal()),
        show(PNG, Protocol.BLOCKS, terminal()),
    ]
    assert capsys.readouterr().out.count("\x1b_G") == 1


def test_without_a_terminal_nothing_is_shown():
    """Its output is read by a program."""
    console = Console(file=io.StringIO())

    assert {Protocol.NONE} == {terminal_images.choose(wanted, console) for wanted in Protocol}
    assert not show(PNG, Protocol.NONE, console)
