"""`proteins seen`: which proteins a backbone was trained on, by a table."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from embstore.errors import EmbstoreError
from embstore.ingest import Seen, set_seen
from embstore.store import Store, add_proteins, rows


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Four proteins: two by Ensembl id, one by UniProt id, one by gene alone."""
    store = Store.open(tmp_path / "store", create=True)
    ids = ("ensembl:ENSG00000000001", "ensembl:ENSG00000000002", "uniprot:P12345", "gene:DDD")
    add_proteins(store, [((i,), (gene,)) for i, gene in zip(ids, ("AAA", "BBB", "CCC", "DDD"), strict=True)])
    return store


def seen(store: Store, backbone: str = "hpa") -> list[str]:
    return [
        row["gene"]
        for row in rows(store, "SELECT * FROM proteins ORDER BY gene")
        if backbone in row["seen_in_pretraining"]
    ]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_come_first_and_genes_are_the_fallback(store: Store, tmp_path: Path) -> None:
    """HPA's own columns are known; what was met by id and by gene is counted; the same table again changes nothing."""
    table = write(
        tmp_path / "t.tsv", "Gene\tGene name\nENSG00000000001.4\tAAA\nENSG00000000099\tddd\nENSG00000000098\tZZZ\n"
    )
    report = set_seen(store, table, backbone="hpa")
    assert report.notes == (
        "rows of t.tsv that match no protein of the store: 1 (ZZZ)",
        "proteins of the store that t.tsv does not name: 2 (BBB, CCC)",
    )
    assert report == Seen(
        "hpa", 3, proteins=4, by_id=1, by_gene=1, changed=2, version=report.version, notes=report.notes
    )
    assert report.version == store.versions()["proteins"]
    assert seen(store) == ["AAA", "DDD"]
    versions = store.versions()
    assert set_seen(store, table, backbone="hpa").changed == 0
    assert store.versions() == versions


def test_symbols_in_a_column_gene_and_in_spreadsheets_are_symbols(store: Store, tmp_path: Path) -> None:
    """`Gene` was taken for HPA's column of Ensembl ids, so that nothing joined, without a warning."""
    table = write(tmp_path / "t.csv", "Gene\nAAA\nBBB\n")
    assert set_seen(store, table, backbone="hpa").by_gene == 2
    book = openpyxl.Workbook()
    for row in (["Seen in training"], ["HGNC symbol", "n"], ["CCC", 1], ["x", 2]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    report = set_seen(store, tmp_path / "t.xlsx", backbone="hpa")
    assert (report.by_gene, seen(store)) == (1, ["CCC"])
    assert report.notes[0] == "t.xlsx: the text above the header in row 2 is left out (Seen in training)"
    nothing = set_seen(store, write(tmp_path / "n.csv", "gene\nx\ny\n"), backbone="hpa")
    assert nothing.notes[0] == "warning: nothing joined: rows of n.csv that match no protein of the store: 2 (x, y)"


def test_a_new_table_takes_the_place_of_the_old_one_backbone_by_backbone(store: Store, tmp_path: Path) -> None:
    """What it does not name loses the mark; other backbones' marks, groups and later proteins are untouched."""
    set_seen(store, write(tmp_path / "a.csv", "gene\nAAA;BBB\nCCC\n"), backbone="hpa")
    set_seen(store, write(tmp_path / "b.csv", "gene\nAAA\n"), backbone="imagenet")
    set_seen(store, write(tmp_path / "c.csv", "who\nP12345\n"), backbone="hpa", id_column="who")
    assert (seen(store), seen(store, "imagenet")) == (["CCC"], ["AAA"])
    add_proteins(store, [(("uniprot:P12345", "gene:EEE"), ("CCC", "EEE"))])
    assert seen(store) == ["CCC"]
    assert len({row["group_id"] for row in rows(store, "SELECT group_id FROM proteins")}) == 4


@pytest.mark.parametrize(
    ("text", "choices", "message"),
    [
        ("gene\nAAA\n", {"backbone": "resnet"}, "there is no backbone 'resnet'; choose from: dinov2-b14"),
        ("name\nAAA\n", {}, "has the columns name; wanted protein ids or gene symbols"),
        ("gene\n", {}, r"has the columns \(no rows\)"),
        ("gene\nAAA\n", {"id_column": "ensg"}, "has no column 'ensg'; it has: gene"),
    ],
)
def test_a_table_that_says_nothing_is_refused(
    store: Store, tmp_path: Path, text: str, choices: dict[str, str], message: str
) -> None:
    """One line states what was found; no mark changes."""
    with pytest.raises(EmbstoreError, match=message):
        set_seen(store, write(tmp_path / "t.csv", text), **{"backbone": "hpa"} | choices)
    assert seen(store) == []


def test_real_opencell_proteins_meet_the_real_hpa_table(store: Store, samples: Path) -> None:
    """Of OpenCell's 1,310 published targets, more than four in five are in HPA's table of locations."""
    from embstore.sources.tables import read_table

    targets = read_table(samples / "labels" / "opencell_all_public_targets.csv")
    add_proteins(store, [((f"ensembl:{t['ensg_id']}",), (t["target_name"],)) for t in targets])
    result = set_seen(store, samples / "labels" / "hpa_subcellular_location.tsv", backbone="hpa")
    assert 0.8 < (result.by_id + result.by_gene) / len(targets) < 0.95
