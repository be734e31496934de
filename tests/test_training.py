"""train, resume and repeat from Python: data in memory, a task and a network of one's own, wrong options."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import lamina
from lamina import native, prepare
from lamina.errors import DataError, OptionError, RunError
from lamina.execution import default_device
from lamina.findings import Finding
from lamina.watch import Quiet
from test_find import write

generator = np.random.default_rng(0)
X = generator.normal(size=(160, 3)).round(4)
ANSWERS = np.where(X[:, 0] + X[:, 1] > 0, "up", "down")
FRAME = pl.DataFrame(X, ["a", "b", "c"], orient="row").with_columns(answer=pl.Series(ANSWERS))
QUICK: dict[str, Any] = {"epochs": 2, "threads": 1, "precision": "float32"}


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Boosting takes longer than all else here, and is tested elsewhere."""
    monkeypatch.setattr("lamina.baselines.gradient_boosting", lamina_linear)
    monkeypatch.setattr("lamina.measuring.ROUNDS", 1)


def lamina_linear(*arguments: Any) -> Tensor:
    from lamina import baselines

    return baselines.linear(*arguments)


class Own(nn.Module):
    """A backbone of one's own: it has a width, so the task puts its head on it. Two layers share weights, and it has a mask."""

    width = 16

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        self.body[4].weight = self.body[2].weight
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        found: Tensor = self.body(numbers)
        return found


def weights(model: lamina.Model) -> dict[str, Tensor]:
    return load_file(model.path / "best.safetensors")


def same(one: lamina.Model, other: lamina.Model) -> bool:
    return all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


@pytest.mark.parametrize("kind", ["arrays", "pandas", "polars"])
def test_data_in_memory(kind: str, tmp_path: Path) -> None:
    data: Any = {"arrays": (X, ANSWERS), "pandas": pd.DataFrame(FRAME.to_dict(as_series=False)), "polars": FRAME}[kind]
    target = None if kind == "arrays" else "answer"
    model = lamina.train(data, target=target, size="tiny", out=tmp_path / "one", **QUICK)
    asked: Any = X[:5] if kind == "arrays" else data[:5]
    assert [answer["prediction"] in ("up", "down") for answer in model.predict(asked)] == [True] * 5
    assert "tabular classification" in model._repr_html_()
    assert [a["prediction"] for a in lamina.load(model.path).predict(asked)] == [
        a["prediction"] for a in model.predict(asked)
    ]
    if kind == "polars":
        assert same(model, lamina.repeat(model.path, data, out=tmp_path / "two"))
        for refused in (lamina.repeat, lamina.resume):
            with pytest.raises(RunError, match="in memory"):
                refused(model.path)
        with pytest.raises(RunError, match=r"in memory.*model\.scores"):
            model.evaluate()


def test_examples_that_training_knew_are_not_taken_for_new_ones(tmp_path: Path) -> None:
    model = lamina.train(FRAME, target="answer", size="tiny", out=tmp_path / "run", **QUICK)
    tested = model.run.read("evaluation/test.json")["examples"]
    some = model.evaluate(FRAME, "answer")
    assert some["without_leaks"]["left_out"] == len(FRAME) - tested
    assert f"Without the {len(FRAME) - tested} examples" in some["verdict"]
    new = FRAME.with_columns(a=pl.col("a") + 0.00001)
    assert model.evaluate(new, "answer")["without_leaks"] == {}
    both = pl.concat([new.head(1), FRAME]).filter(pl.int_range(pl.len()) < 20)
    assert model.evaluate(both, "answer")["examples"] == 20
    (model.path / "learned.bin").unlink()  # of an earlier version
    assert model.evaluate(FRAME, "answer")["without_leaks"] == {}


def test_a_task_in_a_file_trains_loads_and_resumes(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "t.csv")
    task = write(tmp_path / "mine.py")
    model = lamina.train(tmp_path / "t.csv", task=task, target="answer", size="tiny", out=tmp_path / "run", **QUICK)
    assert model.run.read("recipe.json")["task"]["name"] == task
    assert model.task.mark == "one"  # type: ignore[attr-defined]
    assert same(lamina.resume(model.path), model)
    (tmp_path / "mine.py").unlink()
    with pytest.raises(OptionError, match="no such file"):
        lamina.load(model.path)


