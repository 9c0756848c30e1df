"""Turn what other libraries raise on a damaged file into one line."""

from __future__ import annotations

import lzma
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import pyarrow as pa

from embstore.errors import EmbstoreError, first_line

T = TypeVar("T")

# what NumPy, zipfile, h5py, anndata and Arrow raise on files with flipped bytes
LIBRARY_ERRORS = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
    *(MemoryError, AssertionError, SyntaxError, SystemError, tokenize.TokenError),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException),
)


@dataclass(frozen=True)
class Decoder:
    """Calls a library's functions on a file; what they raise becomes an EmbstoreError that names the file.

    Only functions of libraries are called through it: a bug in embstore's own functions must not be reported as a
    damaged file.
    """

    path: Path
    kind: str  # of file, as in "cannot be read as Parquet"
    todo: str
    errors: tuple[type[Exception], ...] = ()  # further ones of the library's own

    def __call__(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        """Return what the function returns."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the note that the file is of an older format
                return function(*arguments, **options)
        except (*LIBRARY_ERRORS, *self.errors) as error:
            raise EmbstoreError(
                f"{self.path} cannot be read as {self.kind} ({first_line(error)}); {self.todo}"
            ) from error

    def each(self, items: Iterator[T]) -> Iterator[T]:
        """Yield the items of a library's iterator."""
        end = object()
        while (item := self(next, items, end)) is not end:
            yield cast("T", item)
