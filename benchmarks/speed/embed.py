"""Ingest (read, segment or use masks, crop, encode, store) against the encoder alone, given crops cut beforehand.

Fields of 600 x 600 pixels, two channels, zlib, with some 20 cells each. What an ingest does once (load and check the
encoder, make the store, plan) is timed by an ingest of one field and subtracted, to give what each further field costs:
one second is much in twenty, and nothing in a screen. Target for a ViT-S/16 at 224 px, in throughput: at least 0.85 of
the encoder alone with segmentation, 0.93 with masks.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from harness import compare, report

from embstore.backbones.crops import CropEncoder, Crops
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import find
from embstore.ingest import Prepared, crops_of, ingest, prepared_images
from embstore.ingest.plan import make_plan
from embstore.ingest.work import Wanted
from embstore.phantom import write_phantom
from embstore.sources.layouts import read_source
from embstore.sources.tables import read_table
from embstore.store import Store

PROTEINS, CELLS = 40, range(14, 27)
BACKBONES = ("vit-random", "pixel-stats")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        masks = _fields(folder)
        for backbone in BACKBONES:
            for how, given in (("segmentation", None), ("masks", masks)):
                _time(folder, backbone, how, given)


def _time(folder: Path, backbone: str, how: str, masks: Path | None) -> None:
    encoder = load(find(backbone), Choices())
    first, *further = _crops(folder, encoder, masks)
    timings = compare(
        {
            "encoder alone": lambda: [encoder(field) for field in further],
            "embstore ingest": lambda: _ingest(folder / "images", backbone, masks),
            "embstore ingest of one field": lambda: _ingest(folder / "images", backbone, masks, limit=1),
        },
        baseline="encoder alone",
        rounds=3,
    )
    alone, all_, one = (timing.median_s for timing in timings)
    work = f"{1 + len(further)} fields, {len(first) + sum(map(len, further))} cells"
    report(f"ingest with {backbone} and {how}", timings, work=work)
    throughput = {"title": f"throughput with {backbone} and {how}", "further_fields": round(alone / (all_ - one), 3)}
    print(json.dumps(throughput | {"whole": round(alone / all_ * (1 + len(further)) / len(further), 3)}))


def _fields(folder: Path) -> Path:
    """Write the atlas's fields that contain about 20 cells to `images`; return the folder of their masks."""
    write_phantom(folder / "atlas", layout="opencell", proteins=PROTEINS, fields=1)
    (folder / "images").mkdir()
    for row in read_table(folder / "atlas" / "truth" / "fields.csv"):
        if int(row["n_cells"]) in CELLS:
            shutil.copy(next((folder / "atlas" / "images").rglob(f"{row['image']}.tif")), folder / "images")
    return folder / "atlas" / "truth" / "masks"


def _crops(folder: Path, encoder: CropEncoder, masks: Path | None) -> list[Crops]:
    source, space = read_source(folder / "images", "opencell", None, masks=masks), encoder.space
    with tempfile.TemporaryDirectory() as empty:
        store = Store.open(Path(empty) / "store", create=True)
        plan = make_plan(store, source, "opencell", Wanted((space.digest,)))
    fields = [image for image in prepared_images(plan.work, lambda _: {}) if isinstance(image, Prepared)]
    return [
        crops_of(f.cells, f.scaled, f.roles, space.crop_um / f.pixel_size_um, space.input_px) for f in fields if f.cells
    ]


def _ingest(images: Path, backbone: str, masks: Path | None, limit: int | None = None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ingest(f"{folder}/store", images, layout="opencell", backbones=[backbone], masks=masks, limit=limit)


if __name__ == "__main__":
    main()
