"""Which label image belongs to which field: told by file names, whatever tool wrote them."""

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
    """A mask file, the key of its image, of what it is, and whether its name says so."""

    path: Path
    key: str
    of: Of
    said: bool


def with_masks(source: Source, folder: Path) -> Source:
    """Return the source with each image's masks from `folder`, and without the images that are such masks themselves.

    A mask is named like its image (or one of its channels, or its key), with or without an ending such as `_nuclei`,
    `_cell_mask`, `_cp_masks` or `_labels`, in any subfolder. What it is of is said by the ending, else by its folder's
    name; else it is taken as nuclei, and a note says so. An image with no mask, or two of one kind, is a failure.
    """
    folder, paths = image_files(folder.resolve(), "masks")
    images = _outside(source, folder)
    files = {(source.root / file).resolve(): image.key for image in images for file in image.files}
    names = _names(images)
    matched = [m for path in paths if (m := _match(path, folder, names, is_image=path.resolve() in files))]
    masked = {mask.key for mask in matched}  # an image called `a_cell` that has a mask of its own is no mask of `a`
    found = [mask for mask in matched if files.get(mask.path.resolve()) not in masked]
    taken = {mask.path.resolve() for mask in found}
    images = [i for i in images if not all((source.root / file).resolve() in taken for file in i.files)]
    masks: dict[str, list[_Found]] = {}
    for mask in found:
        masks.setdefault(mask.key, []).append(mask)
    given = {image.key: _given(masks.get(image.key, [])) for image in images}
    unmasked = [(image, why) for image in images if isinstance(why := given[image.key], str)]
    others = tool_files(folder) if unmasked else []
    failures = [_failure(source.root, folder, image, why, others) for image, why in unmasked]
    kept = [replace(i, masks=its) for i in images if isinstance(its := given[i.key], Masks)]
    strangers = [path for path in paths if path.resolve() not in taken and path.resolve() not in files]
    notes = (*source.notes, *_notes(kept, found, strangers, folder))
    return replace(source, images=tuple(kept), failures=(*source.failures, *failures), notes=notes)


def _outside(source: Source, folder: Path) -> list[SourceImage]:
    """Return the images that do not lie in a folder of masks within the source."""
    root = source.root.resolve()
    if root not in folder.parents:
        return list(source.images)
    return [i for i in source.images if not any(folder in (root / file).parents for file in i.files)]


def _names(images: Sequence[SourceImage]) -> dict[str, set[str]]:
    """Return each name that a mask may call an image by -> the keys of the images that have it."""
    names: dict[str, set[str]] = {}
    for image in images:
        paths = [PurePosixPath(image.key), *(PurePosixPath(file).with_suffix("") for file in image.files)]
        for name in {name for path in paths for name in _called(path)}:
            names.setdefault(name.lower(), set()).add(image.key)
    return names


def _called(path: PurePosixPath) -> Iterator[str]:
    """Yield a name, and its last part alone, with and without what says that it is an image."""
    ended = IMAGE_ENDING.sub("", path.name)
    for name in {path.name, ended, IMAGE_BEGINNING.sub("", path.name), IMAGE_BEGINNING.sub("", ended)} - {""}:
        yield from (name, str(path.with_name(name)))


def _match(path: Path, folder: Path, names: Mapping[str, set[str]], *, is_image: bool) -> _Found | None:
    """Return the one image whose name a mask has once endings are taken off, the fewest first."""
    relative = path.relative_to(folder)
    for base, of in _bases(relative.stem):
        if is_image and base == relative.stem:
            continue  # an image is no mask of itself
        for name in (f"{relative.parent.as_posix()}/{base}", base):
            keys = names.get(name.lower(), set())
            if len(keys) == 1:
                said = of or _of_folder([folder.name, *relative.parent.parts])
                return _Found(path, next(iter(keys)), said or "nuclei", said is not None)
    return None


def _bases(stem: str) -> Iterator[tuple[str, Of | None]]:
    """Yield a mask's name without its beginning and ever more endings, and of what those say that it is."""
    of: Of | None = None
    yield stem, of
    if begun := BEGINNING.match(stem):
        stem, of = stem[begun.end() :], _of(begun["of"])
        yield stem, of
    while ending := ENDING.search(stem):
        stem, of = stem[: ending.start()], of or _of(ending["nuclei"] or ending["cells"])
        yield stem, of


def _of(word: str | None) -> Of | None:
    if not word:
        return None
    return "cells" if word.lower().startswith("cell") else "nuclei"


def _of_folder(parts: Sequence[str]) -> Of | None:
    """Return what the innermost folder that says anything says of its masks."""
    for part in reversed(parts):
        for word in reversed(re.split(r"[ _.\-]+", part)):
            if (ending := ENDING.match(word)) and (of := _of(ending["nuclei"] or ending["cells"])):
                return of
    return None


def own_masks(labels: Mapping[str, Path]) -> tuple[Masks | None, list[str]]:
    """Return the masks among the label images that an image brings, by name, and the names of the others.

    A name has to say nuclei or cells and nothing more (`nuclei`, `cell_labels`, not `nuclear_envelope`): an image may
    bring labels of anything. EmbstoreError where two say the same.
    """
    said = {name: next((of for base, of in _bases(name) if of and not base), None) for name in labels}
    found = [_Found(labels[name], name, of, said=True) for name, of in said.items() if of]
    masks = _given(found) if found else None
    if isinstance(masks, str):
        raise EmbstoreError(f"{masks} one image; keep one label image of each kind, or give masks with --masks")
    return masks, [name for name, of in said.items() if of is None]


def _given(found: Sequence[_Found]) -> Masks | str:
    """Return an image's masks, or why it has none."""
    by_kind: dict[str, list[Path]] = {"nuclei": [], "cells": []}
    for mask in found:
        by_kind[mask.of].append(mask.path)
    for of, paths in by_kind.items():
        if len(paths) > 1:
            return f"{' and '.join(map(str, paths[:2]))} both claim to be the {of} of"
    if not found:
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
    images: Sequence[SourceImage], found: Sequence[_Found], strangers: Sequence[Path], folder: Path
) -> Iterator[str]:
    kinds = {"nuclei and cells": 0, "nuclei alone": 0, "cells alone": 0}
    for image in images:
        if masks := image.masks:
            both = masks.nuclei is not None and masks.cells is not None
            kinds["nuclei and cells" if both else "nuclei alone" if masks.nuclei else "cells alone"] += 1
    listed = ", ".join(f"{n} with {of}" for of, n in kinds.items() if n)
    yield f"masks: {len(images)} images{f', {listed}' if listed else ''}"
    if unsaid := [mask.path for mask in found if not mask.said]:
        yield f"masks whose names do not say of what, taken as nuclei: {_listed(unsaid, folder)}"
    if strangers:
        yield f"masks of no image here, left out: {_listed(strangers, folder)}"


def _listed(paths: Sequence[Path], folder: Path) -> str:
    return abridged([str(path.relative_to(folder)) for path in paths])
