"""Files of other tools that embstore does not read, by their suffixes: what they are, and what to export instead."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from embstore.pixels.ome_zarr import is_zarr

# what segmentation tools save that is not a label image
OF_MASKS: Mapping[str, str] = {
    "_seg.npy": "Cellpose's pickle, which is never loaded: save its masks as PNG or TIFF (--save_png, --save_tif)",
    "_rois.zip": "ImageJ's outlines: save a label image (Fiji: LabelMap, cellpose: --save_tif)",
    ".roi": "ImageJ's outlines: save a label image (Fiji: LabelMap)",
    ".zip": "an archive, which is not opened: unpack it, or save a label image",
    ".geojson": "QuPath's outlines: export a label image (QuPath: LabeledImageServer)",
    ".json": "outlines: export a label image",
    ".h5": "HDF5: export TIFF or PNG (ilastik: Export Settings, Format)",
    ".ilp": "an ilastik project: export Object Identities as TIFF or PNG",
    ".npy": "an array of NumPy: save it as PNG or TIFF",
    ".npz": "arrays of NumPy: save them as PNG or TIFF",
    ".mat": "MATLAB's: save it as PNG or TIFF",
}


def tool_files(folder: Path) -> list[Path]:
    """Return the files below a folder of masks that segmentation tools save and that are not label images."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and _kind(path)]


def export_advice(files: Sequence[Path], names: Sequence[str]) -> str:
    """Return what the first file whose name begins with one of an image's `names` is and what to export, or ''."""
    wanted = tuple(name.lower() for name in names)
    return next(
        (f"{file.name} is {OF_MASKS[_kind(file)]}" for file in files if file.name.lower().startswith(wanted)), ""
    )


def _kind(path: Path) -> str:
    return next((suffix for suffix in OF_MASKS if path.name.lower().endswith(suffix)), "")


def files_below(source: Path) -> list[str]:
    """Return the files of a folder, relative to it, without hidden ones and the insides of Zarr; or a file itself."""
    if not source.is_dir():
        return [source.name] if source.exists() else []
    files: list[str] = []
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if not name.startswith(".") and not is_zarr(Path(folder, name)))
        base = "" if Path(folder) == source else f"{Path(folder).relative_to(source).as_posix()}/"
        files += [f"{base}{name}" for name in sorted(names) if not name.startswith(".")]
    return files


def what_lies_there(files: Sequence[str]) -> str:
    """Return the suffixes of files with their numbers, the most frequent first, and an example of a name."""
    if not files:
        return "no file"
    suffixes = [Path(file.removesuffix(".gz")).suffix.lower() or "no suffix" for file in files]
    counted = sorted({s: suffixes.count(s) for s in dict.fromkeys(suffixes)}.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{n} {suffix}" for suffix, n in counted[:5])
    example = files[suffixes.index(counted[0][0])]
    return f"{listed}{', ...' if len(counted) > 5 else ''}, such as {example}"
