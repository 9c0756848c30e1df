"""From images to their vectors: read and cut ahead in threads, put together in batches, encoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from embstore.arrays import Float32s
from embstore.backbones.crops import CropEncoder, Crops
from embstore.errors import ImageError
from embstore.ingest.cells import crops_of
from embstore.ingest.failures import image_failure
from embstore.ingest.finished import Embedded, Finished, finished
from embstore.ingest.prepare import Prepared, prepare
from embstore.ingest.reading import StoredCells, read_ahead, with_cells
from embstore.ingest.work import Work
from embstore.pixels.field import square_field
from embstore.sources.record import Failure
from embstore.space import Space
from embstore.store import CellRow

TOGETHER = 16  # cells or fields that go through an encoder together, from one image or several: enough for two cores
TOGETHER_GPU = 256
CROPS_HELD = 256  # of an image with too many to cut them all at once
AHEAD_BYTES = 2**26  # of pixels cut ahead of the encoders, an image; what takes more is cut bit by bit


def embed_images(
    works: Sequence[Work], cells: StoredCells, encoders: Sequence[CropEncoder]
) -> Iterator[Finished | Failure]:
    """Yield each image, in order, with its vectors in the encoders' spaces that it lacks, or why it cannot be used.

    `cells` returns the stored cells of some works (see `stored_cells`); images of which there are none are segmented.
    Threads read, segment and cut a few images ahead of the encoders, which are shown crops of several images at once.
    What is wrong with one image does not affect the others. Reads files, and writes nothing.
    """
    on_gpu = any(encoder.device != "cpu" for encoder in encoders)
    # one core reads and cuts while the others compute, and all of them where a GPU computes
    threads = (os.cpu_count() or 1) if on_gpu else 1
    cut = partial(_cut_image, [encoder.space for encoder in encoders])
    images = read_ahead(cut, with_cells(works, cells), threads)
    for batch in _batches(images, TOGETHER_GPU if on_gpu else TOGETHER):
        yield from _embed_batch(batch, encoders)


@dataclass(frozen=True)
class _CutImage:
    """An image with what each encoder is shown of it; `crops` is None, and the pixels kept, where that is very much."""

    image: Prepared
    crops: tuple[Crops, ...] | None  # in the order of the encoders whose spaces it lacks

    @property
    def shape(self) -> object:
        """What images have in common that go through the encoders together; one that is not cut yet goes alone."""
        if self.crops is None:
            return self.image.work.image_id
        return self.image.work.spaces, [(crops.roles, crops.pixels.shape[2:]) for crops in self.crops]

    @property
    def n_bytes(self) -> int:
        """How many bytes its crops take."""
        return sum(crops.pixels.nbytes for crops in self.crops or ())


def _cut_image(spaces: Sequence[Space], item: tuple[Work, list[CellRow]]) -> _CutImage | Failure:
    work, cells = item
    image = prepare(work, cells, spaces[0].intensity)  # one for all
    if isinstance(image, Failure):
        return image
    wanted = [space for space in spaces if space.digest in work.spaces]
    pixels = sum(len(image.ids(space.unit)) * (space.input_px or image.scaled.shape[-1]) ** 2 for space in wanted)
    if pixels * image.scaled.itemsize * len(image.roles) > AHEAD_BYTES:
        return _CutImage(image, None)
    try:
        crops = tuple(_cut(image, space, slice(None)) for space in wanted)
    except ImageError as error:  # a crop would be wider than any field: the image's pixel size is wrong
        return image_failure(work, error.found, error.todo)
    return _CutImage(replace(image, scaled=image.scaled[:, :0, :0].copy()), crops)


def _cut(image: Prepared, space: Space, part: slice) -> Crops:
    """Return what an encoder is shown of an image: crops around some of its cells, or the whole field as one."""
    if space.unit == "image":
        whole = image.scaled if space.input_px is None else square_field(image.scaled, space.input_px)
        unknown = np.zeros((1, *whole.shape[1:]), bool)
        return Crops(whole[None], image.roles, nucleus=unknown, cell=unknown)
    crop_um, input_px = space.crop_um or 0.0, space.input_px or 0  # cells have both
    side_px = crop_um / (image.pixel_size_um or 1.0)  # without cells there is nothing that it could be wrong for
    return crops_of(image.shown[part], image.scaled, image.roles, side_px, input_px)


@dataclass
class _Batch:
    """Images of one shape that go through the encoders together, and the failures among them."""

    images: list[_CutImage | Failure] = field(default_factory=list)
    shape: object = None
    n_crops: int = 0  # at least one an image, so that failures are reported while the work continues
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
    """Yield runs of images of one shape, each with `enough` crops or AHEAD_BYTES of pixels where there are so many."""
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
    try:
        vectors = _vectors_by_space(images, encoders)
    except ImageError as error:  # of the shape that they have in common
        for item in batch:
            yield item if isinstance(item, Failure) else image_failure(item.image.work, error.found, error.todo)
        return
    embedded = iter(vectors)
    for item in batch:
        yield item if isinstance(item, Failure) else finished(item.image, next(embedded))


def _vectors_by_space(images: Sequence[_CutImage], encoders: Sequence[CropEncoder]) -> list[dict[str, Embedded]]:
    """Return the vectors of each image by space digest; the images have the same spaces and shape."""
    embedded: list[dict[str, Embedded]] = [{} for _ in images]
    wanted = [e for e in encoders if images and e.space.digest in images[0].image.work.spaces]
    for position, encoder in enumerate(wanted):
        ids = [item.image.ids(encoder.space.unit) for item in images]
        vectors = _encode(images, position, encoder) if any(ids) else np.empty((0, encoder.dim), np.float32)
        parts = np.split(vectors, np.cumsum([len(of_image) for of_image in ids])[:-1])
        for of_image, names, part in zip(embedded, ids, parts, strict=True):
            of_image[encoder.space.digest] = Embedded(names, part)
    return embedded


def _encode(images: Sequence[_CutImage], position: int, encoder: CropEncoder) -> Float32s:
    crops = [item.crops[position] for item in images if item.crops is not None]
    if crops:
        return encoder(_joined(crops))
    image = images[0].image  # alone: a crowded field's crops together would be gigabytes
    starts = range(0, len(image.ids(encoder.space.unit)), CROPS_HELD)
    return np.concatenate([encoder(_cut(image, encoder.space, slice(i, i + CROPS_HELD))) for i in starts])


def _joined(crops: Sequence[Crops]) -> Crops:
    if len(crops) == 1:
        return crops[0]
    pixels, nucleus, cell = (
        np.concatenate([getattr(c, name) for c in crops]) for name in ("pixels", "nucleus", "cell")
    )
    return Crops(pixels, crops[0].roles, nucleus=nucleus, cell=cell)
