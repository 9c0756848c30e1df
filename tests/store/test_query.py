"""SQL: every table can be asked anything, and nothing can be written, read from disk or installed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from drawn_fields import draw_field, opencell_path, save_tiff, write_opencell
from hypothesis import given, settings
from hypothesis import strategies as st

from embstore.errors import QueryError
from embstore.ingest import ingest
from embstore.store import Store, add_space, embeddings_name, put_vectors, query, rows, select, sql_text, stream
from embstore.store.connection import register, tables_of_view
from embstore.store.lance_table import LanceTable


@pytest.fixture(scope="module")
def store(phantom_store: Path) -> Store:
    """The phantom store, read only."""
    return Store.open(phantom_store)


# -- locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("COPY cells TO '{tmp}/x.csv'", "found COPY, wanted a SELECT"),
        ("EXPORT DATABASE '{tmp}/x'", "found EXPORT"),
        ("ATTACH '{tmp}/x.db'", "found ATTACH"),
        ("INSTALL httpfs", "found LOAD"),
        ("LOAD httpfs", "found LOAD"),
        ("SET memory_limit = '1GB'", "found SET"),
        ("RESET memory_limit", "found SET"),
        ("PRAGMA database_list", "found PRAGMA"),
        ("CALL enable_logging()", "found CALL"),
        ("CREATE TABLE x AS SELECT 1", "found CREATE"),
        ("DROP VIEW cells", "found DROP"),
        ("INSERT INTO proteins VALUES ('x')", "found INSERT"),
        ("UPDATE proteins SET gene = 'x'", "found UPDATE"),
        ("DELETE FROM proteins", "found DELETE"),
        ("BEGIN", "found TRANSACTION"),
        ("SELECT 1; SELECT 2", "found 2 statements, wanted exactly one SELECT"),
        ("SELECT 1; DROP VIEW cells", "found 2 statements"),
        ("", "found 0 statements"),
        ("-- nothing", "found 0 statements"),
        ("SELEC 1", "syntax error"),
        ("SELECT gen FROM cells", '"gen" not found'),
        ("SELECT * FROM glob('*')", "disabled by configuration"),
        ("SELECT * FROM read_text('{file}')", "disabled by configuration"),
        ("SELECT * FROM read_csv('{file}')", "disabled by configuration"),
        ("SELECT * FROM read_parquet('https://example.org/x.parquet')", "."),
        ("SELECT * FROM '{file}'", "disabled by configuration"),
        ("SELECT * FROM query('COPY (SELECT 1) TO ''{tmp}/x.csv''')", "single SELECT"),
        ("SELECT * FROM enable_logging()", "locked"),
        ("UPDATE EXTENSIONS", "found another kind of statement, wanted a SELECT"),
        ("CREATE TABLE x AS PIVOT cells ON gene USING count(*)", "found PIVOT inside another statement"),
        ("COPY (PIVOT cells ON gene USING count(*)) TO '{tmp}/x.csv'", "found PIVOT inside another statement"),
        ("WITH w AS (INSERT INTO proteins VALUES ('x') RETURNING *) SELECT * FROM w", "."),
    ],
)
def test_only_one_select_over_the_tables_is_run(store: Store, tmp_path: Path, sql: str, message: str) -> None:
    """Files, other databases, extensions, settings, writes and second statements are refused in one line."""
    file = tmp_path / "secret.csv"
    file.write_text("a\n1\n")
    with pytest.raises(QueryError, match=message) as error:
        query(store, sql.format(tmp=tmp_path, file=file))
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{tmp}/x.csv'",
        "ATTACH '{tmp}/x.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET python_enable_replacements = true",
        "PRAGMA memory_limit = '1TB'",
        "EXPORT DATABASE '{tmp}/x'",
    ],
)
def test_the_connection_itself_is_locked(store: Store, tmp_path: Path, sql: str) -> None:
    """The second wall: even a statement that got past the check is refused by the settings of the connection."""
    with duckdb.connect() as connection:
        register(connection, store)
        with pytest.raises(duckdb.Error):
            connection.execute(sql.format(tmp=tmp_path)).fetchall()
    assert not list(tmp_path.iterdir())


def test_python_variables_are_not_tables(store: Store) -> None:
    """A local Arrow table or array is not found by its name, as DuckDB would by default."""
    some_local_df = pa.table({"secret": [1]})
    assert duckdb.connect().sql("SELECT * FROM some_local_df").fetchall() == [(1,)]  # what is prevented
    with pytest.raises(QueryError, match="some_local_df does not exist"):
        query(store, "SELECT * FROM some_local_df")
    with pytest.raises(QueryError, match="store does not exist"):  # nor are the library's own
        query(store, "SELECT * FROM store")
    with duckdb.connect() as connection:
        register(connection, store)
        with pytest.raises(duckdb.CatalogException, match="some_local_df does not exist"):
            connection.sql("SELECT * FROM some_local_df")
    assert some_local_df.num_rows == 1


def test_no_folder_can_be_read(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB would let a query read its folder for temporary files, `.tmp` below the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp" / "secret.csv").write_text("a\n1\n")
    for source in ("read_text('.tmp/secret.csv')", "glob('.tmp/*')", "'.tmp/secret.csv'", "read_csv('./.tmp/*.csv')"):
        with pytest.raises(QueryError, match="disabled by configuration"):
            query(store, f"SELECT * FROM {source}")
    names = ("allowed_directories", "temp_directory", "max_temp_directory_size", "lock_configuration")
    asked = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    assert rows(store, f"SELECT {asked}") == [dict(zip(names, ([], "", "0 bytes", True), strict=True))]


def test_pivot_finds_its_columns_itself(store: Store) -> None:
    """A PIVOT is a query, alone, in a subquery or after WITH, whether its columns are named or not."""
    long = "SELECT dataset, ch AS side, count(*) AS n FROM (SELECT dataset, label % 2 AS ch FROM cells) GROUP BY ALL"
    odd, even = (
        rows(store, f"SELECT count(*) AS n FROM cells WHERE label % 2 = {remainder}")[0]["n"] for remainder in (1, 0)
    )
    for sql in (
        f"PIVOT ({long}) ON side USING sum(n)",
        f"PIVOT ({long}) ON side IN (0, 1) USING sum(n);",
        f"WITH t AS ({long}) PIVOT t ON side USING sum(n)  -- a comment",
        f"SELECT * FROM (PIVOT ({long}) ON side USING sum(n)) WHERE dataset = 'opencell'",
    ):
        assert query(store, sql).to_pylist() == [{"dataset": "opencell", "0": even, "1": odd}], sql


def test_dates_that_python_does_not_have_are_texts(store: Store) -> None:
    """Years after 9999 or before 1, and infinity, alone and inside lists, records and maps; others stay dates."""
    far, early = "DATE '12000-01-01'", "DATE '0044-03-15 (BC)'"
    answer = query(
        store,
        f"SELECT {far} AS d, {early} AS bc, TIMESTAMP 'infinity' AS i, [{far}, NULL, DATE '2024-02-29'] AS l, "
        f"{{'a': {far}}} AS s, MAP {{'k': TIMESTAMPTZ '12000-01-01 00:00:00+00'}} AS m",
    )
    assert answer.to_pylist() == [
        {
            "d": "12000-01-01",
            "bc": "0044-03-15 (BC)",
            "i": "infinity",
            "l": ["12000-01-01", None, date(2024, 2, 29)],
            "s": {"a": "12000-01-01"},
            "m": {"k": "12000-01-01 00:00:00.000000"},
        }
    ]
    assert "12000-01-01" in repr(answer)
    condition = "ingested < TIMESTAMPTZ '12000-01-01 00:00:00+00'"
    assert rows(store, f"SELECT count(*) AS n FROM images WHERE {condition}") == [{"n": 3}]


def test_a_stream_is_computed_as_it_is_read(store: Store) -> None:
    """The first rows of 10^13 come at once, and what waits for the reader does not count as the query's time."""
    with stream(store, "SELECT range AS i FROM range(10000000000000)", timeout_s=5, overdue=pytest.fail) as batches:
        assert next(batches)["i"].to_pylist()[:3] == [0, 1, 2]
        sleep(0.1)
        assert next(batches).num_rows


