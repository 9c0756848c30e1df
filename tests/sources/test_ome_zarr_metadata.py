"""OME-Zarr: scales at both levels, containers, absent chunks, and any JSON in place of the right one."""

from __future__ import annotations

import json
import random
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_fields import draw_field

from embstore.errors import EmbstoreError, ImageError
from embstore.ingest import ingest
from embstore.pixels.decode import read_planes
from embstore.pixels.ngff import zarr_image
from embstore.pixels.size import PixelSize
from embstore.sources.layouts import read_channels, read_source
from embstore.store import Store, rows
from embstore_cli.summary import summary

zarr = pytest.importorskip("zarr", reason="the extra `zarr` is not installed")
numcodecs = pytest.importorskip("numcodecs", reason="the extra `zarr` is not installed")

AXES = [{"name": "c"}, *({"name": axis, "unit": "micrometer"} for axis in "yx")]
CHANNELS = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}


def scale(*numbers: Any, **more: Any) -> dict[str, Any]:
    return {"type": "scale", "scale": list(numbers), **more}


def image(of_array: list[Any], of_image: list[Any] | None = None) -> dict[str, Any]:
    first: dict[str, Any] = {"axes": AXES, "datasets": [{"path": "0", "coordinateTransformations": of_array}]}
    if of_image is not None:
        first["coordinateTransformations"] = of_image
    return {"multiscales": [first], "omero": CHANNELS}


