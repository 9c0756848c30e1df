"""From images to their vectors: read and cut ahead in threads, collected in batches, encoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import numpy as np

from embstore.arrays import Float32s
from embstore.backbones.crops import CropEncoder, Crops
from embstore.errors import ImageError
from embstore.ingest.cells import crops_of
from embstore.ingest.failures import embed_failure, image_failure
from embstore.ingest.finished import Embedded, Finished, finished
from embstore.ingest.prepare import Prepared, prepare
from embstore.ingest.reading import StoredCells, read_ahead, with_cells
from embstore.ingest.work import Work
from embstore.pixels.field import square_field
from embstore.sources.record import Failure
from embstore.space import Space
from embstore.store import CellRow, as_stored

TOGETHER = 16  # cells or fields that are encoded together, from one image or several: enough for two cores
TOGETHER_GPU = 256
CROPS_HELD = 256  # of an image with too many to cut them all at once
AHEAD_BYTES = 2**26  # of pixels cut ahead of the encoders, per image; larger images are cut in parts


def embed_images(
    works: Sequence[Work], cells: StoredCells, encoders: Sequence[CropEncoder]
) -> Iterator[Finished | Failure]:
    """Yield each image, in order, with its vectors in the encoders' spaces that it lacks, or why it cannot be used.

    `cells` returns the stored cells of some works (see `stored_cells`); images without stored cells are segmented.
    Threads read, segment and cut a few images ahead of the encoders, which process crops of several images at once. A
    failure of one image does not affect the others. Reads files, and writes nothing.
    """
    on_gpu = any(encoder.device != "cpu" for encoder in encoders)
    # one core reads and cuts while the others compute; all of them if a GPU computes
    threads = (os.cpu_count() or 1) if on_gpu else 1
    cut = partial(_cut_image, [encoder.space for encoder in encoders])
    images = read_ahead(cut, with_cells(works, cells), threads)
    for batch in _batches(images, TOGETHER_GPU if on_gpu else TOGETHER):
        yield from _embed_batch(batch, encoders)


@dataclass(frozen=True)
class _CutImage:
    """An image with the input of each encoder; if that is very large, `crops` is None and the pixels are kept."""

    image: Prepared
    crops: tuple[Crops, ...] | None  # in the order of the encoders whose spaces it lacks

    @property
    def shape(self) -> object:
        """What images that are encoded together have in common; an image that is not cut yet is encoded alone."""
        if self.crops is None:
            return self.image.work.image_id
        return self.image.work.spaces, [(crops.roles, crops.pixels.shape[2:]) for crops in self.crops]

    @property
    def n_bytes(self) -> int:
        """How many bytes its crops take."""
        return sum(crops.pixels.nbytes for crops in self.crops or ())


def _cut_image(spaces: Sequence[Space], item: tuple[Work, list[CellRow]]) -> _CutImage | Failure:
    work, cells = item
    image = prepare(work, cells, spaces[0].intensity)  # the same for all spaces
    if isinstance(image, Failure):
        return image
    wanted = [space for space in spaces if space.digest in work.spaces]
    pixels = sum(len(image.ids(space.unit)) * (space.input_px or image.scaled.shape[-1]) ** 2 for space in wanted)
    if pixels * image.scaled.itemsize * len(image.roles) > AHEAD_BYTES:
        return _CutImage(image, None)
    try:
        crops = tuple(_cut(image, space, slice(None)) for space in wanted)
    except ImageError as error:  # a crop wider than any field: the image's pixel size is wrong
        return image_failure(work, error.found, error.todo)
    return _CutImage(replace(image, scaled=image.scaled[:, :0, :0].copy()), crops)


def _cut(image: Prepared, space: Space, part: slice) -> Crops:
    """Return the input of an encoder: crops around some of the image's cells, or the whole field as one."""
    if space.unit == "image":
        whole = image.scaled if space.input_px is None else square_field(image.scaled, space.input_px)
        unknown = np.zeros((1, *whole.shape[1:]), bool)
        return Crops(whole[None], image.roles, nucleus=unknown, cell=unknown)
    crop_um, input_px = space.crop_um or 0.0, space.input_px or 0  # cells have both
    side_px = crop_um / (image.pixel_size_um or 1.0)  # without cells, it is not used
    return crops_of(image.shown[part], image.scaled, image.roles, side_px, input_px)


@dataclass
class _Batch:
    """Images of one shape that are encoded together, and the failures among them."""

    images: list[_CutImage | Failure] = field(default_factory=list)
    shape: object = None
    n_crops: int = 0  # at least one per image, so that failures are reported while the work continues
    n_bytes: int = 0

    def accepts(self, image: _CutImage | Failure) -> bool:
        return isinstance(image, Failure) or self.shape in (None, image.shape)

    def add(self, image: _CutImage | Failure) -> None:
        self.images.append(image)
        self.n_crops += 1 if isinstance(image, Failure) else max([1, *map(len, image.crops or ())])
        if isinstance(image, _CutImage):
            self.shape = image.shape
            self.n_bytes += image.n_bytes


