"""Check that every byte can be read: data files by their recorded size, rows by reading them, vectors for NaN."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embstore.care.findings import ANEW, FROM_COPY, REPAIR, UNTAG, Finding, counted
from embstore.errors import StoreError, first_line
from embstore.files import sizes
from embstore.store import EMBEDDINGS_PREFIX, Store

UNREADABLE = (OSError, ValueError, RuntimeError)  # the exceptions that Lance raises
BATCH_ROWS = 1024  # small, because a cell's masks and thumbnail take some kilobytes


def read_through(store: Store, name: str) -> Iterator[Finding]:
    """Yield what is wrong with a table's files and vectors; reads every row once, a batch at a time."""
    try:
        data = store.dataset(name)
        findings = list(_files(store, name, data))
        yield from findings
        if not any(finding.check == "files" for finding in findings):
            yield from _rows(name, data)
    except StoreError as error:
        yield Finding("table", name, str(error).split("; ")[0], ANEW)


def _files(store: Store, name: str, data: Any) -> Iterator[Finding]:
    """Compare the data files that the newest and every tagged version need with those that exist."""
    existing = sizes(data.uri)
    if bad := bad_files(data.get_fragments(), existing):
        yield Finding("files", name, _described(bad), FROM_COPY)
    versions = store.tags([name]).values() if store.at is None else ()
    if bad := {file: why for tagged in versions for file, why in bad_at(store, name, tagged[name], existing).items()}:
        yield Finding("tagged files", name, _described(bad), UNTAG)


def bad_at(store: Store, name: str, version: int, existing: Mapping[str, int]) -> dict[str, str]:
    """Return file -> what is wrong with it, for the files that an older version of a table needs; see `bad_files`."""
    try:
        return bad_files(store.dataset(name, version).get_fragments(), existing)
    except StoreError as error:
        return {f"version {version}": str(error)}


def bad_files(fragments: Sequence[Any], existing: Mapping[str, int]) -> dict[str, str]:
    """Return file -> what is wrong with it, for the files of fragments; `existing` are all files, with sizes."""
    bad = {}
    for fragment in fragments:
        named = [(f"data/{file.path}", file.file_size_bytes) for file in fragment.data_files()]
        if deletions := fragment.deletion_file():
            named.append((deletions, None))
        for path, size in named:
            if path not in existing or size not in (None, 0, existing[path]):
                bad[path] = f"{existing.get(path, 'missing')}, wanted {size or 'some'} bytes"
    return bad


def _described(bad: Mapping[str, str]) -> str:
    first, why = next(iter(bad.items()))
    return counted(len(bad), "files are missing or truncated", f"{first} ({why})")


def _rows(name: str, data: Any) -> Iterator[Finding]:
    is_space = name.startswith(EMBEDDINGS_PREFIX)
    broken, bad, example = [], 0, ""
    for fragment in data.get_fragments():
        try:
            for batch in read_batches(fragment):
                if is_space and (ids := not_finite(batch)):
                    bad, example = bad + len(ids), example or ids[0]
        except UNREADABLE as error:
            broken.append(first_line(error))
    if broken:
        yield Finding("fragments", name, f"{len(broken)} fragments cannot be read: {broken[0]}", FROM_COPY)
    if bad:
        yield Finding("vectors", name, counted(bad, "vectors contain NaN or infinity", example), REPAIR)


def read_batches(fragment: Any, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield a fragment's rows in batches; raises one of UNREADABLE if its bytes cannot be decoded."""
    yield from fragment.scanner(columns=columns, batch_size=BATCH_ROWS).to_batches()


def not_finite(batch: pa.RecordBatch) -> list[str]:
    """Return the ids of a batch whose vectors contain NaN or infinity."""
    column = batch.column("vector")
    numbers = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    finite = np.isfinite(numbers).all(axis=1)
    return [] if finite.all() else batch.column("id").filter(pa.array(~finite)).to_pylist()
