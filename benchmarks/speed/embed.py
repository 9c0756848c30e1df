"""Ingest (read, segment, crop, encode, store) against the encoder alone fed with ready crops."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow.compute as pc
from harness import compare, report

from embstore.backbones.encoder import load
from embstore.backbones.registry import parse
from embstore.canary import golden_crops
from embstore.ingest import ingest
from embstore.phantom import write_phantom
from embstore.store import Store

PROTEINS = 12


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        written = write_phantom(images, layout="opencell", proteins=PROTEINS, fields=1)
        for name in ("vit-random", "pixel-stats"):
            encoder = load(*parse(name))
            store = Store.open(Path(folder) / name, create=True)
            ingest(store, images, layout="opencell", backbones=[name], labels=written.labels)
            sizes = pc.value_counts(store.read("cells", ["image_id"])["image_id"]).field("counts").to_pylist()
            timings = compare(
                {
                    "encoder alone": lambda e=encoder, n=sizes: _encode(e, n),
                    "embstore ingest": lambda b=name: _ingest(images, written.labels, b),
                },
                baseline="encoder alone",
                rounds=3,
            )
            report(f"ingest with {name}", timings, work=f"{len(sizes)} fields, {sum(sizes)} cells")


def _encode(encoder: Encoder, sizes: list[int]) -> None:
    crops = golden_crops(encoder.space.input_px)
    for n in sizes:
        encoder(_repeated(crops, n))


def _repeated(crops: object, n: int) -> object:
    import numpy as np

    from embstore.backbones.encoder import Crops

    pick = np.arange(n) % len(crops)
    return Crops(crops.pixels[pick, :2].copy(), crops.roles[:2], crops.nucleus[pick], crops.cell[pick])


def _ingest(images: Path, labels: Path, backbone: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder, create=True)
        ingest(store, images, layout="opencell", backbones=[backbone], labels=labels)


if __name__ == "__main__":
    main()
