"""The meaning of a TIFF's values: which photometric interpretations, sample formats and bits are read, and how.

As TIFF 6.0 (Adobe, 1992) defines them: tags PhotometricInterpretation (262), BitsPerSample (258), SampleFormat (339),
ExtraSamples (338) and ColorMap (320).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from embstore.errors import ImageError
from embstore.pixels.colours import COLOUR_OF_SAMPLES

_UNSIGNED = frozenset(("UINT", bits) for bits in (*range(1, 17), 32, 64))
_SIGNED = frozenset(("INT", bits) for bits in (8, 16, 32, 64))
_FLOATS = frozenset(("IEEEFP", bits) for bits in (16, 24, 32, 64))
# photometric interpretation -> sample formats and bits that are read; tests/pixels/test_modes.py tests each of them
TIFF_MODES = {
    "MINISBLACK": _UNSIGNED | _SIGNED | _FLOATS,
    "MINISWHITE": frozenset(("UINT", bits) for bits in range(1, 17)),
    "RGB": frozenset({("UINT", 8), ("UINT", 16), ("IEEEFP", 32)}),
    "PALETTE": frozenset(("UINT", bits) for bits in (1, 2, 4, 8, 16)),
}
_TODO = "save it as grey or RGB, without a palette"
_RAMP = 0.02  # the part of full brightness by which a colour may differ from a straight ramp


def mode_of(page: Any) -> tuple[str, str, Any]:
    """Return a page's photometric interpretation, sample format and bits per sample, by tifffile's names."""
    import tifffile

    page = page.keyframe
    # tifffile treats a page without the tag as inverted
    photometric = enum_name(tifffile.PHOTOMETRIC, page.photometric) if 262 in page.tags else "MINISBLACK"
    return photometric, enum_name(tifffile.SAMPLEFORMAT, page.sampleformat), page.bitspersample


def enum_name(kind: Any, number: Any) -> str:
    """Return the name that one of tifffile's enumerations gives a number, else the number."""
    try:
        return str(kind(number).name)
    except ValueError:
        return str(number)


def check_mode(path: Path, page: Any) -> None:
    """Raise ImageError for a page whose values are not intensities (CMYK, Lab, ...) or are packed in an unknown way."""
    photometric, sample_format, bits = mode_of(page)
    if photometric not in TIFF_MODES:
        raise ImageError(
            f"{path.name} has {photometric} pixels, wanted grey or RGB (photometric interpretation 0 to 2); "
            "export it as grey or RGB"
        )
    if (sample_format, bits) not in TIFF_MODES[photometric]:
        raise ImageError(
            f"{path.name} has {photometric} pixels of {bits} bits ({sample_format}), wanted whole numbers of 8 or 16 "
            "bits or floats; export it as 16 bit"
        )
    if page.dtype is None:
        raise ImageError(f"{path.name} has samples of different kinds, wanted one; export it as 16 bit")
    if photometric == "MINISWHITE" and colour_of(page):
        raise ImageError(f"{path.name} has inverted grey with alpha, wanted grey; save it without alpha")


def colour_of(page: Any) -> str:
    """Return LA, RGB or RGBA if the samples of a page are colours, "" if they are grey or channels."""
    samples, extra = page.keyframe.samplesperpixel, [int(e) for e in page.keyframe.extrasamples]
    photometric = mode_of(page)[0]
    if photometric == "RGB" and samples in (3, 4):
        return COLOUR_OF_SAMPLES[samples]
    return "LA" if photometric != "RGB" and samples == 2 and extra[:1] in ([1], [2]) else ""


def check_palette(path: Path, page: Any) -> None:
    """Raise ImageError for a palette whose colours are not a ramp of one hue: its indices are then not intensities."""
    colours = page.keyframe.colormap
    if colours is None or not all(_is_ramp(np.asarray(row, np.float64)) for row in colours):
        raise ImageError(f"{path.name} has colours from a palette, wanted intensities; {_TODO}")


def _is_ramp(colour: np.ndarray) -> bool:
    line = np.linspace(0, colour[-1], len(colour))
    return bool(np.abs(colour - line).max() <= _RAMP * 65535)


def inverted(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Return pixels of any shape in which zero was white, inverted so that zero is black."""
    if pixels.dtype == np.bool_:
        return ~pixels
    white: np.ndarray = pixels.dtype.type((1 << bits) - 1) - pixels
    return white
