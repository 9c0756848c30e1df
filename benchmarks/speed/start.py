"""`embstore --help` against a bare Python and against the command line library alone."""

from __future__ import annotations

import subprocess
import sys

from harness import compare, report


def main() -> None:
    timings = compare(
        {
            "python -c pass": lambda: _run("pass"),
            "import typer, rich": lambda: _run("import typer, rich.console"),
            "embstore --help": lambda: _run(
                "import sys; sys.argv[1:] = ['--help']; from embstore_cli.main import main; main()"
            ),
            "embstore status --help": lambda: _run(
                "import sys; sys.argv[1:] = ['status', '--help']; from embstore_cli.main import main; main()"
            ),
        },
        baseline="import typer, rich",
        rounds=9,
    )
    report("start of the command line", timings, work="--help should stay under half a second")


def _run(program: str) -> None:
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
