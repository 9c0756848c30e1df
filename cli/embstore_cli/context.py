"""What every command shares: the store that it works on, and options that are defined once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from embstore.errors import EmbstoreError
from embstore_cli import completion
from embstore_cli.removed import RemovedOption

if TYPE_CHECKING:
    from embstore.store import Store


class Format(StrEnum):
    """How a reading command writes its rows to stdout."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"


@dataclass
class State:
    """The global options."""

    store: str = "store"
    at: str | None = None


state = State()

Dataset = Annotated[
    str | None, typer.Option("--dataset", autocompletion=completion.datasets, help="Only this dataset.")
]
Output = Annotated[
    Format, typer.Option("--format", "-f", metavar="table|json|csv|parquet", help="How rows are written.")
]
SpaceDigest = Annotated[
    str | None,
    typer.Option(
        "--space", metavar="DIGEST", autocompletion=completion.space_digests, help="The space to use, by its digest."
    ),
]
OneBackbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        "-b",
        metavar="SPEC",
        autocompletion=completion.stored_specs,
        help="The space to use, such as hpa or hpa:unit=image [default: the only one].",
    ),
]
UNIT_REMOVED = RemovedOption("--unit", "write --backbone hpa:unit=image")


def with_options(options: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of a dataclass as its options; it receives them together, as `options`.

    The help lists them at the position of `options` among the parameters. Several commands share such a dataclass, so
    that each option is defined once.
    """
    hints = get_type_hints(options, include_extras=True)
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(options)
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        named = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        at = [p.name for p in named].index("options")
        parameters = [*named[:at], *shared, *named[at + 1 :]]

        @wraps(command)
        def run(**given: Any) -> None:
            together = options(**{f.name: given.pop(f.name) for f in fields(options)})
            command(**given, options=together)

        # what Typer reads
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def open_store(*, write: bool = False) -> Store:
    """Open the store of --store or EMBSTORE_STORE, at the tag of --at; raises StoreError for a tag with `write`."""
    from embstore.store import Store

    return Store.open(store_to_write()) if write else Store.open(state.store, at=state.at)


def store_to_write() -> str:
    """Return the path or URI of the store, for a command that creates it if it is missing; --at is refused."""
    if state.at is not None:
        from embstore.store import read_only

        raise EmbstoreError(read_only(state.at))
    return state.store
