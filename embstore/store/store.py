"""The store: a directory or URI of versioned Lance tables; besides SQL, the only way to access them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import MissingStoreError, NotAStoreError, StoreError, UnfinishedStoreError, first_line
from embstore.files import sizes
from embstore.store import schema
from embstore.store.tables import Tables, reading, removed_meanwhile, writing
from embstore.store.upsert import Keys, append, check_keys, merge
from embstore.store.uris import is_folder, no_store, not_a_store
from embstore.store.vectors import Vectors, picked, to_numpy
from embstore.tabular import Listing, Tabular

_log = logging.getLogger(__name__)

Rows = Any  # a pyarrow.Table (which ships no types), or a sequence of mappings from column to value


class TableStatus(TypedDict):
    """The state of one table: `bytes` counts current data files, `disk_bytes` also those of old versions."""

    name: str
    rows: int
    version: int
    bytes: int
    fragments: int
    versions: int
    disk_bytes: int


def now() -> datetime:
    """Return the current time in UTC, as the `created` columns contain it."""
    return datetime.now(UTC)


class Store(Tabular):
    """A directory (or `s3://` URI) of versioned tables; open it, then read and upsert.

    >>> store = Store.open("store")                    # doctest: +SKIP
    >>> X = store.matrix(digest, ["opencell/A:1:1"])   # doctest: +SKIP
    """

    def __init__(self, tables: Tables) -> None:
        self.uri = tables.uri
        self._tables = tables
        self._keys: dict[str, Keys] = {}  # of each table that this object has written to
        self._format = schema.FORMAT_VERSION  # of the files; an older one is migrated by the first write

    @classmethod
    def open(cls, uri: str | Path, *, create: bool = False, at: str | None = None, force: bool = False) -> Store:
        """Open the store at `uri`; with `create`, make it if it does not exist (writes).

        With `at`, the name of a tag, the store is read as it was at that tag: it contains only the tables that the tag
        covers and cannot be written to. Options for `s3://` and other URIs come from the environment
        (`AWS_ENDPOINT_URL`, ...). Raises StoreError if the store does not exist (without `create`), cannot be opened or
        has an unknown format, and if the folder contains other files (unless hidden, or with `force`).
        """
        uri = os.fspath(uri).removeprefix("file://")  # lancedb would make a store at such a URI by connecting
        if "://" not in uri and not is_folder(uri) and not create:
            raise MissingStoreError(no_store(uri))
        try:
            store = cls(Tables(uri))
            names, others = store.table_names(), store._tables.other_files()
        except (OSError, RuntimeError, ValueError) as error:
            todo = "; check the bucket and the AWS_... variables of your environment" if "://" in uri else ""
            raise StoreError(f"cannot open a store at {uri}: {first_line(error)}{todo}") from error
        if "store_meta" in names and store.dataset("store_meta").count_rows():
            store._check_format()
        elif others and not force:
            raise NotAStoreError(not_a_store(uri, others))
        elif create:
            store._create_tables()
        elif names:
            raise UnfinishedStoreError(
                f"{uri} is not an embstore store (no store_meta); make one with `embstore ingest`"
            )
        else:
            raise MissingStoreError(no_store(uri))
        if at is not None:
            store._tables.pin(at)
        return store

    def _create_tables(self) -> None:
        # store_meta is filled last: if this is interrupted, the next create completes the store
        for table in schema.TABLES.values():
            self._tables.make(table)
        written = {"name": "embstore", "format_version": schema.FORMAT_VERSION, "created": now()}
        self.upsert("store_meta", [written | {"written_by": code_version()}])

    def _check_format(self) -> None:
        try:
            self._format = self.read("store_meta")["format_version"][0].as_py()
        except StoreError as error:  # no store opens without it, so `embstore verify` cannot help
            todo = f"move {self.uri}/store_meta.lance away and the next `embstore ingest` makes a new one"
            raise StoreError(f"{str(error).split('; ')[0]}; restore it from a copy of the store, or {todo}") from error
        if not 1 <= self._format <= schema.FORMAT_VERSION:
            raise StoreError(
                f"{self.uri} has store format {self._format}, this embstore reads formats 1 to "
                f"{schema.FORMAT_VERSION}; use the embstore version named in its store_meta.written_by"
            )

    # -- reading: never writes ------------------------------------------------------------------------------------

    @property
    def at(self) -> str | None:
        """The tag at which the store is read; None if it is read and written at its newest versions."""
        return self._tables.at

    def table_names(self) -> list[str]:
        """Return the names of all tables, sorted; at a tag, only those that the tag covers."""
        return self._tables.names()

    def dataset(self, name: str, version: int | None = None) -> Any:
        """Return the `lance` dataset of a table, at its newest version or a given one."""
        return self._tables.dataset(name, version)

    def read(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Return the rows of a table in storage order; all columns unless `columns` names some."""
        data = self.dataset(name, version)
        with reading(name, data):
            wanted = None if columns is None else list(columns)
            return data.scanner(columns=wanted, filter=where).to_table()

    def versions(self) -> dict[str, int]:
        """Return table -> newest version; at a tag, the tagged versions."""
        return self._tables.versions()

    def pinned(self, versions: Mapping[str, int] | None = None) -> Store:
        """Return the store as it is now, for reading only: later writes of other processes are not visible.

        `versions` are other versions at which to read some tables. `maintain` may delete old versions while they are
        read, unless a tag names them; reading them is then a StoreError that asks to try again.
        """
        present = self._tables.at_one_moment()
        store = Store(Tables(self.uri, pinned=present | dict(versions or {}), at=self.at))
        store._format = self._format
        return store

    def tags(self, tables: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
        """Return tag -> table -> version, sorted by tag; of all tables unless `tables` names some."""
        return self._tables.tags(self.table_names() if tables is None else tables)

    def status(self) -> Listing[TableStatus]:
        """Return the state of each table, in order of name: rows, version, sizes, fragments."""
        return Listing([self._state(name) for name in self.table_names()], TableStatus, "table")

    def _state(self, name: str) -> TableStatus:
        data = self.dataset(name)
        with reading(name, data):
            fragments = data.get_fragments()
            return {
                "name": name,
                "rows": data.count_rows(),
                "version": data.version,
                "bytes": sum(f.file_size_bytes or 0 for part in fragments for f in part.data_files()),
                "fragments": len(fragments),
                "versions": len(data.versions()),
                "disk_bytes": sum(sizes(data.uri).values()),
            }

    def matrix(self, space: str, ids: Sequence[str], *, version: int | None = None) -> Vectors:
        """Return the vectors of `ids` in a space, float32 (n, dim), in the order of `ids`, which may repeat.

        Always use this function to get vectors by id: Lance's own `take` returns storage order and drops repeats, which
        pairs vectors with the wrong labels without warning. Raises StoreError if an id is not in the space.
        """
        name = schema.embeddings_name(space)
        data = self.dataset(name, version)
        with reading(name, data):
            return picked(data, ids, space)

    def vectors(self, space: str) -> tuple[list[str], Vectors]:
        """Return all ids of a space and their vectors, float32 (n, dim), in the same order."""
        data = self.read(schema.embeddings_name(space))
        return data["id"].to_pylist(), to_numpy(data["vector"])

    # -- printing -------------------------------------------------------------------------------------------------

    @property
    def headline(self) -> str:
        """Return where the store is, its format, and the tag at which it is read."""
        return f"store at {self.uri}, format {self._format}{f', at tag {self.at}' if self.at else ''}"

    def to_arrow(self) -> pa.Table:
        """Return the state of each table as a `pyarrow.Table`, with the rows of `status`."""
        return self.status().to_arrow()

    def __repr__(self) -> str:
        try:
            return super().__repr__()
        except StoreError as error:  # a table is damaged, and printing must not fail
            return f"{self.headline}\n{error}"

    # -- writing: every write returns the table's new version ------------------------------------------------------

    def _open_to_write(self, name: str) -> Any:
        self._ready_to_write()
        return self.dataset(name)

    def _ready_to_write(self) -> None:
        """Raise StoreError if the store is open at a tag; migrate a store of an older format (writes)."""
        self._tables.refuse_reader()
        if self._format == schema.FORMAT_VERSION:
            return
        (meta,) = self.read("store_meta").to_pylist()
        for number in range(self._format + 1, schema.FORMAT_VERSION + 1):
            for table, columns in schema.ADDED_COLUMNS[number].items():
                self._tables.add_columns(table, columns)
        _log.info("migrated the store at %s from format %d to %d", self.uri, self._format, schema.FORMAT_VERSION)
        self._format = schema.FORMAT_VERSION
        # written last: if this is interrupted, the store keeps the older format until the next write migrates it
        self.upsert("store_meta", [meta | {"format_version": self._format, "written_by": code_version()}])

    def upsert(self, name: str, rows: Rows, *, insert: bool = True) -> int:
        """Insert rows, replacing those with the same key (writes); return the table's new version.

        With `insert=False`, rows are only replaced, so that rows deleted by another process stay deleted. Raises
        StoreError if a key occurs twice in `rows`.
        """
        data = self._open_to_write(name)
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=data.schema)
        if table.num_rows == 0:
            return int(data.version)
        key = schema.key_of(name)
        check_keys(name, table.select(key))
        with writing(f"write {table.num_rows} rows to {name}"):
            known = self._keys.setdefault(name, Keys(key))
            version = append(lambda: self.dataset(name), known, table) if insert else None
            return merge(data, key, table, insert=insert) if version is None else version

    def delete(self, name: str, where: str) -> int:
        """Delete the rows that match a SQL condition (writes); return the new version (older ones keep them)."""
        data = self._open_to_write(name)
        with writing(f"delete from {name}"):
            if data.count_rows(where):  # a delete without matching rows would still add a version
                data.delete(where)
            return int(data.version)

    def tag(self, name: str, versions: Mapping[str, int]) -> dict[str, int]:
        """Tag table versions (writes), so that cleaning keeps them; an existing tag of that name is moved.

        Returns the tagged table -> version.
        """
        for table, version in versions.items():
            tags = self._open_to_write(table).tags
            with writing(f"tag {table}"):
                self._refuse_removed(table, version)
                if name in tags.list():
                    tags.update(name, version)
                else:
                    tags.create(name, version)
            try:
                self._refuse_removed(table, version)  # by a cleaning that began before there was the tag
            except StoreError:
                tags.delete(name)
                raise
        return dict(versions)

    def _refuse_removed(self, table: str, version: int) -> None:
        if not self._tables.has_version(table, version):
            raise StoreError(removed_meanwhile(table))

    def untag(self, name: str, tables: Sequence[str] | None = None) -> dict[str, int]:
        """Remove a tag from every table, or from those given (writes); return the table -> version that it named.

        The versions stay until the next cleaning.
        """
        versions = self.tags(tables).get(name, {})
        for table in versions:
            self._open_to_write(table).tags.delete(name)
        return versions


def code_version() -> str:
    """Return `embstore <version>`, which is recorded with what this version writes."""
    from importlib.metadata import version

    return f"embstore {version('embstore')}"


def quoted(text: str) -> str:
    """Return text as a SQL literal, for the conditions of `delete`, which accept no parameters."""
    return "'" + text.replace("'", "''") + "'"
