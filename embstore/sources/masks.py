"""Which label image belongs to which field, by file names, whatever tool wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from embstore.errors import EmbstoreError
from embstore.sources.record import Failure, Masks, Source, SourceImage
from embstore.sources.tables import abridged, bare_name, image_files
from embstore.sources.tool_files import export_advice, tool_files

Of = Literal["nuclei", "cells"]

# what tools and people append to the name of the image: Cellpose, StarDist, CellProfiler, ilastik (Simple Segmentation,
# Object Identities, Object Predictions, Probabilities), QuPath, HPA, by hand
ENDING = re.compile(
    r"[ _.\-]*(cp[ _\-]?masks?|masks?|labels?([ _\-]?images?)?|labelled|segmentations?|seg|segmented|instances?|"
    r"objects?|outlines?|simple|identities|predictions?|probabilities|annotations?|ground[ _\-]?truth|gt|cellpose|"
    r"omnipose|stardist|instanseg|mesmer|deepcell|ilastik|qupath|cellprofiler|"
    r"(?P<nuclei>nuclei|nucleus|nuclear|nuc)|(?P<cells>cells?))$",
    re.IGNORECASE,
)
BEGINNING = re.compile(r"^masks?(?P<of>nuclei|nucleus|cells?)?([ _.\-]+|(?=\d))", re.IGNORECASE)
IMAGE_BEGINNING = re.compile(r"^(images?|img|raw)([ _.\-]+|(?=\d))", re.IGNORECASE)
IMAGE_ENDING = re.compile(r"[ _.\-]+(images?|img|raw)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Found:
    """A mask file, the key of its image, what it shows, and whether its name states that."""

    path: Path
    key: str
    kind: Of
    named: bool


def with_masks(source: Source, folder: Path) -> Source:
    """Return the source with each image's masks from `folder`, and without the images that are such masks themselves.

    A mask is named like its image (or one of its channels, or its key), with or without an ending such as `_nuclei`,
    `_cell_mask`, `_cp_masks` or `_labels`, in any subfolder. The ending determines what it shows, else its folder's
    name; else it is read as nuclei, and noted. An image with no mask, or two of one kind, is a failure.
    """
    folder, paths = image_files(folder.resolve(), "masks")
    images = _outside(source, folder)
    files = {(source.root / file).resolve(): image.key for image in images for file in image.files}
    names = _names(images)
    matched = [m for path in paths if (m := _match(path, folder, names, is_image=path.resolve() in files))]
    masked = {mask.key for mask in matched}  # an image called `a_cell` that has a mask of its own is not a mask of `a`
    masks_found = [mask for mask in matched if files.get(mask.path.resolve()) not in masked]
    taken = {mask.path.resolve() for mask in masks_found}
    images = [i for i in images if not all((source.root / file).resolve() in taken for file in i.files)]
    masks: dict[str, list[_Found]] = {}
    for mask in masks_found:
        masks.setdefault(mask.key, []).append(mask)
    given = {image.key: _given(masks.get(image.key, [])) for image in images}
    unmasked = [(image, why) for image in images if isinstance(why := given[image.key], str)]
    others = tool_files(folder) if unmasked else []
    failures = [_failure(source.root, folder, image, why, others) for image, why in unmasked]
    kept = [replace(i, masks=masks_of_image) for i in images if isinstance(masks_of_image := given[i.key], Masks)]
    strangers = [path for path in paths if path.resolve() not in taken and path.resolve() not in files]
    notes = (*source.notes, *_notes(kept, masks_found, strangers, folder))
    return replace(source, images=tuple(kept), failures=(*source.failures, *failures), notes=notes)


def _outside(source: Source, folder: Path) -> list[SourceImage]:
    """Return the images that are not in a folder of masks within the source."""
    root = source.root.resolve()
    if root not in folder.parents:
        return list(source.images)
    return [i for i in source.images if not any(folder in (root / file).parents for file in i.files)]


def _names(images: Sequence[SourceImage]) -> dict[str, set[str]]:
    """Return each name by which a mask may refer to an image -> the keys of the images that have it."""
    names: dict[str, set[str]] = {}
    for image in images:
        paths = [PurePosixPath(image.key), *(PurePosixPath(file).with_suffix("") for file in image.files)]
        for name in {name for path in paths for name in _called(path)}:
            names.setdefault(name.lower(), set()).add(image.key)
    return names


def _called(path: PurePosixPath) -> Iterator[str]:
    """Yield a name, and its last part alone, with and without words for an image."""
    ended = IMAGE_ENDING.sub("", path.name)
    for name in {path.name, ended, IMAGE_BEGINNING.sub("", path.name), IMAGE_BEGINNING.sub("", ended)} - {""}:
        yield from (name, str(path.with_name(name)))


def _match(path: Path, folder: Path, names: Mapping[str, set[str]], *, is_image: bool) -> _Found | None:
    """Return the one image whose name a mask has after endings are removed, as few as possible."""
    relative = path.relative_to(folder)
    for base, kind in _bases(relative.stem):
        if is_image and base == relative.stem:
            continue  # an image is not a mask of itself
        for name in (f"{relative.parent.as_posix()}/{base}", base):
            keys = names.get(name.lower(), set())
            if len(keys) == 1:
                stated = kind or _of_folder([folder.name, *relative.parent.parts])
                return _Found(path, next(iter(keys)), stated or "nuclei", stated is not None)
    return None


def _bases(stem: str) -> Iterator[tuple[str, Of | None]]:
    """Yield a mask's name without its beginning and ever more endings, and what those state that it shows."""
    kind: Of | None = None
    yield stem, kind
    if begun := BEGINNING.match(stem):
        stem, kind = stem[begun.end() :], _of(begun["of"])
        yield stem, kind
    while ending := ENDING.search(stem):
        stem, kind = stem[: ending.start()], kind or _of(ending["nuclei"] or ending["cells"])
        yield stem, kind


