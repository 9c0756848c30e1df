"""The values that the shell completes: names of the registry, and what the store contains; none if they are unknown.

The only engine that is imported is lance, since somebody is waiting at the prompt.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

from embstore.errors import EmbstoreError

if TYPE_CHECKING:
    from embstore.store import Store

FAILURES = (EmbstoreError, OSError, RuntimeError, ValueError)  # no store, a damaged table, an invalid record

Completer = Callable[[typer.Context, str], list[str]]


def _completer(values: Callable[[typer.Context, str], Iterable[str]]) -> Completer:
    """Return the values that begin with what was typed, sorted; none if they cannot be read."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return sorted({value for value in values(ctx, incomplete) if value.startswith(incomplete)})
        except FAILURES:
            return []

    complete.__doc__ = values.__doc__
    return complete


def _store(ctx: typer.Context) -> Store:
    """Return the store that the words before the cursor, or the environment, name."""
    from embstore.store import Store

    given = ctx.find_root().params
    return Store.open(given.get("store") or os.environ.get("EMBSTORE_STORE") or "store", at=given.get("at"))


def _column(store: Store, table: str, column: str) -> list[str]:
    """Return the distinct values of a text column; none if the table does not exist."""
    if table not in store.table_names():
        return []
    return [value for value in store.read(table, [column])[column].unique().to_pylist() if value]


# -- backbones ---------------------------------------------------------------------------------------------------------


@_completer
def backbone_names(_ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the names of the registry."""
    from embstore.backbones.registry import known_names

    return known_names()


@_completer
def backbone_specs(_ctx: typer.Context, incomplete: str) -> Iterable[str]:
    """Return the names of the registry and `timm:`; after a name, the strategies and the keys of a spec."""
    from embstore.backbones.registry import known_names
    from embstore.space import SPEC_KEYS, STRATEGIES, TIMM

    name, *parts = incomplete.split(":")
    if not parts or incomplete.startswith(TIMM):
        return [*known_names(), TIMM]
    before = ":".join([name, *parts[:-1]])
    strategies = STRATEGIES if len(parts) == 1 else ()
    unused = [f"{key}=" for key in SPEC_KEYS if not any(part.startswith(f"{key}=") for part in parts[:-1])]
    return [f"{before}:{word}" for word in (*strategies, *unused)]


@_completer
def stored_specs(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the backbones of the store's spaces, and the shortest spec of each space."""
    from embstore.store import distinguishing_specs

    store = _store(ctx)
    columns = [name for name in store.dataset("spaces").schema.names if name != "canary"]
    spaces = store.read("spaces", columns).to_pylist()
    # if no spec distinguishes two spaces, ` --space DIGEST` follows it
    return [space["backbone"] for space in spaces] + [spec.partition(" ")[0] for spec in distinguishing_specs(spaces)]


@_completer
def space_digests(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the digests of the store's spaces, as short as they are shown."""
    from embstore.ids import short

    return map(short, _column(_store(ctx), "spaces", "digest"))


# -- what the store contains -------------------------------------------------------------------------------------------


@_completer
def datasets(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the datasets of the store."""
    store = _store(ctx)
    return [*_column(store, "images", "dataset"), *_column(store, "profiles", "dataset")]


@_completer
def label_sets(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the label sets of the store."""
    return _column(_store(ctx), "labels", "label_set")


@_completer
def splits(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the splits of the store."""
    return _column(_store(ctx), "splits", "name")


@_completer
def tags(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the tags of the store."""
    from embstore.store import PENDING

    return [tag for tag in _store(ctx).tags() if tag != PENDING]


@_completer
def tasks(ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the tasks, and each with the schemes of the store's label sets."""
    from embstore_bench.questions import TASKS

    try:
        named = [name.rpartition("/")[2] for name in _column(_store(ctx), "labels", "label_set")]
    except FAILURES:
        named = []
    return [*TASKS, *(f"{task}:{scheme}" for task in TASKS for scheme in named)]


# -- what embstore knows -----------------------------------------------------------------------------------------------


@_completer
def heads(_ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the heads."""
    from embstore_bench.heads import HEADS

    return HEADS


@_completer
def layouts(_ctx: typer.Context, _incomplete: str) -> Iterable[str]:
    """Return the layouts of images."""
    from embstore.sources.layouts import ASKED, NAMED

    return NAMED | ASKED
