"""Can every byte be read? Data files by their recorded size, rows by reading them, vectors by their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from embstore.care.findings import FROM_COPY, Finding, counted
from embstore.errors import StoreError, first_line
from embstore.files import sizes
from embstore.schema import EMBEDDINGS_PREFIX
from embstore.store import Store

BATCH_ROWS = 1024  # a cell's masks and thumbnail are some kilobytes


def read_through(store: Store, name: str) -> Iterator[Finding]:
    """Yield what is wrong with a table's files and vectors; every row is read once, a batch at a time."""
    try:
        data = store.dataset(name)
        faults = list(_files(store, name, data))
        yield from faults
        if not any(fault.check == "files" for fault in faults):
            yield from _rows(name, data)
    except StoreError as error:
        yield Finding("table", name, str(error).split("; ")[0], FROM_COPY)


def _files(store: Store, name: str, data: Any) -> Iterator[Finding]:
    """Compare the data files that the newest and every tagged version name with those that lie there."""
    lying = sizes(data.uri)
    wanted = {"files": [data.version], "tagged files": []}
    if store.at is None:
        wanted["tagged files"] = sorted({versions[name] for versions in store.tags([name]).values()})
    for check, versions in wanted.items():
        named = {path: size for version in versions for path, size in _named(store, name, version)}
        bad = [path for path, size in named.items() if path not in lying or size not in (None, 0, lying[path])]
        if bad:
            first = f"{bad[0]} ({lying.get(bad[0], 'missing')}, wanted {named[bad[0]] or 'some'} bytes)"
            yield Finding(check, name, counted(len(bad), "files are missing or cut short", first), FROM_COPY)


def _named(store: Store, name: str, version: int) -> Iterator[tuple[str, int | None]]:
    for fragment in store.dataset(name, version).get_fragments():
        for file in fragment.data_files():
            yield f"data/{file.path}", file.file_size_bytes
        if deletions := fragment.deletion_file():
            yield deletions, None


def _rows(name: str, data: Any) -> Iterator[Finding]:
    is_space = name.startswith(EMBEDDINGS_PREFIX)
    broken, bad, example = [], 0, ""
    for fragment in data.get_fragments():
        try:
            for batch in fragment.scanner(batch_size=BATCH_ROWS).to_batches():
                if is_space and (ids := _not_finite(batch)):
                    bad, example = bad + len(ids), example or ids[0]
        except (OSError, ValueError, RuntimeError) as error:
            broken.append(first_line(error))
    if broken:
        yield Finding("fragments", name, f"{len(broken)} fragments cannot be read: {broken[0]}", FROM_COPY)
    if bad:
        todo = "take their images out with `embstore remove` and ingest them again"
        yield Finding("vectors", name, counted(bad, "vectors hold NaN or infinity", example), todo)


def _not_finite(batch: pa.RecordBatch) -> list[str]:
    column = batch.column("vector")
    numbers = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
    finite = np.isfinite(numbers).all(axis=1)
    return [] if finite.all() else batch.column("id").filter(pa.array(~finite)).to_pylist()
