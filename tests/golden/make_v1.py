"""Make the golden store of format 1: `python tests/golden/make_v1.py`, once, with the version that first writes it.

Three phantom proteins with one field each under pixel-stats, six external vectors, a file that fails, a corrected label
and a tag: what a user's store contains, and nothing of anybody's images. Later versions must always be able to read it
(tests/test_golden.py), so a store that was released is never made anew: a changed format gets a make_v2.py beside it.
Its cells are of the simulator before phantom.v1: running this today draws others.

Writes store-v1.zip (packed, since Lance's manifests are mostly zeros: 1 MB unpacked) and store-v1.json, its contents.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

from embstore.ingest import import_embeddings, ingest
from embstore.phantom import write_phantom
from embstore.search import similar_cells, similar_proteins
from embstore.store import Store, find_space, rows

HERE = Path(__file__).parent
EXTERNAL = """ensg,gene,f1,f2,f3,place
ENSG99000000001,PHN001,1.0,0.5,0.25,"Golgi, cis"
ENSG99000000002,PHN002,0.9,0.4,0.5,er
ENSG99000000003,PHN003,-1.0,0.5,0.125,unknown
P12814-2,ACTN1,70000.0,1.0,2.0,cytoskeleton
,ACTN4,0.0,1.0,0.0,cytoskeleton;membrane
ENSG99000000004;ENSG99000000005,PHN004;PHN005,0.0,0.0,1.0,er
"""


def make(folder: Path) -> Store:
    """Write the store below `folder` and return it."""
    atlas = write_phantom(folder / "atlas", layout="opencell", proteins=3, fields=1, field_px=380)
    images, labels = atlas.images_folder, atlas.labels
    (images / "broken.tif").write_text("not an image\n")
    store = Store.open(folder / "store-v1", create=True)
    choices = {"layout": "opencell", "backbones": ["pixel-stats"], "labels": labels}
    ingest(store, images, **choices, limit=2)  # in two commits, as a real store grows
    ingest(store, images, **choices)
    columns = {
        "embeddings": "f*",
        "id_column": "ensg",
        "gene_column": "gene",
        "label_column": "place",
        "unlabelled": "unknown",
    }
    vectors = folder / "vectors.csv"
    vectors.write_text(EXTERNAL)
    import_embeddings(store, vectors, **columns, dataset="brought", backbone="theirs")
    vectors.write_text(EXTERNAL.replace("cytoskeleton;membrane", "cytoskeleton"))
    store.tag("before-correction", store.versions())
    import_embeddings(store, vectors, **columns, dataset="brought", backbone="theirs")
    return store


def describe(store: Store) -> dict[str, object]:
    """Return what the store contains, as today's code reads it."""
    cells = rows(
        store, "SELECT cell_id, gene, cell_area_um2, octet_length(mask) AS mask_bytes FROM cells ORDER BY cell_id"
    )
    spaces = {s["backbone"]: s["digest"] for s in rows(store, "SELECT backbone, digest FROM spaces")}
    first = cells[0]["cell_id"]
    profile = "brought/P12814-2"
    labels = rows(store, "SELECT * FROM labels ORDER BY ALL")
    return {
        "written_by": rows(store, "SELECT written_by AS w FROM store_meta")[0]["w"],
        "rows": {table["name"]: table["rows"] for table in store.status()},
        "spaces": spaces,
        "cells": cells,
        "groups": {r["protein_id"]: r["group_id"] for r in rows(store, "SELECT * FROM proteins ORDER BY protein_id")},
        "labels": [[r["label_set"], r["subject_id"], r["location"], r["grade"], r["revision"]] for r in labels],
        "tagged_labels": store.dataset("labels").tags.list()["before-correction"]["version"],
        "vectors": {
            first: store.matrix(spaces["pixel-stats"], [first])[0].tolist(),
            profile: store.matrix(spaces["theirs"], [profile])[0].tolist(),
        },
        "similar_proteins": similar_proteins(store, "PHN001", backbone="pixel-stats").rows,
        "similar_brought": similar_proteins(store, "PHN001", backbone="theirs").rows,
        "similar_cells": similar_cells(store, first, backbone="pixel-stats", k=5).rows,
        "found_by_digest": find_space(store, digest=spaces["theirs"][:8])["backbone"],
    }


def main() -> None:
    """Make the store, pack it, and record what it contains."""
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        store = make(Path(folder))
        (HERE / "store-v1.json").write_text(json.dumps(describe(store), indent=1, ensure_ascii=False) + "\n")
        with zipfile.ZipFile(HERE / "store-v1.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for path in sorted(Path(store.uri).rglob("*")):
                packed.write(path, path.relative_to(folder))


if __name__ == "__main__":
    main()
