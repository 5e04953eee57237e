"""What the scenery is painted with: colours, gradients, grain, and shapes with smooth edges."""

from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw, ImageOps

Colour = tuple[int, int, int]

_SMOOTH_UP_TO = 3_000_000  # pixels; larger pictures are smooth enough by themselves
_GRAIN_TILE = 256


@dataclass(frozen=True)
class Light:
    """The colours of an hour."""

    top: Colour
    middle: Colour
    horizon: Colour
    disc: Colour
    near: Colour


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """Mix two colours; a share of 0 is the one, 1 the other."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def gradient(size: tuple[int, int], top: Colour, bottom: Colour, middle: Colour | None = None) -> Image.Image:
    """Make a picture that goes from one colour at its top to another."""
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom, middle)


def misty(size: tuple[int, int], colour: Colour, light: Light, *, start: float, nearness: float) -> Image.Image:
    """Make a colour that fades into mist from `start` down; what is near fades less."""
    below = Image.linear_gradient("L").point(lambda value: max(0.0, value - 255 * start) / (1 - start))
    return ImageOps.colorize(below.resize(size), colour, mix(colour, light.horizon, 0.75 - 0.65 * nearness))


def grain(size: tuple[int, int], chance: Random) -> Image.Image:
    """Make a little film grain around a middle grey, so that a picture is about as large as a real one."""
    tile = Image.frombytes("L", (_GRAIN_TILE, _GRAIN_TILE), chance.randbytes(_GRAIN_TILE**2))
    tile = tile.point(lambda value: 126 + value // 52)
    grain = Image.new("L", size)
    for left in range(0, size[0], _GRAIN_TILE):
        for top in range(0, size[1], _GRAIN_TILE):
            grain.paste(tile, (left, top))
    return Image.merge("RGB", (grain, grain, grain))


class Stencil:
    """A mask to draw shapes into, in coordinates from 0 to 1 across the picture.

    Shapes are drawn at twice their size and then reduced, which makes their edges smooth.
    """

    def __init__(self, image: Image.Image) -> None:
        self.image = image
        self.scale = 2 if image.width * image.height <= _SMOOTH_UP_TO else 1
        self.width, self.height = image.width * self.scale, image.height * self.scale
        self.mask = Image.new("L", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.mask)

    def polygon(self, points: list[tuple[float, float]], fill: int = 255) -> None:
        """Draw a shape of straight lines."""
        self.draw.polygon([(x * self.width, y * self.height) for x, y in points], fill=fill)

    def box(self, left: float, top: float, right: float, bottom: float, fill: int = 255) -> None:
        """Draw a rectangle."""
        width, height = self.width, self.height
        self.draw.rectangle((left * width, top * height, right * width, bottom * height), fill=fill)

    def bar(self, left: float, top: float, right: float, bottom: float, fill: int = 255) -> None:
        """Draw a box with round ends."""
        width, height = self.width, self.height
        corners = (left * width, top * height, right * width, bottom * height)
        self.draw.rounded_rectangle(corners, radius=(bottom - top) / 2 * height, fill=fill)

    def circle(self, x: float, y: float, radius: float, fill: int = 255) -> None:
        """Draw a disc; `radius` is a share of the picture's short edge."""
        r = radius * min(self.width, self.height)
        x, y = x * self.width, y * self.height
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def paint(self, colour: Colour | Image.Image) -> None:
        """Paint through all that was drawn, in a colour or with another picture."""
        mask = self.mask.reduce(self.scale) if self.scale > 1 else self.mask
        self.image.paste(colour, (0, 0, *self.image.size) if isinstance(colour, tuple) else (0, 0), mask)