def _batches(images: Iterable[_CutImage | Failure], enough: int) -> Iterator[list[_CutImage | Failure]]:
    """Yield runs of images of one shape, each with `enough` crops or AHEAD_BYTES of pixels, if there are so many."""
    batch = _Batch()
    for image in images:
        if not batch.accepts(image):
            yield batch.images
            batch = _Batch()
        batch.add(image)
        if batch.n_crops >= enough or batch.n_bytes >= AHEAD_BYTES:
            yield batch.images
            batch = _Batch()
    if batch.images:
        yield batch.images


def _embed_batch(batch: Sequence[_CutImage | Failure], encoders: Sequence[CropEncoder]) -> Iterator[Finished | Failure]:
    images = [item for item in batch if isinstance(item, _CutImage)]
    lacking = [encoder for encoder in encoders if images and encoder.space.digest in images[0].image.work.spaces]
    of_encoders = [_vectors_or_failures(images, position, encoder) for position, encoder in enumerate(lacking)]
    numbers = count()
    for item in batch:
        if isinstance(item, Failure):
            yield item
            continue
        number = next(numbers)
        outcomes = {encoder.space.digest: each[number] for encoder, each in zip(lacking, of_encoders, strict=True)}
        vectors = {space: outcome for space, outcome in outcomes.items() if isinstance(outcome, Embedded)}
        failures = [outcome for outcome in outcomes.values() if isinstance(outcome, Failure)]
        yield failures[0] if failures else finished(item.image, vectors)


def _vectors_or_failures(images: Sequence[_CutImage], position: int, encoder: CropEncoder) -> list[Embedded | Failure]:
    """Return the vectors of each image from one encoder, or why it has none; the images have the same shape."""
    try:
        vectors = _vectors(images, position, encoder)
        return [_checked(item, embedded, encoder.space) for item, embedded in zip(images, vectors, strict=True)]
    except ImageError as error:
        if len(images) == 1:
            return [embed_failure(images[0].image.work, encoder.space, error.found, error.todo)]
    # of one of them, or of what they have in common
    return [outcome for image in images for outcome in _vectors_or_failures([image], position, encoder)]


def _vectors(images: Sequence[_CutImage], position: int, encoder: CropEncoder) -> list[Embedded]:
    """Return the vectors of each image; `position` is the encoder's among those whose spaces the images lack."""
    ids = [item.image.ids(encoder.space.unit) for item in images]
    vectors = _encode(images, position, encoder) if any(ids) else np.empty((0, encoder.dim), np.float32)
    parts = np.split(vectors, np.cumsum([len(of_image) for of_image in ids])[:-1])
    return [Embedded(names, part) for names, part in zip(ids, parts, strict=True)]


def _checked(item: _CutImage, embedded: Embedded, space: Space) -> Embedded | Failure:
    """Return the vectors of an image, or a failure if the space cannot store one of them."""
    half = space.precision.startswith("float16")
    bad = np.flatnonzero(~np.isfinite(as_stored(embedded.vectors, half=half)).all(axis=1))
    if not len(bad):
        return embedded
    what, todo = "a number beyond float16's 65504", "add :precision=float32 to the backbone's spec"
    if not np.isfinite(embedded.vectors[bad]).all():
        what, todo = "NaN or infinity", f"check its pixels, or the weights of {space.backbone}"
    error = f"the vector of {embedded.ids[bad[0]]} in {space.label} contains {what} ({len(bad)} such vectors)"
    return embed_failure(item.image.work, space, error, todo)


def _encode(images: Sequence[_CutImage], position: int, encoder: CropEncoder) -> Float32s:
    crops = [item.crops[position] for item in images if item.crops is not None]
    if crops:
        return encoder(_joined(crops))
    image = images[0].image  # alone: all crops of a crowded field would be gigabytes
    starts = range(0, len(image.ids(encoder.space.unit)), CROPS_HELD)
    return np.concatenate([encoder(_cut(image, encoder.space, slice(i, i + CROPS_HELD))) for i in starts])


def _joined(crops: Sequence[Crops]) -> Crops:
    if len(crops) == 1:
        return crops[0]
    pixels, nucleus, cell = (
        np.concatenate([getattr(c, name) for c in crops]) for name in ("pixels", "nucleus", "cell")
    )
    return Crops(pixels, crops[0].roles, nucleus=nucleus, cell=cell)
