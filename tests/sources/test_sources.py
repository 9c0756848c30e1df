"""Layouts: names, label tables and channels of OpenCell and HPA, as published and as users have them."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import draw_field, ensg, opencell_path, save_tiff, write_hpa
from PIL import Image

from embstore.errors import EmbstoreError, ImageError
from embstore.sources.layouts import read_channels, read_source
from embstore.sources.record import Source, SourceImage
from embstore.sources.tables import find_column, numbered_rows, read_table

Rows = Iterable[Mapping[str, object]]


def write_csv(path: Path, rows: Rows) -> Path:
    rows = list(rows)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def empty(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def labels_of(source: Source, scheme: str) -> dict[str, set[str]]:
    result: dict[str, set[str]] = {}
    for label in source.labels:
        if label.scheme == scheme:
            result.setdefault(label.subject, set()).add(label.location)
    return result


# -- OpenCell --------------------------------------------------------------------------------------------------------


def test_opencell_names_give_gene_ensembl_id_and_pixel_size(tmp_path: Path) -> None:
    """A published name is the key, wherever the file lies; genes keep hyphens; a stack beside its projection waits."""
    name = "OC-FOV_HLA-A_ENSG00000206503_CID000123_FID00001234"
    empty(tmp_path / "a" / f"{name}_proj.tif")
    empty(tmp_path / "a" / f"{name}_stack.tif")
    empty(tmp_path / "b" / "my picture.TIF")
    empty(tmp_path / ".hidden" / "x.tif")
    empty(tmp_path / "b" / "notes.txt")
    source = read_source(tmp_path, "opencell", None)
    published, own = source.images
    assert published == SourceImage(
        key=f"{name}_proj",
        files=(f"a/{name}_proj.tif",),
        roles=("nucleus", "protein"),
        pixel_size_um=0.206349,
        protein_ids=("ensembl:ENSG00000206503",),
        genes=("HLA-A",),
        cell_line="HEK293T",
        may_end_early=True,
        role_reasons=("position", "position"),
    )
    assert (own.key, own.pixel_size_um, own.protein_ids, own.cell_line) == ("b/my picture", None, (), None)
    assert source.notes == ("1 z-stacks left out: their projections are used",)


def test_labels_join_by_file_then_ensembl_id_then_gene(tmp_path: Path) -> None:
    """Each way is counted; the id of the table wins, as its labels are known by it; unknown targets stay unlabelled."""
    for number in (1, 2, 4):
        empty(opencell_path(tmp_path, number))
    empty(tmp_path / "OC-FOV_NKX2-1_ENSG00000000033_CID000009_FID00000009_proj.tif")
    empty(tmp_path / "free.tif")
    row = {"grade_3": "er", "grade_2": "", "grade_1": "", "file": ""}
    rows = [
        row | {"target_name": "G1", "ensg_id": ensg(1)},
        row | {"target_name": "other", "ensg_id": ensg(2)},
        row | {"target_name": "NKX2-1", "ensg_id": ensg(3), "licence": "CC BY"},
        row | {"target_name": "F", "ensg_id": ensg(5), "file": "free.tif"},
    ]
    rows = [{"licence": "", **r} for r in rows]
    source = read_source(tmp_path, "opencell", write_csv(tmp_path / "labels.csv", rows))
    assert source.notes == ("labels joined by file: 1, Ensembl id: 2, gene: 1, nothing: 1",)
    by_gene = {image.genes: (image.protein_ids, image.licence) for image in source.images}
    assert by_gene == {
        ("G1",): ((f"ensembl:{ensg(1)}",), None),
        ("other",): ((f"ensembl:{ensg(2)}",), None),
        ("NKX2-1",): ((f"ensembl:{ensg(3)}",), "CC BY"),
        ("G4",): ((f"ensembl:{ensg(4)}",), None),
        ("F",): ((f"ensembl:{ensg(5)}",), None),
    }
    assert labels_of(source, "any").keys() == {f"ensembl:{ensg(n)}" for n in (1, 2, 3, 5)}


def test_wide_portal_and_flat_tables_say_the_same(tmp_path: Path) -> None:
    """The three spellings of one set of annotations give the same labels, checked by hand for every scheme."""
    empty(opencell_path(tmp_path, 1))
    truth = {1: {"er": 3, "golgi": 2, "membrane": 1}, 2: {"er": 3, "vesicles": 3}, 3: {"golgi": 1}}
    at = {n: {g: ";".join(o for o, x in grades.items() if x == g) for g in (1, 2, 3)} for n, grades in truth.items()}
    named = {n: {"target_name": f"G{n}", "ensg_id": ensg(n)} for n in truth}
    wide = [named[n] | {f"grade_{g}": at[n][g] for g in (1, 2, 3)} for n in truth]
    portal = [named[n] | {f"annotations_grade_{g}": at[n][g] for g in (1, 2, 3)} for n in truth]
    flat = [
        {"gene": f"G{n}", "ensg_id": ensg(n), "annotation_name": o, "annotation_grade": g}
        for n, grades in truth.items()
        for o, g in grades.items()
    ]
    result = []
    for name, rows in (("wide.csv", wide), ("portal.csv", portal), ("flat.csv", flat)):
        source = read_source(tmp_path, "opencell", write_csv(tmp_path / name, rows))
        result.append({(v.scheme, v.level, v.subject, v.location, v.grade) for v in source.labels})
        assert {v.source for v in source.labels} == {name}
        assert set(source.asked) == {
            (scheme, "protein", f"ensembl:{ensg(n)}") for n in truth for scheme in ("grade3", "grade2plus", "any")
        }
    assert result[0] == result[1] == result[2]
    p1, p2, p3 = (f"ensembl:{ensg(n)}" for n in (1, 2, 3))
    assert labels_of(source, "grade3") == {p1: {"er"}, p2: {"er", "vesicles"}}
    assert labels_of(source, "grade2plus") == {p1: {"er", "golgi"}, p2: {"er", "vesicles"}}
    assert labels_of(source, "any") == {p1: {"er", "golgi", "membrane"}, p2: {"er", "vesicles"}, p3: {"golgi"}}
    assert {label.grade for label in source.labels if label.location == "golgi" and label.subject == p3} == {1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; wanted a CSV with a header line"),
        ("target_name,ensg_id\nG1,x\n", "has the columns target_name, ensg_id; wanted grade_3 or annotations_grade_3"),
        ("ensg_id,grade_3\nx,er\n", "wanted target_name or gene"),
        (
            "gene,ensg_id,annotation_name,annotation_grade\nG1,x,er,3\nG2,y,er,high\n",
            "line 3: annotation_grade is 'high'; wanted 1, 2 or 3",
        ),
        ("a\0b,c\n1,2\n", "wanted"),
    ],
)
def test_a_wrong_label_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file, what it has and what was wanted."""
    empty(opencell_path(tmp_path, 1))
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(EmbstoreError, match=message) as error:
        read_source(tmp_path, "opencell", path)
    assert str(path) in str(error.value)
    with pytest.raises(EmbstoreError, match="there is no file"):
        read_source(tmp_path, "opencell", tmp_path / "absent.csv")


