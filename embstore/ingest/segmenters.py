"""Segmenters that other packages register: found by name, described in the cell ids, called on one image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.backbones.weights import weights_folder
from embstore.errors import EmbstoreError, ImageError, first_line
from embstore.files import file_sha256
from embstore.ingest.work import FROM_SEGMENTER
from embstore.pixels.masks import COMPLETED, EMPTY, GROWN, MAX_LABEL, PLAIN, Mask, from_masks
from embstore.pixels.segmentation import SEGMENTER, Segmentation

ENTRY_POINTS = "embstore.segmenters"  # of the entry points
BUILTIN = "builtin"
KINDS = ("nuclei", "cells")  # what a segmenter may return
TODO = "correct the segmenter, and run the same command again with --retry-failed"


@dataclass(frozen=True)
class Segmenter:
    """One segmenter that can be chosen by name; `weights` are the files that it needs in `folder`."""

    name: str
    version: str
    package: str
    weights: tuple[str, ...] = ()
    error: str = ""  # why it cannot be used

    @property
    def folder(self) -> Path:
        """Return the folder in which its weights are looked for."""
        return weights_folder() / "segmenters" / self.name

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the weights that are not in the folder."""
        return tuple(file for file in self.weights if not (self.folder / file).is_file())

    @property
    def ready(self) -> bool:
        """True if it can be used: no weights are missing."""
        return not (self.missing or self.error)


def list_segmenters() -> list[Segmenter]:
    """Return the built-in segmenter and those of all installed packages, by name; a broken one with its error."""
    return [_listed(name) for name in (BUILTIN, *sorted(_registered()))]


def _listed(name: str) -> Segmenter:
    try:
        return find_segmenter(name)
    except EmbstoreError as error:
        package = _registered()[name].dist
        return Segmenter(name, "", package.name if package else "", error=str(error))


def find_segmenter(name: str) -> Segmenter:
    """Return a segmenter by its name, or raise EmbstoreError that lists the names."""
    if name == BUILTIN:
        return Segmenter(BUILTIN, str(SEGMENTER["revision"]), "embstore")
    function, point = _function(name), _registered()[name]
    package = point.dist
    version = getattr(function, "version", "") or (package.version if package else "")
    if not version:
        raise EmbstoreError(
            f"the segmenter {name} has no version; wanted an attribute `version`: it is part of cell ids"
        )
    weights = tuple(getattr(function, "weights", ()))
    return Segmenter(name, str(version), package.name if package else "", weights)


def segmenter_spec(name: str) -> Mapping[str, Any]:
    """Return the spec of a segmenter, which is part of the ids of the cells that it makes.

    Raises EmbstoreError where its weights are missing.
    """
    segmenter = find_segmenter(name)
    if name == BUILTIN:
        return SEGMENTER
    if segmenter.missing:
        raise EmbstoreError(
            f"the segmenter {name} lacks {', '.join(segmenter.missing)} in {segmenter.folder}; get it with "
            f"embstore segmenters fetch {name}"
        )
    return {
        "registered": name,
        "version": segmenter.version,
        "weights": {file: file_sha256(segmenter.folder / file) for file in segmenter.weights},
        "expand": SEGMENTER["expand"],  # where it returns nuclei alone
    }


def fetch_segmenter(name: str, source: str | Path | None = None) -> Segmenter:
    """Get the weights of a segmenter: from a file of this disk, else by its own `fetch`; writes to the weights folder.

    Raises EmbstoreError where it needs none, cannot get them, or lacks some of them afterwards.
    """
    segmenter = find_segmenter(name)
    if not segmenter.weights:
        raise EmbstoreError(f"the segmenter {name} needs no file: it is ready")
    if source is not None and len(segmenter.weights) > 1:
        raise EmbstoreError(f"{name} needs {', '.join(segmenter.weights)}; copy them to {segmenter.folder}")
    try:
        segmenter.folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{name}-", dir=segmenter.folder.parent) as beside:
            _get(segmenter, Path(beside), source)
            _move(Path(beside), segmenter.folder)
    except OSError as error:
        raise EmbstoreError(
            f"{segmenter.folder} cannot be written ({first_line(error)}); check EMBSTORE_WEIGHTS"
        ) from error
    if segmenter.missing:
        files = ", ".join(segmenter.missing)
        raise EmbstoreError(f"{name} still lacks {files} in {segmenter.folder}; give the file with --from FILE")
    return segmenter


