"""Removed options: each fails with one line that names its replacement."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from embstore.errors import EmbstoreError


@dataclass(frozen=True)
class RemovedOption:
    """An option of an earlier version, and what to write instead, such as `write --repair`."""

    name: str  # as typed, such as "--unit"
    instead: str
    is_flag: bool = False  # takes no value


def removed_error(old: str, instead: str) -> EmbstoreError:
    """Return the error for an old option, or an option with an old value such as `--layout vectors`."""
    return EmbstoreError(f"{old} was removed: {instead}")


def without_options(*removed: RemovedOption) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command refuse removed options and name their replacements; help and completion do not show them.

    Apply it directly below Typer's own decorators, above `with_options`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        hidden = [_hidden(f"removed_{number}", option) for number, option in enumerate(removed)]
        parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *hidden]

        @wraps(command)
        def run(**given: Any) -> None:
            command(**{name: value for name, value in given.items() if not name.startswith("removed_")})

        # what Typer reads
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate


def _hidden(name: str, option: RemovedOption) -> inspect.Parameter:
    def refuse(value: Any) -> None:
        if value is not None:
            raise removed_error(option.name, option.instead)

    # eager, so that it is refused before missing arguments are reported
    typed = typer.Option(option.name, hidden=True, is_eager=True, callback=refuse)
    kind = Annotated[bool | None, typed] if option.is_flag else Annotated[str | None, typed]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