def write(path: Path, pixels: np.ndarray | None = None, **how: Any) -> Any:
    """Write an OME-Zarr 0.5 image of two channels; return its array."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs["ome"] = image([scale(1, 0.2, 0.2)])
    return group.create_array("0", data=draw_field(1) if pixels is None else pixels, **how)


AFFINE = {"type": "affine", "affine": [[1, 0, 0]]}


@pytest.mark.parametrize(
    ("of_array", "of_image", "um"),
    [
        ([scale(1, 0.2, 0.2)], None, 0.2),
        ([scale(1, 1, 1)], [scale(1, 0.2, 0.2)], 0.2),
        ([scale(1, 2, 2)], [scale(1, 0.1, 0.1)], 0.2),
        ([scale(1, 0.2, 0.2), {"type": "translation", "translation": [0, 5, 5]}], [{"type": "identity"}], 0.2),
        ([scale(1, 1, 1)], [{"type": "sequence", "transformations": [scale(1, 0.2, 0.2)], "output": {}}], 0.2),
        ([], [scale(1, 0.2, 0.2)], 0.2),
        ([scale(1, 0.2, 0.4)], None, None),  # not square
        ([scale(1, 0.2, 0.2)], [scale(1, 1, 2)], None),
        ([scale(1, 0.2, 0.2)], [AFFINE], None),
        ([scale(1, 0.2, 0.2)], [scale(1, 1, 1, output={"name": "a"}), scale(1, 2, 2, output={"name": "b"})], None),
    ],
)
def test_the_pixel_size_is_the_product_of_all_scales(of_array: list[Any], of_image: Any, um: float | None) -> None:
    """If scales do not give one square size, what they state is reported as ignored."""
    size = zarr_image(image(of_array, of_image), "x").size
    assert size.um == (None if um is None else pytest.approx(um))
    assert bool(size.ignored) is (um is None)


def test_no_scale_is_no_size() -> None:
    """Neither level has a scale."""
    assert zarr_image(image([], []), "x").size == PixelSize()


@pytest.mark.parametrize("numbers", [(1, 0.2), (1, "0.2", "0.2"), (1, None, 1), (True, 1, 1)])
def test_a_scale_that_is_none_is_one_line(numbers: tuple[Any, ...]) -> None:
    """Too few numbers, text and nothing are named."""
    with pytest.raises(ImageError, match="its multiscales are damaged: a scale of"):
        zarr_image(image([scale(*numbers)]), "x")


def container(path: Path, *names: str, layout: bool = True) -> Any:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    if layout:
        group.attrs["ome"] = {"bioformats2raw.layout": 3}
    for name in names:
        write(path / name)
    return group


def test_series_are_listed_described_or_numbered(tmp_path: Path) -> None:
    """The list of the container counts, else its OME-XML, else its numbered groups, in the order of numbers."""
    path = tmp_path / "p.ome.zarr"
    group = container(path, "0", "1", "10", "2", "x")
    assert [image.key for image in read_source(path, "ome", None).images] == ["p/0", "p/1", "p/2", "p/10"]
    ome = group.create_group("OME")
    (path / "OME" / "METADATA.ome.xml").write_text("<OME><Image/><Image/></OME>")
    assert [image.key for image in read_source(path, "ome", None).images] == ["p/0", "p/1"]
    ome.attrs["ome"] = {"series": ["x", "10", "3"]}
    source = read_source(tmp_path, "ome", None)
    assert [image.key for image in source.images] == ["p/x", "p/10"]
    assert [Path(failure.source).name for failure in source.failures] == ["3"]


def test_labels_of_spatialdata_go_to_the_image_they_are_named_after(tmp_path: Path) -> None:
    """Of several images, each has the labels with its name in front; others are left out and reported."""
    group = zarr.open_group(tmp_path / "s.zarr", mode="w", zarr_format=3)
    group.attrs["spatialdata_attrs"] = {"version": "0.2"}
    for kind, names in (("images", ("a", "b")), ("labels", ("a_nuclei", "b_cells", "tissue"))):
        group.create_group(kind)
        for name in names:
            write(tmp_path / "s.zarr" / kind / name)
    source = read_source(tmp_path / "s.zarr", "ome", None)
    masks = {image.key: image.masks for image in source.images}
    assert masks["s/a"].nuclei == tmp_path / "s.zarr/labels/a_nuclei"
    assert masks["s/b"].cells == tmp_path / "s.zarr/labels/b_cells"


def test_scportraits_names_are_nuclei_and_cells(tmp_path: Path) -> None:
    """`seg_all_nucleus` and `seg_all_cytosol` are its masks of nuclei and of whole cells."""
    for part in ("images/input_image", "labels/seg_all_nucleus", "labels/seg_all_cytosol"):
        write(tmp_path / "s.zarr" / part)
    zarr.open_group(tmp_path / "s.zarr", mode="a", zarr_format=3)
    zarr.open_group(tmp_path / "s.zarr" / "images", mode="a", zarr_format=3)
    (outcome,) = read_source(tmp_path / "s.zarr", "ome", None).images
    assert outcome.masks is not None
    assert (outcome.masks.nuclei, outcome.masks.cells) == tuple(
        tmp_path / "s.zarr/labels" / name for name in ("seg_all_nucleus", "seg_all_cytosol")
    )


def test_a_group_of_images_says_which_to_give(tmp_path: Path) -> None:
    """A container of no kind that is known names a group that is an image."""
    container(tmp_path / "g.zarr", "first", layout=False)
    (failure,) = read_source(tmp_path / "g.zarr", "ome", None).failures
    assert failure.todo == "its groups are: give g.zarr/first"


def test_a_damaged_well_leaves_the_others(tmp_path: Path) -> None:
    """One well without its metadata is a failure of its own."""
    plate = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=3)
    plate.attrs["ome"] = {"plate": {"wells": [{"path": "A/1"}, {"path": "A/2"}]}}
    for well in ("A/1", "A/2"):
        plate.create_group(well).attrs["ome"] = {"well": {"images": [{"path": "0"}]}} if well == "A/1" else {"well": 5}
    write(tmp_path / "p.zarr/A/1/0")
    source = read_source(tmp_path / "p.zarr", "ome", None)
    assert [image.key for image in source.images] == ["p/A/1/0"]
    assert "well A/2 of p.zarr is damaged" in source.failures[0].error


def test_absent_chunks_are_counted_and_reported(tmp_path: Path) -> None:
    """Three of eight chunks that are gone are in the note and the report; without any, the image is refused."""
    array = write(tmp_path / "in" / "x.zarr", chunks=(1, 80, 80))
    chunks = sorted(p for p in (tmp_path / "in/x.zarr/0/c").rglob("*") if p.is_file())
    for chunk in chunks[-3:]:
        chunk.unlink()
    assert read_planes(tmp_path / "in/x.zarr").absent == (3, 8)
    report = ingest(str(tmp_path / "store"), tmp_path / "in", layout="ome", dataset="o", backbones=["pixel-stats"])
    message = "3 of 8 chunks are absent and were read as the fill value"
    assert report.absent_chunks == {"o/x": message}
    assert f"  o/x: {message}" in summary(report)
    assert message in rows(Store.open(tmp_path / "store"), "SELECT note FROM images")[0]["note"]
    for chunk in chunks[:-3]:
        chunk.unlink()
    assert array.nchunks_initialized == 0
    source = read_source(tmp_path / "in", "ome", None)
    with pytest.raises(ImageError, match=r"has none of its 8 chunks"):
        read_channels(source.root, source.images[0])


@pytest.mark.parametrize("dtype", ["<u2", "|O"])
def test_pickled_chunks_are_never_loaded(tmp_path: Path, dtype: str) -> None:
    """A Zarr may name numcodecs' pickle, which would run code."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    group.attrs.update(image([scale(1, 0.2, 0.2)]))
    group.create_array("0", data=draw_field(1))
    metadata = json.loads((tmp_path / "x.zarr/0/.zarray").read_text())
    (tmp_path / "x.zarr/0/.zarray").write_text(json.dumps({**metadata, "dtype": dtype, "filters": [{"id": "pickle"}]}))
    with pytest.raises(ImageError, match="pickle"):
        read_planes(tmp_path / "x.zarr")


