"""The backbones that embstore knows by name, and whether they can be used here (no torch, no network)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from embstore.backbones.record import Backbone, check_strategy
from embstore.backbones.weights import local_file, missing_line, weights_folder
from embstore.errors import EmbstoreError, choices, first_line


def _built_in() -> dict[str, Backbone]:
    """Return the records of records.toml, in its order."""
    tables = tomllib.loads(files("embstore.backbones").joinpath("records.toml").read_text("utf-8"))
    for name, table in tables.items():
        like = table.pop("like", None)
        tables[name] = (tables[like] if like else {}) | table
    return {name: _record({"name": name} | table) for name, table in tables.items()}


def _record(table: Mapping[str, Any]) -> Backbone:
    """Return a record, or raise pydantic's ValidationError; an empty `weights_sha256` is none."""
    record: Backbone = _adapter().validate_python(dict(table))
    return replace(record, weights_sha256=record.weights_sha256 or None)


@cache
def _adapter() -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="forbid"))(Backbone))


BACKBONES: dict[str, Backbone] = _built_in()


def records() -> dict[str, Backbone]:
    """Return every record by name: the built-in ones, then the user's own, read from `<weights folder>/<name>.toml`.

    A user's record that cannot be read, or that takes a built-in name, is an EmbstoreError.
    """
    mine = (read_record(path) for path in sorted(weights_folder().glob("*.toml")))
    return BACKBONES | {record.name: record for record in mine}


def read_record(path: Path) -> Backbone:
    """Return a user's record; raises EmbstoreError that names the field which is wrong."""
    from pydantic import ValidationError

    try:
        table = tomllib.loads(path.read_text("utf-8"))
        record = _record(table | {"name": path.stem, "origin": "user"})
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(map(str, wrong["loc"]))
        raise EmbstoreError(f"{path}: {field}: {wrong['msg']}; correct the record or remove it") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EmbstoreError(f"{path} is not a record ({first_line(error)}); correct it or remove it") from error
    if record.name in BACKBONES:
        raise EmbstoreError(f"{path} takes the name of a built-in backbone; rename it and its weights")
    return record


def find(name: str) -> Backbone:
    """Return the record of a name; raises EmbstoreError, listing what there is, for one that does not exist."""
    if name in BACKBONES:  # a broken record of the user's must not stand in the way
        return BACKBONES[name]
    if name not in (there := records()):
        raise EmbstoreError(choices(name, "backbone", there))
    return there[name]


def parse(spec: str) -> tuple[Backbone, str]:
    """Return the backbone and the channel strategy that `NAME[:mapping|:replication]` names (default mapping).

    Raises EmbstoreError, listing what there is, for a name or strategy that does not exist.
    """
    name, colon, strategy = spec.partition(":")
    backbone = find(name)
    wanted = strategy if colon else "mapping"
    check_strategy(backbone, wanted)
    return backbone, wanted


def availability(backbone: Backbone) -> tuple[bool, str]:
    """Return whether the backbone can be used here and now, and otherwise the one line that says how to get it.

    Looks only at the local disk; a file that is there is read, and refused if it is wrong, by `encoder.load`.
    """
    if backbone.weights_format in {"drawn", "shipped"} or (backbone.weights_format == "timm" and local_file(backbone)):
        return True, ""
    return False, missing_line(backbone)
