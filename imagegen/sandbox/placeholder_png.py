"""Draws the sandbox's pictures: a sky, a sun and a few ridges, different for every prompt and seed.

A quarter of a megabyte of pixels is far too much for a loop in Python. So the picture is built
column by column out of whole slices, and a column of sky is one multiplication of long integers.
"""

import colorsys
import functools
import math
import random
import struct
import zlib
from collections.abc import Callable, Iterator

SIZE = 256  # pixels on each side: enough for a contact sheet, a few milliseconds to draw
COLUMN = 3 * SIZE  # bytes: all the reds from top to bottom, then the greens, then the blues
KEPT = 128  # pictures in memory, about 60 kB each: more than a contact sheet shows

Colour = tuple[float, float, float]  # red, green, blue from 0 to 255


@functools.lru_cache(maxsize=KEPT)
def picture(prompt: str, seed: int | None, index: int = 0) -> bytes:
    """A PNG that is always the same for the same prompt, seed and index."""
    name = f"{prompt}\0{seed}\0{index}".encode("utf-8", "surrogatepass")
    dice = random.Random(zlib.crc32(name) << 32 | zlib.adler32(name))  # noqa: S311, no secret
    return png(Landscape(dice).columns())


class Landscape:
    """What one picture shows, rolled from the dice: the light, the sun and the ridges before it."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._hue = dice.uniform(0.46, 0.98)  # from teal over blue and violet to rose
        self._sunlight = dice.uniform(0.0, 0.15)  # from coral to gold
        self._dusk = dice.uniform(0.25, 0.75)  # how much of the day's light is left
        self._turn = dice.choice([-1, 1]) * dice.uniform(0.03, 0.12)  # from hue to hue
        self._sun = (dice.uniform(0.2, 0.8) * SIZE, dice.uniform(0.2, 0.5) * SIZE)
        self._radius = dice.uniform(14, 38)
        self._ridges = self._roll_ridges()

    def columns(self) -> Iterator[bytes]:
        """The picture's columns from left to right."""
        sky = self._sky()
        disc = gradient(colour(self._sunlight + 0.05, 0.2, 1.0), colour(self._sunlight, 0.6, 1.0))
        for x in range(SIZE):
            column = bytearray(sky(x))
            half = self._radius**2 - (x - self._sun[0]) ** 2
            if half > 0:
                top, bottom = self._sun[1] - math.sqrt(half), self._sun[1] + math.sqrt(half)
                below = bytes(column)
                lay(column, disc, top)
                lay(column, below, bottom)
            for colours, height in self._ridges:
                lay(column, colours, height(x))
            yield bytes(column)

    def _sky(self) -> Callable[[int], bytes]:
        """A gradient with a glow round the sun.

        The glow is a bell, and a bell is the product of one along x and one along y: so a column
        is sky + bell(x) * (bell(y) * light), in lanes of 16 bits whose upper byte is the colour.
        """
        light = self._dusk
        sky = gradient(
            colour(self._hue, 0.75, 0.2 + 0.45 * light),
            colour(self._hue + self._turn, 0.4, 0.6 + 0.35 * light),
        )
        warm = colour(self._sunlight, 0.45, 1.0)
        x_sun, y_sun = self._sun
        wide = self._radius * 2.6
        glow = bytearray(COLUMN)
        for place, shade in enumerate(sky):
            channel, y = divmod(place, SIZE)
            room = 0.85 * max(0.0, warm[channel] - shade)
            glow[place] = int(room * math.exp(-(((y - y_sun) / wide) ** 2)))
        dark, lit = lanes(sky) << 8, lanes(glow)

        def column(x: int) -> bytes:
            strength = int(255 * math.exp(-(((x - x_sun) / wide) ** 2)))
            return (dark + strength * lit).to_bytes(2 * COLUMN, "little")[1::2]

        return column

    def _roll_ridges(self) -> list[tuple[bytes, Callable[[int], float]]]:
        """From the farthest, pale in the haze, to the nearest."""
        count = self._dice.randint(3, 5)
        pointed = self._dice.random() < 0.4
        ridges = []
        for place in range(count):
            near = (place + 1) / count
            crest = colour(self._hue + self._turn * (1 - near), 0.3 + 0.4 * near, 0.8 - 0.62 * near)
            foot = colour(
                self._hue + self._turn * (1.4 - near), 0.3 + 0.3 * near, 0.95 - 0.6 * near
            )
            line = skyline(self._dice, SIZE * (0.42 + 0.46 * near), pointed=pointed)
            ridges.append((gradient(crest, foot), line))
        return ridges


def skyline(dice: random.Random, level: float, *, pointed: bool) -> Callable[[int], float]:
    """A soft line round a level: hills as sums of waves, mountains as waves folded to peaks."""
    waves = [
        (height * dice.uniform(0.5, 1.3), turns * dice.uniform(0.7, 1.4), dice.uniform(0, math.tau))
        for height, turns in ((16, 0.9), (8, 2.1), (3, 4.7))
    ]

    def height(x: int) -> float:
        rise = 0.0
        for tall, turns, phase in waves:
            wave = math.sin(math.tau * turns * x / SIZE + phase)
            rise += tall * (1.0 - 2.2 * abs(wave) if pointed else wave)
        return min(max(level - rise, 0.0), SIZE - 1.0)

    return height


def colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def gradient(top: Colour, bottom: Colour) -> bytes:
    """A column that goes smoothly from one colour to another."""
    steps = [y / (SIZE - 1) for y in range(SIZE)]
    return bytes(
        int(first + (last - first) * step)
        for first, last in zip(top, bottom, strict=True)
        for step in steps
    )


def lay(column: bytearray, colours: bytes, height: float) -> None:
    """Paint everything under a height; the pixel on the edge is mixed, so that it looks smooth."""
    edge = min(max(int(height), 0), SIZE - 1)
    above = min(max(height - edge, 0.0), 1.0)
    for start in (0, SIZE, 2 * SIZE):
        seen = column[start + edge]
        column[start + edge : start + SIZE] = colours[start + edge : start + SIZE]
        column[start + edge] = int(seen * above + colours[start + edge] * (1 - above))


def lanes(column: bytes | bytearray) -> int:
    """A column as one long integer with 16 bits for each byte."""
    wide = bytearray(2 * len(column))
    wide[::2] = column
    return int.from_bytes(wide, "little")


def png(columns: Iterator[bytes]) -> bytes:
    """Turn columns into rows, and rows into a PNG file."""
    canvas = b"".join(columns)
    rows = bytearray()
    for y in range(SIZE):
        row = bytearray(COLUMN)
        for channel in range(3):
            row[channel::3] = canvas[channel * SIZE + y :: COLUMN]
        rows += b"\0" + row  # 0: no filter
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)  # 8 bits, true colour
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 4)), (b"IEND", b""))
    )
