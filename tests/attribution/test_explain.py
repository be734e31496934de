"""Explain: what a planted network goes by is what is named; parts add up; random weights are a check that can fail."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import lamina
from lamina import find
from lamina.attribution import explain
from lamina.attribution.explain import Explained, Explanation
from lamina.cli import app
from lamina.data.data import Source
from lamina.errors import OptionError
from lamina.explanation import heat, page, parts
from lamina.layers.shapes import Canvas
from lamina.model import Model, subject
from trained import Trained


def explained(model: Model, inputs: Any) -> list[Explanation]:
    """The explanations alone."""
    return explain.explained(subject(model), inputs).explanations


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run on a table whose answer follows from one number and one kind; two more columns say nothing."""
    folder = tmp_path_factory.mktemp("table")
    source = np.random.default_rng(0)
    size, noise = source.normal(size=(2, 1200))
    kind = source.choice(["red", "blue"], 1200)
    answers = np.where(size + 2.0 * (kind == "red") - 1 > 0, "yes", "no")
    frame = pl.DataFrame(
        {"size": size, "noise": noise, "kind": kind, "other": source.choice(["x", "y"], 1200), "a": answers}
    )
    frame.write_csv(folder / "table.csv")
    return lamina.train(
        Source(folder / "table.csv", "a"), size="tiny", epochs=12, threads=1, precision="float32", out=folder / "run"
    )


def test_columns_that_decide_are_named_and_add_up(table: Any) -> None:
    rows = pl.DataFrame({"size": [2.0, -2.0], "noise": [0.1, 3.0], "kind": ["red", "blue"], "other": ["x", "y"]})
    for one in explained(table, [rows]):
        shares = dict(zip(one.names, np.abs(one.shares), strict=True))
        assert min(shares["size"], shares["kind"]) > 5 * max(shares["noise"], shares["other"])
        assert float(one.shares.sum()) == pytest.approx(one.value - one.reference, abs=1e-4)
        assert abs(one.missing) < 1e-4
    assert [one.answer["prediction"] for one in explained(table, [rows])] == ["yes", "no"]
    assert one.cells == ("-2.0", "3.0", "blue", "y")


def test_rows_as_they_are_written_are_explained(tmp_path: Path) -> None:
    """Training rows are typed, those that are asked for are as a file or a frame has them."""
    rows = range(200)
    frame = pl.DataFrame(
        {
            "paid": [["yes", "no"][row % 2] for row in rows],
            "day": [f"2024-{1 + row % 12:02}-{1 + row % 28:02}" for row in rows],
            "price": ["NA" if row % 50 == 7 else f"{row % 37},5" for row in rows],
            "code": [["01", "2", "3"][row % 3] for row in rows],
            "answer": [["low", "high"][row % 3 == 1] for row in rows],
        }
    )
    frame.write_csv(tmp_path / "table.csv", separator=";")
    model = lamina.train(
        Source(tmp_path / "table.csv", "answer"),
        size="tiny",
        epochs=3,
        threads=1,
        precision="float32",
        out=tmp_path / "run",
    )
    assert {kind["name"]: kind["holds"] for kind in model.facts["columns"]} == {
        "paid": "boolean", "day": "date", "price": "number", "code": "string"
    }  # fmt: skip
    (tmp_path / "new.csv").write_text("paid;day;price;code\nyes;2024-03-05;3,5;2\n;;NA;\n", encoding="utf-8")
    written, empty = explained(model, [str(tmp_path / "new.csv")])
    assert abs(written.missing) < 1e-4
    assert written.cells == ("yes", "2024-03-05", "3,5", "2")
    assert abs(empty.missing) < 1e-4
    typed = {"paid": [True], "day": ["2024-03-05"], "price": [3.5], "code": [2.0]}
    (one,) = explained(model, [pl.DataFrame(typed)])
    assert one.shares == pytest.approx(written.shares)


def test_no_more_than_some_inputs_are_explained(table: Any) -> None:
    rows = pl.DataFrame({"size": [1.0] * 20, "noise": [0.0] * 20, "kind": ["red"] * 20, "other": ["x"] * 20})
    assert len(explained(table, [rows])) == explain.MOST
    assert table.explain(rows)["left_out"] == 12


class Corner(nn.Module):
    """Looks at the upper left corner alone."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, side, side, channels) → (batch, 10)."""
        scores: Tensor = self.head(image[:, :4, :4, 0].flatten(1).float() / 255)
        return scores


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from lamina.tasks.image_classification import ImageClassification

    folder = tmp_path_factory.mktemp("corner")
    task = ImageClassification()
    torch.manual_seed(0)
    model = lamina.train(
        task.tiny(folder), task=task, network=Corner(), epochs=2, threads=1, precision="float32", out=folder / "run"
    )
    return model, sorted((folder / "digits").rglob("*.png"))[:3]


def test_pixels_outside_of_what_a_network_looks_at_have_no_part(corner: Any) -> None:
    model, files = corner
    for one in explained(model, [str(file) for file in files]):
        outside = one.shares.copy()
        outside[:4, :4] = 0
        assert np.abs(outside).max() == 0
        assert np.abs(one.shares[:4, :4]).max() > 0
        assert abs(one.missing) < 0.02 * max(1.0, abs(one.value - one.reference))
        assert one.picture is not None
        drawn = heat(one.picture, one.shares)
        assert drawn.shape == (*one.shares.shape, 3)
        grey = drawn[5:, 5:]
        assert (grey == grey[..., :1]).all()  # only the corner is coloured


