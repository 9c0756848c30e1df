"""Segmenters that other packages register: found by name, described in the cell ids, called on one image."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embstore.backbones.weights import weights_folder
from embstore.errors import EmbstoreError, ImageError
from embstore.files import file_sha256
from embstore.pixels.masks import Mask, from_masks
from embstore.pixels.segmentation import SEGMENTER, Segmentation

ENTRY_POINTS = "embstore.segmenters"  # of the entry points
BUILTIN = "builtin"
KINDS = ("nuclei", "cells")  # what a segmenter may return


@dataclass(frozen=True)
class Segmenter:
    """One segmenter that can be chosen by name; `weights` are the files that it needs in `folder`."""

    name: str
    version: str
    package: str
    weights: tuple[str, ...] = ()

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
        """True if no weights are missing."""
        return not self.missing


def list_segmenters() -> list[Segmenter]:
    """Return the built-in segmenter and those of all installed packages, by name."""
    return [find_segmenter(name) for name in (BUILTIN, *sorted(_registered()))]


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
    segmenter.folder.mkdir(parents=True, exist_ok=True)
    if source is not None:
        if len(segmenter.weights) > 1:
            raise EmbstoreError(f"{name} needs {', '.join(segmenter.weights)}; copy them to {segmenter.folder}")
        try:
            shutil.copyfile(Path(source).expanduser(), segmenter.folder / segmenter.weights[0])
        except OSError as error:
            raise EmbstoreError(f"{source} cannot be read: {error.strerror}; give the file of the weights") from error
    elif fetch := getattr(_function(name), "fetch", None):
        fetch(segmenter.folder)
    if segmenter.missing:
        files = ", ".join(segmenter.missing)
        raise EmbstoreError(f"{name} still lacks {files} in {segmenter.folder}; give the file with --from FILE")
    return segmenter


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
    except (ValueError, RuntimeError, LookupError, TypeError) as error:
        raise ImageError(f"the segmenter {name} failed: {error or type(error).__name__}") from error
    labels = returned if isinstance(returned, Mapping) else {"nuclei": returned}
    nuclei, cells = (_mask(name, kind, labels.get(kind), planes.shape[1:]) for kind in KINDS)
    if nuclei is None and cells is None:
        raise ImageError(f"the segmenter {name} returned no nuclei and no cells; wanted a label image of one of them")
    segmented = from_masks(nuclei, cells, None, pixel_size_um)
    note = f"cells by the segmenter {name} {spec['version']}"
    return Segmentation(
        segmented.nuclei,
        segmented.cells,
        segmented.pixel_size_um,
        note if segmented.cells.any() else f"{note}: it found none",
    )


def _mask(name: str, kind: str, labels: Any, shape: tuple[int, ...]) -> Mask | None:
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != shape or labels.dtype.kind not in "iu":
        given = f"{labels.dtype} {labels.shape}"
        raise ImageError(f"the segmenter {name} returned {kind} as {given}; wanted whole numbers of shape {shape}")
    return Mask(labels.astype(np.int32), name=f"{kind} of {name}")


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
    except (ImportError, AttributeError) as error:
        raise EmbstoreError(f"the segmenter {name} cannot be imported ({error}); install its package again") from error
    if not callable(function):
        raise EmbstoreError(f"the segmenter {name} is {function!r}; wanted a function")
    named: Callable[..., Any] = function
    return named