def test_tables_are_read_as_people_write_them(tmp_path: Path) -> None:
    """A byte-order mark, tabs, empty fields at the end and quoted commas are no trouble; Latin-1 is."""
    path = tmp_path / "t.tsv"
    path.write_text('\ufeffID\tplace\n1\t"Golgi, cis"\t\n2\t\n', encoding="utf-8")
    rows = read_table(path)
    assert rows == [{"ID": "1", "place": "Golgi, cis"}, {"ID": "2", "place": ""}]
    assert find_column(path, rows, "Id", "ID") == "ID"
    path.write_bytes("ID\nµ\n".encode("latin-1"))
    with pytest.raises(EmbstoreError, match="wanted UTF-8 text"):
        read_table(path)


def test_tables_are_known_by_their_content(tmp_path: Path) -> None:
    """Packed with gzip under any name, separated like the header; lines are those of the file."""
    path = tmp_path / "t.csv"
    path.write_bytes(gzip.compress(b"ID;place\n\n1;Golgi, cis\n"))
    assert numbered_rows(path) == [(3, {"ID": "1", "place": "Golgi, cis"})]
    path.write_text('ID,place\n1,"er;\ngolgi"\n2,er\n')
    assert numbered_rows(path) == [(2, {"ID": "1", "place": "er;\ngolgi"}), (4, {"ID": "2", "place": "er"})]
    path.write_text("ID\tplace\n1\ter,golgi\n")
    assert numbered_rows(path) == [(2, {"ID": "1", "place": "er,golgi"})]
    path.write_bytes(gzip.compress(b"ID,place\n1,er\n" * 99)[:-9])
    with pytest.raises(EmbstoreError, match="cannot be read as a CSV"):
        numbered_rows(path)