def test_a_network_of_ones_own_trains_loads_resumes_and_repeats(tmp_path: Path) -> None:
    def fresh() -> Own:
        torch.manual_seed(3)
        return Own()

    FRAME.write_csv(tmp_path / "t.csv")
    model = lamina.train(tmp_path / "t.csv", target="answer", network=fresh(), out=tmp_path / "one", **QUICK)
    assert lamina.load(model.path, network=fresh()).predict(FRAME[:3]) == model.predict(FRAME[:3])
    assert same(lamina.resume(model.path, network=fresh()), model)
    assert same(lamina.repeat(model.path, network=fresh(), out=tmp_path / "two"), model)
    with pytest.raises(OptionError, match="made by the caller"):
        lamina.load(model.path)
    with pytest.raises(RunError, match="weights cannot be loaded"):
        lamina.load(model.path, network=nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("wrong", "pattern"),
    [
        ({"lr": -1.0}, "--lr"), ({"plan": {"moment": 0.5}}, 'Did you mean "momentum"'), ({"size": "tny"}, "tiny"),
        ({"network": "mpl"}, 'Did you mean "mlp"'), ({"network": "cnn"}, "takes image inputs"),
        ({"options": {"nothing": 1}}, "nothing"), ({"valid_share": 0.0}, "shares"), ({"dropout": 1.0}, "--dropout"),
        ({"seed": -1}, "--seed"),
    ],
)  # fmt: skip
def test_a_wrong_option_leaves_nothing_behind(tmp_path: Path, wrong: dict[str, Any], pattern: str) -> None:
    with pytest.raises(OptionError, match=pattern):
        lamina.train(FRAME, target="answer", out=tmp_path / "run", **QUICK | wrong)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_plan_is_refused_before_the_data_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prepare, "read_data", pytest.fail)
    for wrong in ({"lr": -1.0}, {"size": "tny"}, {"network": "mpl", "size": "tiny"}):
        with pytest.raises(OptionError):
            lamina.train(FRAME, target="answer", out=tmp_path / "run", **wrong)


def test_the_seed_may_stand_in_the_plan(tmp_path: Path) -> None:
    model = lamina.train(FRAME, target="answer", size="tiny", plan={"seed": 5}, out=tmp_path / "run", **QUICK)
    assert model.recipe.plan.seed == 5


def test_an_accepted_finding_is_in_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Finding("leak.sample", "stop", "It leaks.", "Mend it.")
    monkeypatch.setattr(prepare, "audited", lambda *_: [found])
    with pytest.raises(DataError, match=r"--accept leak\.sample"):
        lamina.train(FRAME, target="answer", size="tiny", out=tmp_path / "one", **QUICK)
    assert not (tmp_path / "one").exists()
    model = lamina.train(FRAME, target="answer", size="tiny", accept=["leak.sample"], out=tmp_path / "one", **QUICK)
    assert same(lamina.repeat(model.path, FRAME, out=tmp_path / "two"), model)


def test_a_run_that_fails_while_it_is_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lamina.prepare.environment", fail)  # called when the directory is there already
    rows = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(KeyboardInterrupt):
        lamina.train((rows, rows[:, 0] > 0), size="tiny", epochs=1, threads=1, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_two_trainings_at_once_do_not_take_each_others_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = prepare.environment
    left = Path("runs/.data-1.77.abcd.partial")  # by a program that was killed long ago
    left.mkdir(parents=True)
    os.utime(left, (0, 0))

    def another_is_quicker() -> dict[str, object]:
        for name in ("data-1", "named"):
            Path("runs", name).mkdir(exist_ok=True)
            Path("runs", name, "recipe.json").touch()
        return known()

    monkeypatch.setattr("lamina.prepare.environment", another_is_quicker)
    assert lamina.train(FRAME, target="answer", size="tiny", **QUICK).path == Path("runs/data-2")
    shutil.rmtree("runs/named")
    with pytest.raises(RunError, match=r"already.*--out"):
        lamina.train(FRAME, target="answer", size="tiny", out="runs/named", **QUICK)
    assert sorted(path.name for path in Path("runs").iterdir()) == ["data-1", "data-2", "named"]


class Heard(Quiet):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """One more."""
        self.said.append(text)


def test_a_device_that_is_not_here_is_refused_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="there is no cuda here"):
        lamina.train(tmp_path / "nothing", task="tabular_classification", device="cuda", out=tmp_path / "run")


def test_a_run_of_another_machine_answers_and_goes_on_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = lamina.train(FRAME, target="answer", size="tiny", out=tmp_path / "one", **QUICK)
    recipe = model.run.read("recipe.json")
    recipe["execution"] |= {"kind": "cuda", "precision": "bfloat16", "threads": 0}
    model.run.write("recipe.json", recipe)
    assert lamina.load(model.path).predict(FRAME[:5]) == model.predict(FRAME[:5])
    heard = Heard()
    lamina.resume(model.path, FRAME, watch=heard)
    again = lamina.repeat(model.path, FRAME, out=tmp_path / "two", watch=heard)
    assert sum("The run used cuda, which is not here" in text for text in heard.said) == 2
    assert again.run.read("recipe.json")["execution"]["kind"] == default_device()


def test_a_run_whose_convolutions_were_compiled_goes_on_where_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lamina.train(FRAME, target="answer", size="tiny", out=tmp_path / "one", **QUICK)
    recipe = model.run.read("recipe.json")
    recipe["execution"] |= {"convolutions": "winograd-compiled"}
    model.run.write("recipe.json", recipe)
    monkeypatch.setattr(native, "compiles", lambda: False)
    heard = Heard()
    again = lamina.repeat(model.path, FRAME, out=tmp_path / "two", watch=heard)
    assert "fails here: it goes on without, and not to the bit" in heard.said[0]
    assert again.run.read("recipe.json")["execution"]["convolutions"] == "winograd"
