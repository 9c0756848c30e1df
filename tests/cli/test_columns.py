"""`--columns "Where is it?=locations"`, as text and through `labels add`."""

from __future__ import annotations

from pathlib import Path

import pytest

from embstore.errors import EmbstoreError
from embstore.ingest import add_labels
from embstore.store import Store, add_proteins, rows
from embstore_cli.choices import names_of_columns


def test_a_column_may_contain_every_mark() -> None:
    """The last = separates it from its name; none given is None, which is not recorded as an argument."""
    assert names_of_columns(["Where = is it?=locations", " Symbol = gene "]) == {
        "Where = is it?": "locations",
        "Symbol": "gene",
    }
    assert names_of_columns(None) is names_of_columns([]) is None
    for texts in (["locations"], ["=gene"], ["a="], ["a=gene", "a=locations"]):
        with pytest.raises(EmbstoreError, match="wanted each column once, with its name here"):
            names_of_columns(texts)


def test_labels_are_added_from_columns_of_other_names(tmp_path: Path) -> None:
    """Also of a table that has HPA's columns: what the user names takes precedence over what is known of them."""
    store = Store.open(tmp_path / "store", create=True)
    add_proteins(store, [(("ensembl:ENSG00000000001",), ("AAA",))])
    image = {"image_id": "d/a", "revision": 1, "dataset": "d", "protein_ids": ["ensembl:ENSG00000000001"]}
    store.upsert("images", [image])
    table = tmp_path / "t.tsv"
    table.write_text("Gene\tGene name\tMain location\tOurs\nENSG00000000001\tAAA\tGolgi\tER;Cytosol\n")
    added = add_labels(store, table, dataset="d", columns={"Gene": "ensg_id", "Ours": "locations"})
    assert added.changed == 1
    assert [row["location"] for row in rows(store, "SELECT location FROM labels ORDER BY 1")] == ["Cytosol", "ER"]
    assert "column Ours read as locations" in added.notes
