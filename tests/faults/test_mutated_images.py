"""Thousands of damaged image files: each is read or refused in one line, within 2 GB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from mutating import read_mutated
from PIL import Image

from embstore.pixels.decode import read_planes, read_shape

pytestmark = pytest.mark.faults

FILES = 2000  # mutations of each format
RNG = np.random.default_rng(0)
PLANES = RNG.integers(0, 60000, (2, 48, 40)).astype(np.uint16)
COLOURS = RNG.integers(0, 256, (48, 40, 3)).astype(np.uint8)


def read_both_ways(path: Path) -> None:
    """Read a file of two channels as an ingest and its dry run do."""
    read_shape(path, 2)
    read_planes(path, 2)


def write_tiffs(folder: Path) -> None:
    for name, options in (
        ("plain", {"metadata": {"axes": "CYX"}}),
        ("zlib", {"compression": "zlib", "predictor": True, "metadata": None}),
        ("lzw", {"compression": "lzw", "byteorder": ">"}),
        ("tiled", {"tile": (16, 16), "compression": "zstd"}),
        ("imagej", {"imagej": True, "metadata": {"axes": "CYX"}}),
        ("big", {"bigtiff": True, "compression": "packbits"}),
    ):
        tifffile.imwrite(folder / f"{name}.tif", PLANES, photometric="minisblack", **options)
    stack = np.stack([PLANES, PLANES // 2])
    tifffile.imwrite(folder / "stack.tif", stack, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(folder / "rgb.tif", COLOURS, photometric="rgb")


def write_ome(folder: Path) -> None:
    for name, compression in (("a.ome.tif", None), ("b.ome.tif", "zlib")):
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "Channel": {"Name": ["DAPI", "GFP"]}}
        tifffile.imwrite(
            folder / name, PLANES, ome=True, metadata=metadata, compression=compression, photometric="minisblack"
        )


def write_pngs(folder: Path) -> None:
    grey = COLOURS[..., 0]
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey > 100).save(folder / "bits.png")
    Image.fromarray(PLANES[0]).save(folder / "grey16.png")
    Image.fromarray(COLOURS).save(folder / "rgb.png")
    Image.fromarray(COLOURS).quantize(16).save(folder / "palette.png")


def write_pictures(folder: Path) -> None:
    for form in ("jpg", "webp", "bmp"):
        Image.fromarray(COLOURS[..., 0]).save(folder / f"grey.{form}")
        Image.fromarray(COLOURS).save(folder / f"rgb.{form}")


def write_arrays(folder: Path) -> None:
    np.save(folder / "first.npy", PLANES)
    np.save(folder / "last.npy", np.asfortranarray(PLANES.transpose(1, 2, 0).astype(np.float32)))


def read_dataset(path: Path) -> None:
    """Read a dataset of an HDF5 file."""
    read_both_ways(Path(f"{path}::raw/f1"))


def test_mutated_datasets_are_read_or_refused(tmp_path: Path) -> None:
    """Nor does damage to HDF5, which crashes on some of it: in a process of its own."""
    seeds = []
    for name, options in (("plain.h5", {}), ("packed.h5", {"compression": "gzip", "chunks": (1, 16, 16)})):
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("raw/f1", data=PLANES, **options)
        seeds.append(tmp_path / name)
    read_mutated(read_dataset, seeds, tmp_path / "scratch", n=FILES).check(FILES)


@pytest.mark.parametrize("write", [write_tiffs, write_ome, write_pngs, write_pictures, write_arrays])
def test_mutated_images_are_read_or_refused(tmp_path: Path, write: Callable[[Path], None]) -> None:
    """No damage to an image ends in a traceback, a crash, an endless loop or gigabytes."""
    good = tmp_path / "good"
    good.mkdir()
    write(good)
    read_mutated(read_both_ways, sorted(good.iterdir()), tmp_path / "scratch", n=FILES).check(FILES)