def test_a_stream_that_works_too_long_is_stopped(store: Store) -> None:
    """The limit is of all batches together."""
    slow = "SELECT range AS i FROM range(10000000000000) WHERE range < 20000 OR range % 10000000000 = 7"
    with stream(store, slow, timeout_s=0.5, overdue=pytest.fail) as batches:
        assert next(batches).num_rows
        with pytest.raises(QueryError, match=r"longer than 0\.5 s and was stopped"):
            batches.read_all()


def test_a_query_that_takes_too_long_is_stopped(store: Store) -> None:
    """A cross join of 10^13 rows ends at its limit with a line that says so, and the next query works."""
    began = datetime.now(UTC)
    with pytest.raises(QueryError, match=r"longer than 0\.2 s and was stopped; narrow it"):
        query(
            store,
            "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range * b.range % 7 = 3",
            timeout_s=0.2,
        )
    assert datetime.now(UTC) - began < timedelta(seconds=10)
    assert rows(store, "SELECT 1 AS one") == [{"one": 1}]


SLOW = """
import sys
from embstore.errors import QueryError
from embstore.store import Store, query
try:
    query(
        Store.open(sys.argv[1]),
        "SELECT count(*) FROM range(100000000) a, range(100000) b WHERE a.range * b.range % 7 = 3",
        timeout_s=4,
    )
except QueryError as error:
    print(error, file=sys.stderr)
"""


