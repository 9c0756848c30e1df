"""What every entry of one `bench` has in common, and the identity of an entry (DESIGN §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embstore.backbones.registry import embed_advice
from embstore.errors import EmbstoreError
from embstore.ids import digest, short
from embstore.space import parse_spec
from embstore.store import SpaceRow, Store, embeddings_name, find_space, label, matches, rows, sql_text
from embstore_bench.contestants import Contestant
from embstore_bench.questions import PROTOCOL, task_of
from embstore_bench.splits import PROTEIN, Split, draw_split, keep_split
from embstore_bench.tasks import TASK_TABLES, Task, TaskQuestion

MIN_SCORED_GROUPS = 50
SPLIT_TABLES = ("splits", "split_groups")


@dataclass(frozen=True)
class Setting:
    """What every entry of one `bench` has in common; `versions` are those of the tables read."""

    question: TaskQuestion
    spaces: tuple[SpaceRow, ...]
    task: Task
    splits: tuple[Split, ...]
    versions: Mapping[str, int]
    notes: tuple[str, ...]
    tag: str = ""


def make_setting(
    store: Store,
    pinned: Store,
    question: TaskQuestion,
    spaces: Sequence[SpaceRow],
    *,
    by: str,
    k: int,
    seeds: Sequence[int],
) -> Setting:
    """Return the setting, with its splits stored: missing ones are written once the task is known to be scorable.

    Everything is read from `pinned`, which is `store` at the versions of one moment. Raises EmbstoreError if nothing
    can be scored.
    """
    drawn = [
        draw_split(pinned, dataset=question.dataset, label_set=question.label_set, by=by, k=k, seed=seed)
        for seed in seeds
    ]
    task = task_of(question).load(pinned, question, spaces, drawn)  # a task that cannot be scored leaves no split
    splits = tuple(keep_split(store, split, units=pinned) for split in drawn)
    names = {*TASK_TABLES, *(embeddings_name(s["digest"]) for s in spaces)}
    versions = {name: version for name, version in pinned.versions().items() if name in names}
    versions |= {name: int(store.dataset(name).version) for name in SPLIT_TABLES}
    return Setting(question, tuple(spaces), task, splits, versions, tuple(_notes(pinned, task, by)))


def find_spaces(store: Store, backbones: Sequence[str], digests: Sequence[str]) -> list[SpaceRow]:
    """Return the selected spaces, each once; EmbstoreError, with the command that computes it, if one is missing."""
    specs = [parse_spec(backbone) for backbone in backbones]
    named = [find_space(store, digest=digest) for digest in digests]
    for space in named:
        if specs and not any(matches(space, spec) for spec in specs):
            listed = ", ".join(backbones)
            raise EmbstoreError(f"space {short(space['digest'])} is of {label(space)}, which is not one of {listed}")
    rest: list[str | None] = [str(spec) for spec in specs if not any(matches(space, spec) for space in named)]
    wanted = rest if specs or named else [None]
    others = [find_space(store, spec, advice=embed_advice) for spec in wanted]
    return list({space["digest"]: space for space in [*named, *others]}.values())


def entry_id(setting: Setting, contestant: Contestant) -> str:
    """Return the digest (12 hex digits) of everything that the entry's numbers depend on."""
    record = {
        "task": setting.question.name,
        "task_version": setting.question.version,
        "dataset": setting.question.dataset,
        "splits": [s.digest for s in setting.splits],
        "unit": setting.task.unit,
        "space": contestant.space,
        "floor": contestant.backbone if contestant.baseline else "",
        "head": contestant.head.name,
        "params": contestant.head.params,
        "protocol": PROTOCOL,
        "content": contestant.content_digest,
    }
    return short(digest(record))


def _notes(store: Store, task: Task, by: str) -> list[str]:
    """Return the notes of every entry on the limits of its score."""
    notes = []
    licences = rows(store, sql_text("embstore_bench", "licences"), {"dataset": task.question.dataset})
    if any(r["licence"] == "phantom" for r in licences):
        notes.append("phantom images: this score shows that the machine works, not biology")
    if len(task.groups) < MIN_SCORED_GROUPS:
        notes.append(f"{len(task.groups)} {task.grouping}s in {len(task.classes)} classes: plumbing, not a score")
    if task.exclusive:
        notes.append(f"every {task.unit} has one location: the headline takes the most probable one")
    if task.grouping != PROTEIN:
        notes.append(f"no protein is known: {_grouped(task.grouping, by)}")
    elif by != PROTEIN:
        notes.append(f"split by {by}: a protein's units are on both sides of the folds; this score shows the leak")
    return notes


def _grouped(grouping: str, by: str) -> str:
    kept = f"a group is {'a well (plate/well)' if grouping == 'well' else 'an image'}"
    if by == "cell":
        return f"{kept}, and its units are on both sides of the folds; this score shows the leak"
    return f"{kept}, which no fold divides, and the interval is over groups"
