"""A dry run tells beforehand what an ingest will do: the same work, and the failures that files' headers show."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from drawn_fields import draw_field, save_tiff, write_hpa, write_opencell
from PIL import Image

from embstore.ingest import Report, ingest
from embstore.store import Store

FIELD = draw_field(1)


def take(store: Store | Path, source: Path, layout: str = "opencell", **choices: Any) -> Report:
    at = store if isinstance(store, Store) else str(store)
    return ingest(at, source, **{"layout": layout, "backbones": ["pixel-stats"]} | choices)


def errors_of(report: Report) -> dict[str, str]:
    return {Path(failure.source).name: failure.error for failure in report.failures}


def claim_65k(path: Path) -> None:
    """Write a PNG of a few bytes that claims 65,000 x 65,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 65000, 65000, 16, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)))


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of two good fields among files that are broken in every way that a header shows."""
    folder = tmp_path / "in"
    good = save_tiff(folder / "good.tif", FIELD)
    save_tiff(folder / "grey.tif", FIELD[:1], metadata={})
    (folder / "zero.tif").touch()
    (folder / "text.tif").write_text("<html>404 not found</html>")
    (folder / "half.tif").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    save_tiff(folder / "three.tif", draw_field(1, channels=3))
    save_tiff(folder / "complex.tif", FIELD.astype(np.complex64))
    save_tiff(folder / "series.tif", FIELD, metadata={"axes": "TYX"})
    tifffile.imwrite(folder / "jpeg.tif", FIELD.astype(np.uint8), compression="jpeg", photometric="minisblack")
    claim_65k(folder / "bomb.png")
    Image.fromarray(FIELD[0]).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:900])
    (folder / "whole.png").unlink()
    (folder / "gone.tif").symlink_to(tmp_path / "nowhere.tif")
    save_tiff(folder / "good.tiff", FIELD)
    return folder


def test_a_first_dry_run_tells_what_one_with_a_store_tells(hostile: Path, tmp_path: Path) -> None:
    """Nothing stored and no store are the same to the plan: second keys, dangling links and the limit count."""
    empty = Store.open(tmp_path / "empty", create=True)
    first, with_store = (take(at, hostile, dry_run=True) for at in (tmp_path / "none", empty))
    assert first == with_store
    assert errors_of(first)["good.tiff"] == "a second file has the key good"
    assert errors_of(first)["gone.tif"] == "cannot be read: No such file or directory"
    limited = take(tmp_path / "none", hostile, dry_run=True, limit=2)
    assert (limited.images, len(limited.failures) + limited.images_in) == (first.images, 2)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_is_there_and_no_store_yet_holds_nothing(tmp_path: Path) -> None:
    """An ingest makes its store in an empty folder; a dry run reports on one and leaves it empty."""
    write_opencell(tmp_path / "in", [1])
    (tmp_path / "empty").mkdir()
    assert take(tmp_path / "empty", tmp_path / "in", dry_run=True).images_in == 1
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_dry_run_tells_what_failed_before(hostile: Path, tmp_path: Path) -> None:
    """Files that an ingest could not read are not its work now, and are told again; tried again, they are failures."""
    take(tmp_path / "store", hostile)
    again = take(tmp_path / "store", hostile, dry_run=True)
    assert (again.images_in, again.done_before, len(errors_of(again)), len(again.known_failures)) == (0, 2, 2, 9)
    anew = take(tmp_path / "store", hostile, dry_run=True, retry_failed=True)
    assert (len(errors_of(anew)), anew.known_failures) == (11, [])


def test_a_dry_run_tells_every_fault_but_those_of_the_pixels(hostile: Path, tmp_path: Path) -> None:
    """What the ingest then fails at is what was foretold, word for word, and what decoding alone can find."""
    save_tiff(hostile / "nan.tif", np.where(FIELD > 900, np.nan, FIELD).astype(np.float32))
    (hostile / "damaged.tif").write_bytes(zlib_field_with_a_flipped_byte(tmp_path))
    dry = take(tmp_path / "store", hostile, dry_run=True)
    real = take(tmp_path / "store", hostile)
    assert (dry.images_in, real.images_in) == (4, 2)
    assert sorted(set(errors_of(real)) - set(errors_of(dry))) == ["damaged.tif", "nan.tif"]
    assert errors_of(dry).items() <= errors_of(real).items()
    assert len(errors_of(dry)) == 11


def zlib_field_with_a_flipped_byte(tmp_path: Path) -> bytes:
    path = save_tiff(tmp_path / "x.tif", FIELD, compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 2] = b"\xff\xff"
    return bytes(content)


def test_a_fault_of_a_table_names_its_row(tmp_path: Path) -> None:
    """A cell that names a folder, and channels of two sizes, are told with table and line."""
    (tmp_path / "raw").mkdir()
    save_tiff(tmp_path / "n.tif", FIELD[:1], metadata={})
    save_tiff(tmp_path / "p.tif", FIELD[:1, :50], metadata={})
    (tmp_path / "manifest.csv").write_text("image_id,nucleus,protein\na,raw,n.tif\nb,n.tif,n.tif\nc,n.tif,p.tif\n")
    report = take(tmp_path / "store", tmp_path, "manifest", dry_run=True)
    assert report.images_in == 1
    assert set(errors_of(report)) == {"manifest.csv:2", "manifest.csv:4"}
    assert "raw is a folder" in errors_of(report)["manifest.csv:2"]
    assert "n.tif (160, 160), p.tif (50, 160); wanted one shape" in errors_of(report)["manifest.csv:4"]


def test_masks_and_roles_that_do_not_fit_are_foretold(tmp_path: Path) -> None:
    """A mask of another size, a file without its nucleus plane, a field without a role that is shown: failures."""
    write_hpa(tmp_path / "in", "57_F11_1", 1, ("blue", "yellow"))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "masks" / "57_F11_1_nuclei.png")
    masked = take(tmp_path / "store", tmp_path / "in", "hpa", masks=tmp_path / "masks", dry_run=True)
    assert "is (9, 9) and its image (400, 400); wanted the same size" in errors_of(masked)["57_F11_1_blue.png"]
    save_tiff(tmp_path / "one" / "a.tif", FIELD[:1], metadata={})
    alone = take(tmp_path / "store", tmp_path / "one", "ome", channels="er,nucleus", dry_run=True)
    assert errors_of(alone) == {"a.tif": "a.tif has 1 channel, wanted 2 (er, nucleus)"}
    unseen = take(tmp_path / "store", tmp_path / "one", "crops", channels="cytosol", dry_run=True)
    assert errors_of(unseen) == {"a.tif": "it has cytosol and pixel-stats uses nucleus, protein"}


def test_a_dry_run_counts_images_without_a_protein_among_those_that_would_go_in(hostile: Path, tmp_path: Path) -> None:
    """Files that cannot go in are told as failures, and not once more."""
    assert take(tmp_path / "none", hostile, dry_run=True).without_protein == 2
    write_opencell(tmp_path / "named", [1])
    assert take(tmp_path / "none", tmp_path / "named", dry_run=True).without_protein == 0


def test_progress_of_a_dry_run_counts_images(tmp_path: Path) -> None:
    """Each image whose header was read is one step."""
    write_opencell(tmp_path / "in", [1, 2])
    steps: list[tuple[str, int, int]] = []
    take(tmp_path / "none", tmp_path / "in", dry_run=True, progress=lambda *step: steps.append(step))
    assert steps == [("headers", 1, 2), ("headers", 2, 2)]


def test_a_dry_run_tells_what_the_values_of_masks_mean(cases: Path, tmp_path: Path) -> None:
    """A class map is refused before the ingest, and a foreground mask is named as one."""
    case = cases / "05-ilastik-simple-segmentation"
    (failure,) = take(tmp_path / "none", case / "f1.tif", masks=case / "masks_renamed", dry_run=True).failures
    assert "class map" in failure.error
    write_opencell(tmp_path / "in", [1])
    (image,) = (tmp_path / "in").rglob("*.tif")
    (tmp_path / "masks").mkdir()
    mask = (FIELD[0] > np.percentile(FIELD[0], 90)).astype(np.uint8) * 255
    Image.fromarray(mask).save(tmp_path / "masks" / f"{image.stem}_nuclei.png")
    dry = take(tmp_path / "none", tmp_path / "in", masks=tmp_path / "masks", dry_run=True)
    (note,) = dry.mask_notes.values()
    assert note.startswith("nuclei: a foreground mask without instances, split into")


def test_a_dry_run_reads_the_masks_of_twenty_images(tmp_path: Path) -> None:
    """Evenly spread: of thousands it stays a matter of seconds, and the report counts them."""
    (tmp_path / "in").mkdir()
    for number in range(45):
        for name in (f"f{number:02}.png", f"f{number:02}_nuclei.png"):
            Image.fromarray(np.eye(16, dtype=np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "masks").mkdir()
    for path in (tmp_path / "in").glob("*_nuclei.png"):
        path.rename(tmp_path / "masks" / path.name)
    dry = take(
        tmp_path / "none", tmp_path / "in", "fields", channels="f*=nucleus", masks=tmp_path / "masks", dry_run=True
    )
    assert (dry.images_in, len(dry.failures)) == (45, 0)
    assert "masks: the values of 20 of 45 were read; an ingest reads all of them" in dry.notes