def test_a_query_that_takes_long_draws_nothing_on_a_terminal(phantom_store: Path) -> None:
    """DuckDB would draw a progress bar after two seconds, among the data on stdout."""
    terminal, stdout = pty.openpty()
    with os.fdopen(terminal, "rb", buffering=0) as read:
        done = subprocess.run(
            [sys.executable, "-c", SLOW, phantom_store], stdout=stdout, stderr=subprocess.PIPE, text=True, check=True
        )
        os.write(stdout, b"end")
        os.close(stdout)
        assert read.read(100) == b"end"
    assert "longer than 4 s" in done.stderr


def test_reading_writes_no_version(phantom_copy: Path) -> None:
    """Queries over every table leave every table's version as it was."""
    store = Store.open(phantom_copy)
    versions = store.versions()
    for name in versions:
        query(store, f'SELECT * FROM "{name}"')
    assert store.versions() == versions


# -- answers ---------------------------------------------------------------------------------------------------------


def test_every_table_reads_in_sql_as_it_is_stored(store: Store) -> None:
    """Whole tables through DuckDB equal Lance's own reading, column by column."""
    for name in store.table_names():
        stored = store.read(name)
        result = select(store, f'SELECT * FROM "{"cells_raw" if name == "cells" else name}" ORDER BY ALL')
        key = [(c, "ascending") for c in stored.column_names if not pa.types.is_nested(stored.schema.field(c).type)]
        assert result.num_rows == stored.num_rows, name
        assert result.sort_by(key).to_pylist() == stored.sort_by(key).to_pylist(), name


def test_no_column_at_all_may_be_asked_for(store: Store) -> None:
    """`count(*)` and constants read no column and still see every row."""
    n = store.read("cells").num_rows
    assert n > 20
    assert rows(store, "SELECT count(*) AS n FROM cells_raw") == [{"n": n}]
    assert rows(store, "SELECT count(*) AS n FROM cells_raw WHERE label = 1") == [{"n": 3}]
    assert select(store, "SELECT 1 AS one FROM cells_raw")["one"].to_pylist() == [1] * n
    assert rows(store, "SELECT count(*) AS n FROM failures") == [{"n": 0}]