def test_files_that_the_labels_name_and_that_are_missing_are_faults(tmp_path: Path) -> None:
    """Only those below the source are missed: a table may speak of other folders."""
    empty(tmp_path / "in" / "here.tif")
    row = {"target_name": "G", "ensg_id": "", "grade_3": "er", "grade_2": "", "grade_1": ""}
    rows = [row | {"file": f} for f in ("in/here.tif", "in/gone.tif", "elsewhere/x.tif", "")]
    source = read_source(tmp_path / "in", "opencell", write_csv(tmp_path / "labels.csv", rows))
    (failure,) = source.failures
    assert failure.source == str(tmp_path / "in" / "gone.tif")
    assert "missing" in failure.error
    assert "put the file there" in failure.todo


@pytest.mark.parametrize("flat", [False, True])
def test_a_table_elsewhere_names_files_below_the_source(tmp_path: Path, flat: bool) -> None:
    """Names count from the table's folder, from the source, and without a folder wherever the one such file lies."""
    for name in ("sub/alone.tif", "a/twice.tif", "b/twice.tif", "c/from.tif", "d/beside.tif"):
        empty(tmp_path / "in" / name)
    annotation = (
        {"annotation_name": "er", "annotation_grade": 3} if flat else {"grade_3": "er", "grade_2": "", "grade_1": ""}
    )
    files = ("alone.tif", "twice.tif", "c/from.tif", "../in/d/beside.tif", "gone.tif")
    rows = [{"file": f, "target_name": f"G{n}", "ensg_id": ensg(n)} | annotation for n, f in enumerate(files)]
    (tmp_path / "tables").mkdir()
    source = read_source(tmp_path / "in", "opencell", write_csv(tmp_path / "tables" / "l.csv", rows))
    assert {image.key: image.genes for image in source.images if image.genes} == {
        "sub/alone": ("G0",),
        "c/from": ("G2",),
        "d/beside": ("G3",),
    }
    assert source.notes == (
        "labels joined by file: 3, nothing: 2",
        "names in l.csv that match no file here, or several: 2 (twice.tif, gone.tif)",
    )
    assert source.failures == ()


def test_labels_that_join_no_image_say_what_they_would_need(tmp_path: Path) -> None:
    """Images are ingested without labels, and a note states how a table names them."""
    empty(tmp_path / "in" / "x.tif")
    row = {"target_name": "G1", "ensg_id": ensg(1), "grade_3": "er", "grade_2": "", "grade_1": ""}
    source = read_source(tmp_path / "in", "opencell", write_csv(tmp_path / "l.csv", [row]))
    joined, nothing = source.notes
    assert joined == "labels joined by nothing: 1"
    assert nothing.startswith("no image has labels: none is named by l.csv (1 targets), by file, Ensembl id or gene. ")


