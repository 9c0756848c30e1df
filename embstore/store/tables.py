"""The tables at a path or URI: lance alone reads them, lancedb creates and drops them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from embstore.errors import StoreError, choices, first_line
from embstore.store import schema

FOLDER = ".lance"  # suffix of a table's folder
PIN_ATTEMPTS = 5


class Tables:
    """The tables at `uri`; `at` is the tag at which they are read, else None.

    `pinned` are the versions of the tables that are read; None for the newest ones of all tables.
    """

    def __init__(self, uri: str, *, pinned: Mapping[str, int] | None = None, at: str | None = None) -> None:
        self.uri = uri
        self.at = at
        self.pinned = pinned

    def pin(self, tag: str) -> None:
        """Read the tables at a tag from now on; raises StoreError if the tag does not exist."""
        tags = self.tags(self.names())
        if tag not in tags:
            raise StoreError(choices(tag, "tag", tags))
        self.at, self.pinned = tag, tags[tag]

    def names(self) -> list[str]:
        """Return the names of all tables, sorted; if versions are pinned, only those that these cover."""
        if self.pinned is not None:
            return sorted(self.pinned)
        folders, _ = self._listed()
        return sorted(folder.removesuffix(FOLDER) for folder in folders if folder.endswith(FOLDER))

    def other_files(self) -> list[str]:
        """Return the names of files and folders that are not tables of a store, sorted, without hidden ones."""
        folders, files = self._listed()
        others = [folder for folder in folders if not schema.is_known(folder.removesuffix(FOLDER))]
        return sorted(name for name in [*others, *files] if not name.startswith("."))

    def _listed(self) -> tuple[list[str], list[str]]:
        from lance.file import LanceFileSession

        listed = LanceFileSession(self.uri).list_with_delimiter()
        return listed.common_prefixes, listed.objects

    def dataset(self, name: str, version: int | None = None) -> Any:
        """Return the `lance` dataset of a table: at `version`, else at the pinned version, else at its newest.

        Raises StoreError if the table or the version does not exist, or the table cannot be read.
        """
        if self.pinned is not None and name not in self.pinned:
            raise StoreError(self.no_table(name))
        pinned = None if self.pinned is None else self.pinned[name]
        wanted = pinned if version is None else version
        try:
            data = self._find(name, wanted)
            newest = self._find(name) if data is None else data
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(unreadable(name, error)) from error
        if newest is None:
            raise StoreError(self.no_table(name))
        if data is None and wanted == pinned and self.at is None:
            raise StoreError(removed_meanwhile(name))
        if data is None:
            todo = f"its newest is {newest.version}; see `embstore status`"
            raise StoreError(f"{name} has no version {wanted} (any more), {todo}")
        return data

    def _find(self, name: str, version: int | None = None) -> Any | None:
        """Return the `lance` dataset of a table; None if the table, or that version of it, does not exist."""
        import lance

        try:
            return lance.dataset(self.path(name), version=version)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise

    def versions(self) -> dict[str, int]:
        """Return table -> the version that is read: its newest, or the pinned one."""
        return {name: int(self.dataset(name).version) for name in self.names()}

    def at_one_moment(self) -> dict[str, int]:
        """Return `versions` as they are between the commits of other processes, if there is such a moment."""
        if self.pinned is not None:
            return dict(self.pinned)
        versions = self.versions()
        for _ in range(PIN_ATTEMPTS):
            before, versions = versions, self.versions()
            if before == versions:
                break
        return versions

    def has_version(self, name: str, version: int) -> bool:
        """True if a table has a version, which another process may have removed."""
        return self._find(name, version) is not None

    def path(self, name: str) -> str:
        """Return the path or URI of a table."""
        return f"{self.uri.rstrip('/')}/{name}{FOLDER}"

    def no_table(self, name: str) -> str:
        """Return the error message for a missing table."""
        if self.at is not None:
            return choices(name, "table", self.pinned or (), f"at tag {self.at}")
        todo = "`embstore verify` reports what to do" if schema.is_known(name) else "see `embstore status`"
        return f"the store at {self.uri} has no table {name!r}; {todo}"

    def tags(self, names: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return tag -> table -> version of these tables, sorted by tag."""
        tags: dict[str, dict[str, int]] = {}
        for name in names:
            for tag, tagged in self.dataset(name).tags.list().items():
                tags.setdefault(tag, {})[name] = int(tagged["version"])
        return dict(sorted(tags.items()))

    def refuse_reader(self) -> None:
        """Raise a StoreError if the tables are read at a tag, or at pinned versions."""
        if self.at is not None:
            raise StoreError(read_only(self.at))
        if self.pinned is not None:
            raise StoreError(f"the store at {self.uri} is open at pinned versions; write to the one that was opened")

    def make(self, table: schema.Table) -> int:
        """Make a table, empty, unless one exists that can be opened; return its version."""
        self.refuse_reader()
        with writing(f"make the table {table.name}"):
            data = self._find(table.name)
            if data is None:
                data = _connect(self.uri).create_table(table.name, schema=table.schema, exist_ok=True)
            return int(data.version)

    def drop(self, name: str) -> None:
        """Delete a table with all of its versions and tags."""
        self.refuse_reader()
        with writing(f"delete the table {name}"):
            _connect(self.uri).drop_table(name)

    def add_columns(self, name: str, columns: Sequence[str]) -> int:
        """Add columns that a table of an older format lacks, null in its rows; return its version. May raise
        StoreError.
        """
        data, wanted = self.dataset(name), schema.TABLES[name].schema
        missing = [wanted.field(column) for column in columns if column not in data.schema.names]
        if not missing:
            return int(data.version)
        try:
            data.add_columns(pa.schema(missing))
        except (OSError, RuntimeError, ValueError) as error:
            if not set(columns) <= set(self.dataset(name).schema.names):  # unless another process has just added them
                todo = "run the same command again"
                raise StoreError(f"could not migrate {name} to today's format: {first_line(error)}; {todo}") from error
        return int(self.dataset(name).version)


def _connect(uri: str) -> Any:
    """Return the `lancedb` connection to a path or URI; importing it takes as long as three commands that read."""
    import lancedb

    return lancedb.connect(uri)


def read_only(tag: str) -> str:
    """Return the error message for a write to a store that is open at a tag."""
    return f"the store is open at tag {tag}, and can only be read; leave out --at to write to its newest version"


def unreadable(name: str, error: BaseException, data: Any = None) -> str:
    """Return the error message for a table whose files are damaged or missing; `data` is the dataset that was read."""
    if data is not None and _is_removed(data):
        return removed_meanwhile(name)
    return f"cannot read the table {name}: {first_line(error)}; `embstore verify` reports what is wrong"


def removed_meanwhile(name: str) -> str:
    """Return the error message for a version that another process removed while it was read."""
    by = "`embstore maintain` or `remove --purge`"
    return f"{name} was cleaned while it was read, by {by} in another process; run the same command again"


def _is_removed(data: Any) -> bool:
    """True if the version of a dataset is no longer one of its table's."""
    import lance

    try:
        lance.dataset(data.uri, version=data.version)
    except (OSError, RuntimeError, ValueError) as error:
        return "was not found" in str(error)
    return False


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn an engine's error during a write into a StoreError: "could not `what`"."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:  # lancedb raises RuntimeError if the disk is full
        raise StoreError(f"could not {what}: {first_line(error)}") from error


@contextmanager
def reading(name: str, data: Any) -> Iterator[None]:
    """Turn an engine's error while it reads a table's dataset into a StoreError."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(unreadable(name, error, data)) from error
