"""Does the atlas look like microscopy? One row for each location: simulated cells, and real ones next to them.

    python benchmarks/phantom/looks.py --out looks.png [--samples FOLDER]

Both are ingested in the same way into a temporary store, and every picture is the thumbnail in the store: 25 µm, scaled
alike. FOLDER contains `opencell/two_channel` and `opencell/labels.csv`; do not publish pictures made from other
people's images. Proteins have the location at grade 3 and, if there are such proteins, no other.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from embstore.ingest import ingest
from embstore.phantom.v1.law import LOCATIONS
from embstore.phantom.write import write_phantom
from embstore.pixels.thumbnail import THUMBNAIL_PX, decode_thumbnail
from embstore.store import Store, rows

PROTEINS, SIMULATED, REAL, CAPTION_PX, GAP_PX, HEAD_PX = 240, 6, 6, 150, 4, 30
# per location: cells not cut by the border, spread over proteins; those of one location come first
CELLS = """
WITH located AS (
    SELECT subject_id, count(*) OVER (PARTITION BY subject_id) AS n_locations, location
    FROM labels WHERE label_set = $dataset || '/grade3'
),
numbered AS (
    SELECT c.thumbnail, l.n_locations, c.gene,
        row_number() OVER (PARTITION BY c.gene ORDER BY md5(c.cell_id)) AS nth
    FROM cells AS c
    INNER JOIN located AS l ON l.subject_id = c.protein_ids[1]
    WHERE c.dataset = $dataset AND l.location = $location AND NOT list_contains(c.flags, 'touches_edge')
)
SELECT thumbnail, gene FROM numbered ORDER BY nth > $each, n_locations, nth, gene LIMIT $n
"""


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=Path, help="folder of real images to show next to them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store", create=True)
        atlas = write_phantom(Path(folder) / "atlas", layout="opencell", proteins=PROTEINS, fields=1, field_px=300)
        sources = {"simulated": (atlas.images_folder, atlas.labels, SIMULATED)}
        if options.samples:
            real = options.samples / "opencell"
            sources["real"] = (real / "two_channel", real / "labels.csv", REAL)
        for dataset, (images, labels, _) in sources.items():
            ingest(store, images, layout="opencell", backbones=["pixel-stats"], labels=labels, dataset=dataset)
        draw(store, {dataset: tiles for dataset, (_, _, tiles) in sources.items()}, options.out)


def draw(store: Store, columns: dict[str, int], out: Path) -> None:
    """Draw one row for each location, the datasets side by side."""
    step = THUMBNAIL_PX + GAP_PX
    lefts = dict(zip(columns, CAPTION_PX + np.cumsum([0, *columns.values()]) * step, strict=False))
    sheet = Image.new("RGB", (CAPTION_PX + sum(columns.values()) * step, HEAD_PX + len(LOCATIONS) * step), "white")
    pen = ImageDraw.Draw(sheet)
    for dataset, left in lefts.items():
        legend = f"{dataset}: nucleus blue, protein green, thumbnails 25 um"
        pen.text((left, 6), legend, "black", ImageFont.load_default(14))
    for row, location in enumerate(LOCATIONS):
        top = HEAD_PX + row * step
        pen.text((6, top + 50), location, "black", ImageFont.load_default(14))
        for dataset, left in lefts.items():
            asked = {
                "dataset": dataset,
                "location": location,
                "n": columns[dataset],
                "each": 2 if dataset == "real" else 1,
            }
            for column, cell in enumerate(rows(store, CELLS, asked)):
                sheet.paste(Image.fromarray(decode_thumbnail(cell["thumbnail"])), (int(left) + column * step, top))
    sheet.save(out)


if __name__ == "__main__":
    main()
