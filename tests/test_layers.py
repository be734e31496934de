"""Imports flow one way: a module imports what stands in a line above its own, wherever in the file the import stands."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lamina
from lamina import _HOMES

ORDER = """
errors findings records batch exhibits writing
plan sampling watch environment interrupt ngrams account memory inspection threads
ctc
layers metrics
data
native
baselines networks audit
judge
worth
tasks
find run execution optimizers
machine candidate
measuring
recipe state
checkpoint examples
descent evaluation
attribution by_class
loop monitor report comparison rivals slices
forecast origin remedies showing
preflight
prove
model
prepare
training
seeds advise
explanation
answers options terminal
printing
generating listing explaining
cli
__main__
"""
"""From the ground up; a folder stands for its files, which may import one another."""

ALONE = {"tasks": ("tasks.task",), "networks": (), "metrics": ("metrics.metric",)}
"""Folders whose files do not import one another, but for those named: a task never builds on another task."""

HOUSE = Path(lamina.__file__).parent
RANK = {place: rank for rank, line in enumerate(ORDER.split("\n")) for place in line.split()}


def modules() -> dict[str, Path]:
    """By name without ``lamina.``, every module but ``lamina`` itself, which names the others only."""
    found = {}
    for file in sorted(HOUSE.rglob("*.py")):
        parts = file.relative_to(HOUSE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = file
    return found


KNOWN = frozenset(modules())


def imported(importer: str, source: str) -> Iterator[str]:
    """The modules of Lamina that a module imports: by statement, by name through ``lamina``, or by ``import_module``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(importer, node)
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lamina":
            names = [f"lamina.{node.attr}"]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            names = [ast.unparse(node.args[0]).strip("f'\"")]
        else:
            continue
        for name in names:
            if name.startswith("lamina."):
                yield _module(name.removeprefix("lamina."))


def _absolute(importer: str, node: ast.ImportFrom) -> str:
    """``from ..errors import X`` names the module that ``from lamina.errors import X`` does."""
    if not node.level:
        return node.module or ""
    above = ["lamina", *importer.split(".")][: -node.level]
    return ".".join([*above, *([node.module] if node.module else [])])


def _module(name: str) -> str:
    """The module that a dotted name lies in: ``plan.Plan`` in ``plan``, and ``train`` where its public name lives."""
    first = name.partition(".")[0]
    if first in _HOMES and first not in KNOWN:
        return _HOMES[first]
    while name not in KNOWN and "." in name:
        name = name.rpartition(".")[0]
    return name


def place(module: str) -> str:
    """What ORDER calls a module: its folder, or its own name."""
    return module.partition(".")[0]


def wrong(importer: str, source: str) -> list[str]:
    """The arrows of a module that point up or sideways, in words."""
    found = []
    for module in imported(importer, source):
        if module.startswith("__") or module == importer:  # lamina.__version__, lamina.__file__
            continue
        here, there = place(importer), place(module)
        sibling = here == there and (here not in ALONE or module == here or module in ALONE[here])
        if not sibling and RANK[there] >= RANK[here]:
            found.append(f"{importer} imports {module}")
    return found


def test_every_module_has_a_place() -> None:
    places = {place(module) for module in modules()}
    assert places == set(RANK), "write it into ORDER, above what may import it; or take it out"


def test_imports_flow_one_way() -> None:
    assert [arrow for name, file in modules().items() for arrow in wrong(name, file.read_text(encoding="utf-8"))] == []


def test_the_loop_knows_the_contract_and_no_task() -> None:
    known = set(imported("loop", modules()["loop"].read_text(encoding="utf-8")))
    assert "tasks.task" in known
    assert not {module for module in known if place(module) in ("networks", "monitor", "report", "cli")}
    assert not {module for module in known if place(module) == "tasks"} - {"tasks.task"}


@pytest.mark.parametrize(
    ("importer", "planted"),
    [
        ("batch", "import lamina.loop"),
        ("batch", "def late():\n    from lamina.training import train"),
        ("data.split", "from lamina import training"),
        ("data.split", "from lamina import train"),
        ("data.split", "import lamina\nlamina.train('flowers/')"),
        ("loop", "from lamina.monitor.monitor import Monitor"),
        ("loop", "if TYPE_CHECKING:\n    from lamina.model import Model"),
        ("monitor.learning", "from ..loop import loop\nfrom ..run import Run\nfrom ..model import Model"),
        ("networks.mlp", "from . import cnn"),
        ("networks.mlp", "from lamina.tasks.task import Task"),
        ("tasks.tabular_regression", "from lamina.tasks.tabular_classification import TabularClassification"),
        ("metrics.metric", "import_module(f'lamina.tasks.{name}')"),
        ("run", "from .cli import app"),
    ],
)
def test_a_backward_import_is_caught(importer: str, planted: str) -> None:
    assert wrong(importer, planted)


@pytest.mark.parametrize(
    ("importer", "fine"),
    [
        ("loop", "from lamina.tasks.task import Task"),
        ("tasks.tabular_regression", "from lamina.tasks.task import Task"),
        ("audit.leaks", "from lamina.audit.duplicates import MOST_NAMED"),
        ("recipe", "import lamina\nlamina.__version__"),
        ("find", "import_module(f'lamina.networks.{name}')"),
        ("batch", "import torch\nfrom torch import Tensor"),
    ],
)
def test_a_forward_import_is_not(importer: str, fine: str) -> None:
    assert wrong(importer, fine) == []