def test_parameters_are_values(store: Store) -> None:
    """Positional and named parameters, quotes and all, never become SQL."""
    gene = rows(store, "SELECT gene FROM proteins ORDER BY gene LIMIT 1")[0]["gene"]
    assert rows(store, "SELECT gene FROM proteins WHERE gene = ?", [gene]) == [{"gene": gene}]
    assert rows(store, "SELECT gene FROM proteins WHERE gene = $g", {"g": gene}) == [{"gene": gene}]
    assert rows(store, "SELECT gene FROM proteins WHERE gene = ?", ["' OR true --"]) == []
    with pytest.raises(QueryError, match="not provided"):
        query(store, "SELECT ?")


def test_half_precision_vectors_are_read_as_single(tmp_path: Path) -> None:
    """DuckDB has no float16: such vectors come as float32 lists of the same numbers, and ids without them."""
    store = Store.open(tmp_path / "store", create=True)
    digest = "ef" * 32
    add_space(store, {"digest": digest, "backbone": "drawn", "strategy": "brought"}, 3, half=True)
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float16)
    put_vectors(store, digest, list("abcde"), vectors)
    table = embeddings_name(digest)
    assert rows(store, f"SELECT id FROM {table} ORDER BY id") == [{"id": i} for i in "abcde"]
    result = select(store, f"SELECT id, vector FROM {table} WHERE id IN ('d', 'b') ORDER BY id")
    np.testing.assert_array_equal(result["vector"].to_pylist(), vectors[[1, 3]].astype(np.float32))
    assert rows(store, f"SELECT sum(vector[1]) AS s FROM {table}")[0]["s"] == pytest.approx(vectors[:, 0].sum(), 1e-2)


def test_cells_are_the_current_ones_and_cells_raw_all(tmp_path: Path) -> None:
    """After a file changed, `cells` shows its new cells only, joined to image and protein; `cells_raw` has both."""
    store = Store.open(tmp_path / "store", create=True)
    paths = write_opencell(tmp_path / "in", [1, 2])
    ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"])
    before = {row["cell_id"] for row in rows(store, "SELECT cell_id FROM cells")}
    save_tiff(paths[0], draw_field(77))
    ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"])
    now = {row["cell_id"] for row in rows(store, "SELECT cell_id FROM cells")}
    assert {row["cell_id"] for row in rows(store, "SELECT cell_id FROM cells_raw")} == before | now
    assert len(before) == len(now) == 6
    assert {cell.split(":")[0] for cell in before & now} == {f"opencell/{opencell_path(tmp_path, 2).stem}"}
    (joined,) = rows(
        store, "SELECT DISTINCT dataset, gene, protein_ids, group_id, cell_line FROM cells WHERE gene = 'G1'"
    )
    protein = "ensembl:ENSG00000000001"
    assert joined == {
        "dataset": "opencell",
        "gene": "G1",
        "protein_ids": [protein],
        "group_id": protein,
        "cell_line": "HEK293T",
    }


def test_the_current_revision_of_an_image_is_its_newest(tmp_path: Path) -> None:
    """`image_current` has one row an image, the one of the highest revision, whatever else is stored of it."""
    fresh = {"image_id": "i", "dataset": "d"}
    store = Store.open(tmp_path / "store", create=True)
    store.upsert("images", [fresh | {"revision": n, "sha256": f"{n}"} for n in (2, 3, 1)])
    store.upsert("images", [fresh | {"image_id": "j", "revision": 1, "sha256": "1"}])
    result = rows(store, "SELECT image_id, revision, sha256 FROM image_current ORDER BY image_id")
    assert [tuple(row.values()) for row in result] == [("i", 3, "3"), ("j", 1, "1")]


