"""What every command prints: at a terminal of 80 columns, in a pipe, in ASCII, and as JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.main import get_command

from embstore.phantom import write_phantom
from embstore.store import Store
from embstore_cli.main import app, main

FORMATS = ("table", "json", "csv", "parquet")
PROGRAM = "from embstore_cli.main import main; main()"
SPLIT = "opencell/grade3/protein-k3-s0"
ALL_TYPES = (
    "SELECT chr(27) || '[31m' AS esc, 'Ωé±' AS letters, {'a': 1} AS record, MAP {'k': 2} AS map, [1, 2] AS list, "
    "INTERVAL 1 DAY AS interval, DATE '10000-01-01' AS far, NULL AS nothing, 0.0004::DOUBLE AS small, true AS truth"
)
# every command that takes --format, by its words; {atlas}, {seen}, {vectors} and {out} are files made for the tests
FULL: dict[str, tuple[str, ...]] = {
    "ingest": ("{atlas}/images", "--layout", "opencell", "-b", "pixel-stats", "--dry-run"),
    "import": ("{vectors}", "--dataset", "d", "-b", "theirs", "--id-column", "id", "--dry-run"),
    "embed": ("-b", "pixel-stats"),
    "bench": ("-b", "pixel-stats", "--folds", "3", "--seeds", "1"),
    "results": (),
    "search protein": ("PHN007", "-k", "3"),
    "search cell": ("{cell}", "-k", "3"),
    "sql": (ALL_TYPES,),
    "status": (),
    "verify": (),
    "maintain": (),
    "tag": (),
    "remove": ("--where", "plate = 'none'", "--dry-run"),
    "doctor": (),
    "splits list": (),
    "splits show": (SPLIT,),
    "labels list": (),
    "proteins seen": ("{seen}", "--backbone", "pixel-stats"),
    "backbones list": (),
    "backbones show": ("phantom-dino",),
    "segmenters list": (),
    "phantom write": ("{out}", "--layout", "opencell", "--proteins", "3", "--field-px", "300"),
    "phantom truth": ("{atlas}",),
    "phantom versions": (),
}
# questions whose answer has no row, on a store without rows
EMPTY: dict[str, tuple[str, ...]] = {
    "results": (),
    "sql": ("SELECT cell_id, box, thumbnail, area FROM (SELECT *, 1.5 AS area FROM cells)",),
    "status": ("--runs",),
    "verify": (),
    "tag": (),
    "splits list": (),
    "labels list": (),
}
WITHOUT_ROWS = {  # commands that print lines, no table
    *("demo", "labels add", "splits make", "backbones fetch", "backbones add", "segmenters fetch"),
    "backbones pretrain",  # its log is a table: test_pretrain_command.py, it takes a minute
}


class Printed(NamedTuple):
    """What a command wrote to its two streams, as bytes, and how it ended."""

    out: bytes
    err: bytes
    code: int

    @property
    def text(self) -> str:
        return self.out.decode()


def typed(*arguments: str, encoding: str = "utf-8") -> Printed:
    """Run `embstore ARGUMENTS` in this process, with streams of bytes in an encoding as a pipe has them."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    argv, sys.argv = sys.argv, ["embstore", *arguments]
    code: object = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = argv
    return Printed(out.buffer.getvalue(), err.buffer.getvalue(), int(str(code)))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def files(phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store with one entry of each kind, one without rows, and files for the commands that read some."""
    folder = tmp_path_factory.mktemp("output")
    shutil.copytree(phantom_store, folder / "store")
    atlas = write_phantom(folder / "atlas", layout="opencell", proteins=36, fields=1, field_px=300)
    Store.open(folder / "empty", create=True)
    (folder / "seen.csv").write_text("ensembl_id,gene\nENSG99000000001,PHN001\n")
    (folder / "vectors.csv").write_text("id,a,b\nENSG99000000001,0.5,1.5\nENSG99000000002,0.25,0.125\n")
    made = {name: str(folder / name) for name in ("store", "empty", "out")}
    made |= {"atlas": str(atlas.images_folder.parent), "seen": str(folder / "seen.csv")}
    made["vectors"] = str(folder / "vectors.csv")
    with chdir(folder):
        assert typed("--store", made["store"], "bench", *FULL["bench"]).code == 0
        cells = typed("--store", made["store"], "sql", "SELECT min(cell_id) AS c FROM cells", "-f", "json")
    return made | {"cell": json.loads(cells.out)[0]["c"]}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that count as a terminal of 80 columns, without colours."""
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)


def ask(files: dict[str, str], command: str, form: str, *, store: str = "store", encoding: str = "utf-8") -> Printed:
    """Type a command of FULL (or, on the empty store, of EMPTY) in a format."""
    given = [argument.format(**files) for argument in _escaped(FULL if store == "store" else EMPTY, command)]
    return typed("--store", files[store], *command.split(), *given, "--format", form, encoding=encoding)