def test_the_published_targets_join_the_published_annotations(samples: Path, tmp_path: Path) -> None:
    """Of OpenCell's 1310 targets, 1274 join its annotations by Ensembl id and 36 only by gene; none is lost."""
    with (samples / "labels/opencell_all_public_targets.csv").open(newline="") as file:
        targets = list(csv.DictReader(file))
    for n, row in enumerate(targets):
        empty(tmp_path / f"OC-FOV_{row['target_name']}_{row['ensg_id']}_CID{n:06d}_FID{n:08d}_proj.tif")
    annotations = samples / "labels/opencell_public_annotations_flat.csv"
    source = read_source(tmp_path, "opencell", annotations)
    assert len(source.images) == len(targets) == 1310
    assert source.notes == ("labels joined by Ensembl id: 1274, gene: 36",)
    # the published counts at grade 3: one label, several, none
    labelled = Counter(len(labels_of(source, "grade3").get(p, ())) for p in {s for _, _, s in source.asked})
    assert (labelled[1], sum(n for k, n in labelled.items() if k > 1), labelled[0]) == (868, 438, 4)
    strict = labels_of(source, "grade3")
    with annotations.open(newline="") as file:  # twin: straight from the table
        rows = [r for r in csv.DictReader(file) if r["annotation_grade"] == "3"]
    assert strict == {
        f"ensembl:{e}": {r["annotation_name"] for r in rows if r["ensg_id"] == e} for e in {r["ensg_id"] for r in rows}
    }


# -- HPA -------------------------------------------------------------------------------------------------------------


def test_hpa_files_of_one_field_are_one_image(tmp_path: Path) -> None:
    """Colours become roles, in one order; the name gives plate, well, site and pixel size; labels come per image."""
    write_hpa(tmp_path, "57_F11_1", 1)
    write_hpa(tmp_path, "mine", 2, ("blue", "green"))
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "ID,Label_idx,Cellline,Gene,ENSG,Antibody,more\n"
        '57_F11_1,"Plasma membrane,Cytosol",A-431,A;B,ENSG00000000001;ENSG00000000002,HPA1,x\n'
        "1645_H1_6,Mitochondria,HeLa,,,,\n"
    )
    source = read_source(tmp_path, "hpa", labels)
    field, mine = sorted(source.images, key=lambda image: image.key)
    assert field.roles == ("nucleus", "protein", "microtubules", "er")
    assert field.files == tuple(f"57_F11_1_{c}.png" for c in ("blue", "green", "red", "yellow"))
    assert (field.plate, field.well, field.site, field.pixel_size_um) == ("57", "F11", "1", 0.0800885)
    assert field.protein_ids == ("ensembl:ENSG00000000001", "ensembl:ENSG00000000002")
    assert (field.genes, field.cell_line, field.antibody) == (("A", "B"), "A-431", "HPA1")
    assert field.extra == {"Label_idx": "Plasma membrane,Cytosol", "more": "x"}
    assert (mine.roles, mine.pixel_size_um, mine.plate) == (("nucleus", "protein"), None, None)
    assert {(v.scheme, v.level, v.subject, v.location) for v in source.labels} == {
        ("main", "image", "57_F11_1", "Plasma membrane"),
        ("main", "image", "57_F11_1", "Cytosol"),
    }
    assert source.notes[0] == "labels: 1 of 2 rows have an image here"
    assert "1645_H1_6" in source.notes[1]


def test_hpa_needs_a_nucleus_and_one_file_a_colour(tmp_path: Path) -> None:
    """A field without blue and a second file of one colour are failures that state what to do; the rest is read."""
    write_hpa(tmp_path, "1_A1_1", 1)
    write_hpa(tmp_path, "1_A1_2", 2, ("green", "red"))
    shutil.copy(tmp_path / "1_A1_1_red.png", tmp_path / "1_A1_1_red.jpg")
    source = read_source(tmp_path, "hpa", None)
    assert [image.key for image in source.images] == ["1_A1_1"]
    twice, no_blue = source.failures
    assert "are both of field" in twice.error
    assert "has microtubules, protein and no nucleus" in no_blue.error
    assert no_blue.todo.startswith("add its nucleus channel (HPA: blue), give masks with --masks, or take whole images")


def test_hpa_labels_need_their_columns(tmp_path: Path) -> None:
    """A table that names no image, or no location, is refused with the columns that it has."""
    write_hpa(tmp_path, "1_A1_1", 1, ("blue",))
    path = tmp_path / "labels.csv"
    for header, wanted in (
        ("Label_idx,x", "Label_idx, x; wanted `locations`"),
        ("x,Label", "x, Label; choose which they name"),
    ):
        path.write_text(f"{header}\n1,2\n")
        with pytest.raises(EmbstoreError, match=wanted):
            read_source(tmp_path, "hpa", path)


