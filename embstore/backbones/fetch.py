"""Get a backbone's file: from the Hugging Face Hub, over HTTP(S) with resume, or from this disk."""

from __future__ import annotations

import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlparse

from embstore.backbones.hub import download_from_hub
from embstore.backbones.record import Backbone
from embstore.backbones.weights import Tensors, local_file, missing, weights_folder, weights_path
from embstore.errors import WeightsError, advised, first_line
from embstore.files import file_sha256
from embstore.progress import Progress, tell

_log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT_S = 30.0  # without receiving a byte
TRIES = 5  # successive connections that bring nothing
WAIT_S = 0.5  # before the next of those, longer each time
BLOCK = 1 << 20
MB = 1_000_000


def fetch_weights(backbone: Backbone, source: str | Path | None = None, *, progress: Progress | None = None) -> Path:
    """Get a backbone's published file, check it, and store it in the weights folder as safetensors; return that path.

    `source` is a URL or a file to use instead of the record's own. The file's sha256 must match the record, if it has
    one, and its tensors must be exactly the network's; both hashes are recorded in the header of the new file. An
    interrupted download continues where it stopped. `progress(stage, done, total)` counts MB. Raises WeightsError, and
    then writes nothing except the beginning of a download that can continue.
    """
    if backbone.weights_format in {"none", "drawn", "shipped"}:
        raise WeightsError(f"{backbone.name} needs no file: it is ready")
    existing = local_file(backbone)
    if existing is not None:
        if source is None:
            return existing
        raise WeightsError(f"{backbone.name} is at {existing} already; move it away to use another file")
    if source is None and backbone.hub:
        return download_from_hub(backbone)
    where = str(source or backbone.url)
    if not where:
        line, todo = missing(backbone)
        raise WeightsError(line, todo=todo)
    if not where.startswith(("http://", "https://")):
        return _install(backbone, Path(where).expanduser())
    folder = weights_folder() / ".downloads"
    try:
        path = download(where, folder, progress=progress)
        try:
            return _install(backbone, path)
        finally:
            path.unlink(missing_ok=True)
    finally:
        with suppress(OSError):  # it may contain the beginning of another download
            folder.rmdir()


def _install(backbone: Backbone, path: Path) -> Path:
    """Convert a published file, after strict checks, to safetensors under timm's names in the weights folder."""
    from embstore.backbones.weights import weights_sha256, write_weights

    if not path.is_file() or not os.access(path, os.R_OK):
        raise WeightsError(f"there is no file {path} to read; name the file or URL of {backbone.file or 'its weights'}")
    sha256 = file_sha256(path)
    if backbone.file_sha256 not in ("", sha256):
        raise WeightsError(
            f"{path} has the sha256 {sha256[:12]}, {backbone.name} needs {backbone.file_sha256[:12]}; get "
            f"{backbone.file} from {backbone.source}"
        )
    with advised(f"get {backbone.file or 'the file'} from {backbone.source}"):
        tensors = _fitting_tensors(backbone, path)
    weights_digest = weights_sha256(tensors)
    if backbone.weights_sha256 not in (None, weights_digest):
        raise WeightsError(
            f"{path} has the weights {weights_digest[:12]}, {backbone.name} needs {str(backbone.weights_sha256)[:12]}; "
            f"get them from {backbone.source}"
        )
    origin = {"backbone": backbone.name, "file": path.name, "file_sha256": sha256, "weights_sha256": weights_digest}
    write_weights(weights_path(backbone), tensors, origin)
    return weights_path(backbone)


def _fitting_tensors(backbone: Backbone, path: Path) -> Tensors:
    """Return the tensors of a published file, which are exactly those of the backbone's network."""
    if backbone.kind == "convolutional":
        from embstore.backbones.convolutional import convolutional_tensors, fitting_convolutional

        tensors = convolutional_tensors(backbone, path)
        fitting_convolutional(backbone, tensors, str(path))
        return tensors
    from embstore.backbones.checkpoints import read_checkpoint
    from embstore.backbones.network import fitting

    published = "timm" if backbone.weights_format == "safetensors" else backbone.weights_format
    tensors, _ = read_checkpoint(path, published)
    fitting(backbone, tensors, str(path))
    return tensors


