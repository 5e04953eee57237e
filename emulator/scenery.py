"""What the pictures show: a landscape that follows from the prompt, and the prompt itself.

Words in the prompt choose the scene (a sea, a city, a forest, else mountains) and the hour; its hash chooses
all the rest.
"""

import math
from collections.abc import Callable
from random import Random

from PIL import Image, ImageChops

from emulator.brushes import Colour, Light, Stencil, gradient, grain, misty, mix

Ridge = Callable[[float], float]
"""A line across the picture: how high, from 0 (top) to 1, at x from 0 to 1."""


_HOURS = (
    Light((58, 46, 99), (214, 108, 122), (255, 205, 148), (255, 238, 205), (38, 26, 58)),  # dusk
    Light((62, 124, 178), (150, 197, 218), (250, 238, 214), (255, 250, 232), (24, 62, 74)),  # morning
    Light((38, 84, 104), (112, 168, 160), (248, 222, 170), (255, 246, 214), (16, 44, 50)),  # teal
    Light((92, 62, 118), (236, 150, 128), (255, 226, 172), (255, 244, 220), (62, 30, 54)),  # rose
    Light((44, 60, 110), (128, 142, 196), (244, 208, 214), (255, 240, 236), (28, 32, 66)),  # lilac
)
_NIGHT = Light((10, 14, 38), (28, 40, 84), (92, 96, 142), (244, 240, 222), (8, 10, 24))

_NIGHT_WORDS = ("night", "moon", "star", "space", "galaxy", "midnight", "aurora")
_SCENE_WORDS = {
    "sea": (
        "sea",
        "ocean",
        "boat",
        "ship",
        "beach",
        "wave",
        "lake",
        "island",
        "otter",
        "lighthouse",
        "harbor",
    ),
    "city": ("city", "street", "town", "building", "skyline", "office", "house", "robot", "car", "cyberpunk"),
    "forest": ("forest", "tree", "wood", "bear", "fox", "deer", "owl", "jungle", "garden", "cat", "dog"),
}


def scene(prompt: str, size: tuple[int, int], chance: Random) -> Image.Image:
    """Draw the landscape for a prompt."""
    words = prompt.lower()
    night = any(word in words for word in _NIGHT_WORDS)
    light = _NIGHT if night else chance.choice(_HOURS)
    image = _sky(size, light, chance, night=night)
    kind = next((kind for kind, hints in _SCENE_WORDS.items() if any(hint in words for hint in hints)), "mountains")
    _SCENES[kind](image, light, chance)
    return ImageChops.add(image, grain(size, chance), 1, -128)


def _sky(size: tuple[int, int], light: Light, chance: Random, *, night: bool) -> Image.Image:
    image = gradient(size, light.top, light.horizon, light.middle)
    if night:
        stars = Stencil(image)
        for _ in range(160):
            x, y = chance.random(), chance.random() * 0.7
            stars.circle(x, y, chance.uniform(0.0008, 0.0022), chance.randint(90, 255))
        stars.paint((255, 252, 240))
    x, y, radius = chance.uniform(0.2, 0.8), chance.uniform(0.2, 0.36), chance.uniform(0.06, 0.1)
    _glow(image, light.disc, (x, y), radius * 5)
    disc = Stencil(image)
    disc.circle(x, y, radius)
    disc.paint(light.disc)
    _clouds(image, mix(light.horizon, (255, 255, 255), 0.2), chance, strength=40 if night else 110)
    return image


