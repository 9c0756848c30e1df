"""A store in a bucket is a store: against an S3 server (moto) on the loopback address."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from drawn_fields import run_together

from embstore.care.maintain import maintain
from embstore.care.remove import remove
from embstore.care.tags import create_tag
from embstore.care.verify import verify
from embstore.errors import StoreError
from embstore.ingest import ingest
from embstore.search import similar_proteins
from embstore.store import Store

from .conftest import contents

START_S = 60.0
UPSERTS = """
from embstore.store import Store
store, me = Store.open(sys.argv[1]), sys.argv[2]
go()
for turn in range(4):
    store.upsert("proteins", [{"protein_id": f"p{turn}.{i}", "gene": me} for i in range(20)])
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An empty bucket on a server of its own; the URI, with the storage options in the environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        make_bucket(f"{endpoint}/lab")
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("AWS_ENDPOINT_URL", endpoint)
            for name, value in (("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("REGION", "us-east-1")):
                patched.setenv(f"AWS_{name}", value)
            patched.setenv("AWS_ALLOW_HTTP", "true")
            yield "s3://lab"
    finally:
        server.terminate()
        server.wait()


def make_bucket(url: str) -> None:
    stop = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5).close()
        except OSError:
            if time.monotonic() > stop:
                raise
            time.sleep(0.2)
        else:
            return


@pytest.mark.slow
def test_a_bucket_holds_what_a_folder_holds(bucket: str, phantom: Path, phantom_store: Path) -> None:
    """Ingest, search, status, verify, tags, removal and maintenance give in a bucket what they give on a disk."""
    uri, local = f"{bucket}/atlas", Store.open(phantom_store)
    labels = phantom / "labels.csv"
    ingest(uri, phantom / "images", layout="opencell", backbones=["pixel-stats"], labels=labels)
    store = Store.open(uri)
    assert contents(store) == contents(local)
    assert similar_proteins(store, "PHN001").rows == similar_proteins(local, "PHN001").rows
    for row, same in zip(store.status(), local.status(), strict=True):
        assert [row[c] for c in ("name", "rows", "bytes")] == [same[c] for c in ("name", "rows", "bytes")]
        assert row["disk_bytes"] > row["bytes"]
    create_tag(store, "whole")
    assert remove(store, "gene = 'PHN002'").images == 1
    records = {r["table"]: r for r in maintain(store, older_than_days=0)}
    assert records["ingested"]["versions_after"] == 2
    assert verify(store).wrong == ()
    then = Store.open(uri, at="whole")
    digest = then.read("spaces")["digest"][0].as_py()
    ids, vectors = local.vectors(digest)
    np.testing.assert_array_equal(then.matrix(digest, ids), vectors)


def test_processes_that_write_the_same_keys_to_a_bucket_leave_each_once(bucket: str) -> None:
    """Two at once, new keys in every turn: who comes second looks again."""
    store = Store.open(f"{bucket}/beside", create=True)
    run_together(UPSERTS, [(store.uri, "a"), (store.uri, "b")])
    kept = store.read("proteins", ["protein_id"])["protein_id"].to_pylist()
    assert sorted(kept) == sorted(f"p{turn}.{i}" for turn in range(4) for i in range(20))


def test_what_is_missing_in_a_bucket_is_one_line(bucket: str) -> None:
    """No store under a prefix, and no such bucket, are each one line with what to do."""
    with pytest.raises(StoreError, match="there is no store at s3://lab/none; make one with `embstore ingest`"):
        Store.open(f"{bucket}/none")
    Store.open(f"{bucket}/folder/inner", create=True)
    with pytest.raises(StoreError, match="s3://lab/folder is not an embstore store, and contains inner; name an empty"):
        Store.open(f"{bucket}/folder", create=True)
    with pytest.raises(StoreError, match=r"cannot open a store at s3://nowhere/x: .*; check the bucket and the AWS_"):
        Store.open("s3://nowhere/x")
