"""The store: a directory or URI of versioned Lance tables, and the only door to lancedb and lance."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.errors import MissingStoreError, NotAStoreError, StoreError, choices, first_line
from embstore.files import sizes
from embstore.store import schema
from embstore.store.upsert import Keys, append, check_keys, drop_fragments, extra_rows, merge
from embstore.store.vectors import Vectors, picked, to_numpy, vector_rows

Rows = Any  # a pyarrow.Table (which ships no types), or a sequence of mappings from column to value

# lancedb keeps the metadata of every version that it wrote, by default up to a gigabyte
METADATA_CACHE_BYTES = 16 << 20


def now() -> datetime:
    """Return the time with its zone, as every `created` column holds it."""
    return datetime.now(UTC)


class Store:
    """A directory (or `s3://` URI) of versioned tables; open it, then read and upsert.

    >>> store = Store.open("store")                    # doctest: +SKIP
    >>> X = store.matrix(digest, ["opencell/A:1:1"])   # doctest: +SKIP
    """

    def __init__(self, uri: str, connection: Any) -> None:
        self.uri = uri
        self.at: str | None = None  # the tag that it is read at
        self._db = connection
        self._keys: dict[str, Keys] = {}  # of each table that was written to
        self._pinned: Mapping[str, int] = {}  # the versions of that tag
        self._format = schema.FORMAT_VERSION  # what it is in; an older one is migrated by its first write

    @classmethod
    def open(cls, uri: str | os.PathLike[str], *, create: bool = False, at: str | None = None) -> Store:
        """Open the store at `uri`; `create` makes a missing one (writes), else a missing one is a StoreError.

        `at` is a tag: the store is then read as it was, holds only the tables that the tag covers, and cannot be
        written to. Storage options of `s3://` and other URIs come from the environment (`AWS_ENDPOINT_URL`, ...).
        """
        import lancedb

        uri = os.fspath(uri).removeprefix("file://")  # as a URI it would be made by connecting to it
        if not create and "://" not in uri and not Path(uri).is_dir():
            raise MissingStoreError(
                f"there is no store at {uri}; make one with `embstore ingest`, or name another with --store"
            )
        try:
            session = lancedb.Session(metadata_cache_size_bytes=METADATA_CACHE_BYTES)
            store = cls(uri, lancedb.connect(uri, session=session))
            names = store.table_names()
        except (OSError, RuntimeError, ValueError) as error:
            todo = "; check the bucket and the AWS_... variables of your environment" if "://" in uri else ""
            raise StoreError(f"cannot open a store at {uri}: {first_line(error)}{todo}") from error
        if "store_meta" in names and store._rows("store_meta"):
            store._check_format()
        elif create:
            store._create_tables()
        else:
            raise NotAStoreError(f"{uri} is not an embstore store (no store_meta); make one with `embstore ingest`")
        if at is not None:
            store._pin(at)
        return store

    def _pin(self, tag: str) -> None:
        tags = self.tags()
        if tag not in tags:
            raise StoreError(choices(tag, "tag", tags))
        self.at, self._pinned = tag, tags[tag]

    def _create_tables(self) -> None:
        # store_meta is filled last: a kill in between leaves a store that the next create completes
        for table in schema.TABLES.values():
            self.make_table(table)
        written = {"name": "embstore", "format_version": schema.FORMAT_VERSION, "created": now()}
        self.upsert("store_meta", [written | {"written_by": code_version()}])

    def _check_format(self) -> None:
        try:
            self._format = self.read("store_meta")["format_version"][0].as_py()
        except StoreError as error:  # without it no store opens, so that `embstore verify` cannot help
            todo = f"move {self.uri}/store_meta.lance away and the next `embstore ingest` makes it anew"
            raise StoreError(
                f"{str(error).split('; ')[0]}; bring it back from a copy of the store, or {todo}"
            ) from error
        if not 1 <= self._format <= schema.FORMAT_VERSION:
            raise StoreError(
                f"{self.uri} has store format {self._format}, this embstore reads formats 1 to "
                f"{schema.FORMAT_VERSION}; use the embstore version named in its store_meta.written_by"
            )

    # -- reading: never writes ------------------------------------------------------------------------------------

    def table_names(self) -> list[str]:
        """Return the names of all tables, sorted; at a tag, of those that it covers."""
        if self.at is not None:
            return sorted(self._pinned)
        names: list[str] = []
        token = None
        while True:
            page = self._db.list_tables(page_token=token)
            names += page.tables
            token = page.page_token
            if not token:
                return sorted(names)

    def dataset(self, name: str, version: int | None = None) -> Any:
        """Return the `lance` dataset of a table, at its newest version or at the one asked for."""
        table = self._open(name)
        if version is not None:
            try:
                table.checkout(version)
            except (ValueError, RuntimeError) as error:
                raise StoreError(
                    f"{name} has no version {version} (any more), its newest is {table.version}; see `embstore status`"
                ) from error
        return table.to_lance()

    def _open(self, name: str) -> Any:
        try:
            table = self._db.open_table(name)
        except (ValueError, FileNotFoundError) as error:
            raise StoreError(self.no_table(name)) from error
        except (OSError, RuntimeError) as error:
            raise StoreError(unreadable(name, error)) from error
        if self.at is None:
            return table
        if name not in self._pinned:
            raise StoreError(self.no_table(name))
        table.checkout(self._pinned[name])
        return table

    def no_table(self, name: str) -> str:
        """Return the line for a table that is not there."""
        if self.at is not None:
            return choices(name, f"table at tag {self.at}", self._pinned)
        todo = (
            "`embstore verify` says what to do"
            if name in schema.TABLES or name.startswith(schema.EMBEDDINGS_PREFIX)
            else "see `embstore status`"
        )
        return f"the store at {self.uri} has no table {name!r}; {todo}"

    def read(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        where: pc.Expression | None = None,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Return the rows of a table, in storage order, all columns unless named."""
        with _reading(name):
            wanted = None if columns is None else list(columns)
            return self.dataset(name, version).scanner(columns=wanted, filter=where).to_table()

    def _rows(self, name: str) -> int:
        return int(self._open(name).count_rows())

    def versions(self) -> dict[str, int]:
        """Return table -> newest version; at a tag, the tagged ones."""
        return {name: int(self._open(name).version) for name in self.table_names()}

    def tags(self, tables: Sequence[str] | None = None) -> dict[str, dict[str, int]]:
        """Return tag -> table -> version, sorted by tag; of all tables unless named."""
        tags: dict[str, dict[str, int]] = {}
        for name in self.table_names() if tables is None else tables:
            for tag, found in self._open(name).tags.list().items():
                tags.setdefault(tag, {})[name] = int(found["version"])
        return dict(sorted(tags.items()))

    def status(self) -> list[dict[str, Any]]:
        """Return one record a table: name, rows, version, bytes (of live data files), how many fragments and versions
        it has, and disk_bytes (of all that lies there, old versions included).
        """
        return [self._state(name) for name in self.table_names()]

    def _state(self, name: str) -> dict[str, Any]:
        with _reading(name):
            data = self.dataset(name)
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
        """Return the vectors of `ids` in a space, float32 (n, dim): in the order asked for, repeats kept.

        The only door from ids to vectors. An id that the space does not hold is a StoreError; Lance's own take
        returns storage order and drops repeats, which pairs vectors with the wrong labels without a word.
        """
        name = schema.embeddings_name(space)
        data = self.dataset(name, version)
        with _reading(name):
            return picked(data, ids, space)

    def vectors(self, space: str) -> tuple[list[str], Vectors]:
        """Return every id of a space and its vectors, float32 (n, dim), in one order."""
        data = self.read(schema.embeddings_name(space))
        return data["id"].to_pylist(), to_numpy(data["vector"])

    # -- writing: every write returns the table's new version ------------------------------------------------------

    def _open_to_write(self, name: str) -> Any:
        self._ready_to_write()
        return self._open(name)

    def _ready_to_write(self) -> None:
        """Refuse a reader, and bring a store of an older format to today's."""
        self.refuse_reader()
        if self._format == schema.FORMAT_VERSION:
            return
        (meta,) = self.read("store_meta").to_pylist()
        for number in range(self._format + 1, schema.FORMAT_VERSION + 1):
            for table, columns in schema.ADDED_COLUMNS[number].items():
                self.add_columns(table, columns)
        self._format = schema.FORMAT_VERSION
        # said last: a kill in between leaves the older format, and the next write finishes
        self.upsert("store_meta", [meta | {"format_version": self._format, "written_by": code_version()}])

    def add_columns(self, name: str, columns: Sequence[str]) -> None:
        """Add columns that the schema has and a table of an older format lacks, null in its rows (for migrations)."""
        table, wanted = self._open(name), schema.TABLES[name].schema
        missing = [wanted.field(column) for column in columns if column not in table.schema.names]
        if not missing:
            return
        try:
            table.add_columns(pa.schema(missing))
        except (OSError, RuntimeError, ValueError) as error:
            if set(columns) <= set(self._open(name).schema.names):  # another process was there first
                return
            todo = "run the same command again"
            raise StoreError(f"could not bring {name} to today's format: {first_line(error)}; {todo}") from error

    def refuse_reader(self) -> None:
        """Raise a StoreError where the store is open at a tag."""
        if self.at is not None:
            raise StoreError(read_only(self.at))

    def upsert(self, name: str, rows: Rows, *, insert: bool = True) -> int:
        """Insert rows, replacing those of the same key; return the table's new version.

        Without `insert` rows are replaced alone: those that another process took out stay out. A key that comes twice
        in `rows` is a StoreError.
        """
        handle = self._open_to_write(name)
        table = schema.TABLES.get(name)
        key = table.key if table else ("id",)
        data = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema=handle.schema)
        if data.num_rows == 0:
            return int(handle.version)
        check_keys(name, data.select(key))
        with _writing(f"write {data.num_rows} rows to {name}"):
            known = self._keys.setdefault(name, Keys(key))
            version = append(lambda: self.dataset(name), known, data) if insert else None
            return merge(handle, key, data, insert=insert) if version is None else version

    def delete(self, name: str, where: str) -> int:
        """Delete the rows that a SQL condition picks; return the table's new version (older ones keep them)."""
        handle = self._open_to_write(name)
        with _writing(f"delete from {name}"):
            # a delete that finds nothing would be a version more
            return int(handle.delete(where).version if handle.count_rows(where) else handle.version)

    def drop_repeats(self, name: str) -> int:
        """Delete the rows whose key a row before them has; return how many went."""
        handle = self._open_to_write(name)
        table = schema.TABLES.get(name)
        with _writing(f"delete from {name}"):
            extra = extra_rows(self.dataset(name), table.key if table else ("id",))
            for start in range(0, len(extra), 5_000):
                handle.delete(f"_rowid IN ({', '.join(map(str, extra[start : start + 5_000]))})")
        return len(extra)

    def drop_fragments(self, name: str, fragments: Sequence[int]) -> int:
        """Take fragments out of a table without reading them; return its new version (older ones keep them)."""
        self._ready_to_write()
        with _writing(f"take fragments out of {name}"):
            return drop_fragments(self.dataset(name), fragments)

    def make_table(self, table: schema.Table) -> None:
        """Make a table, empty, where there is none that could be opened."""
        self.refuse_reader()
        with _writing(f"make the table {table.name}"):
            self._db.create_table(table.name, schema=table.schema, exist_ok=True)

    def drop_table(self, name: str) -> None:
        """Delete a table with all of its versions and tags."""
        self.refuse_reader()
        with _writing(f"delete the table {name}"):
            self._db.drop_table(name)

    def put_vectors(self, space: str, ids: Sequence[str], vectors: npt.NDArray[np.floating[Any]]) -> int:
        """Insert vectors (n, dim) under their ids, cast to what the space stores; non-finite ones are refused."""
        name = schema.embeddings_name(space)
        return self.upsert(name, vector_rows(ids, vectors, space, self._open(name).schema))

    def add_space(self, record: Mapping[str, Any], dim: int, *, half: bool, canary: Sequence[float] = ()) -> None:
        """Record a space and make its empty table; a space that is there is left as it is."""
        self._ready_to_write()
        self.make_table(schema.embeddings(record["digest"], dim, half=half))
        if not self.read("spaces", ["digest"], pc.field("digest") == record["digest"]).num_rows:
            self.upsert("spaces", [dict(record) | {"dim": dim, "canary": list(canary), "created": now()}])

    def tag(self, name: str, versions: Mapping[str, int]) -> None:
        """Name these table versions, so that cleaning keeps them; an existing tag of that name moves."""
        for table, version in versions.items():
            tags = self._open_to_write(table).tags
            with _writing(f"tag {table}"):
                if name in tags.list():
                    tags.update(name, version)
                else:
                    tags.create(name, version)

    def untag(self, name: str, tables: Sequence[str] | None = None) -> None:
        """Take a tag off every table, or those named; its versions stay until the next cleaning."""
        for table in self.tags(tables).get(name, {}):
            self._open_to_write(table).tags.delete(name)


def code_version() -> str:
    """Return `embstore <version>`, as recorded with what it wrote."""
    from importlib.metadata import version

    return f"embstore {version('embstore')}"


def read_only(tag: str) -> str:
    """Return the line for a write to a store that is open at a tag."""
    return f"the store is open at tag {tag}, where it can only be read; leave out --at to write to its newest version"


def unreadable(name: str, error: BaseException) -> str:
    """Return the line for a table whose files are damaged or gone."""
    return f"cannot read the table {name}: {first_line(error)}; `embstore verify` says what is wrong"


@contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a full disk is a RuntimeError in lancedb
        raise StoreError(f"could not {what}: {first_line(error)}") from error


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(unreadable(name, error)) from error


def quoted(text: str) -> str:
    """Return text as a SQL literal, for the conditions of `delete`, which take no parameters."""
    return "'" + text.replace("'", "''") + "'"