def _glow(image: Image.Image, colour: Colour, centre: tuple[float, float], radius: float) -> None:
    across = round(2 * radius * min(image.size))
    # radial_gradient is 0 in its middle and 255 from the middle of its edges on.
    mask = Image.radial_gradient("L").point(lambda value: max(0, 181 - value) ** 2 // 256).resize((across, across))
    left, top = round(centre[0] * image.width - across / 2), round(centre[1] * image.height - across / 2)
    image.paste(colour, (left, top, left + across, top + across), mask)


def _clouds(image: Image.Image, colour: Colour, chance: Random, *, strength: int) -> None:
    clouds = Stencil(image)
    for _ in range(chance.randint(2, 4)):
        x, y = chance.uniform(0.05, 0.95), chance.uniform(0.08, 0.42)
        for _ in range(7):
            half, thick = chance.uniform(0.03, 0.11), chance.uniform(0.003, 0.007)
            dx, dy = chance.uniform(-0.1, 0.1), chance.uniform(-0.012, 0.012)
            clouds.bar(x + dx - half, y + dy - thick, x + dx + half, y + dy + thick, strength)
    clouds.paint(colour)


def _waves(chance: Random, base: float, height: float, *, rugged: bool = False) -> Ridge:
    """Make a ridge as a sum of waves; rugged ones have peaks."""
    parts = [(chance.uniform(0.7, 1.3) * 2**i, chance.uniform(0, math.tau), 0.5**i) for i in range(5 if rugged else 3)]

    def ridge(x: float) -> float:
        total = 0.0
        for frequency, phase, weight in parts:
            wave = math.sin(x * frequency * 4 + phase)
            total += weight * ((1 - 2 * abs(wave)) if rugged else wave)
        return base - height * total / 2

    return ridge


def _land(image: Image.Image, ridge: Ridge, colour: Colour, light: Light, nearness: float) -> None:
    """Fill everything below a ridge."""
    layer = Stencil(image)
    steps = max(64, image.width // 6)
    line = [(i / steps, ridge(i / steps)) for i in range(steps + 1)]
    layer.polygon([(0, 1), *line, (1, 1)])
    start = min(0.9, *(y for _, y in line))
    layer.paint(misty(image.size, colour, light, start=start, nearness=nearness))


def _mountains(image: Image.Image, light: Light, chance: Random) -> None:
    layers = 5
    for i in range(layers):
        share = (i + 1) / layers
        base, height = 0.5 + 0.4 * share**1.3, 0.17 * (1 - 0.55 * share)
        colour = mix(mix(light.horizon, light.middle, 0.5), light.near, share**0.8)
        _land(image, _waves(chance, base, height, rugged=i < layers - 1), colour, light, share)


def _forest(image: Image.Image, light: Light, chance: Random) -> None:
    layers = 5
    for i in range(layers):
        share = (i + 1) / layers
        ridge = _waves(chance, 0.5 + 0.42 * share, 0.1)
        colour = mix(mix(light.horizon, light.middle, 0.4), light.near, share**0.9)
        _land(image, ridge, colour, light, share)
        if i == 0:
            continue
        trees = Stencil(image)
        tall = 0.05 + 0.12 * share
        slim = image.height / image.width * 0.2
        x = chance.uniform(-0.02, 0)
        while x < 1 + slim * tall:
            height = tall * chance.uniform(0.55, 1.1)
            foot = ridge(x) + 0.01
            for tier in range(3):
                low, half = foot - height * tier * 0.27, height * slim * (1 - tier * 0.24)
                trees.polygon([(x - half, low), (x, low - height * 0.5), (x + half, low)])
            x += tall * slim * chance.uniform(0.9, 2.2)
        trees.paint(misty(image.size, colour, light, start=0.4 + 0.42 * share, nearness=share))


def _sea(image: Image.Image, light: Light, chance: Random) -> None:
    horizon = chance.uniform(0.56, 0.62)
    island = _waves(chance, horizon - 0.02, 0.07, rugged=True)
    _land(image, island, mix(light.middle, light.near, 0.35), light, 0.3)
    water = Stencil(image)
    water.box(0, horizon, 1, 1)
    water.paint(
        gradient(image.size, light.horizon, mix(light.near, light.top, 0.35), mix(light.middle, light.top, 0.3))
    )
    glitter = Stencil(image)
    middle = chance.uniform(0.3, 0.7)
    for _ in range(170):
        depth = chance.random() ** 1.5
        y = horizon + 0.005 + depth * (0.99 - horizon)
        half = chance.uniform(0.008, 0.03) * (0.5 + 2 * depth)
        x = middle + chance.gauss(0, 0.05 + 0.16 * depth)
        glitter.box(x - half, y, x + half, y + 0.0012 + 0.002 * depth, chance.randint(50, 170))
    glitter.paint(light.disc)
    _boat(image, light, (chance.choice((0.24, 0.7)), horizon + 0.075), 0.11)


def _boat(image: Image.Image, light: Light, foot: tuple[float, float], size: float) -> None:
    wide, tall = size * min(image.size) / image.width, size * min(image.size) / image.height

    def placed(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(foot[0] + x * wide, foot[1] + y * tall) for x, y in points]

    sails = Stencil(image)
    sails.polygon(placed((0, -1.5), (0, -0.15), (0.75, -0.15)))
    sails.polygon(placed((-0.06, -1.25), (-0.06, -0.15), (-0.5, -0.15)))
    sails.paint(mix(light.disc, (255, 255, 255), 0.4))
    hull = Stencil(image)
    hull.polygon(placed((-0.7, -0.08), (0.85, -0.08), (0.5, 0.16), (-0.5, 0.16)))
    hull.paint(light.near)


def _city(image: Image.Image, light: Light, chance: Random) -> None:
    layers = 4
    for i in range(layers):
        share = (i + 1) / layers
        scale = 0.7 + 0.8 * share
        houses, windows = Stencil(image), Stencil(image)
        x = chance.uniform(-0.06, 0)
        while x < 1:
            width = chance.uniform(0.04, 0.075) * scale
            top = 0.46 + 0.32 * share - chance.random() ** 1.6 * 0.24
            houses.box(x, top, x + width, 1)
            if chance.random() < 0.25:
                houses.box(x + width * 0.47, top - 0.05, x + width * 0.53, top)
            _lit(windows, (x, top, width), 0.011 * scale, chance, share=0.1 + 0.25 * share)
            x += width * chance.uniform(1.0, 1.25)
        colour = mix(mix(light.horizon, light.middle, 0.6), light.near, share**0.8)
        houses.paint(misty(image.size, colour, light, start=0.5, nearness=share))
        windows.paint(mix(light.disc, (255, 206, 120), 0.6))


def _lit(windows: Stencil, house: tuple[float, float, float], step: float, chance: Random, *, share: float) -> None:
    """Light a share of a house's windows."""
    x, top, width = house
    columns = int(width / step / 1.2)
    for column in range(1, columns):
        for row in range(1, 12):
            if chance.random() < share:
                middle, high = x + column * width / columns, top + row * step * 2
                windows.box(middle - step * 0.22, high, middle + step * 0.22, high + step * 0.8, 220)


_SCENES: dict[str, Callable[[Image.Image, Light, Random], None]] = {
    "mountains": _mountains,
    "forest": _forest,
    "sea": _sea,
    "city": _city,
}