def test_the_tables_of_a_view_are_those_of_the_views_it_reads() -> None:
    """`cells` reads the stored table of its own name."""
    assert tables_of_view("image_current") == {"images"}
    assert tables_of_view("cells") == {"cells", "images", "proteins"}
    assert tables_of_view("units") == {"cells", "images", "proteins", "ingested", "profiles", "spaces"}


def test_a_question_for_ids_reads_no_pictures_masks_or_vectors(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the views, too, a column that is not asked for is not read."""
    read: set[str] = set()
    scanner = LanceTable.scanner
    monkeypatch.setattr(
        LanceTable, "scanner", lambda *a, **k: read.update(k.get("columns") or a[1]) or scanner(*a, **k)
    )
    space = rows(store, "SELECT digest FROM spaces")[0]["digest"]
    sql = sql_text("embstore.store", "units_in_space", embeddings=embeddings_name(space))
    assert len(rows(store, sql, {"space": space})) > 20
    assert {"id", "cell_id", "image_id"} <= read
    assert read.isdisjoint({"vector", "mask", "nucleus_mask", "thumbnail", "canary", "files", "box", "flags", "extra"})


def test_sql_text_puts_in_what_is_given_and_other_files() -> None:
    """`{other}` is the text that is given under that name, else the package's file of that name."""
    assert '"emb_0"' in sql_text("embstore_bench", "task_units", vectors="emb_0")
    assert sql_text("embstore_bench", "unit_labels") in sql_text("embstore_bench", "split")


# -- filters ---------------------------------------------------------------------------------------------------------

Row = dict[str, Any]
Predicate = Callable[[Row], bool | None]
START = datetime(2024, 1, 1, tzinfo=UTC)
TEXTS = ["", "P1", "P10", "p1", "p_1", "50%", "it's", "µ", None]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[Row]]:
    """Two hundred image rows of every kind of value, in several fragments with deletions, and the same in Python."""
    rng = np.random.default_rng(0)
    known = [
        {
            "image_id": f"i{n:03d}",
            "revision": int(rng.integers(1, 5)),
            "plate": TEXTS[rng.integers(len(TEXTS))],
            "well": None if n % 3 == 0 else f"{'AB'[n % 2]}{n % 7}",
            "pixel_size_um": None if n % 4 == 0 else float(rng.integers(0, 4)) / 4,
            "genes": None if n % 11 == 0 else [f"G{g}" for g in rng.integers(0, 4, rng.integers(0, 3))],
            "ingested": START + timedelta(days=int(rng.integers(0, 9)), hours=12 * int(rng.integers(0, 2))),
        }
        for n in range(200)
    ]
    store = Store.open(tmp_path_factory.mktemp("many") / "store", create=True)
    for start in range(0, 200, 50):
        store.upsert("images", known[start : start + 50])
    store.delete("images", "image_id IN ('i007', 'i101')")
    return store, [row for row in known if row["image_id"] not in ("i007", "i101")]


def missing_or(test: Callable[[Any], bool], column: str) -> Predicate:
    """SQL's comparison: unknown (None) where the value is missing."""
    return lambda row: None if row[column] is None else test(row[column])


