"""What ingest reports about masks, flags, pixel sizes and scalings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from embstore.phantom import write_phantom

from .conftest import Run


def test_ingest_says_what_became_of_masks_and_flags(run: Run, tmp_path: Path) -> None:
    """Masks that leave something open are named with what was done; dropped cells are counted; a rerun is silent."""
    atlas = write_phantom(tmp_path / "atlas", layout="opencell", proteins=2, fields=1, field_px=300)
    masks = sorted((atlas.truth / "masks").glob("*_nuclei.png"))
    for path in (atlas.truth / "masks").glob("*_cells.png"):
        path.unlink()
    foreground = np.asarray(Image.open(masks[1])) > 0
    Image.fromarray(foreground.astype(np.uint8) * 255).save(masks[1])
    ask = (
        "--store",
        tmp_path / "s",
        "ingest",
        atlas.images_folder,
        "--layout",
        "opencell",
        "--backbone",
        "pixel-stats",
    )
    ask = (*ask, "--masks", atlas.truth / "masks", "--drop-flagged", "--pixel-size", "0.2")
    done = run(*ask)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0].startswith("opencell: 2 of 2 images ingested, ")
    assert "masks: 2 images, 2 with only nuclei" in lines
    name = masks[1].name.removesuffix("_nuclei.png")
    (split,) = [
        line for line in lines if line.startswith(f"opencell/{name}: nuclei: a foreground mask without instances")
    ]
    assert split.endswith("connected components; cells grown from the nuclei of a mask")
    assert any(line.startswith("flags: ") and "touches_edge" in line for line in lines)
    assert any("cells with a flag have no vector" in line for line in lines)
    assert run(*ask).stdout.startswith("opencell: nothing to do, 2 of 2 were done before")
    statement = (
        "SELECT count(*) FILTER (len(flags) = 0) AS sound, (SELECT sum(n_cells)::INT FROM ingested) AS n FROM cells"
    )
    (row,) = json.loads(run("--store", tmp_path / "s", "sql", statement, "-f", "json").stdout)
    assert row["sound"] == row["n"] > 0


def test_wrong_pixel_sizes_and_scalings_are_one_line(run: Run, tmp_path: Path) -> None:
    """Both end with exit 1 and what was wanted, before a store is made."""
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(tmp_path / "x.png")
    ask = ("--store", tmp_path / "s", "ingest", tmp_path / "x.png", "--layout", "opencell", "--backbone", "pixel-stats")
    done = run(*ask, "--pixel-size", "200")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the pixel size is 200 µm; wanted 0.001 to 100" in done.stderr
    done = run(*ask, "--backbone", "pixel-stats:intensity=log")
    assert done.returncode == 1
    assert "there is no intensity scaling 'log'; choose from: minmax, minmax-joint, percentile, zscore" in done.stderr
    done = run(*ask, "--masks", tmp_path / "absent")
    assert done.returncode == 1
    assert "there is no file or folder" in done.stderr
    assert not (tmp_path / "s").exists()
