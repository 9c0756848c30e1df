"""The layouts by name, and how the channels of one image are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embstore.errors import EmbstoreError, ImageError, choices
from embstore.pixels.decode import read_planes
from embstore.sources.hpa import read_hpa
from embstore.sources.masks import with_masks
from embstore.sources.opencell import read_opencell
from embstore.sources.record import Fault, Source, SourceImage

LAYOUTS: dict[str, Callable[[Path, Path | None], Source]] = {"opencell": read_opencell, "hpa": read_hpa}


def read_source(source: Path, layout: str, labels: Path | None, masks: Path | None = None) -> Source:
    """Return what a folder (or one file) holds, as the named layout reads it; nothing is decoded yet.

    With a folder of `masks`, each image has its own (see `with_masks`). One that shows no nucleus and has no mask is a
    fault.
    """
    if layout not in LAYOUTS:
        raise EmbstoreError(choices(layout, "image layout", LAYOUTS))
    found = LAYOUTS[layout](source, labels)
    if not found.images and not found.faults:
        raise EmbstoreError(f"{source} holds no image that the layout {layout!r} knows; check --layout and the folder")
    return _cuttable(found if masks is None else with_masks(found, masks))


def _cuttable(source: Source) -> Source:
    """Return the source with a fault in place of each image in which no cell can be found."""
    without = [image for image in source.images if image.masks is None and "nucleus" not in image.roles]
    faults = [
        Fault(
            str(source.root / image.files[0]),
            "plan",
            f"field {image.key} has {', '.join(sorted(image.roles))} and no nucleus: cells cannot be found without it",
            "add its nucleus channel (HPA: blue), or give masks with --masks",
        )
        for image in without
    ]
    images = tuple(image for image in source.images if image not in without)
    return replace(source, images=images, faults=(*source.faults, *faults))


def read_channels(root: Path, image: SourceImage) -> tuple[npt.NDArray[np.generic], tuple[str, ...], float | None]:
    """Return an image's pixels (c, y, x) in their own dtype, the role of each channel, and the files' pixel size (µm).

    A pseudo-coloured RGB file of one role is read as its brightest plane at each pixel. ImageError where the files
    do not fit together.
    """
    read = [read_planes(root / file) for file in image.files]
    sizes = [planes.pixel_size_um for planes in read if planes.pixel_size_um is not None]
    pixel_size_um = sizes[0] if sizes else None
    if len(read) == len(image.roles):
        channels = [planes.pixels.max(axis=0) for planes in read]
        shapes = {channel.shape for channel in channels}
        if len(shapes) > 1:
            found = ", ".join(f"{Path(f).name} {c.shape}" for f, c in zip(image.files, channels, strict=True))
            raise ImageError(f"channels of different shapes: {found}; wanted one shape")
        return np.stack(channels), image.roles, pixel_size_um  # (c, y, x)
    pixels = read[0].pixels
    if len(pixels) > len(image.roles):
        wanted = ", ".join(image.roles)
        raise ImageError(f"{image.files[0]} has {len(pixels)} channels; wanted at most {len(image.roles)} ({wanted})")
    return pixels, image.roles[: len(pixels)], pixel_size_um