def _get(segmenter: Segmenter, folder: Path, source: str | Path | None) -> None:
    """Write the weights to a folder, from a file or by the segmenter's `fetch`; EmbstoreError if that fails."""
    if source is not None:
        target = folder / segmenter.weights[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(Path(source).expanduser(), target)
        except OSError as error:
            raise EmbstoreError(f"{source} cannot be read: {error.strerror}; give the file of the weights") from error
    elif fetch := getattr(_function(segmenter.name), "fetch", None):
        try:
            fetch(folder)
        except Exception as error:  # its code may raise any
            raise EmbstoreError(
                f"the segmenter {segmenter.name} could not get its weights ({first_line(error)}); try again, or give "
                "the file with --from FILE"
            ) from error


def _move(source: Path, target: Path) -> None:
    """Move complete files into a folder, each in place of one that has its name."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            moved = target / path.relative_to(source)
            moved.parent.mkdir(parents=True, exist_ok=True)
            path.replace(moved)


def segmented_by(
    spec: Mapping[str, Any], planes: npt.NDArray[np.generic], roles: Sequence[str], pixel_size_um: float | None
) -> Segmentation:
    """Return the nuclei and cells that a registered segmenter finds in the planes (c, y, x) of an image.

    Nuclei alone are grown into cells. Raises ImageError where it fails, or returns no label images of the image's size.
    """
    name = spec["registered"]
    by_role = {role: planes[i] for i, role in enumerate(roles)}
    options = {"weights": find_segmenter(name).folder} if spec["weights"] else {}
    try:
        returned = _function(name)(by_role, pixel_size_um, **options)
        labels = returned if isinstance(returned, Mapping) else {"nuclei": returned}
        arrays = [None if labels.get(kind) is None else np.asarray(labels[kind]) for kind in KINDS]
    except Exception as error:  # its code may raise any, and neither the image nor the other images are to blame
        kind = "" if isinstance(error, ValueError) else type(error).__name__
        why = ": ".join(filter(None, dict.fromkeys((kind, first_line(error)))))
        raise ImageError(f"the segmenter {name} failed: {why}", todo=TODO) from error
    nuclei, cells = (_mask(name, kind, array, planes.shape[1:]) for kind, array in zip(KINDS, arrays, strict=True))
    if nuclei is None and cells is None:
        wrong = f"the segmenter {name} returned no nuclei and no cells; wanted a label image of one of them"
        raise ImageError(wrong, todo=TODO)
    segmented = from_masks(nuclei, cells, None, pixel_size_um)
    note = f"{FROM_SEGMENTER}{name} {spec['version']}"
    notes = [note if segmented.cells.any() else f"{note}: it found none", *_left_out(segmented.note)]
    return Segmentation(segmented.nuclei, segmented.cells, segmented.pixel_size_um, "; ".join(notes))


def _left_out(note: str) -> list[str]:
    """Return the parts of a note on masks that are true of a segmenter's labels too: what was left out or changed."""
    for of_masks in (PLAIN, GROWN, COMPLETED, EMPTY):
        note = note.replace(of_masks, "")
    return [part for text in note.split("; ") if (part := text.strip(", "))]


def _mask(name: str, kind: str, labels: npt.NDArray[Any] | None, shape: tuple[int, ...]) -> Mask | None:
    """Return labels as a mask, large ones renumbered as in a file."""
    if labels is None:
        return None
    if labels.shape != shape or labels.dtype.kind not in "iu":
        given = f"{labels.dtype} {labels.shape}"
        wrong = f"the segmenter {name} returned {kind} as {given}; wanted whole numbers of shape {shape}"
        raise ImageError(wrong, todo=TODO)
    if labels.min() < 0:
        wrong = f"the segmenter {name} returned {kind} with the label {labels.min()}; wanted 0 outside and 1 or more"
        raise ImageError(wrong, todo=TODO)
    note, highest = "", int(labels.max())
    if highest > MAX_LABEL:
        present = np.unique(labels)
        labels = np.searchsorted(present[present > 0], labels) + (labels > 0)  # 1 to n
        note = f"labels up to {highest} renumbered"
    return Mask(labels.astype(np.int32), note, name=f"{kind} of {name}")


def _registered() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


@cache
def _function(name: str) -> Callable[..., Any]:
    """Return what an entry point names: a function, or an object that can be called."""
    points = _registered()
    if name not in points:
        known = ", ".join([BUILTIN, *sorted(points)])
        raise EmbstoreError(
            f"there is no segmenter {name!r}; wanted one of {known}, or install the package that has it"
        )
    try:
        function = points[name].load()
    except Exception as error:  # its package runs when it is imported, and may raise any
        raise EmbstoreError(
            f"the segmenter {name} cannot be imported ({first_line(error)}); install its package again"
        ) from error
    if not callable(function):
        raise EmbstoreError(f"the segmenter {name} is {function!r}; wanted a function")
    named: Callable[..., Any] = function
    return named
