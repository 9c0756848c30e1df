"""The backbones that embstore knows by name, and whether they can be used here (no torch, no network)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from embstore.backbones.packages import registered, registered_record
from embstore.backbones.record import Backbone, Choices, check_choices
from embstore.backbones.weights import (
    Tensors,
    local_file,
    missing,
    weights_folder,
    weights_path,
    weights_sha256,
    write_weights,
)
from embstore.errors import EmbstoreError, first_line, nearest
from embstore.files import whole_file
from embstore.space import TIMM, BackboneSpec, parse_spec

BACKBONE_NAME = r"[\w.+-]+"  # of a user's record: it names files, and a colon parts names from strategies


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


def backbone_records() -> dict[str, Backbone]:
    """Return every record by name: the built-in ones, then the user's own, read from `<weights folder>/<name>.toml`.

    A user's record that cannot be read, or that takes a built-in name, is an EmbstoreError.
    """
    mine = (read_record(path) for path in sorted(weights_folder().glob("*.toml")))
    return BACKBONES | {record.name: record for record in mine}


def read_record(path: str | Path) -> Backbone:
    """Return a user's record; raises EmbstoreError that names the field which is wrong."""
    from pydantic import ValidationError

    path = Path(path)
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        record = _record(table | {"name": path.stem, "origin": "user"})
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(map(str, wrong["loc"]))
        raise EmbstoreError(f"{path}: {field}: {wrong['msg']}; correct the record or remove it") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise EmbstoreError(f"{path} is not a record ({first_line(error)}); correct it or remove it") from error
    check_name(record.name)
    return record


def check_name(name: str) -> None:
    """Refuse, with an EmbstoreError, a name that a user's backbone cannot have."""
    if name in BACKBONES or not re.fullmatch(BACKBONE_NAME, name):
        raise EmbstoreError(
            f"a backbone of your own cannot be called {name!r}; wanted letters, digits, '.', '_', '+' and '-', and "
            f"none of the built-in names: {', '.join(BACKBONES)}"
        )


def find(name: str) -> Backbone:
    """Return the record of a name; raises EmbstoreError with the nearest spellings for one that does not exist.

    `timm:NAME` is any vision transformer or convolutional network of timm's, by timm's own name, without a record of
    its own (imports timm the first time). A name that a package registers imports that package.
    """
    if name in BACKBONES:  # a broken record of the user's must not prevent that
        return BACKBONES[name]
    if name.startswith(TIMM):
        from embstore.backbones.timm_records import timm_backbone

        return timm_backbone(name.removeprefix(TIMM))
    records, of_package = backbone_records(), registered_record(name)
    if name in records and of_package:
        raise EmbstoreError(
            f"{of_package.source} registers a backbone {name}, and there is one of your own at "
            f"{weights_path(records[name])}; rename yours"
        )
    if name not in records and of_package is None:
        raise _unknown(name, known_names())
    return of_package or records[name]


def known_names() -> list[str]:
    """Return the names of all backbones that `find` knows without timm; no package is imported."""
    return list(dict.fromkeys([*backbone_records(), *registered()]))


def check_free(name: str) -> None:
    """Refuse, with an EmbstoreError, the name of a known backbone for vectors that it does not make."""
    names = known_names()
    if not re.fullmatch(BACKBONE_NAME, name) or name in names:
        raise EmbstoreError(
            f"your own embeddings cannot be called {name!r}; wanted a name of letters, digits, '.', '_', '+' and '-' "
            f"that is no backbone of embstore ({', '.join(names)})"
        )


def _unknown(name: str, known: Iterable[str]) -> EmbstoreError:
    return EmbstoreError(
        f"there is no backbone {name!r}; the nearest names are {', '.join(nearest(name, known))}: "
        f"`embstore backbones list` shows all, and {TIMM}NAME is any vision transformer or convolutional "
        "network of timm's"
    )


