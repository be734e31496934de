"""Budgets: how large files, functions, classes and options may become, and what importing Lamina may cost.

The tail is what makes a code base hard to read, so the tail has a limit. Raising one takes a commit that says why.
"""

import ast
import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import lamina
from lamina import find
from lamina.plan import Plan

FILE = 400  # lines
LOOP = 190  # lines of loop.py
FUNCTION = 60  # lines, signature included, docstring not: a screen of code
METHODS = 16  # of a class
CONTRACT = 25  # of Task and of tasks: each has its place in the path data take; most tasks write 15 of them
PLAN = 16  # fields
OPTIONS = 10  # of a task
HEAVY = {"torch", "sklearn", "matplotlib", "polars", "pandas", "jinja2", "PIL", "scipy"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "base"}

HOUSE = Path(lamina.__file__).parent
SOURCES = {file: file.read_text(encoding="utf-8") for file in sorted(HOUSE.rglob("*.py"))}


def test_a_file_can_be_read_in_one_sitting() -> None:
    lengths = {str(file.relative_to(HOUSE)): len(source.splitlines()) for file, source in SOURCES.items()}
    assert lengths["loop.py"] <= LOOP
    assert {name: lines for name, lines in lengths.items() if lines > FILE} == {}


def test_a_function_fits_a_screen() -> None:
    assert [f"{file.name} {long}" for file, source in SOURCES.items() for long in too_long(source)] == []


def test_a_class_has_few_methods() -> None:
    assert [f"{file.name} {many}" for file, source in SOURCES.items() for many in too_many_methods(source)] == []


def test_a_file_is_named_after_what_is_in_it() -> None:
    assert [str(file) for file in SOURCES if {file.stem, file.parent.name} & VAGUE] == []


def test_a_file_says_what_it_is_for() -> None:
    assert [str(file) for file, source in SOURCES.items() if not ast.get_docstring(ast.parse(source))] == []


def test_options_are_few() -> None:
    assert len(fields(Plan)) <= PLAN
    for name in find.names("tasks"):
        assert len(fields(find.task(name))) <= OPTIONS, name


def test_public_names_are_sorted_and_there() -> None:
    assert lamina.__all__ == sorted(lamina.__all__)
    for name in lamina.__all__:
        assert getattr(lamina, name).__name__ == name
    with pytest.raises(AttributeError, match="trian"):
        _ = lamina.trian  # type: ignore[attr-defined]


def test_type_checkers_see_the_public_names() -> None:
    """What is imported for them is what is loaded when it is first used."""
    source = ast.parse((HOUSE / "__init__.py").read_text(encoding="utf-8"))
    (seen,) = (node for node in source.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    names = {
        alias.name: statement.module
        for statement in seen.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert names == {name: f"lamina.{home}" for name, home in lamina._HOMES.items()}


@pytest.mark.parametrize("module", ["lamina", "lamina.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    script = f"import json, sys, {module}; print(json.dumps([name.partition('.')[0] for name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not HEAVY & set(json.loads(done.stdout))


def test_the_yardsticks_measure() -> None:
    long = "def f():\n" + '    """Say.\n\n    More.\n    """\n' + "    x = 1\n" * FUNCTION
    assert too_long(long) == [f"f: {FUNCTION + 1} lines"]
    assert too_long(long.removesuffix("    x = 1\n")) == []
    crowd = "class C:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(METHODS + 1))
    assert too_many_methods(crowd) == [f"C: {METHODS + 1} methods"]


def too_long(source: str) -> list[str]:
    """Functions above the budget, the lines of their docstrings not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            if lines > FUNCTION:
                found.append(f"{node.name}: {lines} lines")
    return found


def too_many_methods(source: str) -> list[str]:
    """Classes above the budget."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) for member in node.body)
            if methods > (CONTRACT if "Task" in [node.name, *map(ast.unparse, node.bases)] else METHODS):
                found.append(f"{node.name}: {methods} methods")
    return found