def test_a_chunk_whose_size_is_negative_is_one_line(tmp_path: Path) -> None:
    """numcodecs makes a SystemError of it."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    group.attrs.update(image([scale(1, 0.2, 0.2)]))
    group.create_array("0", data=draw_field(1), compressors=numcodecs.Blosc())
    for path in (tmp_path / "x.zarr/0").glob("[0-9]*"):
        content = path.read_bytes()
        path.write_bytes(content[:4] + b"\xff" * 4 + content[8:])  # where Blosc writes the size of what it packed
    with pytest.raises(ImageError, match=r"x\.zarr is damaged"):
        read_planes(tmp_path / "x.zarr")


OTHER = [5, "x", [], None, True, {"multiscales": 5}, {"multiscales": [{"axes": 5}]}, {"plate": 5}]


@pytest.mark.parametrize("outcome", OTHER)
def test_one_image_with_other_json_fails_and_the_rest_goes_in(tmp_path: Path, outcome: Any) -> None:
    """`{"ome": 5}` and the like are one line about that image."""
    write(tmp_path / "good.zarr")
    write(tmp_path / "bad.zarr")
    path = tmp_path / "bad.zarr" / "zarr.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "attributes": {"ome": outcome}}))
    source = read_source(tmp_path, "ome", None)
    assert [image.key for image in source.images] == ["good"]
    (failure,) = source.failures
    assert failure.source == str(tmp_path / "bad.zarr")
    assert "\n" not in failure.error


VALUES = [5, -1, 0, None, True, "x", [], {}, [None], {"a": 1}, 1e308, -0.5, "../../etc", 2**70, [1] * 5, "\0"]


def mutated(metadata: Any, draw: random.Random) -> Any:
    """Return JSON with one value, anywhere in it, dropped or in place of another."""
    spots = [()]
    for at in spots:
        here = metadata
        for step in at:
            here = here[step]
        steps = here if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        spots += [(*at, step) for step in steps]
    at, result = draw.choice(spots[1:]), deepcopy(metadata)
    here = result
    for step in at[:-1]:
        here = here[step]
    if draw.random() < 0.25:
        del here[at[-1]]
    else:
        here[at[-1]] = draw.choice(VALUES)
    return result


@pytest.mark.parametrize("seed", range(4))
def test_any_json_anywhere_is_read_or_one_line(tmp_path: Path, seed: int) -> None:
    """Mutations of every metadata file of a container end in pixels or in an EmbstoreError."""
    container(tmp_path / "p.ome.zarr", "0")
    draw = random.Random(seed)
    files = sorted((tmp_path / "p.ome.zarr").rglob("zarr.json"))
    for _ in range(40):
        file = draw.choice(files)
        before = file.read_text()
        file.write_text(json.dumps(mutated(json.loads(before), draw)))
        try:
            source = read_source(tmp_path, "ome", None, channels="nucleus,protein")
            for outcome in source.images:
                read_channels(source.root, outcome)
        except EmbstoreError as error:
            assert "\n" not in str(error)
        file.write_text(before)
    shutil.rmtree(tmp_path / "p.ome.zarr")