def parse(spec: str | BackboneSpec) -> tuple[Backbone, Choices]:
    """Return the backbone that a spec names, and how it is shown images: its record's way where the spec is silent.

    Raises EmbstoreError, listing the choices, for whatever does not exist or this backbone does not have.
    """
    described = parse_spec(spec) if isinstance(spec, str) else spec
    backbone = find(described.name)
    how = replace(Choices(), **described.given)
    check_choices(backbone, how)
    if described.roles is not None and how.strategy != "replication":
        raise EmbstoreError(
            f"roles= lists what :replication shows, and {described} is mapped; "
            f"write {replace(described, strategy='replication')}"
        )
    return backbone, how


def embed_advice(spec: BackboneSpec, stored: Iterable[str]) -> str:
    """Return the `embstore embed` line that makes the vectors of a spec, "" where they come from elsewhere.

    `stored` are the names that a store has spaces of. Raises EmbstoreError as `parse` does, for what cannot be made.
    """
    names = known_names()
    if spec.name in names or spec.name.startswith(TIMM):
        parse(spec)
        return f"make it with `embstore embed --backbone {spec}`"
    if spec.name not in stored:
        raise _unknown(spec.name, {*names, *stored})
    return ""


def write_record(backbone: Backbone, *, replaces: bool = False) -> Backbone:
    """Write a user's record beside its weights, whole or not at all, and return it with its revision.

    The first is revision 1; the same again changes nothing. Another record or other weights under a name that exists
    are the next revision where `replaces` says so, and else an EmbstoreError; spaces of the old revision stay.
    """
    import tomli_w

    check_name(backbone.name)
    record = replace(backbone, revision=next_revision(backbone, replaces=replaces), origin="user")
    table = {name: value for name, value in asdict(record).items() if value not in (None, "", (), {})}
    path = weights_path(record).with_suffix(".toml")
    text = tomli_w.dumps({k: v for k, v in table.items() if k not in {"name", "origin"}})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_text(text, "utf-8")
    except OSError as error:
        raise EmbstoreError(f"cannot write {path} ({first_line(error)}); set EMBSTORE_WEIGHTS to a folder") from error
    return record


def next_revision(backbone: Backbone, *, replaces: bool) -> int:
    """Return the revision that a user's record would get; raises EmbstoreError where it may not replace another."""
    path = weights_path(backbone).with_suffix(".toml")
    if not path.exists():
        return 1
    old = read_record(path)
    known = old if old.init else replace(old, init=backbone.init)  # older records do not state it
    if replace(backbone, revision=old.revision, origin="user") == known:
        return old.revision
    if not replaces:
        raise EmbstoreError(
            f"there is a backbone {old.name} already, with another record or other weights; choose another name, or "
            f"--replace to make this its revision {old.revision + 1}"
        )
    return old.revision + 1


def keep(backbone: Backbone, tensors: Tensors, *, replaces: bool = False) -> Backbone:
    """Keep a user's backbone: its tensors, under timm's names, and its record, pinned to them; return the record.

    Writes `<name>.safetensors` and `<name>.toml` in the weights folder, as `write_record` does.
    """
    pinned = replace(backbone, weights_sha256=weights_sha256(tensors), weights_format="safetensors")
    check_name(pinned.name)
    next_revision(pinned, replaces=replaces)  # refuses before anything is written
    origin = {"backbone": pinned.name, "file": pinned.file, "file_sha256": pinned.file_sha256}
    write_weights(weights_path(pinned), tensors, origin | {"weights_sha256": str(pinned.weights_sha256)})
    return write_record(pinned, replaces=replaces)


def availability(backbone: Backbone) -> tuple[bool, str]:
    """Return whether the backbone can be used here and now, and otherwise the line with how to get it.

    Looks only at the local disk; a file that is there is read, and refused if it is wrong, by `encoder.load`.
    """
    if backbone.weights_format in {"none", "drawn", "shipped"} or local_file(backbone):
        return True, ""
    return False, "; ".join(missing(backbone))