def test_pseudo_coloured_files_give_the_planes_of_the_grey_ones(samples: Path) -> None:
    """The field as HPA serves it, RGB, is read as the same four planes as its grey twin, JPEG noise aside."""
    labels = samples / "hpa" / "image_labels.csv"
    planes = []
    for folder in ("fov_4ch", "fov_4ch_pseudocolour"):
        source = read_source(samples / "hpa" / folder, "hpa", labels)
        image = next(i for i in source.images if i.key == "57_F11_1")
        read, roles = read_channels(source.root, image)
        assert roles == ("nucleus", "protein", "microtubules", "er")
        assert {v.location for v in source.labels} == {"Plasma membrane", "Cytosol"}
        planes.append(read.pixels.astype(np.float32))
    grey, coloured = planes
    assert grey.shape == coloured.shape == (4, 1728, 1728)
    for one, other in zip(grey, coloured, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
        assert abs(one - other).mean() < 3


# -- channels --------------------------------------------------------------------------------------------------------


def test_channels_come_in_the_order_of_their_roles(tmp_path: Path) -> None:
    """One file a role or all roles in one file: pixels (c, y, x) are those that were written."""
    pixels = draw_field(1)
    save_tiff(tmp_path / "x.tif", pixels)
    save_tiff(tmp_path / "n.tif", pixels[:1], metadata={})
    both = SourceImage("x", ("x.tif",), ("nucleus", "protein"))
    result, roles = read_channels(tmp_path, both)
    np.testing.assert_array_equal(result.pixels, pixels)
    assert roles == ("nucleus", "protein")
    # a nucleus alone is no error if a layout allows it: what is missing is not made up
    alone = SourceImage("n", ("n.tif",), ("nucleus", "protein"), may_end_early=True, role_reasons=("position",) * 2)
    result, roles = read_channels(tmp_path, alone)
    assert (result.pixels.shape, roles) == ((1, 160, 160), ("nucleus",))
    assert result.assignment == "channel 0 → nucleus (position); no plane for protein"
    with pytest.raises(ImageError, match=r"n\.tif has 1 channel, wanted 2 \(nucleus, protein\)"):
        read_channels(tmp_path, SourceImage("n", ("n.tif",), ("nucleus", "protein")))


def test_channels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Too many planes, or files of other shapes, are an ImageError that names the files and the numbers."""
    save_tiff(tmp_path / "x.tif", draw_field(1, channels=3))
    with pytest.raises(ImageError, match=r"x\.tif has 3 channels; wanted at most 2 \(nucleus, protein\)"):
        read_channels(tmp_path, SourceImage("x", ("x.tif",), ("nucleus", "protein")))
    for name, side in (("b.png", 8), ("g.png", 9)):
        Image.fromarray(np.zeros((8, side), np.uint8)).save(tmp_path / name)
    with pytest.raises(ImageError, match=r"b\.png \(8, 8\), g\.png \(8, 9\); wanted one shape"):
        read_channels(tmp_path, SourceImage("x", ("b.png", "g.png"), ("nucleus", "protein")))


def test_a_source_that_holds_nothing_is_refused(tmp_path: Path) -> None:
    """A missing folder, an empty one, an unknown layout: one line with what is wanted."""
    for path, layout, message in (
        (tmp_path / "absent", "opencell", "there is no file or folder"),
        (tmp_path, "opencell", "contains no image of the layout 'opencell'"),
        (
            tmp_path,
            "yeast",
            "there is no image layout 'yeast'; choose from: crops, fields, hpa, manifest, ome, opencell",
        ),
    ):
        with pytest.raises(EmbstoreError, match=message):
            read_source(path, layout, None)
    one = save_tiff(opencell_path(tmp_path, 1), draw_field(1))
    source = read_source(one, "opencell", None)  # a single file is its own source
    assert (source.root, [i.files for i in source.images]) == (one.parent, [(one.name,)])
