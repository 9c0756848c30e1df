"""Thousands of damaged masks and OME-Zarr images: each is read or refused in one line, within 2 GB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from mutating import read_mutated
from PIL import Image

from embstore.errors import EmbstoreError
from embstore.pixels.masks import from_masks, read_label_image
from embstore.sources.layouts import read_channels, read_source

pytestmark = pytest.mark.faults

FILES = 2000
LABELS = np.kron(np.array([[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 3, 0], [0, 0, 0, 0]]), np.ones((12, 12), int))
PLANES = np.random.default_rng(0).integers(0, 60000, (2, 48, 48)).astype(np.uint16)


def read_mask(path: Path) -> None:
    """Read a mask as an ingest does, as nuclei and as cells."""
    mask = read_label_image(path, LABELS.shape)
    from_masks(mask, mask, None, 0.5)


def read_zarr(path: Path) -> None:
    """Read every image of a group as an ingest does; an image that fails does not keep the others from it."""
    source = read_source(path, "ome", None, channels="nucleus,protein", whole=True)
    assert all("\n" not in failure.error for failure in source.failures)
    for image in source.images:
        try:
            read_channels(source.root, image)
        except EmbstoreError as error:
            assert "\n" not in str(error)


def test_mutated_masks_are_read_or_refused(tmp_path: Path) -> None:
    """Label images, bits, colours and a look-up table, as TIFF and PNG."""
    good = tmp_path / "good"
    good.mkdir()
    for kind in ("uint8", "uint16", "int32", "float32", "bool"):
        tifffile.imwrite(good / f"{kind}.tif", LABELS.astype(kind))
    tifffile.imwrite(good / "zlib.tif", LABELS.astype(np.uint16), compression="zlib", predictor=True)
    Image.fromarray(LABELS.astype(np.uint8)).save(good / "grey.png")
    Image.fromarray(LABELS.astype(np.uint16)).save(good / "deep.png")
    Image.fromarray(np.stack([LABELS * 9, LABELS * 5, LABELS], axis=-1).astype(np.uint8)).save(good / "rgb.png")
    read_mutated(read_mask, sorted(good.iterdir()), tmp_path / "scratch", n=FILES).check(FILES)


def test_mutated_zarr_is_read_or_refused(tmp_path: Path) -> None:
    """An image of either version, a container of bioformats2raw, SpatialData and a plate."""
    zarr = pytest.importorskip("zarr", reason="the extra `zarr` is not installed")
    good = tmp_path / "good"
    for version in (2, 3):
        _write(zarr, good / f"v{version}.zarr", version)
    _group(zarr, good / "series.ome.zarr", {"bioformats2raw.layout": 3})
    _group(zarr, good / "series.ome.zarr/OME", {"series": ["0"]})
    _write(zarr, good / "series.ome.zarr/0", 3)
    for part in ("", "images", "labels"):
        _group(zarr, good / "spatial.zarr" / part, {})
    for part in ("images/field", "labels/nuclei"):
        _write(zarr, good / "spatial.zarr" / part, 3)
    _group(zarr, good / "plate.zarr", {"plate": {"name": "P", "wells": [{"path": "A/1"}]}})
    _group(zarr, good / "plate.zarr/A/1", {"well": {"images": [{"path": "0"}]}})
    _write(zarr, good / "plate.zarr/A/1/0", 3)
    read_mutated(read_zarr, sorted(good.iterdir()), tmp_path / "scratch", n=FILES).check(FILES)


def _group(zarr: Any, path: Path, ome: dict[str, Any]) -> None:
    zarr.open_group(path, mode="w", zarr_format=3).attrs["ome"] = ome


def _write(zarr: Any, path: Path, version: int) -> None:
    axes = [{"name": "c"}, {"name": "y", "unit": "micrometer"}, {"name": "x", "unit": "micrometer"}]
    scale = [{"type": "scale", "scale": [1.0, 0.2, 0.2]}]
    first = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    metadata = {
        "multiscales": [{**first, "version": "0.4", "coordinateTransformations": scale}],
        "omero": {"channels": [{"label": "DAPI"}, {"label": "GFP"}]},
    }
    group = zarr.open_group(path, mode="w", zarr_format=version)
    group.attrs.update(metadata if version == 2 else {"ome": metadata})
    group.create_array("0", data=PLANES, chunks=(1, 24, 24))