def _of(word: str | None) -> Of | None:
    if not word:
        return None
    return "cells" if word.lower().startswith("cell") else "nuclei"


def _of_folder(parts: Sequence[str]) -> Of | None:
    """Return the kind of masks that the name of the innermost folder states, if any does."""
    for part in reversed(parts):
        for word in reversed(re.split(r"[ _.\-]+", part)):
            if (ending := ENDING.match(word)) and (kind := _of(ending["nuclei"] or ending["cells"])):
                return kind
    return None


def own_masks(labels: Mapping[str, Path]) -> tuple[Masks | None, list[str]]:
    """Return the masks among an image's own label images, by name, and the names of the others.

    A name has to contain nuclei or cells and nothing more (`nuclei`, `cell_labels`, not `nuclear_envelope`), since
    label images may show anything. Raises EmbstoreError if two names mean the same.
    """
    kinds = {name: next((kind for base, kind in _bases(name) if kind and not base), None) for name in labels}
    masks_found = [_Found(labels[name], name, kind, named=True) for name, kind in kinds.items() if kind]
    masks = _given(masks_found) if masks_found else None
    if isinstance(masks, str):
        raise EmbstoreError(f"{masks} one image; keep one label image of each kind, or give masks with --masks")
    return masks, [name for name, kind in kinds.items() if kind is None]


def _given(masks_found: Sequence[_Found]) -> Masks | str:
    """Return an image's masks, or why it has none."""
    by_kind: dict[str, list[Path]] = {"nuclei": [], "cells": []}
    for mask in masks_found:
        by_kind[mask.kind].append(mask.path)
    for kind, paths in by_kind.items():
        if len(paths) > 1:
            return f"{' and '.join(map(str, paths[:2]))} are both named as the {kind} of"
    if not masks_found:
        return "no mask is named like"
    return Masks(*(paths[0] if paths else None for paths in by_kind.values()))


def _failure(root: Path, folder: Path, image: SourceImage, why: str, others: Sequence[Path]) -> Failure:
    path = root / image.files[0]
    name = path.stem
    names = [PurePosixPath(image.key).name, *(Path(bare_name(file)).name for file in image.files)]
    if advice := export_advice(others, names):
        return Failure(str(path), "plan", f"{why} {image.key}", advice)
    todo = f"keep one mask of each kind, named {name}_nuclei.png or {name}_cells.png, in {folder}"
    return Failure(str(path), "plan", f"{why} {image.key}", todo)


def _notes(
    images: Sequence[SourceImage], masks_found: Sequence[_Found], strangers: Sequence[Path], folder: Path
) -> Iterator[str]:
    kinds = {"nuclei and cells": 0, "only nuclei": 0, "only cells": 0}
    for image in images:
        if masks := image.masks:
            both = masks.nuclei is not None and masks.cells is not None
            kinds["nuclei and cells" if both else "only nuclei" if masks.nuclei else "only cells"] += 1
    listed = ", ".join(f"{n} with {kind}" for kind, n in kinds.items() if n)
    yield f"masks: {len(images)} images{f', {listed}' if listed else ''}"
    if unnamed := [mask.path for mask in masks_found if not mask.named]:
        yield f"masks whose names do not state what they contain, read as nuclei: {_listed(unnamed, folder)}"
    if strangers:
        yield f"masks of no image here, left out: {_listed(strangers, folder)}"


def _listed(paths: Sequence[Path], folder: Path) -> str:
    return abridged([str(path.relative_to(folder)) for path in paths])
