"""Every block of code in the README and in docs/ is run: Python as it stands, commands as far as their options.

Each page runs in a folder of its own, with small data under the names that the pages use: ``flowers/`` (class folders;
others in ``more-flowers/``),
``houses.csv`` (a column ``price``), ``book.txt``, ``shapes/`` (images with boxes), ``tones/``
(recordings with transcripts) and ``new/`` (photos without a class). A Python block that begins with ``# name.py`` is saved
under that name, and not run.
"""

import ast
import re
import shlex
from dataclasses import fields
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import typer
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser
from typer.main import get_command

import lamina
from lamina import find
from lamina.cli import app
from lamina.data.pictures import png
from lamina.data.shapes_drawn import draw_shapes
from lamina.data.tones import speak_tones
from lamina.tasks.language_modelling import LanguageModelling

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def run_or_save(example: Example) -> None:
    """Run a Python block, or save one that is a file."""
    named = re.match(r"# (\w+\.py)\n", example.parsed)
    if named:
        Path(named[1]).write_text(example.parsed, encoding="utf-8")
    else:
        PythonEvaluator()(example)


SYBIL = Sybil([CodeBlockParser("python", run_or_save)])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data that the pages speak of; the present folder while a test runs."""
    from sklearn.datasets import load_diabetes, load_digits

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lamina.measuring.ROUNDS", 1)
    monkeypatch.setattr("lamina.prepare.DEFAULT_SECONDS", 0.1)  # so that three epochs are made where none are said
    digits = load_digits()
    names = ["daisy", "rose", "tulip"]
    for label, name in enumerate(names):
        for number, pixels in enumerate(digits.images[digits.target == label][:34]):
            file = tmp_path / ("flowers" if number < 30 else "more-flowers") / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png((pixels[:, :, None] * (255 / 16)).round().astype(np.uint8)))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "1.png").write_bytes((tmp_path / "flowers" / "rose" / "7.png").read_bytes())
    patients = load_diabetes(scaled=False)
    table = pl.DataFrame(patients.data[:240, :5], ["rooms", "age", "area", "floor", "year"], orient="row")
    table.with_columns(price=pl.Series(patients.target[:240])).write_csv(tmp_path / "houses.csv")
    draw_shapes(tmp_path / "shapes", 60, 64)
    speak_tones(tmp_path / "tones", 60)
    LanguageModelling().tiny(tmp_path).path.rename(tmp_path / "book.txt")  # type: ignore[union-attr]
    return tmp_path


@EVERY_PAGE
def test_python_blocks_run(page: Path, desk: Path) -> None:
    torch.manual_seed(0)
    for example in SYBIL.parse(page).examples():
        example.evaluate()


@EVERY_PAGE
def test_commands_and_their_options_exist(page: Path) -> None:
    for command in commands(page.read_text(encoding="utf-8")):
        understood(command)


def test_a_wrong_command_is_caught() -> None:
    for wrong in (
        "lamina trian DATA",
        "lamina train DATA --epoch 3",
        "lamina train DATA --epochs many",
        "lamina compare A",
    ):
        with pytest.raises(typer.TyperException):
            understood(wrong)


def test_commands_are_found() -> None:
    assert commands("```console\n$ lamina runs\nrun  task\n$ lamina check DATA \\\n    --json\n```") == [
        "lamina runs",
        "lamina check DATA  --json",
    ]


def test_every_verb_and_option_is_described() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    verbs = {str(verb.name): verb for verb in verbs_of(get_command(app))}
    assert set(sections) == {*verbs, "train"}
    for name, verb in verbs.items():
        there = {option for parameter in verb.params for option in parameter.opts if option.startswith("--")}
        assert set(re.findall(r"^\| `(--[\w-]+)", sections[name], re.MULTILINE)) == there - {"--help"}, name


def test_every_kind_of_finding_is_described() -> None:
    page = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE))
    assert described == kinds_of_findings()


def test_every_task_and_its_options_are_described() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == find.names("tasks")
    for name, section in sections.items():
        options = {field.name for field in fields(find.task(name))}
        assert set(re.findall(r"^\| `(\w+)", section, re.MULTILINE)) == options, name


def test_every_network_and_its_sizes_are_described() -> None:
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == find.names("networks")
    for name, section in sections.items():
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(find.network(name).SIZES), name


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"auto\w+:: lamina\.([\w.]+)", page))
    assert named >= {f"{lamina._HOMES[name]}.{name}" for name in lamina.__all__}


def test_the_architecture_names_every_file_of_the_house() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    house = Path(lamina.__file__).parent
    names = {entry.name for entry in house.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    assert {name for name in names if f"{name}" not in page} == set()


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_first_pages_are_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) < 60


def commands(text: str) -> list[str]:
    """The lines of console blocks that call ``lamina``; a backslash continues one."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n   ", "").splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ lamina")]


def understood(command: str) -> None:
    """Parse a command as the command line would, and do nothing. Raises TyperException."""
    group = get_command(app)
    words = shlex.split(command, comments=True)[1:]
    words = words[: next((at for at, word in enumerate(words) if word in "|>"), len(words))]
    if words == ["--help"]:
        return
    with group.make_context("lamina", list(words)) as context:
        name, verb, rest = group.resolve_command(context, list(words))  # type: ignore[attr-defined]
        if "--help" not in rest:
            verb.make_context(name, rest, parent=context)


def verbs_of(group: object) -> list[typer.core.TyperCommand]:
    """The verbs of the command line."""
    return list(group.commands.values())  # type: ignore[attr-defined]


def kinds_of_findings() -> set[str]:
    """Every kind that the code can give: what looks like one, in a call of Finding or beside the words of one."""
    kinds = set()
    for file in Path(lamina.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding" and node.args:
                if isinstance(node.args[0], ast.Constant):
                    kinds.add(node.args[0].value)
            elif isinstance(node, ast.Constant) and re.fullmatch(
                r"(value|bottleneck|box|recording)\.[a-z_]+", str(node.value)
            ):
                kinds.add(node.value)
    return kinds | {"column.constant", "column.identifier"}  # made from the kind of the column