def like(pattern: str) -> Callable[[Any], bool]:
    regular = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
    return lambda text: re.fullmatch(regular, text, re.DOTALL) is not None


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@st.composite
def atoms(draw: st.DrawFn) -> tuple[str, Predicate]:
    """One condition in SQL and the same in Python."""
    text = draw(st.sampled_from([t for t in TEXTS if t is not None]))
    texts = draw(st.lists(st.sampled_from([t for t in TEXTS if t is not None]), min_size=1, max_size=4))
    number = draw(st.integers(0, 5))
    gene = f"G{number}"
    when = START + timedelta(days=number)
    pattern = draw(st.sampled_from(["P1%", "%1", "%1%", "P_", "p\\_1", "", "%", "_%"])).replace("\\", "")
    listed = ", ".join(map(quoted, texts))
    column = draw(st.sampled_from(["plate", "well", "pixel_size_um", "genes"]))
    choices: list[tuple[str, Predicate]] = [
        (f"plate = {quoted(text)}", missing_or(lambda v: v == text, "plate")),
        (f"plate <> {quoted(text)}", missing_or(lambda v: v != text, "plate")),
        (f"plate > {quoted(text)}", missing_or(lambda v: v.encode() > text.encode(), "plate")),
        (f"plate IN ({listed})", missing_or(lambda v: v in texts, "plate")),
        (f"plate NOT IN ({listed})", missing_or(lambda v: v not in texts, "plate")),
        (f"plate IN ({listed}, NULL)", lambda r: True if r["plate"] in texts else None),
        (f"plate IS DISTINCT FROM {quoted(text)}", lambda r: r["plate"] != text),
        (f"plate LIKE {quoted(pattern)}", missing_or(like(pattern), "plate")),
        (f"well LIKE {quoted(pattern)}", missing_or(like(pattern), "well")),
        (f"{column} IS NULL", lambda r: r[column] is None),
        (f"{column} IS NOT NULL", lambda r: r[column] is not None),
        (f"revision = {number}", lambda r: r["revision"] == number),
        (f"revision IN ({number}, 2, 9)", lambda r: r["revision"] in (number, 2, 9)),
        (f"revision BETWEEN 2 AND {number}", lambda r: 2 <= r["revision"] <= number),
        (f"revision > {number}.5", lambda r: r["revision"] > number + 0.5),
        (f"pixel_size_um >= {number / 4}", missing_or(lambda v: v >= number / 4, "pixel_size_um")),
        (f"pixel_size_um = {number / 4}", missing_or(lambda v: v == number / 4, "pixel_size_um")),
        (f"list_contains(genes, '{gene}')", missing_or(lambda v: gene in v, "genes")),
        (f"len(genes) = {number}", missing_or(lambda v: len(v) == number, "genes")),
        (f"genes = ['{gene}']", missing_or(lambda v: v == [gene], "genes")),
        (f"ingested >= TIMESTAMPTZ '{when.isoformat()}'", lambda r: r["ingested"] >= when),
        (f"ingested = TIMESTAMPTZ '{when.isoformat()}'", lambda r: r["ingested"] == when),
    ]
    return draw(st.sampled_from(choices))


def negated(condition: tuple[str, Predicate]) -> tuple[str, Predicate]:
    sql, holds = condition
    return f"NOT ({sql})", lambda row: None if holds(row) is None else not holds(row)


def both(a: tuple[str, Predicate], b: tuple[str, Predicate]) -> tuple[str, Predicate]:
    def holds(row: Row) -> bool | None:
        answers = (a[1](row), b[1](row))
        return False if False in answers else None if None in answers else True

    return f"({a[0]}) AND ({b[0]})", holds


def either(a: tuple[str, Predicate], b: tuple[str, Predicate]) -> tuple[str, Predicate]:
    def holds(row: Row) -> bool | None:
        answers = (a[1](row), b[1](row))
        return True if True in answers else None if None in answers else False

    return f"({a[0]}) OR ({b[0]})", holds


conditions = st.recursive(
    atoms(),
    lambda inner: (
        inner.map(negated)
        | st.tuples(inner, inner).map(lambda p: both(*p))
        | st.tuples(inner, inner).map(lambda p: either(*p))
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(condition=conditions)
def test_filters_give_the_rows_that_python_gives(
    condition: tuple[str, Predicate], many: tuple[Store, list[Row]]
) -> None:
    """Random conditions, whether pushed down to Lance or not, keep SQL's meaning, missing values included."""
    store, known = many
    sql, holds = condition
    with duckdb.connect() as connection:
        connection.register("images", LanceTable(store.dataset("images")))
        result = connection.sql(f"SELECT image_id FROM images WHERE {sql} ORDER BY image_id").fetchall()
    assert [i for (i,) in result] == [row["image_id"] for row in known if holds(row) is True]
