"""What each command prints, where, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from .conftest import Run

VERBS = (
    *("ingest", "import", "embed", "bench", "results", "search", "sql", "status", "splits", "labels", "proteins"),
    *("backbones", "phantom", "demo", "verify", "maintain", "tag", "remove", "doctor"),
)


def test_help_lists_every_verb(run: Run) -> None:
    """`--help` names every verb, each of which has a help of its own with an example."""
    listed = run("--help").stdout
    for verb in VERBS:
        assert verb in listed
        text = run(verb, "--help").stdout
        assert "Example" in text or "Commands" in text, verb


def test_the_options_of_ingest_are_grouped(run: Run) -> None:
    """Its help begins with the examples; then come the source, the cells and the run."""
    text = run("ingest", "--help").stdout
    groups = (
        "Source",
        "Cells",
        "Running",
    )
    places = [text.index(f"─ {group} ─") for group in groups]
    assert 0 < text.index("Example: embstore ingest") < places[0]
    assert places == sorted(places)
    for option, group in (
        ("--labels ", 0),
        ("--masks ", 1),
        ("--dry-run ", 2),
    ):
        assert max(place for place in places if place < text.rindex(option)) == places[group], option


@pytest.mark.parametrize("command", [[], ["ingest"]], ids=["embstore", "ingest"])
def test_help_imports_no_engine(command: list[str]) -> None:
    """`embstore --help` starts without torch, lancedb, duckdb, scikit-learn or pyarrow; so does that of ingest."""
    program = (
        f"import sys; sys.argv = ['embstore', *{command}, '--help']\n"
        "from embstore_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "engines = {'torch', 'timm', 'lancedb', 'lance', 'duckdb', 'sklearn', 'scipy', 'skimage', 'pyarrow'}\n"
        "sys.stderr.write(','.join(sorted(engines & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_search_protein_gives_the_promised_columns(run: Run, phantom_store: Path) -> None:
    """The neighbours go to stdout as JSON, CSV and Parquet with the same columns and rows, nothing else."""
    base = ("--store", phantom_store, "search", "protein", "PHN007", "-k", "4")
    as_json = json.loads(run(*base, "--format", "json").stdout)
    columns = ["rank", "gene", "protein_id", "dataset", "similarity", "n_cells", "locations"]
    assert list(as_json[0]) == [*columns, "percentile", "rank_low", "rank_high"]
    assert [row["rank"] for row in as_json] == [1, 2, 3, 4]
    assert "PHN007" not in {row["gene"] for row in as_json}
    as_csv = list(csv.DictReader(io.StringIO(run(*base, "--format", "csv").stdout)))
    assert [row["gene"] for row in as_csv] == [row["gene"] for row in as_json]


def test_several_proteins_are_one_table(run: Run, phantom_store: Path, tmp_path: Path) -> None:
    """Names of arguments and of a file are searched in order; one that is missing is reported, and the rest stays."""
    (tmp_path / "genes.txt").write_text("PHN003\n\nNOPE\n")
    base = ("--store", phantom_store, "search", "protein")
    done = run(*base, "PHN007", "--genes", tmp_path / "genes.txt", "-k", "2", "-f", "json")
    rows = json.loads(done.stdout)
    assert [(row["query"], row["rank"]) for row in rows] == [(g, rank) for g in ("PHN007", "PHN003") for rank in (1, 2)]
    assert "left out: there is no protein 'NOPE'" in done.stderr
    alone = json.loads(run(*base, "PHN003", "-k", "2", "-f", "json").stdout)
    assert [{"query": "PHN003"} | row for row in alone] == rows[2:]
    for words, message in (
        ((), "no protein is named; give a gene symbol"),
        (("NOPE", "NOPE2"), "there is no protein 'NOPE'"),
        (("PHN003", "PHN007", "--sheet", "s.png"), "--sheet draws one search, and 2 proteins are named"),
        (("--genes", tmp_path / "none.txt"), "none.txt cannot be read"),
    ):
        failed = run(*base, *words)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert message in failed.stderr


def test_the_votes_of_neighbours_are_reported(run: Run, phantom_store: Path) -> None:
    """Locations that are more common among the neighbours than by chance are on stderr."""
    done = run("--store", phantom_store, "search", "protein", "PHN007", "-k", "3")
    assert re.search(r"locations of the neighbours: \d of 3 \w+ \(expected \d\.\d\)", done.stderr)


def test_parquet_on_stdout_can_be_read(phantom_store: Path) -> None:
    """`--format parquet` writes a file's bytes to stdout."""
    program = "from embstore_cli.main import main; main()"
    statement = "SELECT cell_id, thumbnail, box FROM cells ORDER BY cell_id"
    arguments = ["--store", str(phantom_store), "sql", statement, "--format", "parquet"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, check=True)
    table = pq.read_table(io.BytesIO(done.stdout))
    assert table.column_names == ["cell_id", "thumbnail", "box"]
    assert table.num_rows > 100


