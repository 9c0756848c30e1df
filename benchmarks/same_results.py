"""Whether two checkouts of embstore give the same results: for changes of code that must change none of them.

    python benchmarks/same_results.py OLD_CHECKOUT [NEW_CHECKOUT] [--work DIR] [--samples DIR]

Each is driven through its command line alone, with the same commands on the same files. Compared are what the commands
print, and every table of the two stores: schema, version, and each row bit by bit, read by lance and not by embstore.
Then NEW continues with a copy of OLD's store, where it must find nothing to do. One line per check goes to stderr,
one JSON record to stdout; the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import lance
import numpy as np

ATLASES = """
phantom write opencell --layout opencell --proteins 24 --fields 1 --field-px 192
phantom write hpa --layout hpa --proteins 12 --fields 1 --field-px 384
"""
# lines that write, each in a process of its own
FILL = """
ingest {atlas}/opencell/images --layout opencell --labels {atlas}/opencell/labels.csv -b pixel-stats -b phantom-dino
bench --dataset opencell -b pixel-stats -b phantom-dino --head linear --head knn --folds 3 --seeds 2
tag early
ingest {atlas}/hpa/images --layout hpa --labels {atlas}/hpa/image_labels.csv -b pixel-stats
ingest {atlas}/opencell/images --layout opencell --dataset masked --masks {atlas}/opencell/truth/masks --drop-flagged \
-b pixel-stats
ingest {external} --layout vectors --dataset external -b theirs --vectors values --id-column ensg_id \
--gene-column gene --label-column place
embed --dataset hpa -b vit-random:replication --unit image --roles nucleus,er --pooling cls+mean --intensity minmax
phantom truth {atlas}/opencell --dataset opencell
bench --dataset hpa -b vit-random:replication --unit image --head knn --folds 3 --seeds 2
bench --dataset external -b theirs --head knn --folds 3 --seeds 2
"""
SAMPLES = """
ingest {samples}/opencell/two_channel --layout opencell --dataset real --labels {samples}/opencell/labels.csv \
-b pixel-stats -b phantom-dino
ingest {samples}/opencell/hoechst_snaps/no-nuclei-1.tif --layout opencell --dataset bare -b pixel-stats
ingest {samples}/hpa/fov_4ch --layout hpa --dataset real-hpa --labels {samples}/hpa/image_labels.csv -b pixel-stats
ingest {samples}/hpa/fov_green_masks --layout hpa --dataset real-masks --masks {samples}/hpa/fov_green_masks \
-b pixel-stats
ingest {samples}/hpa/cells_3ch --layout crops --dataset crops --labels {samples}/hpa/cells_3ch/labels.csv -b pixel-stats
labels add {samples}/labels/hpa_subcellular_location.tsv --dataset crops --scheme hpa
ingest {samples}/embeddings/hpa_if_protein_slf686.npz --layout vectors --dataset slf -b slf --vectors features \
--id-column ensg_id --gene-column gene --label-column labels
bench --dataset real -b phantom-dino --folds 3 --seeds 1
bench --dataset slf -b slf --head knn --folds 3 --seeds 1
"""
# lines that read, all in one process
ASK = """
results
results --metric micro_f1 --level protein
--at early results
search protein PHN003 -b pixel-stats
search protein PHN003 -b phantom-dino --dataset opencell --centre
--at early search protein PHN003 -b pixel-stats
search protein PHN003 -b theirs
search cell {cell} -b pixel-stats
splits list
splits show opencell/grade3/protein-k3-s1
labels list
tag
sql "SELECT * FROM cells ORDER BY cell_id"
--at early sql "SELECT dataset, gene, count(*) AS n FROM cells GROUP BY ALL ORDER BY ALL"
phantom versions
verify
"""
# the words of later versions: the command that distinguishes them, the words that mark a line of the earlier ones,
# and the words that replace them
LATER = {
    "import --help": (
        " --layout vectors",
        (("ingest ", "import "), (" --layout vectors", ""), ("--vectors ", "--embeddings ")),
    ),
    "backbones show vit-random:unit=image": (
        " --unit image",
        (
            (" --unit image", ":unit=image"),
            (" --roles ", ":roles="),
            (" --pooling ", ":pooling="),
            (" --intensity ", ":intensity="),
        ),
    ),
}
WITHOUT_FORMAT = "labels add"
VOLATILE = {"created", "ingested", "failed_at", "elapsed_s", "code_version", "written_by"}
NOT_COMPARED = {"ingests"}  # who ran what when
# the last bits of a sum hang on how many threads made it
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KEY = b"lance-schema:unenforced-primary-key"  # in the metadata of the columns that tell a table's rows apart
SHOWN, NAMED = 60, 76  # letters of a value, and of a command

# runs lines in turn as if each were typed, and prints for each its exit code, stdout and stderr
DRIVER = """
import contextlib, io, json, sys
from {module} import {function} as main
done = []
for line in json.loads(sys.argv[1]):
    sys.argv, out, err, code = ["embstore", *line], io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    done.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(done))
