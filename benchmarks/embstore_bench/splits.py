"""Which fold each group is in: made by SQL over the store, mended, audited, frozen by its first entry (DESIGN §6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

from embstore.errors import EmbstoreError, StoreError, choices
from embstore.ids import split_digest
from embstore.store import Store, now, quoted, rows, sql_text
from embstore_bench.stratify import mend

BY = ("protein", "image", "cell")
MIN_FOLDS = 3  # test, validation and something left to train on
MAX_SEED = 2**31 - 1  # `runs` and `predictions` hold seeds as int32
# raised when the same data would be assigned differently; part of a split's spec
METHOD = {"name": "dealt by rarest location, ties by md5(seed:group), mended by chi-square moves", "revision": 1}


@dataclass(frozen=True)
class Split:
    """An assignment of groups to folds; `by` says what a group is: all cells of a protein, an image, a cell.

    One that is not stored yet has no audit; every stored one has.
    """

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
    """Return `draw_split`'s split, stored: writes `split_groups`, then `splits`, where it is not there."""
    return keep_split(store, draw_split(store, dataset=dataset, label_set=label_set, by=by, k=k, seed=seed))


def draw_split(store: Store, *, dataset: str, label_set: str, by: str = "protein", k: int = 5, seed: int = 0) -> Split:
    """Return the stored split of that name, or what it would be now where there is none; never writes.

    Its groups are those of the dataset's labelled units (cells and brought vectors), whatever spaces they are in, so
    that every backbone is scored on the same folds. A split that an entry cites is frozen; one that none cites is drawn
    anew when the store holds groups that it does not know. Raises EmbstoreError for k below 3, an unknown `by`, a seed
    that is no int32, or fewer than k groups.
    """
    _check(by, k, seed)
    spec = {"dataset": dataset, "label_set": label_set, "by": by, "k": k, "seed": seed, "method": METHOD}
    stored, n_entries = _stored(store, split_name(label_set, by, k, seed))
    if stored is not None and n_entries:
        return stored
    drawn = _draw(store, spec)
    return drawn if stored is None or set(drawn.folds) - set(stored.folds) else stored


def keep_split(store: Store, split: Split) -> Split:
    """Return a drawn split as it is stored, with its audit; written where it is not there."""
    return split if split.audit else replace(split, audit=_write(store, split))


def late_units_hint(store: Store, splits: Sequence[Split], n_units: int) -> str:
    """Return the line on units whose groups frozen splits do not know: how many, and the seeds that would know them."""
    first = splits[0]
    family = {"label_set": first.label_set, "by": first.by, "k": first.k}
    taken = {r["seed"] for r in rows(store, sql_text("embstore_bench", "split_seeds"), family)}
    free = list(islice((seed for seed in count() if seed not in taken), len(splits)))
    listed = f"{free[0]}," if len(free) == 1 else ",".join(map(str, free))
    return (
        f"{n_units} units are of groups that came after the splits were frozen and were left out; "
        f"the same command with `--seeds {listed}` makes splits with them"
    )


def load_split(store: Store, name: str) -> Split:
    """Return a stored split; StoreError when it is not there or its groups are no longer those that were frozen."""
    found, _ = _stored(store, name)
    if found is None:
        names = rows(store, "SELECT name FROM splits ORDER BY name")
        raise StoreError(choices(name, "split", [r["name"] for r in names]))
    return found


def _stored(store: Store, name: str) -> tuple[Split | None, int]:
    """Return a split and how many entries cite it; None and 0 when it is not there."""
    found = rows(store, sql_text("embstore_bench", "stored_split"), {"name": name})
    if not found:
        return None, 0
    row = found[0]
    spec = json.loads(row["spec"])
    sql = "SELECT group_id, fold FROM split_groups WHERE name = $name ORDER BY group_id"
    folds = {r["group_id"]: r["fold"] for r in rows(store, sql, {"name": name})}
    if split_digest(spec, folds) != row["digest"]:
        raise StoreError(f"split {name} has changed since it was frozen; make one of another seed")
    split = Split(
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
    return split, row["n_entries"]


def list_splits(store: Store) -> list[dict[str, Any]]:
    """Return one record a stored split, by name: name, dataset, label_set, by, k, seed, n_groups, digest, created."""
    return rows(store, sql_text("embstore_bench", "list_splits"))


def audit(store: Store, name: str, dataset: str, by: str) -> dict[str, dict[str, Any]]:
    """Return entity -> units that have a known one, those with kin in another fold, and their share.

    Entities are protein, image, content (identical files), antibody, plate and well; a split by protein must show a
    share of 0 for the protein. Reads the stored groups of the split.
    """
    counted = rows(store, sql_text("embstore_bench", "audit"), {"name": name, "dataset": dataset, "by": by})
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
    if not 0 <= seed <= MAX_SEED:
        raise EmbstoreError(f"found seed {seed}, wanted 0 to {MAX_SEED}")


def _draw(store: Store, spec: dict[str, Any]) -> Split:
    label_set, by, k = spec["label_set"], spec["by"], spec["k"]
    parameters = {"dataset": spec["dataset"], "label_set": label_set, "by": by, "k": k, "seed": str(spec["seed"])}
    dealt = rows(store, sql_text("embstore_bench", "split"), parameters)
    if len(dealt) < k:
        raise EmbstoreError(
            f"{label_set} labels {len(dealt)} {by} groups that are in the store, {k} folds need at least {k}; "
            "add labels or images, or ask for fewer --folds"
        )
    mended = mend([r["fold"] for r in dealt], [r["locations"] for r in dealt], k)
    folds = {r["group_id"]: fold for r, fold in zip(dealt, mended, strict=True)}
    return Split(
        name=split_name(label_set, by, k, spec["seed"]),
        dataset=spec["dataset"],
        label_set=label_set,
        by=by,
        k=k,
        seed=spec["seed"],
        spec=spec,
        digest=split_digest(spec, folds),
        folds=folds,
        audit={},
    )


def _write(store: Store, split: Split) -> dict[str, dict[str, Any]]:
    """Store a split and return its audit."""
    # its row goes first and comes last: a kill in between leaves no split, and the next call starts over
    same_name = f"name = {quoted(split.name)}"
    for table in ("splits", "split_groups"):
        store.delete(table, same_name)
    groups = [{"name": split.name, "group_id": g, "fold": f} for g, f in sorted(split.folds.items())]
    store.upsert("split_groups", groups)
    row = {key: getattr(split, key) for key in ("name", "dataset", "label_set", "by", "k", "seed", "digest")}
    row |= {"spec": json.dumps(split.spec), "sql": sql_text("embstore_bench", "split"), "created": now()}
    found = audit(store, split.name, split.dataset, split.by)
    store.upsert("splits", [row | {"audit": json.dumps(found)}])
    return found