def download(url: str, folder: str | Path, *, progress: Progress | None = None) -> Path:
    """Download a URL into a folder and return the file; a download that was interrupted is continued.

    It continues only if the server still has the same file (by ETag or date), else it starts again. Raises
    WeightsError, also if another process is downloading the same file.
    """
    try:
        name = Path(urlparse(url).path).name
        whole = Path(folder) / ("weights" if name in {"", ".."} else name)
        part, tag = whole.with_name(f"{whole.name}.part"), whole.with_name(f"{whole.name}.tag")
        whole.parent.mkdir(parents=True, exist_ok=True)
        with _locked(whole.with_name(f"{whole.name}.lock")):
            try:
                with part.open("ab") as handle:
                    _connect(url, handle, tag, progress)
                part.replace(whole)
                tag.unlink(missing_ok=True)
            finally:
                if part.exists() and not part.stat().st_size:  # nothing was received
                    part.unlink()
    except BlockingIOError as error:
        raise WeightsError(f"another process is downloading {url}; wait for it") from error
    except urllib.error.HTTPError as error:
        raise WeightsError(f"{url} answers {error.code} {error.reason}; give another --from URL or FILE") from error
    except (OSError, ValueError, http.client.InvalidURL) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or first_line(error)
        raise WeightsError(f"cannot download {url} ({reason}); run this again, or give --from FILE") from error
    return whole


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    """Lock a download for this process: two processes that append to one file would mix their data.

    Raises BlockingIOError if another process has locked it.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, blocking=False):
            try:
                yield
            finally:
                with suppress(OSError):  # Windows deletes it when it is unlocked
                    lock.unlink()
    except Timeout as error:
        raise BlockingIOError(f"{lock} is locked") from error


def _connect(url: str, handle: IO[bytes], tag: Path, progress: Progress | None) -> None:
    """Connect until the file is complete; WeightsError if successive connections bring nothing."""
    fruitless = 0
    while not _one_connection(url, handle, before := _size(handle), tag, progress):
        fruitless = 0 if _size(handle) > before else fruitless + 1
        _log.warning("the connection to %s ended after %d bytes: connecting again", url, _size(handle))
        if fruitless == TRIES:
            stopped = f"the download of {url} keeps stopping after {_size(handle)} bytes"
            raise WeightsError(f"{stopped}; run this again to continue")
        time.sleep(WAIT_S * fruitless)


def _size(handle: IO[bytes]) -> int:
    return handle.seek(0, os.SEEK_END)


def _one_connection(url: str, handle: IO[bytes], present: int, tag: Path, progress: Progress | None) -> bool:
    """Append what one connection delivers to the bytes that are present; return whether the file is complete."""
    have = present if tag.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "embstore"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text("utf-8"))
    try:
        with urllib.request.urlopen(request, timeout=DOWNLOAD_TIMEOUT_S) as answer:
            continues = (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-")
            if not continues:
                have = 0
                handle.truncate(0)
            _keep_tag(answer.headers.get("ETag") or answer.headers.get("Last-Modified"), tag)
            length = answer.headers.get("Content-Length") or ""
            total = have + int(length) if length.isdecimal() else 0
            have = _copy(answer, handle, have, total, progress)
            return have == total or not total
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        if error.headers.get("Content-Range") == f"bytes */{have}":  # complete, but the command was killed then
            return True
        handle.truncate(0)  # the part is not the beginning of that file
        return False
    except http.client.InvalidURL:
        raise
    except (http.client.HTTPException, ConnectionError, TimeoutError):
        return False
    finally:
        handle.flush()


def _keep_tag(known: str | None, tag: Path) -> None:
    """Record which version of the file a part belongs to; a part without an ETag or date is never continued."""
    if known:
        tag.write_text(known, "utf-8")
    else:
        tag.unlink(missing_ok=True)


def _copy(answer: IO[bytes], handle: IO[bytes], have: int, total: int, progress: Progress | None) -> int:
    while block := answer.read(BLOCK):
        handle.write(block)
        have += len(block)
        tell(progress, "MB", have // MB, max(total, have) // MB)
    return have
