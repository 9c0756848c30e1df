"""The fold of each group: dealt by SQL, rebalanced, audited, and frozen by its first entry (DESIGN §6)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from typing import NotRequired, TypedDict, cast

import pyarrow as pa

from embstore.errors import EmbstoreError, StoreError, choices
from embstore.ids import split_digest
from embstore.store import Answer, SplitRow, Store, now, quoted, rows, select, sql_text
from embstore.tabular import Tabular
from embstore_bench.stratify import rebalance

PROTEIN = "protein"
BY = (PROTEIN, "image", "cell")
MIN_FOLDS = 3  # test, validation and something left to train on
MAX_SEED = 2**31 - 1  # `runs` and `predictions` store seeds as int32


class SplitMethod(TypedDict):
    """How groups are assigned; the revision is raised when the same data would be assigned differently."""

    name: str
    revision: int


class SplitSpec(TypedDict):
    """What a split is drawn from; its digest covers this and the folds."""

    dataset: str
    label_set: str
    by: str
    k: int
    seed: int
    method: SplitMethod
    grouping: NotRequired[str]  # if no protein is known: well or image


METHOD: SplitMethod = {
    "name": "dealt by rarest location, ties by md5(seed:group), mended by chi-square moves",
    "revision": 1,
}


@dataclass(frozen=True)
class KinCount:
    """How many units have a known entity of one kind, and how many of these share it with units of another fold."""

    units: int
    with_kin: int
    share: float


Audit = dict[str, KinCount]  # by entity: protein, image, content (identical files), antibody, plate, well


class StoredSplitRow(SplitRow):
    """A row of stored_split.sql: a split, and the number of entries scored on it."""

    n_entries: int


@dataclass(frozen=True, repr=False)
class Split(Tabular):
    """An assignment of groups to folds; `by` states what a group is: all cells of a protein, an image, a cell.

    A split that is not stored yet has no audit; every stored one has.
    """

    name: str
    dataset: str
    label_set: str
    by: str
    k: int
    seed: int
    spec: SplitSpec
    digest: str
    folds: Mapping[str, int]  # group id -> fold
    audit: Audit

    @property
    def grouping(self) -> str:
        """Return what a group of units is: a protein, or a well or an image if no labelled unit has a known protein."""
        return self.spec.get("grouping", PROTEIN)

    def to_arrow(self) -> pa.Table:
        """Return one row for each group, in order of its id: group_id, fold."""
        groups = sorted(self.folds)
        folds = pa.array([self.folds[g] for g in groups], pa.int32())
        return pa.table({"group_id": pa.array(groups, pa.string()), "fold": folds})

    @property
    def headline(self) -> str:
        """Return the split's name and size."""
        return f"{self.name}: {len(self.folds)} groups in {self.k} folds"


def split_name(label_set: str, by: str, k: int, seed: int) -> str:
    """Return `<label_set>/<by>-k<k>-s<seed>`."""
    return f"{label_set}/{by}-k{k}-s{seed}"


def make_split(store: Store, *, dataset: str, label_set: str, by: str = "protein", k: int = 5, seed: int = 0) -> Split:
    """Return the split of `draw_split`, stored: writes `split_groups`, then `splits`, if it is missing."""
    return keep_split(store, draw_split(store, dataset=dataset, label_set=label_set, by=by, k=k, seed=seed))


def draw_split(store: Store, *, dataset: str, label_set: str, by: str = "protein", k: int = 5, seed: int = 0) -> Split:
    """Return the stored split with these properties, or else the one that would be made now; never writes.

    Its groups are those of the dataset's labelled units (cells and external vectors), whatever spaces they are in, so
    that every backbone is scored on the same folds. A split that an entry cites is frozen; one that none cites is drawn
    again when the store has groups that it does not contain. If no labelled unit has a known protein, `by` image keeps
    together the units of a well (or of an image, if not every unit has a well, or there are fewer wells than folds),
    and `grouping` states which. Raises EmbstoreError for k below 3, an unknown `by`, a seed that is not an int32, or
    fewer than k groups.
    """
    _check(by, k, seed)
    spec = SplitSpec(dataset=dataset, label_set=label_set, by=by, k=k, seed=seed, method=METHOD)
    stored, n_entries = _stored(store, split_name(label_set, by, k, seed))
    if stored is not None and n_entries:
        return stored
    drawn = _draw(store, spec)
    return drawn if stored is None or set(drawn.folds) - set(stored.folds) else stored


def keep_split(store: Store, split: Split, *, units: Store | None = None) -> Split:
    """Return a drawn split as stored, with its audit; written if it is missing.

    The audited units are those of `units`: the store at the versions from which the split was drawn.
    """
    return split if split.audit else replace(split, audit=_write(store, split, units or store))


def late_units_hint(store: Store, splits: Sequence[Split], n_units: int) -> str:
    """Return the note on units whose groups frozen splits do not contain, with the seeds that would contain them."""
    first = splits[0]
    family = {"label_set": first.label_set, "by": first.by, "k": first.k}
    taken = {r["seed"] for r in rows(store, sql_text("embstore_bench", "split_seeds"), family)}
    free = list(islice((seed for seed in count() if seed not in taken), len(splits)))
    listed = f"{free[0]}," if len(free) == 1 else ",".join(map(str, free))
    return (
        f"{n_units} units are of groups that were added after the splits were frozen, and were left out; "
        f"the same command with `--seeds {listed}` makes splits with them"
    )


