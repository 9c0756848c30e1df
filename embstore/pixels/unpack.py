"""Images packed with gzip, unpacked while they are read."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embstore.errors import ImageError

GZIP_SIGNATURE = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20


@contextmanager
def unpacked(path: Path, *, max_bytes: int, max_ratio: int, free_bytes: int) -> Iterator[Path]:
    """Yield a temporary file with the content of a gzip file, named without `.gz`; it is deleted afterwards.

    Stops with an ImageError at `max_bytes`, or beyond `free_bytes` at `max_ratio` times the packed size, because a
    small file may claim any amount. Raises ImageError if the file is damaged.
    """
    limit = min(max_bytes, max(free_bytes, max_ratio * path.stat().st_size))
    with tempfile.TemporaryDirectory(prefix="embstore-") as folder:
        plain = Path(folder) / path.name.removesuffix(".gz")
        try:
            with gzip.open(path) as packed, plain.open("wb") as out:
                while chunk := packed.read(CHUNK_BYTES):
                    if out.tell() + len(chunk) > limit:
                        raise ImageError(
                            f"{path.name} unpacks to more than {limit / 1e6:,.0f} MB, wanted an image of one field; "
                            "unpack it and check what it is"
                        )
                    out.write(chunk)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ImageError(f"{path.name} is damaged ({error}), wanted a complete gzip file; copy it again") from error
        yield plain
