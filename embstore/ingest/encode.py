"""From an image that is ready to its vectors: what encoders are shown is cut out, put together and encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import numpy.typing as npt

from embstore.backbones.crops import Crops, Encoder
from embstore.errors import ImageError
from embstore.ingest.cells import crops_of
from embstore.ingest.prepare import Prepared, image_failure
from embstore.pixels.field import square_field
from embstore.sources.record import Failure
from embstore.space import Space

CROPS_HELD = 256
AHEAD_BYTES = 2**26  # of pixels cut ahead of the encoders, an image; what takes more is cut bit by bit


@dataclass(frozen=True)
class Embedded:
    """Vectors float32 (n, dim) and the ids that they are of, in order."""

    ids: list[str]
    vectors: npt.NDArray[np.float32]


def cut_ahead(image: Prepared, spaces: Iterable[Space]) -> Prepared:
    """Return the image with what the encoders of `spaces` are shown of it already cut, unless that is very much.

    Raises ImageError where a crop would be wider than any field: the image's pixel size is wrong.
    """
    wanted = {space.digest: space for space in spaces if space.digest in image.work.spaces}
    pixels = sum(
        len(image.ids(space.unit)) * (space.input_px or image.scaled.shape[-1]) ** 2 for space in wanted.values()
    )
    if pixels * image.scaled.itemsize * len(image.roles) > AHEAD_BYTES:
        return image
    crops = {digest: _cut(image, space, slice(None)) for digest, space in wanted.items()}
    return replace(image, crops=crops, scaled=image.scaled[:, :0, :0].copy())


def _cut(image: Prepared, space: Space, some: slice) -> Crops:
    """Return what an encoder is shown of an image: crops around `some` of its cells, or the whole field as one."""
    if space.unit == "image":
        field_ = image.scaled if space.input_px is None else square_field(image.scaled, space.input_px)
        unknown = np.zeros((1, *field_.shape[1:]), bool)
        return Crops(field_[None], image.roles, nucleus=unknown, cell=unknown)
    crop_um, input_px = space.crop_um or 0.0, space.input_px or 0  # cells have both
    side_px = crop_um / (image.pixel_size_um or 1.0)  # without cells there is nothing that it could be wrong for
    return crops_of(image.shown[some], image.scaled, image.roles, side_px, input_px)


def encode(images: Sequence[Prepared], encoder: Encoder) -> dict[str, Embedded | Failure]:
    """Return the vectors of images by image id; those cut ahead to the same shape go through the encoder together."""
    found: dict[str, Embedded | Failure] = {}
    for _, run in groupby(images, lambda image: _shape(image, encoder.space)):
        alike = list(run)
        ids = [image.ids(encoder.space.unit) for image in alike]
        try:
            vectors = _vectors(alike, encoder)
        except ImageError as error:
            found |= {image.work.image_id: image_failure(image.work, error.found, error.todo) for image in alike}
        else:
            parts = np.split(vectors, np.cumsum([len(some) for some in ids])[:-1])
            names = [image.work.image_id for image in alike]
            found |= {name: Embedded(*both) for name, both in zip(names, zip(ids, parts, strict=True), strict=True)}
    return found


def _shape(image: Prepared, space: Space) -> object:
    """Return what images have in common that go through an encoder together; one that is not cut ahead goes alone."""
    crops = image.crops.get(space.digest)
    return image.work.image_id if crops is None else (crops.roles, crops.pixels.shape[2:])


def _vectors(alike: Sequence[Prepared], encoder: Encoder) -> npt.NDArray[np.float32]:
    first, space = alike[0], encoder.space
    if not any(image.ids(space.unit) for image in alike):
        return np.empty((0, encoder.dim), np.float32)
    if space.digest in first.crops:
        return encoder(_joined([image.crops[space.digest] for image in alike]))
    count = len(first.ids(space.unit))  # a crowded field's crops together would be gigabytes
    held = [encoder(_cut(first, space, slice(i, i + CROPS_HELD))) for i in range(0, count, CROPS_HELD)]
    return np.concatenate(held)


def _joined(crops: Sequence[Crops]) -> Crops:
    if len(crops) == 1:
        return crops[0]
    pixels, nucleus, cell = (
        np.concatenate([getattr(c, name) for c in crops]) for name in ("pixels", "nucleus", "cell")
    )
    return Crops(pixels, crops[0].roles, nucleus=nucleus, cell=cell)


def gathered(images: Iterable[Prepared | Failure], enough: int) -> Iterator[list[Prepared | Failure]]:
    """Yield images in order, together as many as hold `enough` crops (each at least one) or AHEAD_BYTES of pixels."""
    held: list[Prepared | Failure] = []
    crops = size = 0
    for image in images:
        held.append(image)
        cut = [] if isinstance(image, Failure) else list(image.crops.values())
        crops += max([1, *map(len, cut)])
        size += sum(some.pixels.nbytes for some in cut)
        if crops >= enough or size >= AHEAD_BYTES:
            yield held
            held, crops, size = [], 0, 0
    if held:
        yield held