def test_an_explanation_that_random_weights_give_too_is_doubted(corner: Any) -> None:
    """Of a bright corner any weights make much, of a dark one nothing: sizes follow the input, not what was learned."""
    model, files = corner
    found = explain.explained(subject(model), [str(files[0])])
    (one,) = found.explanations
    assert one.random > explain.ALIKE
    assert one.doubtful
    assert [finding.kind for finding in found.findings()] == ["explanation.random"]
    assert "tells little about what was learned" in page("run", found)


class Bright(nn.Module):
    """Scores of ten rows of a picture, by their brightness times some weights."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 8, 8, channels) → (batch, 10)."""
        pixels = image[..., 0].float().flatten(1) / 255  # (batch, 64)
        return torch.nn.functional.pad((pixels * self.weights).sum(1, keepdim=True), (0, 9))


def test_random_weights_are_told_from_those_that_matter(corner: Any) -> None:
    """The same weights again explain everything again; others, drawn by chance, do not."""
    model, files = corner
    learned = torch.zeros(64)
    learned[20:40] = torch.arange(20) - 9.5
    drawn = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    known = replace(subject(model), network=Bright(learned))
    for fresh, low, high in ((lambda _: Bright(learned), 0.999, 1.001), (lambda one: Bright(drawn[one]), -0.4, 0.5)):
        (one,) = explain.explained(replace(known, fresh=fresh), [str(files[1])]).explanations
        assert low < one.random < high
        assert one.doubtful == (low > 0.5)
        middle = one.shares.ravel()[20:40]
        assert np.abs(middle).sum() == pytest.approx(np.abs(one.shares).sum())


def _example(trained: Trained) -> list[Any]:
    """Some of a task's own data, as predict takes them."""
    if trained.name == "language_modelling":
        return [{"text": "The value of an expression is evaluated bef"}]
    raws = trained.data.raws[:3]
    return [raws] if isinstance(raws, pl.DataFrame) else [str(raw) for raw in raws]


@pytest.mark.parametrize("trained", find.names("tasks"), indirect=True)
def test_every_task_explains_its_answers_or_says_why_not(trained: Trained) -> None:
    model = trained.model
    if isinstance(model.task.takes(model.facts), Canvas):
        with pytest.raises(OptionError, match="nothing in one to point at"):
            model.explain(*_example(trained))
        return
    found = explain.explained(subject(model), _example(trained))
    for one in found.explanations:
        assert not one.incomplete
        assert float(one.shares.sum()) == pytest.approx(one.value - one.reference - one.missing, abs=1e-3)
        assert np.abs(one.shares).max() > 0
        assert -1 <= one.random < 0.95
        assert sum(share for _, _, share in parts(one)) == pytest.approx(float(one.shares.sum()), abs=1e-3)
        assert one.against
    text = page("run", found)
    assert all(one.where in text for one in found.explanations)
    told = json.loads(lamina.run.to_json_text(model.explain(*_example(trained))))
    assert [one["about"] for one in told["explanations"]] == [one.about for one in found.explanations]


@pytest.mark.parametrize("trained", ["tabular_regression"], indirect=True)
def test_a_quantity_is_explained_in_its_own_unit(trained: Trained) -> None:
    for one in explained(trained.model, _example(trained)):
        assert one.value == pytest.approx(one.answer["prediction"], rel=1e-4)
        assert trained.model.facts["target"]["low"] < one.reference < trained.model.facts["target"]["high"]


@pytest.mark.parametrize("trained", ["language_modelling"], indirect=True)
def test_the_next_letter_comes_from_the_last_ones(trained: Trained) -> None:
    (one,) = explained(trained.model, [{"text": "x" * 30 + " statemen"}])
    assert "'t'" in one.about or "comes next" in one.headline
    assert "".join(one.names).endswith("x statemen")
    sizes = np.abs(one.shares)
    assert sizes[-5:].sum() > sizes[:-5].sum()


def test_what_cannot_be_read_is_named_and_the_rest_is_explained(corner: Any, tmp_path: Path) -> None:
    model, files = corner
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    found: Explained = explain.explained(subject(model), [str(broken), str(files[0])])
    assert [Path(where).name for where, _ in found.errors] == ["broken.png"]
    assert len(found.explanations) == 1
    with pytest.raises(OptionError, match="nothing can be explained"):
        model.explain(str(broken))


def test_the_command_says_shows_and_writes(table: Any, tmp_path: Path) -> None:
    row = tmp_path / "row.csv"
    row.write_text("size,noise,kind,other\n2.0,0.1,red,x\n", encoding="utf-8")
    run = CliRunner()
    said = run.invoke(app, ["explain", str(table.path), str(row), "--out", str(tmp_path / "why.html")])
    assert said.exit_code == 0
    assert "kind" in said.output
    text = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "row.csv:2" in text
    assert "<script" not in text
    told = run.invoke(app, ["explain", str(table.path), str(row), "--json"])
    (one,) = json.loads(told.output)["explanations"]
    assert set(one["shares"]) == {"size", "noise", "kind", "other"}
    wrong = run.invoke(app, ["explain", str(table.path), str(row), "--out", "why.pdf"])
    assert isinstance(wrong.exception, OptionError)
    layers = run.invoke(app, ["explain", str(table.path)])
    assert "resting" in layers.output
    assert "gradient/weights" not in layers.output
    through = run.invoke(app, ["explain", str(table.path), "--activations"])
    assert "gradient/weights" in through.output
    assert "64 validation examples" in through.output
    given = json.loads(run.invoke(app, ["explain", str(table.path), str(row), "--activations", "--json"]).output)
    assert given["examples"] == 1
    assert not any("relative_gradient" in one for one in given["rows"])
    nothing = run.invoke(app, ["explain", str(table.path), "--out", str(tmp_path / "why.html")])
    assert isinstance(nothing.exception, OptionError)
