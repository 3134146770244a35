"""Draws the sandbox's images: a gradient of two colours, different for every prompt and seed."""

import colorsys
import random
import struct
import zlib

SIZE = 256  # pixels on each side: enough for a contact sheet


def placeholder_png(prompt: str, seed: int | None, index: int = 0) -> bytes:
    """Return a PNG that is always the same for the same prompt, seed and index."""
    name = f"{prompt}\0{seed}\0{index}".encode("utf-8", "surrogatepass")
    dice = random.Random(zlib.crc32(name) << 32 | zlib.adler32(name))  # noqa: S311, no secret
    hue = dice.random()
    first = colorsys.hsv_to_rgb(hue, dice.uniform(0.4, 0.7), dice.uniform(0.3, 0.6))
    last = colorsys.hsv_to_rgb(hue + dice.uniform(0.1, 0.4), 0.5, dice.uniform(0.8, 1.0))
    # From corner to corner: each row is the one above it, moved by a pixel.
    steps = 2 * SIZE - 1
    diagonal = bytes(
        int(255 * (start + (end - start) * step / (steps - 1)))
        for step in range(steps)
        for start, end in zip(first, last, strict=True)
    )
    rows = (b"\0" + diagonal[3 * y : 3 * (y + SIZE)] for y in range(SIZE))  # 0: no filter
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 2, 0, 0, 0)  # 8 bits, true colour
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
