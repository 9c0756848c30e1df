"""What one image still needs: cells if its content, masks or pixel size are new, and vectors in spaces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict, cast

from embstore.errors import EmbstoreError
from embstore.files import FileState, content, file_sha256, hashed, touched
from embstore.ids import segmentation_id
from embstore.pixels.masks import COMPLETED, GROWN, OF_CELLS, OF_NUCLEI, PLAIN
from embstore.pixels.segmentation import SEGMENTER
from embstore.pixels.whole import WHOLE_IMAGE
from embstore.sources.record import SourceImage
from embstore.store import ImageRow

NO_NUCLEUS = "there is no nucleus channel"
FROM_SEGMENTER = "cells by the segmenter "  # how the notes on cells of a registered segmenter begin
OWN_CELLS = (OF_NUCLEI, OF_CELLS, GROWN, PLAIN, COMPLETED, FROM_SEGMENTER)  # and those on cells that are not built-in
WHOLE = ""  # instead of a segmentation: the vector describes the image, whatever its cells are
Done = Mapping[tuple[str, str], tuple[int, str]]  # (image, space) -> revision, segmentation


class ImageDescription(TypedDict):
    """The columns of `images` that a layout's names and tables determine, whatever the pixels are."""

    plate: str | None
    well: str | None
    site: str | None
    cell_line: str | None
    protein_ids: list[str]
    genes: list[str]
    antibody: str | None
    licence: str | None
    extra: str | None


@dataclass(frozen=True)
class Work:
    """One image and what it still needs: cells (no segmentation yet) and vectors in `spaces`.

    `resegmented` is True if the store contains cells of the very same content, made from other masks, by another
    segmenter or at another pixel size.
    """

    image: SourceImage
    root: Path
    image_id: str
    revision: int
    files: tuple[FileState, ...]
    sha256: str
    spaces: tuple[str, ...]
    segmentation: str | None = None  # of existing cells
    pixel_size_um: float | None = None  # of existing cells
    segmenter: Mapping[str, Any] = field(default_factory=lambda: SEGMENTER)  # the spec of what makes new cells
    segmenter_given: bool = False  # by the user: cells of another one are made anew
    option_um: float | None = None  # the pixel size that the user gave
    resegmented: bool = False
    drop_flagged: bool = False  # cells with a quality flag get no vector
    unit: str = "cell"  # of the spaces; with image, an image that cannot be segmented can be used


@dataclass(frozen=True)
class Wanted:
    """What an ingest does with every image of its source.

    With `rehash`, contents are compared even if sizes and times agree. Without `hashing`, files of images that are not
    in the store are not read: their work lacks the sha256 of its contents, and is for a dry run only.
    """

    spaces: tuple[str, ...]
    unit: str = "cell"  # of the spaces
    pixel_size_um: float | None = None  # takes precedence over files and layout
    drop_flagged: bool = False
    limit: int | None = None  # only the first so many images that need anything
    retry_failed: bool = False
    rehash: bool = False
    hashing: bool = True
    segmenter: Mapping[str, Any] | None = None  # the spec of the one that is asked for


def new_work(root: Path, image: SourceImage, name: str, wanted: Wanted, files: tuple[FileState, ...] = ()) -> Work:
    """Return an image that is not in the store as work for all spaces; without `files`, one that was not read."""
    return Work(
        image=image,
        root=root,
        image_id=name,
        revision=1,
        files=files,
        sha256=content(files) if files else "",
        spaces=wanted.spaces,
        segmenter=_segmenter(image, wanted.segmenter) if files else wanted.segmenter or SEGMENTER,
        segmenter_given=wanted.segmenter is not None,
        option_um=wanted.pixel_size_um,
        drop_flagged=wanted.drop_flagged,
        unit=wanted.unit,
    )


def missing_work(new: Work, old: ImageRow, ingested: Done) -> Work:
    """Return what an image still needs: all spaces if its content or cells are new, else those that it lacks.

    `new` is the image as if it were not in the store.
    """
    if new.sha256 != old["sha256"] or _other_roles(new.image, old):
        return replace(new, revision=old["revision"] + 1)
    if not keeps_cells(new, old):
        if _other_size(new.image, old):
            return replace(new, revision=old["revision"] + 1)
        if _other_cells(new, old):
            return replace(new, revision=old["revision"], resegmented=True)
    stored = stored_work(old, missing_spaces(ingested, old, new.spaces), new.root)
    return replace(stored, image=new.image, files=new.files, drop_flagged=new.drop_flagged, unit=new.unit)


