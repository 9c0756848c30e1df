"""Ingest (read, segment or take masks, crop, encode, store) against the encoder alone, fed with crops cut beforehand.

Fields of 600 x 600 pixels, two channels, zlib, with some 20 cells each. Wanted of a ViT-S/16 at 224 px: at most 1/0.85
of the encoder's time with segmentation, 1/0.93 with masks.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from harness import compare, report

from embstore.backbones.encoder import Crops, Encoder, load
from embstore.backbones.record import Choices
from embstore.backbones.registry import find
from embstore.cells import crops_of
from embstore.ingest import ingest
from embstore.phantom import write_phantom
from embstore.pipeline import Prepared, prepare
from embstore.plan import make_plan
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
            encoder = load(find(backbone), Choices())
            for how, given in (("segmentation", None), ("masks", masks)):
                crops = _crops(folder, encoder, given)
                timings = compare(
                    {
                        "encoder alone": lambda e=encoder, fields=crops: [e(field) for field in fields],
                        "embstore ingest": lambda b=backbone, m=given: _ingest(folder / "images", b, m),
                    },
                    baseline="encoder alone",
                    rounds=3,
                )
                work = f"{len(crops)} fields, {sum(map(len, crops))} cells"
                report(f"ingest with {backbone} and {how}", timings, work=work)


def _fields(folder: Path) -> Path:
    """Write the atlas' fields that hold about 20 cells to `images`; return the folder of their masks."""
    write_phantom(folder / "atlas", layout="opencell", proteins=PROTEINS, fields=1)
    (folder / "images").mkdir()
    for row in read_table(folder / "atlas" / "truth" / "fields.csv"):
        if int(row["n_cells"]) in CELLS:
            shutil.copy(next((folder / "atlas" / "images").rglob(f"{row['image']}.tif")), folder / "images")
    return folder / "atlas" / "truth" / "masks"


def _crops(folder: Path, encoder: Encoder, masks: Path | None) -> list[Crops]:
    source, space = read_source(folder / "images", "opencell", None, masks=masks), encoder.space
    with tempfile.TemporaryDirectory() as empty:
        store = Store.open(Path(empty) / "store", create=True)
        plan = make_plan(store, source, "opencell", [space.digest], retry_failed=False, limit=None)
    fields = [image for work in plan.work if isinstance(image := prepare(work, []), Prepared)]
    return [
        crops_of(f.cells, f.scaled, f.roles, space.crop_um / f.pixel_size_um, space.input_px) for f in fields if f.cells
    ]


def _ingest(images: Path, backbone: str, masks: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ingest(f"{folder}/store", images, layout="opencell", backbones=[backbone], masks=masks)


if __name__ == "__main__":
    main()
