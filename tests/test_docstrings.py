"""Docstrings of public functions give the shapes of arrays and the errors that the function itself raises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "embstore", ROOT / "benchmarks" / "embstore_bench")
FROZEN = ROOT / "embstore" / "phantom" / "v1"
# modules of embstore/pixels that do not give every shape yet: the list may only get shorter
WITHOUT_SHAPES = {
    f"embstore/pixels/{name}.py"
    for name in ("candidates", "cover", "diameter", "levels", "masks", "segment", "smoothing")
}
# annotations of arrays: NumPy's, torch's, and the aliases of embstore/arrays.py and of single modules
ARRAYS = re.compile(
    r"\b(ndarray|NDArray|Tensor|Vectors|Matrix|Counts|BoolArray|GroupIndex|LabelImage|Bools|Scores|(Float|Int|UInt)\d+s)\b"
)
SHAPE = re.compile(r"\((\.\.\.|\w+)(, *[\w .×*/+()-]+)*,? *\)|any shape|same shape|as numpy", re.IGNORECASE)
ERROR = re.compile(r"\w*(Error|Warning|Interrupt)s?\b|\b[Rr]aises\b")


def public_functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every public function and method of a public class, by module and name."""
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            if not path.is_relative_to(FROZEN):
                name = path.relative_to(package.parent).as_posix()
                yield from _functions(name, ast.parse(path.read_text(encoding="utf-8")).body)


def _functions(name: str, body: list[ast.stmt]) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _functions(f"{name}: {node.name}", node.body)
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{name}: {node.name}", node


def has_arrays(function: ast.FunctionDef) -> bool:
    """True if a parameter or the result of a function is annotated as an array."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    annotations = [function.returns, *(argument.annotation for argument in arguments)]
    return any(ARRAYS.search(ast.unparse(annotation)) for annotation in annotations if annotation)


def raised(function: ast.FunctionDef) -> set[str]:
    """Return the names of the exceptions that a function's own statements raise and do not only pass on."""
    names = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            names |= {name} if name.endswith("Error") else set()
    return names


def test_functions_of_arrays_give_shapes() -> None:
    """A reader of the docstring knows which dimension is which."""
    functions = [(name, f) for name, f in public_functions() if has_arrays(f)]
    assert len(functions) > 50
    lacking = [name for name, f in functions if not SHAPE.search(ast.get_docstring(f) or "")]
    assert [name for name in lacking if name.partition(":")[0] not in WITHOUT_SHAPES] == []
    assert {name.partition(":")[0] for name in lacking} >= WITHOUT_SHAPES


def test_functions_that_raise_state_their_errors() -> None:
    """A reader of the docstring knows which errors to expect."""
    functions = [(name, f) for name, f in public_functions() if raised(f)]
    assert len(functions) > 50
    assert [name for name, f in functions if not ERROR.search(ast.get_docstring(f) or "")] == []