def test_sheet_is_drawn_beside_the_table(run: Run, phantom_store: Path, tmp_path: Path) -> None:
    """`--sheet` draws a picture with a row for the query and each neighbour, and reports the file on stderr."""
    out = tmp_path / "pictures" / "n.png"
    done = run("--store", phantom_store, "search", "protein", "PHN007", "-k", "3", "--sheet", out)
    assert str(out) in done.stderr
    assert str(out) not in done.stdout
    with Image.open(out) as picture:
        assert picture.width >= 640
        assert picture.height > 4 * 128


def test_search_cell_takes_an_id_from_sql(run: Run, phantom_store: Path) -> None:
    """A cell id that SQL returns is found, and its neighbours do not include itself."""
    cell = json.loads(run("--store", phantom_store, "sql", "SELECT min(cell_id) AS c FROM cells", "-f", "json").stdout)
    result = run("--store", phantom_store, "search", "cell", cell[0]["c"], "--format", "json")
    rows = json.loads(result.stdout)
    assert list(rows[0]) == ["rank", "cell_id", "gene", "similarity", "dataset", "locations"]
    assert cell[0]["c"] not in {row["cell_id"] for row in rows}


def test_bench_prints_baselines_and_notes(run: Run, phantom_store: Path, tmp_path: Path) -> None:
    """bench shows the backbone next to all baselines, notes that phantom scores are not biology, and fits only once."""
    store = tmp_path / "store"
    shutil.copytree(phantom_store, store)
    arguments = ("--store", store, "bench", "--backbone", "pixel-stats", "--folds", "3", "--seeds")
    done = run(*arguments, "2", "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    headline = [row for row in rows if (row["metric"], row["level"]) == ("macro_f1", "unit")]
    assert {row["backbone"] for row in headline if row["floor"]} == {
        "all-positive",
        "majority",
        "random",
        "random-per-protein",
    }
    assert headline[0]["backbone"] == "pixel-stats"
    assert {"low", "high", "sd", "n_test", "split"} <= set(headline[0])
    assert "not biology" in done.stderr
    assert all("not biology" in row["note"] for row in rows)
    again = run(*arguments, "0,1")  # the same two seeds by name
    assert "0 entries made" in again.stderr
    caveat = r"this score shows that the machine works, not biology; 28 proteins in \d classes: plumbing"
    assert len(re.findall(caveat, again.stdout)) == 1
    table = run("--store", store, "results")
    assert len(re.findall(caveat, table.stdout)) == 1
    assert "created" not in table.stdout
    assert "created" in run("--store", store, "results", "--all-versions").stdout
    listed = json.loads(run("--store", store, "results", "--no-baselines", "--format", "json").stdout)
    assert [row["backbone"] for row in listed] == ["pixel-stats"]


def test_status_is_a_row_a_table(run: Run, phantom_store: Path) -> None:
    """status names every table with its rows, version and bytes, and the space of each table of vectors."""
    rows = json.loads(run("--store", phantom_store, "status", "--format", "json").stdout)
    tables = {row["name"]: row for row in rows}
    assert tables["cells"]["rows"] > 100
    assert all({"name", "rows", "version", "bytes"} <= set(row) for row in rows)
    assert any(row["holds"] == "pixel-stats:mapping, 90 numbers per cell" for row in rows)


def test_backbones_say_what_is_missing(run: Run, tmp_path: Path) -> None:
    """hpa's line names the file that it needs, and using it is that one line and exit 1."""
    listed = json.loads(run("backbones", "list", "--format", "json").stdout)
    ready = {row["name"]: row["ready"] for row in listed}
    assert ready["pixel-stats"] == ready["vit-random"] == "yes"
    assert ready["hpa"] == "no"
    assert "DINO_FOV_checkpoint.pth" in run("backbones", "show", "hpa", "--format", "json").stdout
    write = tmp_path / "OC-FOV_A_ENSG00000000001_CID000001_FID00000001_proj.tif"
    write.write_bytes(b"")
    done = run("--store", tmp_path / "s", "ingest", tmp_path, "--layout", "opencell", "--backbone", "hpa")
    assert done.returncode == 1
    assert "DINO_FOV_checkpoint.pth" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status",), "there is no store"),
        (("sql", "SELECT 1"), "there is no store"),
        (("ingest", "nowhere", "--layout", "opencell", "--backbone", "pixel-stats"), "there is no file or folder"),
        (("ingest", ".", "--layout", "zarr", "--backbone", "pixel-stats"), "choose from"),
        (("ingest", ".", "--layout", "opencell", "--backbone", "pixel-stats"), "no image"),
        (("ingest", ".", "--layout", "opencell", "--backbone", "resnet"), "there is no backbone 'resnet'; the nearest"),
        (("import", "x.npz", "--backbone", "a", "--dataset", "d"), "there is no file"),
        (
            ("import", "x.npz", "--backbone", "a", "--dataset", "d", "--vectors", "X"),
            "--vectors was removed: write --emb",
        ),
        (
            ("ingest", "x.npz", "--layout", "vectors", "-b", "a"),
            "--layout vectors was removed: write embstore import x",
        ),
        (("ingest", "x.npz", "--backbone", "a"), "embeddings are imported: embstore import x.npz --dataset NAME"),
        (
            ("ingest", "x.npz", "-b", "a", "--vectors", "X"),
            "--vectors was removed: write embstore import FILE --emb",
        ),
        (
            ("ingest", "x.npz", "-b", "a", "--id-column", "i"),
            "--id-column was removed: write embstore import FILE --id-co",
        ),
        (
            ("ingest", "x.npz", "-b", "a", "--no-header"),
            "--no-header was removed: write embstore import FILE --no-header",
        ),
        (("ingest", ".", "--backbone", "pixel-stats"), "choose how to read it: --layout"),
        (("backbones", "show", "resnet"), "the nearest names are imagenet"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    """A user's mistake is one line on stderr and exit 1, never a traceback, and makes no store."""
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("search", "protein", "TP53"), "there is no protein 'TP53'"),
        (("search", "cell", "x"), "wanted a cell_id such as"),
        (("search", "protein", "PHN007", "--backbone", "vit-random"), "the store's spaces are: pixel-stats:mapping"),
        (("search", "protein", "PHN007", "--backbone", "pixelstats"), "the nearest names are pixel-stats, "),
        (("bench", "--backbone", "pixelstats"), "the nearest names are pixel-stats, "),
        (("bench", "--backbone", "vit-random"), "embstore embed --backbone vit-random"),
        (("bench", "--backbone", "pixel-stats", "--folds", "2"), "3"),
        (("bench", "--backbone", "pixel-stats", "--head", "svm"), "choose from: knn, linear"),
        (("bench", "--backbone", "pixel-stats", "--dataset", "hpa"), "choose from: opencell"),
        (("bench", "--backbone", "pixel-stats", "--task", "localization:x"), "choose from: any, grade2plus, grade3"),
        (("bench", "--backbone", "pixel-stats", "--seeds", "5,x"), "wanted how many (5) or which (5,6,7)"),
        (("bench", "--backbone", "pixel-stats", "--seeds", "0"), "wanted 1 to 100"),
        (("results", "--metric", "nope"), "choose from: accuracy, macro_f1"),
        (("results", "--level", "nope"), "choose from: protein, unit"),
        (("splits", "show", "x"), "choose from"),
        (("splits", "make", "--seed", "99999999999999999999"), "wanted 0 to 2147483647"),
        (("sql", "DROP TABLE cells"), "read-only"),
        (("sql", "SELECT nothing FROM cells"), "nothing"),
    ],
)
def test_a_mistake_on_a_store_names_the_choices(
    run: Run, phantom_store: Path, arguments: tuple[str, ...], message: str
) -> None:
    """A name that does not exist is one line that lists those that do."""
    done = run("--store", phantom_store, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_wrong_usage_exits_2(run: Run) -> None:
    """An option that does not exist is wrong usage: exit 2."""
    assert run("status", "--nonsense").returncode == 2


def test_a_closed_pipe_is_no_error(phantom_store: Path) -> None:
    """`embstore sql ... | head -1` ends quietly."""
    program = f"{sys.executable} -c 'from embstore_cli.main import main; main()'"
    statement = "SELECT unnest(range(200000)) AS n"
    line = f'{program} --store {phantom_store} sql "{statement}" --format csv | head -1'
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "n\n"
    assert done.stderr == ""


def test_a_dry_run_prints_every_fault_with_its_row(run: Run, tmp_path: Path) -> None:
    """The detected layout, the plan, and all failures are reported; no store is made."""
    rows = "".join(f"f{i},gone{i}.tif\n" for i in range(14))
    (tmp_path / "manifest.csv").write_text(f"image_id,nucleus\n{rows}")
    done = run("--store", tmp_path / "s", "ingest", tmp_path, "--backbone", "pixel-stats", "--dry-run")
    assert "layout: manifest (it contains manifest.csv)" in done.stderr
    for line in range(2, 16):
        assert f"manifest.csv:{line}: gone{line - 2}.tif does not exist" in done.stderr
    assert "0 of 0 images would be ingested" in done.stdout
    assert "14 faults" in done.stdout
    assert done.returncode == 1
    assert not (tmp_path / "s").exists()


def test_a_dry_run_says_again_what_failed_before(run: Run, tmp_path: Path) -> None:
    """A file that an ingest could not read stays named, and how to have it tried again."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tif").write_text("no image")
    command = ("--store", tmp_path / "s", "ingest", tmp_path / "in", "--layout", "opencell", "-b", "pixel-stats")
    assert "failed: " in run(*command).stderr
    again = run(*command, "--dry-run")
    assert f"failed before: {tmp_path / 'in' / 'a.tif'}: a.tif is not an image" in again.stderr
    assert "1 files failed before and have not changed (--retry-failed tries again)" in again.stdout


def test_options_that_a_layout_does_not_take_are_refused(run: Run, tmp_path: Path) -> None:
    """Channels of a layout that names them, or labels of a manifest, are one line on stderr, not passed over."""
    (tmp_path / "manifest.csv").write_text("image_id,nucleus\nx,x.tif\n")
    (tmp_path / "x.tif").touch()
    for layout, option, value in (("opencell", "--channels", "nucleus"), ("manifest", "--labels", "x.csv")):
        done = run("ingest", tmp_path, "--layout", layout, option, value, "--backbone", "pixel-stats", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {option} does not go with")
        assert done.stderr.count("\n") == 1


def test_a_dry_run_of_labels_lists_locations_and_suspects(run: Run, phantom_store: Path, tmp_path: Path) -> None:
    """Locations with counts on stdout, suspects on stderr; nothing is written, and a map gives other names."""
    (tmp_path / "t.csv").write_text('gene,locations\nPHN001,ER\nPHN002,er\nPHN003,"golgi, er"\n')
    (tmp_path / "m.csv").write_text('from,to\nER,er\n"golgi, er",golgi;er\n')
    versions = run("--store", phantom_store, "status", "--format", "csv").stdout
    command = (
        "--store",
        phantom_store,
        "labels",
        "add",
        tmp_path / "t.csv",
        "--dataset",
        "opencell",
        "--scheme",
        "own",
    )
    done = run(*command, "--dry-run")
    assert "locations of opencell/own: ER 1, er 1, 'golgi, er' 1" in done.stdout
    assert "locations with more than one name: ER (1) = er (1), HPA's Endoplasmic reticulum" in done.stderr
    assert "golgi, er (1): golgi; er" in done.stderr
    done = run(*command, "--dry-run", "--location-map", tmp_path / "m.csv")
    assert "locations of opencell/own: er 3, golgi 1" in done.stdout
    assert "suspects" not in done.stderr
    assert run("--store", phantom_store, "status", "--format", "csv").stdout == versions
