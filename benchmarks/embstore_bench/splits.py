"""Which fold each group is in: made once by SQL over the store, mended, audited and then frozen (DESIGN §6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embstore.errors import EmbstoreError, StoreError, choices
from embstore.ids import digest
from embstore.query import rows
from embstore.store import Store, now
from embstore_bench.sqltext import sql_text
from embstore_bench.stratify import mend

BY = ("protein", "image", "cell")
MIN_FOLDS = 3  # test, validation and something left to train on
# raised when the same data would be assigned differently; part of a split's spec
METHOD = {"name": "dealt by rarest location, ties by md5(seed:group), mended by chi-square moves", "revision": 1}


@dataclass(frozen=True)
class Split:
    """A frozen assignment of groups to folds; `by` says what a group is: all cells of a protein, an image, a cell."""

    name: str
    dataset: str
    label_set: str
    by: str
    k: int
    seed: int
    spec: dict[str, Any]
    digest: str
    folds: Mapping[str, int]  # group id -> fold
    audit: dict[str, dict[str, Any]]  # entity -> units, with_kin, share


def split_name(label_set: str, by: str, k: int, seed: int) -> str:
    """Return `<label_set>/<by>-k<k>-s<seed>`."""
    return f"{label_set}/{by}-k{k}-s{seed}"


def make_split(store: Store, *, dataset: str, label_set: str, by: str = "protein", k: int = 5, seed: int = 0) -> Split:
    """Return the split of that name, made and stored when it is not there; one that is there is never changed.

    Its groups are those of the dataset's labelled units (cells and brought vectors), whatever spaces they are in, so
    that every backbone is scored on the same folds. Writes `split_groups`, then `splits`. Raises EmbstoreError for
    k below 3, an unknown `by`, or fewer than k groups.
    """
    _check(by, k, seed)
    name = split_name(label_set, by, k, seed)
    if name in _names(store):
        return load_split(store, name)
    parameters = {"dataset": dataset, "label_set": label_set, "by": by, "k": k, "seed": str(seed)}
    dealt = rows(store, sql_text("split"), parameters)
    if len(dealt) < k:
        raise EmbstoreError(
            f"{label_set} labels {len(dealt)} {by} groups that are in the store, {k} folds need at least {k}; "
            "add labels or images, or ask for fewer --folds"
        )
    mended = mend([r["fold"] for r in dealt], [r["locations"] for r in dealt], k)
    folds = {r["group_id"]: fold for r, fold in zip(dealt, mended, strict=True)}
    spec = {"dataset": dataset, "label_set": label_set, "by": by, "k": k, "seed": seed, "method": METHOD}
    _write(store, name, spec, folds)
    return load_split(store, name)


def load_split(store: Store, name: str) -> Split:
    """Return a stored split; StoreError when it is not there or its groups are no longer those that were frozen."""
    found = rows(store, "SELECT * FROM splits WHERE name = $name", {"name": name})
    if not found:
        raise StoreError(choices(name, "split", _names(store)))
    row = found[0]
    spec = json.loads(row["spec"])
    folds = _folds(store, name)
    if digest({"spec": spec, "folds": folds}) != row["digest"]:
        raise StoreError(f"split {name} has changed since it was frozen; make one of another seed")
    return Split(
        name=name,
        dataset=row["dataset"],
        label_set=row["label_set"],
        by=row["by"],
        k=row["k"],
        seed=row["seed"],
        spec=spec,
        digest=row["digest"],
        folds=folds,
        audit=json.loads(row["audit"]),
    )


def list_splits(store: Store) -> list[dict[str, Any]]:
    """Return one record a stored split, by name: name, dataset, label_set, by, k, seed, n_groups, digest, created."""
    return rows(store, sql_text("list_splits"))


def audit(store: Store, name: str, dataset: str, by: str) -> dict[str, dict[str, Any]]:
    """Return entity -> units that have a known one, those with kin in another fold, and their share.

    Entities are protein, image, content (identical files), antibody, plate and well; a split by protein must show a
    share of 0 for the protein. Reads the stored groups of the split.
    """
    counted = rows(store, sql_text("audit"), {"name": name, "dataset": dataset, "by": by})
    return {
        r["entity"]: {"units": r["units"], "with_kin": r["with_kin"], "share": r["with_kin"] / r["units"]}
        for r in counted
    }


def split_key(by: str, unit: Mapping[str, Any]) -> str:
    """Return what names a unit's group in a split `by`: its protein group, its image or itself."""
    key: str = {"protein": unit["group_id"], "image": unit["image_id"], "cell": unit["id"]}[by]
    return key


def _check(by: str, k: int, seed: int) -> None:
    if by not in BY:
        raise EmbstoreError(choices(by, "way to split", BY))
    if k < MIN_FOLDS:
        raise EmbstoreError(f"{k} folds leave nothing to train on; ask for {MIN_FOLDS} or more")
    if seed < 0:
        raise EmbstoreError(f"seed {seed} is negative; give 0 or a positive number")


def _write(store: Store, name: str, spec: Mapping[str, Any], folds: Mapping[str, int]) -> None:
    # groups first: a kill before the last line leaves no split, and the next call starts over
    if _folds(store, name):
        store.delete("split_groups", "name = '{}'".format(name.replace("'", "''")))
    store.upsert("split_groups", [{"name": name, "group_id": g, "fold": f} for g, f in sorted(folds.items())])
    row = {key: spec[key] for key in ("dataset", "label_set", "by", "k", "seed")}
    row |= {"name": name, "spec": json.dumps(spec), "sql": sql_text("split"), "created": now()}
    row |= {"digest": digest({"spec": spec, "folds": dict(folds)})}
    row |= {"audit": json.dumps(audit(store, name, spec["dataset"], spec["by"]))}
    store.upsert("splits", [row])


def _folds(store: Store, name: str) -> dict[str, int]:
    sql = "SELECT group_id, fold FROM split_groups WHERE name = $name ORDER BY group_id"
    return {r["group_id"]: r["fold"] for r in rows(store, sql, {"name": name})}


def _names(store: Store) -> Sequence[str]:
    return [r["name"] for r in rows(store, "SELECT name FROM splits ORDER BY name")]
