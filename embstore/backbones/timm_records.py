"""Records of timm's networks, kept in the weights folder: to import timm and torch takes seconds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from embstore.backbones.record import Backbone
from embstore.backbones.weights import weights_folder
from embstore.errors import EmbstoreError
from embstore.files import whole_file
from embstore.space import HF_HUB


def timm_backbone(name: str) -> Backbone:
    """Return the record of a network by timm's own name, as `timm_record` makes it, without timm where it was kept.

    It is kept as `timm/NAME.json` in the weights folder, for the versions of timm and of embstore's code that made it;
    repositories of the Hub may change and are asked every time. Writes that file, where it can be written.
    """
    from_hub = name.startswith(HF_HUB)
    path = weights_folder() / "timm" / f"{name}.json"
    kept = None if from_hub else _read(path)
    if kept is not None:
        return kept
    from embstore.backbones.timm_names import timm_record

    record = timm_record(name)
    if not from_hub:
        _write(path, record)
    return record


def _read(path: Path) -> Backbone | None:
    """Return the record in a file; None where there is none, or it is damaged or made by other versions."""
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["made_by"] != _made_by():
            return None
        return Backbone(**{key: _plain(value) for key, value in content["record"].items()})
    except (OSError, ValueError, KeyError, TypeError, EmbstoreError):
        return None


def _write(path: Path, record: Backbone) -> None:
    content = {"made_by": _made_by(), "record": asdict(record)}
    with suppress(OSError):  # a folder that cannot be written: timm is asked again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1), "utf-8")


def _made_by() -> Mapping[str, str]:
    """Return what decides a record: the version of timm, and the code that makes records of timm's own."""
    code = files("embstore.backbones")
    sources = b"".join(code.joinpath(name).read_bytes() for name in ("timm_names.py", "record.py"))
    return {"timm": version("timm"), "code": hashlib.sha256(sources).hexdigest()}


def _plain(value: Any) -> Any:
    """Return a value of JSON as a record has it: with tuples in place of lists."""
    if isinstance(value, list):
        return tuple(map(_plain, value))
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value
