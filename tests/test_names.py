"""One name, one meaning: no two modules define the same public name, and no module imports another's private name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "embstore", ROOT / "cli" / "embstore_cli", ROOT / "benchmarks" / "embstore_bench")
FROZEN = ROOT / "embstore" / "phantom" / "v1"  # a released version of the simulator keeps its code, names and all
# values that every module may have of its own under the same name: type variables, and the app of a group of commands
OF_EVERY_MODULE = ("TypeVar", "ParamSpec", "Typer")


def modules() -> dict[str, ast.Module]:
    """Return every module by its dotted name."""
    return {
        ".".join(path.relative_to(package.parent).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
        if not path.is_relative_to(FROZEN)
    }


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements of a module, those below an `if` or `try` too."""
    for node in body:
        yield node
        for branch in ("body", "orelse", "finalbody"):
            if isinstance(node, (ast.If, ast.Try)):
                yield from statements(getattr(node, branch, []))


def called(node: ast.expr | None) -> str:
    """Return the last name of what a call calls: `Typer` for `typer.Typer(...)`."""
    function = node.func if isinstance(node, ast.Call) else None
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def defined(tree: ast.Module) -> Iterator[str]:
    """Give the public names that a module defines: functions, classes and values."""
    for node in statements(tree.body):
        names: list[str] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and called(node.value) not in OF_EVERY_MODULE:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def commands(trees: dict[str, ast.Module]) -> set[tuple[str, str]]:
    """Return (module, function) of Typer's commands: decorated by `app.command(...)`, or given to it by a call."""
    registered: set[tuple[str, str]] = set()
    for module, tree in trees.items():
        places = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and {"command", "callback"} & {*map(called, node.decorator_list)}:
                registered.add((module, node.name))
            elif isinstance(node, ast.Call) and called(node.func) == "command":
                for given in node.args:
                    if isinstance(given, ast.Attribute) and isinstance(given.value, ast.Name):
                        registered.add((places[given.value.id], given.attr))
                    elif isinstance(given, ast.Name):
                        registered.add((module, given.id))
    return registered


def test_no_two_modules_define_the_same_public_name() -> None:
    """A public name has one meaning in embstore, embstore_cli and embstore_bench; commands have their users' names."""
    trees = modules()
    typed_by_users = commands(trees)
    owners: dict[str, set[str]] = defaultdict(set)
    for module, tree in trees.items():
        for name in defined(tree):
            if (module, name) not in typed_by_users:
                owners[name].add(module)
    twice = {name: sorted(places) for name, places in sorted(owners.items()) if len(places) > 1}
    assert not twice, "\n" + "\n".join(f"{name}: {', '.join(places)}" for name, places in twice.items())


def test_commands_are_recognised_by_their_registration() -> None:
    """Both ways of Typer are seen: the decorator, and the call in `main` that names a function of another module."""
    registered = commands(modules())
    assert {("embstore_cli.search", "protein"), ("embstore_cli.ingest", "ingest")} <= registered
    assert ("embstore_cli.main", "options") in registered  # app.callback
    assert not {function for module, function in registered if not module.startswith("embstore_cli")}


def test_no_module_imports_a_private_name_of_another() -> None:
    """What another module needs is public (ruff's import-private-name looks only across top-level packages)."""
    private = [
        f"{module} imports {alias.name} from {node.module}"
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if alias.name.startswith("_")
    ]
    assert not private, "\n".join(private)
