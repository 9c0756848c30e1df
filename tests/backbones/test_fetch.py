"""Getting files, from a real HTTP server on the loopback address: whole, resumed, refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from filelock import FileLock
from published import dino_weights, subcell_of, write_dino
from safetensors.torch import save_file

from embstore.backbones.fetch import TRIES, download, fetch_weights
from embstore.backbones.network import load_network
from embstore.backbones.record import Backbone
from embstore.backbones.registry import BACKBONES, availability
from embstore.backbones.weights import weights_origin, weights_path
from embstore.errors import WeightsError
from embstore.files import file_sha256

NAME = "hpa-tiny"
TINY: dict[str, int] = {"width": 128, "depth": 2, "patch": 8, "channels": 4, "grid": 4}


class Server(ThreadingHTTPServer):
    """A server of one file, which can be made to behave badly; `asked` lists the Range of each request."""

    content = b""
    etag: str | None = '"one"'
    ranges = True  # whether it knows them
    drop_after: int | None = None  # bytes of each answer after which the connection is cut
    gives_up = False  # nothing comes of what is asked for later
    status = 200
    asked: list[str | None]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/files/checkpoint.pth?download=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        served, wanted = self.server, self.headers.get("Range")
        served.asked.append(wanted)
        if served.status != 200:
            self.send_error(served.status)
            return
        same = self.headers.get("If-Range") in (None, served.etag)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and served.ranges and same else 0
        if start and start >= len(served.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(served.content)}")
            self.end_headers()
            return
        body = b"" if start and served.gives_up else served.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(served.content) - 1}/{len(served.content)}")
        self.send_header("Content-Length", str(len(served.content) - start))
        if served.etag:
            self.send_header("ETag", served.etag)
        self.end_headers()
        self.wfile.write(body[: served.drop_after])

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between connections, and no proxy."""
    monkeypatch.setattr("embstore.backbones.fetch.WAIT_S", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_dino(tmp_path / "DINO_FOV_checkpoint.pth", dino_weights(**TINY))


@pytest.fixture
def backbone(tmp_path: Path, server: Server, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """A backbone as hpa, but tiny, whose file that server has."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    server.content = checkpoint.read_bytes()
    arguments = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
    return replace(
        BACKBONES["hpa"], name=NAME, architecture_args=arguments, input_px=32, dim=128, url=server.url,
        file_sha256=file_sha256(checkpoint),
    )  # fmt: skip


def left(tmp_path: Path) -> list[str]:
    """Return what lies in the weights folder."""
    return sorted(str(path.relative_to(tmp_path / "weights")) for path in (tmp_path / "weights").rglob("*"))


def test_a_file_is_fetched_checked_and_converted_once(
    backbone: Backbone, server: Server, checkpoint: Path, tmp_path: Path
) -> None:
    """The backbone is ready, both hashes are kept, the download is not, and a second fetch asks nobody."""
    message: list[tuple[str, int, int]] = []
    assert not availability(backbone)[0]
    path = fetch_weights(backbone, progress=lambda *step: message.append(step))
    assert path == weights_path(backbone)
    assert availability(backbone) == (True, "")
    assert left(tmp_path) == [f"{NAME}.safetensors"]
    _, sha256 = load_network(backbone)
    wanted = {"backbone": NAME, "file": "checkpoint.pth", "file_sha256": file_sha256(checkpoint)}
    assert weights_origin(path) == wanted | {"weights_sha256": sha256}
    assert message[-1][0] == "MB"
    assert message[-1][1] == message[-1][2] == len(server.content) // 1_000_000
    assert fetch_weights(backbone) == path
    assert server.asked == [None]


def test_a_download_whose_connection_is_cut_goes_on_where_it_was(backbone: Backbone, server: Server) -> None:
    """Every connection brings a part; each next one asks for what is missing, and the file is whole."""
    server.drop_after = len(server.content) // 2 - 1000
    fetch_weights(backbone)
    assert server.asked == [None, f"bytes={server.drop_after}-", f"bytes={2 * server.drop_after}-"]


def test_a_download_that_stopped_is_gone_on_with_by_the_next_command(
    backbone: Backbone, server: Server, tmp_path: Path
) -> None:
    """When nothing more comes it is one line, what came is kept, and the same command asks for the rest."""
    server.drop_after, server.gives_up = 5000, True
    with pytest.raises(WeightsError, match="keeps stopping after 5000 bytes; run this again to continue") as caught:
        fetch_weights(backbone)
    assert "\n" not in str(caught.value)
    assert server.asked == [None] + ["bytes=5000-"] * TRIES
    assert left(tmp_path) == [".downloads", ".downloads/checkpoint.pth.part", ".downloads/checkpoint.pth.tag"]
    server.drop_after, server.gives_up, server.asked = None, False, []
    fetch_weights(backbone)
    assert server.asked == ["bytes=5000-"]
    assert left(tmp_path) == [f"{NAME}.safetensors"]


@pytest.mark.parametrize("change", [{"etag": '"two"'}, {"etag": None}, {"ranges": False}])
def test_another_file_or_a_server_without_ranges_starts_again(
    server: Server, tmp_path: Path, change: dict[str, Any]
) -> None:
    """What was there of the file from before is not joined to another one."""
    (tmp_path / "checkpoint.pth.part").write_bytes(b"old" * 100)
    (tmp_path / "checkpoint.pth.tag").write_text('"one"')
    server.content = b"new" * 1000
    for name, value in change.items():
        setattr(server, name, value)
    assert download(server.url, tmp_path).read_bytes() == server.content
    assert server.asked[0] == "bytes=300-"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pth"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    """A server that cannot satisfy the range has another file."""
    (tmp_path / "checkpoint.pth.part").write_bytes(b"x" * 100)
    (tmp_path / "checkpoint.pth.tag").write_text('"one"')
    server.content = b"short"
    assert download(server.url, tmp_path).read_bytes() == b"short"
    assert server.asked == ["bytes=100-", None]


def test_a_part_that_is_the_whole_file_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    """A kill between the last byte and the file's name costs one question."""
    server.content = b"whole" * 100
    (tmp_path / "checkpoint.pth.part").write_bytes(server.content)
    (tmp_path / "checkpoint.pth.tag").write_text('"one"')
    assert download(server.url, tmp_path).read_bytes() == server.content
    assert server.asked == ["bytes=500-"]


def test_two_downloads_of_one_file_do_not_mix(server: Server, tmp_path: Path) -> None:
    """While one process downloads a file, another one's download of it is refused in one line."""
    server.content = b"x" * 100
    refused = pytest.raises(WeightsError, match="another process is downloading http")
    with FileLock(tmp_path / "checkpoint.pth.lock"), refused:
        download(server.url, tmp_path)
    assert download(server.url, tmp_path).read_bytes() == server.content


@pytest.mark.parametrize("url", ["http://[broken/x", "http://", "https://µ.example.org:port/x"])
def test_what_is_no_url_is_one_line(url: str, tmp_path: Path) -> None:
    """Brackets, no host, no port."""
    with pytest.raises(WeightsError, match="cannot download") as caught:
        download(url, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_sha256_is_refused_and_not_kept(backbone: Backbone, server: Server, tmp_path: Path) -> None:
    """The line names both, and nothing is left."""
    server.content = b"x" + server.content[1:]
    with pytest.raises(WeightsError, match=r"has the sha256 .*, hpa-tiny needs .*; get DINO_FOV_"):
        fetch_weights(backbone)
    assert left(tmp_path) == []


@pytest.mark.parametrize("weights_format", ["dino", "subcell"])
def test_a_file_of_another_network_is_refused_and_not_kept(
    backbone: Backbone, tmp_path: Path, weights_format: str
) -> None:
    """Another width, or another format than the record's: nothing is written."""
    weights = dino_weights(**TINY | {"width": 64})
    if weights_format == "dino":
        path, line = write_dino(tmp_path / "other.pth", weights), r"\(64,.*, wanted \(128,"
    else:
        path, line = (
            tmp_path / "other.pth",
            "is in the format subcell, wanted dino; get DINO_FOV_checkpoint.pth from https",
        )
        torch.save(subcell_of(weights), path)
    with pytest.raises(WeightsError, match=line):
        fetch_weights(replace(backbone, file_sha256=""), str(path))
    assert not (tmp_path / "weights").exists()


def test_a_copy_on_this_disk_takes_the_place_of_the_download(
    backbone: Backbone, server: Server, checkpoint: Path, tmp_path: Path
) -> None:
    """The same weights; the copy stays; a backbone that is ready takes no other file."""
    fetch_weights(backbone, str(checkpoint))
    assert checkpoint.exists()
    assert server.asked == []
    with pytest.raises(WeightsError, match=r"hpa-tiny is at .* already; move it away"):
        fetch_weights(backbone, str(checkpoint))
    with pytest.raises(WeightsError, match="there is no file /nowhere to read; name the file or URL of DINO_FOV"):
        fetch_weights(replace(backbone, name="other"), "/nowhere")


def test_servers_that_say_no_or_nothing_are_one_line(backbone: Backbone, server: Server, tmp_path: Path) -> None:
    """A missing page, and a port where nobody answers."""
    server.status = 404
    with pytest.raises(WeightsError, match="answers 404 Not Found; give another --from URL or FILE") as caught:
        fetch_weights(backbone)
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match=r"cannot download http://127\.0\.0\.1:9/x \(.*refused\)"):
        fetch_weights(backbone, "http://127.0.0.1:9/x")
    assert not (tmp_path / "weights" / ".downloads").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("vit-random", "vit-random needs no file: it is ready"),
        ("opencell", "opencell has no published file; pretrain one of your own"),
    ],
)
def test_a_missing_file_is_reported(name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn, shipped and unpublished backbones."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(WeightsError, match=line):
        fetch_weights(BACKBONES[name])


class Hub(Handler):
    """The few answers of the Hugging Face Hub that its client requests; `asked` lists method and path."""

    def do_HEAD(self) -> None:
        self.server.asked.append(f"HEAD {self.path}")
        self._head()

    def do_GET(self) -> None:
        self.server.asked.append(f"GET {self.path}")
        self._head()
        self.wfile.write(self.server.content)

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("ETag", f'"{"b" * 64}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()


HUB_PROGRAM = """
import sys, numpy as np, torch
torch.set_num_threads(1)
from embstore.backbones.fetch import fetch_weights
from embstore.backbones.network import load_network
from embstore.backbones.registry import availability, find
backbone = find("timm:test_vit.r160_in1k")
before = availability(backbone)[0]
fetch_weights(backbone)
network, sha256 = load_network(backbone)
shown = torch.linspace(-1, 1, 3 * 160 * 160).reshape(1, 3, 160, 160)
with torch.inference_mode():
    np.save(sys.argv[1], network.forward_features(shown).numpy())
print(before, sha256)
"""


@pytest.mark.slow
def test_timms_networks_come_from_the_hub_and_then_from_its_cache(server: Server, tmp_path: Path) -> None:
    """Downloaded once, without the classifier, exactly timm's network; the second time there is no network at all."""
    torch.manual_seed(1)
    network = timm.create_model("test_vit", pretrained=False, num_classes=1000).eval()
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    server.content, server.RequestHandlerClass = (tmp_path / "model.safetensors").read_bytes(), Hub
    folders = {"HF_HOME": str(tmp_path / "hf"), "EMBSTORE_WEIGHTS": str(tmp_path / "weights")}
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    printed = []
    for offline in ({"HF_ENDPOINT": server.url.split("/files")[0]}, {"HF_HUB_OFFLINE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", HUB_PROGRAM, tmp_path / "tokens.npy"],
            check=False, capture_output=True, text=True, env=clean | folders | offline,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(done.stdout.split())
    assert [ready for ready, _ in printed] == ["False", "True"]
    assert printed[0][1] == printed[1][1]
    assert any(line == "GET /timm/test_vit.r160_in1k/resolve/main/model.safetensors" for line in map(str, server.asked))
    shown = torch.linspace(-1, 1, 3 * 160 * 160).reshape(1, 3, 160, 160)
    with torch.inference_mode():
        wanted = network.forward_features(shown).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "tokens.npy"), wanted, atol=1e-5)