def stored_work(row: ImageRow, missing: tuple[str, ...], root: Path) -> Work:
    """Return an image of the store, with its existing cells, as work for the spaces that it lacks."""
    image = SourceImage(
        key=row["image_id"].removeprefix(row["dataset"] + "/"),
        files=tuple(file["path"] for file in row["files"]),
        roles=tuple(row["roles"]),
    )
    return Work(
        image=image,
        root=root,
        image_id=row["image_id"],
        revision=row["revision"],
        files=tuple(row["files"]),
        sha256=row["sha256"],
        spaces=missing,
        segmentation=row["segmentation"],
        pixel_size_um=row["pixel_size_um"],
    )


def missing_spaces(ingested: Done, image: ImageRow, spaces: Sequence[str]) -> tuple[str, ...]:
    """Return the spaces that have no vectors of an image's present content, or of its current cells."""
    done = ((image["revision"], image["segmentation"]), (image["revision"], WHOLE))
    return tuple(space for space in spaces if ingested.get((image["image_id"], space)) not in done)


def states_of(root: Path, image: SourceImage, old: ImageRow | None) -> tuple[FileState, ...]:
    """Return the state of an image's files with the sha256 of their contents: the recorded one if size and time
    agree.
    """
    known = old is not None and not touched(root, image.files, old["files"])
    return tuple(old["files"]) if old and known else hashed(root, image.files)


def keeps_cells(new: Work, old: ImageRow) -> bool:
    """True if the cells of a stored image are from masks or a registered segmenter, and neither is given now: they
    stay as long as the image does.
    """
    given = new.segmenter_given or new.image.masks is not None
    return not given and (old["note"] or "").startswith(OWN_CELLS)


def keeps_size(new: Work, old: ImageRow) -> bool:
    """True if a stored image keeps its cells (see `keeps_cells`), although another pixel size is given now."""
    return keeps_cells(new, old) and (_other_size(new.image, old) or _other_cells(new, old))


def _known_um(old: ImageRow) -> float | None:
    """Return the pixel size of a stored image; None if it was estimated, or assumed for a crop."""
    return None if old["pixel_size_source"] in ("estimated", "crop") else old["pixel_size_um"]


def _other_roles(image: SourceImage, old: ImageRow) -> bool:
    """True if the source now gives the same pixels other roles: they then get new cells."""
    return list(image.roles[: len(old["roles"])]) != old["roles"]


def _other_size(image: SourceImage, old: ImageRow) -> bool:
    """True if the source now gives the same pixels another size: they then get new cells.

    A size from the file or the user takes precedence over the layout's.
    """
    known = image.pixel_size_um is not None and old["pixel_size_source"] not in ("metadata", "option")
    return known and old["pixel_size_um"] is not None and image.pixel_size_um != old["pixel_size_um"]


def _segmenter(image: SourceImage, given: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the spec of what makes an image's cells: its masks' contents, the whole image, or the segmenter."""
    if image.masks is None:
        return WHOLE_IMAGE if image.one_cell else given or SEGMENTER
    nuclei, cells = (path and file_sha256(path) for path in (image.masks.nuclei, image.masks.cells))
    completed = None if nuclei and cells else SEGMENTER  # what grows cells, or finds nuclei in them
    return {"name": "masks", "revision": 1, "nuclei": nuclei, "cells": cells, "completed_by": completed}


def _other_cells(new: Work, old: ImageRow) -> bool:
    """True if the masks, segmenter and pixel size of this source make other cells than those in the store.

    What the source does not give (no masks, no segmenter, no pixel size) stays unchanged.
    """
    if new.image.masks is None and not new.segmenter_given:
        return new.option_um not in (None, old["pixel_size_um"])
    um = _known_um(old) if new.option_um is None else new.option_um
    return old["segmentation"] != segmentation_id(new.segmenter, old["sha256"], um)


def image_description(image: SourceImage) -> ImageDescription:
    """Return an image's description in the layout's names and tables."""
    return {
        "plate": image.plate,
        "well": image.well,
        "site": image.site,
        "cell_line": image.cell_line,
        "protein_ids": list(image.protein_ids),
        "genes": list(image.genes),
        "antibody": image.antibody,
        "licence": image.licence,
        "extra": json.dumps(dict(image.extra), ensure_ascii=False, sort_keys=True) if image.extra else None,
    }


def renewed(work: Work, old: ImageRow) -> ImageRow | None:
    """Return the image's updated row if only its metadata changed, else None.

    Metadata that the source does not give now (no labels were given) stay unchanged.
    """
    if work.revision != old["revision"]:
        return None
    given = {column: value for column, value in image_description(work.image).items() if value}
    row = cast(ImageRow, {**old, **given, "files": list(work.files), "source_root": str(work.root)})
    return row if row != old else None


def check_dataset(name: str) -> str:
    """Return a dataset's name; EmbstoreError if ids made with it could not be split again."""
    if not re.fullmatch(r"[\w.+-]+", name):
        raise EmbstoreError(
            f"the dataset name is {name!r}; wanted letters, digits, '.', '_', '+' and '-': --dataset NAME"
        )
    return name