def load_split(store: Store, name: str) -> Split:
    """Return a stored split; StoreError if there is none, or if its groups are no longer those that were frozen."""
    split, _ = _stored(store, name)
    if split is None:
        names = rows(store, "SELECT name FROM splits ORDER BY name")
        raise StoreError(choices(name, "split", [r["name"] for r in names]))
    return split


def _stored(store: Store, name: str) -> tuple[Split | None, int]:
    """Return a split and how many entries cite it; None and 0 if there is none."""
    stored = cast(list[StoredSplitRow], rows(store, sql_text("embstore_bench", "stored_split"), {"name": name}))
    if not stored:
        return None, 0
    row = stored[0]
    spec: SplitSpec = json.loads(row["spec"])
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
        audit={entity: KinCount(**counts) for entity, counts in json.loads(row["audit"]).items()},
    )
    return split, row["n_entries"]


def list_splits(store: Store) -> Answer:
    """Return one row for each stored split: name, dataset, label_set, by, k, seed, n_groups, digest, created."""
    return Answer(select(store, *list_splits_sql()))


def list_splits_sql() -> tuple[str, dict[str, object]]:
    """Return the SQL that `list_splits` runs, and its parameters (none): `query(store, *list_splits_sql())`."""
    return sql_text("embstore_bench", "list_splits"), {}


def audit_split(store: Store, name: str, dataset: str, by: str, grouping: str = PROTEIN) -> Audit:
    """Return, for each kind of entity, the units that have a known one and those that share it with another fold.

    A split by protein must show a share of 0 for the protein. Reads the stored groups of the split.
    """
    counted = rows(
        store, sql_text("embstore_bench", "audit"), {"name": name, "dataset": dataset, "by": by, "grouping": grouping}
    )
    return {r["entity"]: KinCount(r["units"], r["with_kin"], r["with_kin"] / r["units"]) for r in counted}


def _check(by: str, k: int, seed: int) -> None:
    if by not in BY:
        raise EmbstoreError(choices(by, "way to split", BY))
    if k < MIN_FOLDS:
        raise EmbstoreError(f"{k} folds leave nothing to train on; wanted {MIN_FOLDS} or more")
    if not 0 <= seed <= MAX_SEED:
        raise EmbstoreError(f"found seed {seed}, wanted 0 to {MAX_SEED}")


def _draw(store: Store, spec: SplitSpec) -> Split:
    label_set, by, k = spec["label_set"], spec["by"], spec["k"]
    if by != PROTEIN and (grouping := _grouping(store, spec)) != PROTEIN:
        spec = {**spec, "grouping": grouping}
    parameters = {
        "dataset": spec["dataset"],
        "label_set": label_set,
        "by": by,
        "k": k,
        "seed": str(spec["seed"]),
        "grouping": spec.get("grouping", PROTEIN),
    }
    dealt = rows(store, sql_text("embstore_bench", "split"), parameters)
    if len(dealt) < k:
        raise EmbstoreError(_too_few_groups(store, spec, len(dealt)))
    rebalanced = rebalance([r["fold"] for r in dealt], [r["locations"] for r in dealt], k)
    folds = {r["group_id"]: fold for r, fold in zip(dealt, rebalanced, strict=True)}
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


def _grouping(store: Store, spec: SplitSpec) -> str:
    """Return what a group of labelled units is: a protein if any is known, else a well or an image."""
    (known,) = _unit_groups(store, spec)
    if known["with_protein"] or not known["n_units"]:
        return PROTEIN
    return "well" if known["with_well"] == known["n_units"] and known["n_wells"] >= spec["k"] else "image"


def _unit_groups(store: Store, spec: SplitSpec) -> list[dict[str, int]]:
    parameters = {"dataset": spec["dataset"], "label_set": spec["label_set"]}
    return rows(store, sql_text("embstore_bench", "unit_groups"), parameters)


def _too_few_groups(store: Store, spec: SplitSpec, n_groups: int) -> str:
    label_set, by, k = spec["label_set"], spec["by"], spec["k"]
    if by == PROTEIN and not n_groups and (n_units := _unit_groups(store, spec)[0]["n_units"]):
        return (
            f"none of the {n_units} units that {label_set} labels names a protein; split them with --by image "
            "(by plate/well if known), or give the proteins of the images and ingest again"
        )
    return (
        f"{label_set} labels {n_groups} {spec.get('grouping', by)} groups that are in the store, {k} folds need at "
        f"least {k}; add labels or images, or use fewer --folds"
    )


def _write(store: Store, split: Split, units: Store) -> Audit:
    """Store a split and return its audit (writes)."""
    # its row is deleted first and written last: if this is interrupted, there is no split, and the next call repeats it
    same_name = f"name = {quoted(split.name)}"
    for table in ("splits", "split_groups"):
        store.delete(table, same_name)
    groups = [{"name": split.name, "group_id": g, "fold": f} for g, f in sorted(split.folds.items())]
    groups_written = store.upsert("split_groups", groups)
    audited = units.pinned({"split_groups": groups_written})
    audit = audit_split(audited, split.name, split.dataset, split.by, split.grouping)
    row = SplitRow(
        name=split.name,
        dataset=split.dataset,
        label_set=split.label_set,
        by=split.by,
        k=split.k,
        seed=split.seed,
        spec=json.dumps(split.spec),
        sql=sql_text("embstore_bench", "split"),
        digest=split.digest,
        audit=json.dumps({entity: asdict(counts) for entity, counts in audit.items()}),
        created=now(),
    )
    store.upsert("splits", [row])
    return audit
