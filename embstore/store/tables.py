"""The tables at a path or URI, as lancedb opens, makes and drops them, at their newest or at tagged versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from embstore.errors import StoreError, choices, first_line
from embstore.store import schema

# lancedb keeps the metadata of every version that it wrote, by default up to a gigabyte
METADATA_CACHE_BYTES = 16 << 20


def connect(uri: str) -> Any:
    """Return the `lancedb` connection to a path or URI."""
    import lancedb

    return lancedb.connect(uri, session=lancedb.Session(metadata_cache_size_bytes=METADATA_CACHE_BYTES))


class Tables:
    """The tables at `uri` through one connection; `at` is the tag that they are read at, else None."""

    def __init__(self, uri: str, connection: Any) -> None:
        self.uri = uri
        self.at: str | None = None
        self._db = connection
        self._pinned: Mapping[str, int] = {}  # the versions of the tag

    def pin(self, tag: str) -> None:
        """Read the tables at a tag from now on; a StoreError where there is none of that name."""
        tags = self.tags(self.names())
        if tag not in tags:
            raise StoreError(choices(tag, "tag", tags))
        self.at, self._pinned = tag, tags[tag]

    def names(self) -> list[str]:
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

    def open(self, name: str) -> Any:
        """Return the `lancedb` table, at its newest version or at the tag's."""
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
        """Return the line for a table that is missing."""
        if self.at is not None:
            return choices(name, f"table at tag {self.at}", self._pinned)
        ours = name in schema.TABLES or name.startswith(schema.EMBEDDINGS_PREFIX)
        todo = "`embstore verify` says what to do" if ours else "see `embstore status`"
        return f"the store at {self.uri} has no table {name!r}; {todo}"

    def tags(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return tag -> table -> version of these tables, sorted by tag."""
        tags: dict[str, dict[str, int]] = {}
        for name in names:
            for tag, tagged in self.open(name).tags.list().items():
                tags.setdefault(tag, {})[name] = int(tagged["version"])
        return dict(sorted(tags.items()))

    def refuse_reader(self) -> None:
        """Raise a StoreError where the tables are read at a tag."""
        if self.at is not None:
            raise StoreError(read_only(self.at))

    def make(self, table: schema.Table) -> int:
        """Make a table, empty, where there is none that could be opened; return its version."""
        self.refuse_reader()
        with writing(f"make the table {table.name}"):
            return int(self._db.create_table(table.name, schema=table.schema, exist_ok=True).version)

    def drop(self, name: str) -> None:
        """Delete a table with all of its versions and tags."""
        self.refuse_reader()
        with writing(f"delete the table {name}"):
            self._db.drop_table(name)

    def add_columns(self, name: str, columns: Sequence[str]) -> int:
        """Add columns that a table of an older format lacks, null in its rows; return its version."""
        table, wanted = self.open(name), schema.TABLES[name].schema
        missing = [wanted.field(column) for column in columns if column not in table.schema.names]
        if not missing:
            return int(table.version)
        try:
            table.add_columns(pa.schema(missing))
        except (OSError, RuntimeError, ValueError) as error:
            if not set(columns) <= set(self.open(name).schema.names):  # else another process was there first
                todo = "run the same command again"
                raise StoreError(f"could not bring {name} to today's format: {first_line(error)}; {todo}") from error
        return int(self.open(name).version)


def read_only(tag: str) -> str:
    """Return the line for a write to a store that is open at a tag."""
    return f"the store is open at tag {tag}, where it can only be read; leave out --at to write to its newest version"


def unreadable(name: str, error: BaseException) -> str:
    """Return the line for a table whose files are damaged or gone."""
    return f"cannot read the table {name}: {first_line(error)}; `embstore verify` says what is wrong"


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn an engine's error while it writes into a StoreError: "could not `what`"."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # a full disk is a RuntimeError in lancedb
        raise StoreError(f"could not {what}: {first_line(error)}") from error


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn an engine's error while it reads a table into a StoreError."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(unreadable(name, error)) from error