"""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, without what no two runs share, and how it failed if it did."""

    printed: Any
    failed: str = ""


@dataclass(frozen=True)
class Checkout:
    """One checkout's command line, called in `folder`, on the store there; `paths` are those that lines name."""

    root: Path
    folder: Path
    main: str  # module:function
    paths: Mapping[str, Path]
    later: tuple[str, ...] = ()  # the commands of LATER that it knows

    def run(self, commands: Sequence[str]) -> dict[str, Outcome]:
        """Run commands in one process; return each one's outcome."""
        module, function = self.main.split(":")
        lines = json.dumps([self.line(command) for command in commands])
        done = self.python(DRIVER.format(module=module, function=function), lines)
        if done.returncode:
            return {command: Outcome("", done.stderr.strip().rpartition("\n")[2]) for command in commands}
        return {command: _outcome(*message) for command, message in zip(commands, json.loads(done.stdout), strict=True)}

    def line(self, command: str) -> list[str]:
        """Return the arguments of a command, in this checkout's words."""
        for mark, words in (LATER[known] for known in self.later):
            for earlier, later in words if mark in command else ():
                command = command.replace(earlier, later, 1)
        named = {name: shlex.quote(str(path)) for name, path in self.paths.items()}
        if "{cell}" in command:
            cells = read_tables(self.folder / "store", "cells")
            named["cell"] = min((key for table in cells.values() for key in table.rows), default="none")
        form = [] if command.startswith(WITHOUT_FORMAT) else ["--format", "json"]
        return ["--store", "store", *shlex.split(command.format(**named)), *form]

    def python(self, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with this checkout's packages before all others, in one thread and without a GPU."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("EMBSTORE_")}
        path = [str(self.root / room) for room in ("", "cli", "benchmarks")] + [env.get("PYTHONPATH", "")]
        env |= ONE_THREAD | {"CUDA_VISIBLE_DEVICES": "", "EMBSTORE_WEIGHTS": str(self.folder / "weights")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, path))
        line = [sys.executable, "-P", "-c", code, *arguments]
        return subprocess.run(line, env=env, cwd=self.folder, text=True, capture_output=True, check=False)


@dataclass(frozen=True)
class Table:
    """What lance reads of a table: its columns, and its rows by key without what is volatile."""

    columns: dict[str, str]
    version: int
    rows: dict[str, dict[str, Any]]

    @property
    def digest(self) -> str:
        """Twelve hex that stand for all rows, sorted by key, each number to its last bit."""
        return hashlib.sha256(repr(sorted(self.rows.items())).encode()).hexdigest()[:12]


@dataclass
class Checks:
    """What each check found: the first thing that differs, or nothing."""

    differences: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, differs: str, detail: str = "") -> None:
        """Record a check and write its line."""
        self.differences[name] = differs
        verdict, named = "DIFFERENT" if differs else "same", _cut(name, NAMED)
        sys.stderr.write(f"{verdict:<10} {named:<{NAMED}}  {differs or detail}\n")

    def compare(self, name: str, old: Outcome, new: Outcome) -> None:
        """Compare two outcomes; a command that fails is not the same as anything."""
        failed = [f"{which} failed: {o.failed}" for which, o in (("old", old), ("new", new)) if o.failed]
        rows = f"{len(new.printed)} rows" if isinstance(new.printed, list) else "text"
        self.add(name, "; ".join(failed) or difference(old.printed, new.printed), rows)


