"""Ingest (read, segment, crop, encode, store) against the encoder alone, fed with the same crops cut beforehand."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness import compare, report

from embstore.backbones.encoder import Crops, Encoder, load
from embstore.backbones.registry import parse
from embstore.cells import crops_of
from embstore.ingest import ingest
from embstore.phantom import write_phantom
from embstore.pipeline import Prepared, prepare
from embstore.plan import make_plan
from embstore.sources.layouts import read_source
from embstore.store import Store

PROTEINS = 24


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        atlas = write_phantom(Path(folder) / "atlas", layout="opencell", proteins=PROTEINS, fields=1, field_px=380)
        images, labels = atlas.images_folder, atlas.labels
        for name in ("vit-random", "pixel-stats"):
            encoder = load(*parse(name))
            crops = _crops(Path(folder) / "plan", images, labels, encoder)
            timings = compare(
                {
                    "encoder alone": lambda e=encoder, fields=crops: [e(field) for field in fields],
                    "embstore ingest": lambda b=name: _ingest(images, labels, b),
                },
                baseline="encoder alone",
                rounds=3,
            )
            report(f"ingest with {name}", timings, work=f"{len(crops)} fields, {sum(map(len, crops))} cells")


def _crops(store: Path, images: Path, labels: Path, encoder: Encoder) -> list[Crops]:
    source = read_source(images, "opencell", labels)
    space = encoder.space
    plan = make_plan(Store.open(store, create=True), source, "opencell", [space.digest], retry_failed=False, limit=None)
    fields = [image for work in plan.work if isinstance(image := prepare(work, []), Prepared)]
    return [
        crops_of(f.cells, f.scaled, f.roles, space.crop_um / f.pixel_size_um, space.input_px) for f in fields if f.cells
    ]


def _ingest(images: Path, labels: Path, backbone: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ingest(folder, images, layout="opencell", backbones=[backbone], labels=labels)


if __name__ == "__main__":
    main()
