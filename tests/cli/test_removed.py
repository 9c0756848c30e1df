"""Options of earlier versions: refused with what replaced them, and shown nowhere."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from embstore.errors import EmbstoreError
from embstore_cli.removed import RemovedOption, without_options

app = typer.Typer()


@app.command()
@without_options(
    RemovedOption("--mend", "write --repair", is_flag=True),
    RemovedOption("--crop-um", "write --backbone hpa:crop_um=40"),
)
def check(
    name: Annotated[str, typer.Argument()], repair: Annotated[bool, typer.Option("--repair", help="New.")] = False
) -> None:
    """A command that lost two options."""
    typer.echo(f"{name} {repair}")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (["store", "--mend"], "--mend was removed: write --repair"),
        (["store", "--crop-um", "40"], "--crop-um was removed: write --backbone hpa:crop_um=40"),
        (["--crop-um=40", "store"], "--crop-um was removed: write --backbone hpa:crop_um=40"),
        (["--mend"], "--mend was removed: write --repair"),  # also where an argument is missing
    ],
)
def test_a_removed_option_names_what_replaced_it(line: list[str], error: str) -> None:
    """Whether it takes a value or not, and whatever else is wrong with the line."""
    outcome = CliRunner().invoke(app, line)
    assert isinstance(outcome.exception, EmbstoreError)
    assert str(outcome.exception) == error


def test_the_command_is_else_what_it_was() -> None:
    """Its other options do what they did, and its help names none of those removed."""
    assert CliRunner().invoke(app, ["store", "--repair"]).output == "store True\n"
    shown = CliRunner().invoke(app, ["--help"]).output
    assert "--repair" in shown
    assert "--mend" not in shown
    assert "--crop-um" not in shown