def _outcome(code: int, out: str, err: str) -> Outcome:
    try:
        printed = _lasting(json.loads(out))
    except ValueError:
        printed = out
    return Outcome(printed, f"exit code {code}: {_cut(' '.join((err or out).split()), NAMED)}" if code else "")


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(v) for name, v in value.items() if name not in VOLATILE}
    return [_lasting(v) for v in value] if isinstance(value, list) else value


def difference(old: Any, new: Any, at: str = "") -> str:
    """Return where two values first differ and both values, "" if nowhere; floats are the same bit by bit."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = dict.fromkeys([*old, *new])
        return _first(difference(old.get(n, "(none)"), new.get(n, "(none)"), f"{at} {n}") for n in names)
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return _first(difference(a, b, f"{at}[{i}]") for i, (a, b) in enumerate(zip(old, new, strict=True)))
    return "" if repr(old) == repr(new) else f"{at.strip()}: {_cut(repr(old))} is now {_cut(repr(new))}"


def _first(result: Iterable[str]) -> str:
    return next(filter(None, result), "")


def _cut(text: str, letters: int = SHOWN) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def read_tables(store: Path, pattern: str = "*") -> dict[str, Table]:
    """Return the tables of a store whose names match, by name."""
    paths = sorted(path for path in store.glob(f"{pattern}.lance") if path.stem not in NOT_COMPARED)
    return {path.stem: read_table(path) for path in paths}


def read_table(path: Path) -> Table:
    """Return a table; rows without a key are their own, and keys that come twice are for `verify` to find."""
    data = lance.dataset(str(path))
    key = [f.name for f in data.schema if KEY in (f.metadata or {})]
    columns = {f.name: f"{i} {f} {f.metadata or ''}" for i, f in enumerate(data.schema)}
    rows = [_lasting(row) for row in data.to_table().to_pylist()]
    return Table(columns, data.version, {" ".join(str(row[name]) for name in key or row): row for row in rows})


def versions(tables: Mapping[str, Table]) -> dict[str, int]:
    """Return the version of each table."""
    return {name: table.version for name, table in tables.items()}


def compare_tables(checks: Checks, old: Mapping[str, Table], new: Mapping[str, Table]) -> None:
    """Compare two stores' tables: which there are, columns and rows of each, and how often each was written to."""
    checks.add("tables", difference(sorted(old), sorted(new)), f"{len(new)} tables")
    for name in sorted(old.keys() & new.keys()):
        a, b = old[name], new[name]
        columns, rows = difference(a.columns, b.columns, "column"), difference(a.rows, b.rows, "row")
        differs = columns or (f"{rows}{_apart(a.rows, b.rows)}" if rows else "")
        checks.add(f"table {name}", differs, f"{len(b.rows)} rows, {b.digest}")
    checks.add("versions of tables", difference(versions(old), versions(new)), f"{sum(versions(new).values())} in all")


