"""The command line: parse, call one library function, render."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from embstore.errors import EmbstoreError
from embstore_cli import (
    backbones,
    bench,
    care,
    completion,
    demo,
    imports,
    ingest,
    labels,
    look,
    phantom,
    proteins,
    search,
    segmenters,
    splits,
)
from embstore_cli.context import state
from embstore_cli.log import logged
from embstore_cli.render import say
from embstore_cli.terminal import flush_streams, prepare_streams


class Commands(TyperGroup):
    """All commands; Ctrl-C ends each of them with one line and exit code 130, also while it imports an engine."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # Typer has its own copy of click's Context
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="embstore",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"embstore {version('embstore')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    store: Annotated[
        str, typer.Option("--store", envvar="EMBSTORE_STORE", metavar="PATH_OR_URI", help="The store to work on.")
    ] = "store",
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TAG", autocompletion=completion.tags, help="Read the store as it was at this tag."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Write the log to stderr.")] = False,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Append the log to this file: steps and failures.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn microscopy images into embeddings of their cells, in one versioned store; search proteins, and score
    backbones by how well they predict where proteins are.

    Example: `embstore ingest images/ --layout opencell --labels labels.csv --backbone pixel-stats`
    """
    state.store, state.at = store, at
    ctx.with_resource(logged(verbose=verbose, file=log))


app.command("ingest")(ingest.ingest)
app.command("import")(imports.import_file)
app.command("embed")(ingest.embed)
app.command("bench")(bench.bench)
app.command("results")(bench.results)
app.add_typer(search.app, name="search")
app.command("sql")(look.sql)
app.command("status")(look.status)
app.command("verify")(care.verify)
app.command("maintain")(care.maintain)
app.command("tag")(care.tag)
app.command("remove")(care.remove)
app.command("doctor")(care.doctor)
app.add_typer(splits.app, name="splits")
app.add_typer(labels.app, name="labels")
app.add_typer(proteins.app, name="proteins")
app.add_typer(backbones.app, name="backbones")
app.add_typer(segmenters.app, name="segmenters")
app.add_typer(phantom.app, name="phantom")
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 1, a closed pipe is not an error."""
    os.environ.setdefault("LANCE_LOG", "error")  # it warns of operations that are retried
    prepare_streams()
    try:
        app(prog_name="embstore")  # shells ask for completions under this name
    except EmbstoreError as error:
        say(f"error: {error}")
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None or isinstance(error, BrokenPipeError):
            raise
        say(f"error: cannot use {os.fsdecode(error.filename)}: {error.strerror}; name another path")
        raise SystemExit(1) from None
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # `| head`: Typer and Rich would exit with 1
            raise SystemExit(0) from None
        raise
    finally:
        flush_streams()
