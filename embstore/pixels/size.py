"""The pixel size that a file's metadata state, in micrometres, and values that are ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SMALLEST_UM, LARGEST_UM = 0.001, 100.0  # the pixels of microscopes are between these
# the bare tags of TIFF are mostly print resolutions: 72 to 2400 dots per inch are 353 to 10.6 µm
TAG_SMALLEST_UM, TAG_LARGEST_UM = 0.01, 10.0
DIFFER = 0.01  # the part by which x and y may differ

# units of length as OME (schema 2016-06), OME-Zarr (UDUNITS-2) and ImageJ write them, in lower case
_NAMES = {
    1e6: ("m", "meter", "metre"),
    1e9: ("km", "kilometer", "kilometre"),
    1e5: ("dm", "decimeter", "decimetre"),
    1e4: ("cm", "centimeter", "centimetre"),
    1e3: ("mm", "millimeter", "millimetre"),
    1.0: ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre", "\\u00b5m"),
    1e-3: ("nm", "nanometer", "nanometre"),
    1e-4: ("å", "angstrom"),
    1e-6: ("pm", "picometer", "picometre"),
    1e-9: ("fm", "femtometer", "femtometre"),
    25.4: ("thou", "mil"),
    25400.0: ("in", "inch"),
    304_800.0: ("ft", "foot"),
    914_400.0: ("yd", "yard"),
}
UM_IN = {name: um for um, names in _NAMES.items() for name in names}
_LARGER = ("Mm", "Pm")  # OME's megametre and petametre, which in lower case would be other units
_TAG_UNITS = {2: "inch", 3: "cm"}  # ResolutionUnit (TIFF 6.0)


@dataclass(frozen=True)
class PixelSize:
    """µm per pixel if a file states it reliably; else what it states, and why that is ignored."""

    um: float | None = None
    ignored: str = ""


UNKNOWN = PixelSize()


def agreed(statements: Sequence[tuple[str, str, str]]) -> PixelSize:
    """Return the pixel size from x and y, each given as (name, number, unit); one of them is enough.

    Unknown units, sizes that no microscope has, and x and y more than 1 % apart are ignored.
    """
    if not statements:
        return UNKNOWN
    texts = dict.fromkeys(f"{name} is {number} {unit or '(no unit)'}" for name, number, unit in statements)
    stated = " and ".join(texts)
    sizes = [_um(number, unit) for _, number, unit in statements]
    if None in sizes:
        return PixelSize(ignored=f"{stated}, wanted a number of µm, nm, mm or another length")
    x, y = (sizes[0] or 0.0), (sizes[-1] or 0.0)
    if not SMALLEST_UM < x < LARGEST_UM or not SMALLEST_UM < y < LARGEST_UM:
        return PixelSize(ignored=f"{stated}, wanted {SMALLEST_UM:g} to {LARGEST_UM:g} µm per pixel")
    if abs(x - y) > DIFFER * x:
        return PixelSize(ignored=f"{stated}, wanted square pixels")
    return PixelSize(x)


def _um(number: str, unit: str) -> float | None:
    if unit.strip() in _LARGER:
        return None
    try:
        size = float(number) * UM_IN[unit.strip().lower()]
    except (ValueError, KeyError):
        return None
    return size if math.isfinite(size) else None


def imagej_size(metadata: Mapping[str, Any], tags: Any) -> PixelSize:
    """Return the size from ImageJ's unit and the resolution, which is in pixels per unit; unknown without a unit."""
    unit = str(metadata.get("unit", "")).strip()
    if unit.lower() in ("", "pixel", "pixels"):
        return UNKNOWN
    return agreed([(f"ImageJ's {name[0]}", f"{1 / n:.6g}", unit) for name, n in _resolutions(tags)])


def tag_size(tags: Any) -> PixelSize:
    """Return the size from the resolution tags of a plain TIFF if it cannot be a print resolution: 0.01 to 10 µm."""
    unit = _TAG_UNITS.get(int(tags["ResolutionUnit"].value)) if "ResolutionUnit" in tags else None
    if unit is None:
        return UNKNOWN
    size = agreed([(name, f"{1 / n:.9g}", unit) for name, n in _resolutions(tags)])
    return size if size.um and TAG_SMALLEST_UM <= size.um <= TAG_LARGEST_UM else UNKNOWN


def _resolutions(tags: Any) -> list[tuple[str, float]]:
    """Return pixels per unit from the tags XResolution and YResolution, if they are above zero."""
    values = [(name, tags[name].value) for name in ("XResolution", "YResolution") if name in tags]
    return [(name, pixels / units) for name, (pixels, units) in values if pixels > 0 and units > 0]
