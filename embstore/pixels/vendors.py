"""Microscope vendors' own file formats, which embstore does not read; it recognises them to name a converter."""

from __future__ import annotations

from collections.abc import Sequence

# as listed by Bio-Formats
VENDOR_SUFFIXES = (
    ".nd2",  # Nikon
    ".czi",  # Zeiss
    ".lsm",  # Zeiss
    ".zvi",  # Zeiss
    ".lif",  # Leica
    ".lof",  # Leica
    ".xlef",  # Leica
    ".scn",  # Leica
    ".vsi",  # Olympus
    ".oib",  # Olympus
    ".oif",  # Olympus
    ".oir",  # Olympus
    ".ims",  # Imaris
    ".dv",  # DeltaVision
    ".r3d",  # DeltaVision
    ".svs",  # Aperio
    ".mrxs",  # 3DHISTECH
    ".ndpi",  # Hamamatsu
    ".qptiff",  # Akoya
    ".flex",  # Opera
    ".stk",  # MetaMorph
    ".nd",  # MetaMorph
    ".ics",  # ICS
    ".ids",  # ICS
    ".dm3",  # Gatan
    ".dm4",  # Gatan
    ".c01",  # Cellomics
    ".dib",  # Cellomics
    ".sld",  # SlideBook
    ".sldy",  # SlideBook
    ".liff",  # Openlab
    ".mvd2",  # Volocity
    ".xdce",  # InCell
    ".bif",  # Ventana
    ".ser",  # FEI
    ".mrc",  # MRC
    ".obf",  # Imspector
    ".msr",  # Imspector
)
CONVERT = "convert them to OME-TIFF (Bio-Formats' bfconvert, Fiji) or OME-Zarr (bioformats2raw)"


def vendor_suffix(file: str) -> str:
    """Return the suffix of a file in a vendor's own format, or ''."""
    return next((suffix for suffix in VENDOR_SUFFIXES if file.lower().endswith(suffix)), "")


def vendor_files(files: Sequence[str]) -> str:
    """Return a note on files in vendors' own formats: how many, their suffixes, and what converts them."""
    suffixes = [suffix for file in files if (suffix := vendor_suffix(file))]
    if not suffixes:
        return ""
    kinds = ", ".join(sorted(set(suffixes)))
    return f"{len(suffixes)} files in microscopes' own formats ({kinds}), which are not read: {CONVERT}"
