"""Attribution: what a planted network goes by is what is named; parts add up; random weights are a check that can fail."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import lamina
from lamina import attribution
from lamina.attribution import explained
from lamina.cli import app
from lamina.data.data import Source
from lamina.errors import OptionError
from lamina.explanation import heat, page


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


def test_no_more_than_some_inputs_are_explained(table: Any) -> None:
    rows = pl.DataFrame({"size": [1.0] * 20, "noise": [0.0] * 20, "kind": ["red"] * 20, "other": ["x"] * 20})
    assert len(explained(table, [rows])) == attribution.MOST


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
    (one,) = explained(model, [str(files[0])])
    assert one.random > attribution.ALIKE
    assert one.doubtful
    assert "tells little about what was learned" in page("run", [one])


def test_answers_of_another_kind_are_refused(tmp_path: Path) -> None:
    from lamina.tasks.language_modelling import LanguageModelling

    task = LanguageModelling()
    model = lamina.train(task.tiny(tmp_path), task=task, epochs=1, size="tiny", threads=1, out=tmp_path / "run")
    with pytest.raises(OptionError, match="no single class or quantity"):
        explained(model, [{"text": "Once upon a time"}])


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