def _apart(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return how far a table's vectors are apart, "" if it has none."""
    pairs = [(old[key].get("vector"), new[key].get("vector")) for key in old.keys() & new.keys()]
    gaps = [np.abs(np.subtract(a, b, dtype=float)).max() for a, b in pairs if a and b and len(a) == len(b)]
    return f" ({np.count_nonzero(gaps)} of {len(gaps)} vectors differ, by {max(gaps):.3g} at most)" if gaps else ""


def go_on(checks: Checks, new: Checkout, asked: Mapping[str, Outcome]) -> None:
    """Run NEW on OLD's store: what brings anything finds nothing to do, and what is asked has OLD's answers."""
    before = versions(read_tables(new.folder / "store"))
    for command in asked:
        if command.startswith(("ingest", "embed")):
            (done,) = new.run([command]).values()
            checks.add(f"again: {command}", done.failed or _work(done.printed[0]), "nothing to do")
        elif command.startswith("bench"):
            checks.compare(f"again: {command}", asked[command], new.run([command])[command])
    for command, answer in new.run(ASK.strip().splitlines()).items():
        checks.compare(f"again: {command}", asked[command], answer)
    after = versions(read_tables(new.folder / "store"))
    checks.add("again: versions of tables", difference(before, after), "nothing was written")


def _work(report: Mapping[str, Any]) -> str:
    """Return what an ingest reports to have done, "" if nothing."""
    counts = {what: report.get(what, "(missing)") for what in ("images_in", "cells_in", "vectors_in")}
    return _first(f"{what} {count}" for what, count in counts.items() if count)


def write_vectors(path: Path) -> Path:
    """Write vectors of 36 proteins at three places; one lacks a number."""
    rng, numbers = np.random.default_rng(0), range(36)
    values = rng.normal(size=(36, 8)).astype(np.float32)
    values[5, 2] = np.nan
    gene, ensg_id = [f"PHN{i + 1:03d}" for i in numbers], [f"ENSG990000{i + 1:05d}" for i in numbers]
    place = [("er", "golgi", "er;vesicles")[i % 3] for i in numbers]
    np.savez(path, values=values, gene=gene, ensg_id=ensg_id, place=place)
    return path


def open_checkout(root: Path, folder: Path, paths: Mapping[str, Path]) -> Checkout:
    """Return the checkout at `root`, once Python has shown that it is this one whose modules are imported."""
    folder.mkdir()
    main: str = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]["embstore"]
    checkout, module = Checkout(root, folder, main, paths), main.partition(":")[0]
    done = checkout.python(f"import embstore, {module} as cli; print(embstore.__file__, cli.__file__, sep='\\n')")
    sys.stderr.write(done.stdout + done.stderr)
    result = done.stdout.splitlines()
    if not result or not all(Path(file).resolve().is_relative_to(root) for file in result):
        sys.exit(f"embstore is not imported from {root}")
    return replace(
        checkout, later=tuple(known for known, answer in checkout.run([*LATER]).items() if not answer.failed)
    )


def compare(old: Path, new: Path, work: Path, samples: Path | None) -> tuple[Checks, dict[str, Table]]:
    """Drive both checkouts; return what was found, and NEW's tables."""
    # both take in OLD's atlases, so that paths and files' times agree
    paths = {"atlas": work / "old", "external": write_vectors(work / "external.npz"), "samples": samples or work}
    checks, a, b = Checks(), open_checkout(old, work / "old", paths), open_checkout(new, work / "new", paths)
    writing = (ATLASES + FILL + (SAMPLES if samples else "")).splitlines()
    asked: dict[str, Outcome] = {}
    for commands in (*([line] for line in writing if line), ASK.strip().splitlines()):
        answers, others = a.run(commands), b.run(commands)
        for command in commands:
            checks.compare(command, answers[command], others[command])
        asked |= answers
    files = read_files(b.folder)
    checks.add("files of the atlases", difference(read_files(a.folder), files), f"{len(files)} files")
    tables = read_tables(b.folder / "store")
    compare_tables(checks, read_tables(a.folder / "store"), tables)
    shutil.copytree(a.folder / "store", work / "on" / "store")
    go_on(checks, replace(b, folder=work / "on"), asked)
    return checks, tables


def read_files(folder: Path) -> dict[str, str]:
    """Return the digest of each file of the atlases in a folder."""
    files = [file for atlas in ("opencell", "hpa") for file in sorted((folder / atlas).rglob("*.*"))]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def main() -> None:
    """Compare two checkouts, and exit with 1 where anything differs."""
    parser = argparse.ArgumentParser(description="Do two checkouts of embstore give the same results?")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--work", type=Path, help="a new folder for atlases and stores, which stay; else one that goes")
    parser.add_argument("--samples", type=Path, help="a folder of real images and vectors, which then go in too")
    options = parser.parse_args()
    started = time.perf_counter()
    old, new, samples = (path and path.resolve() for path in (options.old, options.new, options.samples))
    with tempfile.TemporaryDirectory(prefix="same-results-") as made:
        if options.work:
            options.work.mkdir(parents=True)
        checks, tables = compare(old, new, (options.work or Path(made)).resolve(), samples)
    different = {name: differs for name, differs in checks.differences.items() if differs}
    record = {
        "checks": len(checks.differences),
        "different": different,
        "digests": {n: t.digest for n, t in tables.items()},
    }
    sys.stdout.write(json.dumps(record | {"elapsed_s": round(time.perf_counter() - started, 1)}) + "\n")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
