"""TIFF and PNG files written byte by byte from known numbers, by no library that reads them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

PHOTOMETRIC = {"MINISWHITE": 0, "MINISBLACK": 1, "RGB": 2, "PALETTE": 3, "SEPARATED": 5, "YCBCR": 6, "CIELAB": 8}
FORMATS = {"UINT": 1, "INT": 2, "IEEEFP": 3, "VOID": 4, "COMPLEXINT": 5, "COMPLEXIEEEFP": 6}


def packed_bits(values: np.ndarray, bits: int) -> bytes:
    """Return rows of whole numbers packed to `bits` each, every row filled up to whole bytes, as TIFF and PNG do."""
    rows = []
    for row in values.reshape(len(values), -1).tolist():
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return b"".join(rows)


def float24(values: np.ndarray, order: str) -> bytes:
    """Return numbers as floats of 24 bits (1 sign, 7 exponent, 16 mantissa; Adobe's Photoshop TIFF notes)."""
    words = values.astype(np.float32).view(np.uint32).astype(np.int64).ravel()
    sign, exponent, mantissa = words >> 31, (words >> 23) & 0xFF, (words & 0x7FFFFF) >> 7
    small = np.where(exponent == 0, 0, exponent - 127 + 63)
    packed = (sign << 23) | (small << 16) | mantissa
    return b"".join(int(word).to_bytes(3, "little" if order == "<" else "big") for word in packed)


def samples(values: np.ndarray, kind: str, bits: int, order: str) -> bytes:
    """Return the bytes of pixels (y, x) or (y, x, s) of a sample format and depth, in a byte order (`<` or `>`)."""
    if (kind, bits) == ("IEEEFP", 24):
        return float24(values, order)
    if bits in (8, 16, 32, 64):
        letter = {"UINT": "u", "INT": "i", "IEEEFP": "f", "VOID": "u"}[kind]
        return values.astype(f"{order}{letter}{bits // 8}").tobytes()
    return packed_bits(values, bits)


def tiff_bytes(
    data: Sequence[bytes],
    shape: tuple[int, int],
    *,
    photometric: int | None,
    sample_format: int,
    bits: Sequence[int],
    order: str = "<",
    planar: bool = False,
    extra: Sequence[int] = (),
    fill_order: int = 1,
    colours: np.ndarray | None = None,
) -> bytes:
    """Return an uncompressed TIFF of one page (y, x); `data` are its strips, one a plane where it is `planar`."""
    tags: list[tuple[int, str, Sequence[int]]] = [
        (256, "I", [shape[1]]),
        (257, "I", [shape[0]]),
        (258, "H", bits),
        (259, "H", [1]),
        *([] if photometric is None else [(262, "H", [photometric])]),
        (266, "H", [fill_order]),
        (273, "I", [0] * len(data)),
        (277, "H", [len(bits)]),
        (278, "I", [shape[0]]),
        (279, "I", [len(strip) for strip in data]),
        (284, "H", [2 if planar else 1]),
        *([] if colours is None else [(320, "H", colours.ravel().tolist())]),
        *([(338, "H", extra)] if extra else []),
        (339, "H", [sample_format] * len(bits)),
    ]
    after = 8 + 2 + 12 * len(tags) + 4  # where values that are longer than four bytes begin
    body, entries = b"", b""
    strips_at = after + sum(len(v) * struct.calcsize(k) for _, k, v in tags if len(v) * struct.calcsize(k) > 4)
    starts = np.cumsum([strips_at, *(len(strip) for strip in data)])[:-1].tolist()
    for number, kind, values in tags:
        packed = struct.pack(f"{order}{len(values)}{kind}", *(starts if number == 273 else values))
        entries += struct.pack(f"{order}HHI", number, {"H": 3, "I": 4}[kind], len(values))
        entries += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack(f"{order}I", after + len(body))
        body += packed if len(packed) > 4 else b""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags))
    return head + entries + bytes(4) + body + b"".join(data)


def png_bytes(values: np.ndarray, bits: int, colour_type: int, *, palette: np.ndarray | None = None) -> bytes:
    """Return a PNG of pixels (y, x) or (y, x, s)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    data = samples(values, "UINT", bits, ">")
    length = len(data) // height
    rows = b"".join(b"\0" + data[i * length : (i + 1) * length] for i in range(height))
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + (b"" if palette is None else chunk(b"PLTE", palette.astype(np.uint8).tobytes()))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