def _escaped(cases: dict[str, tuple[str, ...]], command: str) -> Iterator[str]:
    for argument in cases[command]:
        yield argument.replace("{", "{{").replace("}", "}}") if command == "sql" else argument


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield every command of the app, by its words."""
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from leaves(child, (*words, name))
    elif not command.hidden:
        yield " ".join(words), command


def test_every_command_with_a_format_has_a_case_here() -> None:
    """A new command is typed by these tests, or named as one that prints no table."""
    commands = dict(leaves(get_command(app)))
    assert set(FULL) | WITHOUT_ROWS == set(commands)
    takes_format = {name for name, command in commands.items() if any(p.name == "form" for p in command.params)}
    assert takes_format - {"backbones pretrain"} == set(FULL)


@pytest.mark.parametrize("command", FULL)
def test_formats_hold_the_same_columns_and_rows(files: dict[str, str], command: str) -> None:
    """JSON, CSV and Parquet agree on columns and rows."""
    as_json, as_csv, as_parquet = (ask(files, command, form) for form in ("json", "csv", "parquet"))
    assert (as_json.code, as_csv.code, as_parquet.code) == (as_json.code,) * 3
    assert as_json.code == 0 or command == "doctor", as_json.err.decode()
    rows = json.loads(as_json.out)
    header, *lines = csv.reader(io.StringIO(as_csv.text))
    table = pq.read_table(io.BytesIO(as_parquet.out))
    assert table.column_names == header
    assert len(rows) == len(lines) == table.num_rows
    assert all(list(row) == header for row in rows)


@pytest.mark.parametrize("command", EMPTY)
def test_an_empty_answer_has_its_columns_and_types(files: dict[str, str], command: str) -> None:
    """Of no rows, CSV is the header, JSON an empty list and Parquet a typed table, as of an answer with rows."""
    assert json.loads(ask(files, command, "json", store="empty").out) == []
    header = next(csv.reader(io.StringIO(ask(files, command, "csv", store="empty").text)))
    table = pq.read_table(io.BytesIO(ask(files, command, "parquet", store="empty").out))
    assert table.column_names == header
    assert table.num_rows == 0
    assert pa.null() not in table.schema.types
    assert ask(files, command, "table", store="empty").code == 0


@pytest.mark.parametrize("command", ["status", "tag", "splits list", "labels list", "results", "verify"])
def test_types_do_not_depend_on_the_rows(files: dict[str, str], command: str) -> None:
    """Parquet of an empty answer has the types of a full one."""
    schemas = []
    for store in ("store", "empty"):
        words = ("--store", files[store], *command.split(), "--format", "parquet")
        schemas.append(pq.read_table(io.BytesIO(typed(*words).out)).schema)
    assert schemas[0].equals(schemas[1])


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("command", FULL)
def test_a_table_fits_eighty_columns(files: dict[str, str], command: str) -> None:
    """No line of stdout is wider than the terminal, none is a repr of Python, none is 0.000 or styled."""
    done = ask(files, command, "table")
    lines = done.text.splitlines()
    assert lines, done.err.decode()
    assert max(map(len, lines)) <= 80 or command in ("ingest", "import", "embed", "remove", "verify")  # sentences
    assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b|\{|\}|\('", done.text)
    assert not re.search(r"(?<![\d.])-?0\.0+(?!\d)", done.text)
    assert "\x1b" not in done.text


@pytest.mark.parametrize("command", FULL)
def test_ascii_streams_get_replacements(files: dict[str, str], command: str) -> None:
    """Where the encoding has no ±, µ or Ω, something else is printed, and the command ends as it would."""
    for form in ("table", "json"):
        done = ask(files, command, form, encoding="ascii")
        assert done.out.isascii()
        assert done.err.isascii()
        assert done.code == 0 or command == "doctor", done.err


def test_in_ascii_json_escapes_and_csv_stays_utf8(files: dict[str, str]) -> None:
    """Data is never changed: a replaced letter would be another name."""
    assert json.loads(ask(files, "sql", "json", encoding="ascii").out)[0]["letters"] == "Ωé±"
    assert "Ωé±" in ask(files, "sql", "csv", encoding="ascii").out.decode("utf-8")
    assert "?e+/-" in ask(files, "sql", "table", encoding="ascii").text


def test_control_characters_are_written_out_for_people_alone(files: dict[str, str]) -> None:
    """An escape sequence in a name is visible text in tables and errors, and itself in CSV and JSON."""
    assert r"\x1b[31m" in ask(files, "sql", "table").text
    assert "\x1b" not in ask(files, "sql", "table").text
    assert "\x1b[31m" in ask(files, "sql", "csv").text
    assert json.loads(ask(files, "sql", "json").out)[0]["esc"] == "\x1b[31m"
    done = typed("--store", files["store"], "search", "protein", "a\x1b[31m\nb\x07\t")
    assert done.code == 1
    assert done.err.count(b"\n") == 1
    assert not re.search(rb"[\x00-\x09\x0b-\x1f]", done.err)
    assert "error: there is no store at a\\nb" in typed("--store", "a\nb", "status").err.decode()


@pytest.mark.usefixtures("terminal")
def test_results_show_the_columns_of_bench(files: dict[str, str]) -> None:
    """Both print the same eight columns and lines; of one seed there is no ±, and it says so."""
    bench, results = (ask(files, command, "table").text.splitlines() for command in ("bench", "results"))
    end = next(at for at, line in enumerate(results) if "not biology" in line)
    assert bench[:end] == results[:end]
    assert "one seed" in "\n".join(results)
    header = " ".join(" ".join(results[1:4]).split())
    for word in ("backbone", "head", "macro F1", "95 %", "by", "protein", "cells", "weighted", "micro"):
        assert word in header


def test_a_table_in_a_pipe_is_whole(files: dict[str, str]) -> None:
    """In a pipe a row is one line with all columns, however wide."""
    statement = f"SELECT repeat('wide ', 60) AS text, {', '.join(f'{n} AS column_{n}' for n in range(40))}"
    header, line = typed("--store", files["store"], "sql", statement).text.splitlines()
    assert header.split() == ["text", *(f"column_{n}" for n in range(40))]
    assert line.count("wide") == 60


@pytest.mark.usefixtures("terminal")
def test_columns_that_do_not_fit_are_counted_on_stderr(files: dict[str, str]) -> None:
    """Below such a table stands where all of its columns are."""
    done = typed("--store", files["store"], "sql", "SELECT * FROM cells LIMIT 2")
    assert re.search(rb"^\d of \d\d columns are shown; all of them: --format csv, json or parquet$", done.err, re.M)


@pytest.mark.parametrize("form", FORMATS)
def test_a_closed_pipe_ends_quietly(files: dict[str, str], form: str) -> None:
    """`| head -c 1` exits 0 and prints nothing to stderr, in every format."""
    statement = "SELECT unnest(range(100000)) AS n"
    embstore = f"{sys.executable} -c '{PROGRAM}' --store {files['store']}"
    line = f"{embstore} sql '{statement}' -f {form} | head -c 1 >/dev/null"
    done = subprocess.run(["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_a_reader_that_never_reads_is_no_error(files: dict[str, str]) -> None:
    """What is still buffered when the command ends goes nowhere: exit 0, no message."""
    line = f"{sys.executable} -c '{PROGRAM}' --store {files['store']} status -f csv 2>&1 | true"
    done = subprocess.run(["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["results", "sql"])
def test_a_real_terminal(files: dict[str, str], command: str) -> None:
    """In a pseudo-terminal of 80 columns no line is wider, and NO_COLOR leaves no style, not even bold."""
    statement = ["SELECT * FROM cells LIMIT 3"] if command == "sql" else []
    text = _in_terminal(["--store", files["store"], command, *statement], NO_COLOR="1")
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "error" not in text


def test_parquet_is_refused_at_a_terminal(files: dict[str, str]) -> None:
    """Bytes that would spoil a terminal are refused in one line that proposes a file."""
    text = _in_terminal(["--store", files["store"], "tag", "--format", "parquet"])
    assert text.startswith("error: Parquet is not text")


def _in_terminal(arguments: list[str], **environment: str) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    unset = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=theirs,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env=unset | {"TERM": "xterm-256color"} | environment,
    ):
        os.close(theirs)
        parts = []
        try:
            while part := os.read(ours, 65536):
                parts.append(part)
        except OSError:  # Linux: the other side has closed it
            pass
    os.close(ours)
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("engine", ["typer", "lance"])
def test_ctrl_c_during_imports_is_one_line(files: dict[str, str], tmp_path: Path, engine: str) -> None:
    """A SIGINT that arrives while a library is imported ends with one line and exit code 130."""
    (tmp_path / f"{engine}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    # a suite that runs in the background ignores the signal, and children inherit that
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{heard}; from embstore_cli.__main__ import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--store", files["store"], "status"],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": paths},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"stopped\n")


@pytest.mark.usefixtures("terminal")
def test_help_fits(files: dict[str, str]) -> None:
    """Help pages have at most two screens of 40 lines, 80 columns wide, and every option is explained."""
    for words, command in leaves(get_command(app)):
        text = typed(*words.split(), "--help").text
        assert len(text.splitlines()) <= 80, words
        assert max(map(len, text.splitlines())) <= 80, words
        undescribed = [p.name for p in command.params if p.param_type_name == "option" and not p.help and not p.hidden]
        assert undescribed == [], words
