"""Advice: remedies that fit what was found, tried on the validation part alone; one that helps is proved and applied."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import lamina
from lamina import advise as advice
from lamina import find, remedies
from lamina.data.data import Source
from lamina.errors import OptionError
from lamina.execution import Execution
from lamina.findings import Finding
from lamina.plan import Plan
from lamina.recipe import Recipe
from lamina.tasks.image_classification import ImageClassification


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run whose learning rate was a thousand times too low."""
    folder = tmp_path_factory.mktemp("slow")
    source = np.random.default_rng(0)
    numbers = source.normal(size=(1500, 3))
    answers = np.where(numbers[:, 0] + numbers[:, 1] > 0, "yes", "no")
    frame = pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "c": numbers[:, 2], "answer": answers})
    frame.write_csv(folder / "table.csv")
    return lamina.train(
        Source(folder / "table.csv", "answer"), size="tiny", epochs=4, lr=2e-6, threads=1, precision="float32",
        out=folder / "run",
    )  # fmt: skip


def test_a_remedy_that_helps_is_proved_and_applied(slow: Any, tmp_path: Path) -> None:
    reads = len(slow.run.read("test_reads.json"))
    slow.run.log(Finding("rate.low", "warning", "Too low.", ""))
    before = slow.run.read("recipe.json")
    found = advice.advise(slow, trials=2, apply=True, out=tmp_path / "better")
    best = found["tried"][0]
    assert (best["remedy"], best["why"], best["change"]) == ("a higher learning rate", "rate.low", "--lr 6e-06")
    assert found["tried"][1]["remedy"] == "a lower learning rate"
    assert best["p"] >= found["tried"][0]["p"]
    assert best["difference"] == pytest.approx(best["value"] - found["value"])
    assert len(slow.run.read("test_reads.json")) == reads
    assert slow.run.read("recipe.json") == before
    assert slow.run.read("advice.json")["verdict"] == found["verdict"]
    if best["helps"]:
        applied = Recipe.of(lamina.Run.open(found["applied"]))
        assert applied.plan.lr == pytest.approx(6e-6)
        assert "helps" in found["verdict"]
    else:
        assert found["applied"] is None
        assert not (tmp_path / "better").exists()
    page = (slow.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "higher learning rate" in page
    assert found["verdict"][:40] in page


def test_remedies_follow_what_was_found(slow: Any) -> None:
    run, recipe = slow.run, slow.recipe
    names = [name for name, _, _ in remedies.remedies(run, recipe)]
    assert names[-1] in remedies.OTHERWISE
    run.log(Finding("overfitting.validation_rises", "warning", "By heart.", ""))
    fitting = [name for name, why, _ in remedies.remedies(run, recipe) if why.startswith("overfitting")]
    assert fitting == [
        "more dropout",
        "more weight decay",
        "label smoothing",
    ]  # a table is not augmented; tiny is least
    for _, _, changed in remedies.remedies(run, recipe):
        assert changed != recipe
        assert remedies.options_of(recipe, changed).startswith("--")


def test_every_remedy_that_fits_a_finding_exists() -> None:
    assert {name for names in remedies.FITTING.values() for name in names} | {
        *remedies.OTHERWISE
    } <= remedies.REMEDIES.keys()


def test_with_a_budget_the_runs_own_recipe_is_trained_as_shortly(slow: Any) -> None:
    found = advice.advise(slow, budget=6.0, trials=1)
    assert len(found["tried"]) == 1
    assert found["tried"][0]["seconds"] < 6.0


def test_a_network_of_the_callers_own_is_refused(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(slow, "recipe", replace(slow.recipe, network="own"))
    with pytest.raises(OptionError, match="made by the caller"):
        advice.advise(slow)


def test_less_augmentation_halves_what_the_task_or_the_data_chose() -> None:
    recipe = Recipe(
        Source(Path("x")),
        ImageClassification(colour=0.4, mix="mixup"),
        "cnn",
        "small",
        None,
        Plan(),
        Execution(),
        0.1,
        0.1,
    )
    changed = remedies.REMEDIES["less augmentation"](
        recipe, {"augmentation": {"flip": True, "shift": 0.0, "crop": 0.4}}
    )
    assert changed is not None
    assert changed.task == replace(recipe.task, colour=0.2, mix="none", crop=0.7)
    plain = replace(recipe, task=ImageClassification())
    assert remedies.REMEDIES["less augmentation"](plain, {"augmentation": {"shift": 0.0, "crop": 1.0}}) is None
    assert remedies.options_of(recipe, changed) == "--set crop=0.7 --set colour=0.2 --set mix=none"


def test_transfer_learning_is_tried_where_weights_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(
        Source(Path("x")), ImageClassification(), "cnn", "small", None, Plan(epochs=7), Execution(), 0.1, 0.1
    )
    family, facts = find.network("pretrained"), {"channels": 3, "side": 64}
    monkeypatch.setattr(family, "at_hand", lambda size: size == "small")
    changed = remedies.REMEDIES["transfer learning"](recipe, facts)
    assert changed is not None
    assert (changed.network, changed.size, changed.plan.epochs) == ("pretrained", "small", 7)
    assert remedies.options_of(recipe, changed).endswith("--network pretrained")
    assert remedies.REMEDIES["transfer learning"](changed, facts) is None
    monkeypatch.setattr(family, "at_hand", lambda size: False)
    assert remedies.REMEDIES["transfer learning"](recipe, facts) is None


def test_suspected_labels_are_left_out_of_training_alone(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    numbers = source.normal(size=(900, 2))
    answers = np.where(numbers[:, 0] > 0, "yes", "no")
    wrong = source.choice(900, 60, replace=False)
    answers[wrong] = np.where(answers[wrong] == "yes", "no", "yes")
    pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "answer": answers}).write_csv(tmp_path / "table.csv")
    run = lamina.train(
        Source(tmp_path / "table.csv", "answer"),
        size="tiny",
        epochs=3,
        threads=1,
        precision="float32",
        out=tmp_path / "run",
    )
    assert "label.suspect" in {finding.kind for finding in run.run.findings()}
    (tried,) = advice.advise(run, trials=1)["tried"]
    assert (tried["remedy"], tried["change"]) == ("suspected labels left out", "--fix label.suspect")
    assert tried["value"] is not None


def test_weighted_classes_are_tried_with_their_weights(tmp_path: Path) -> None:
    """Their weights are encoded with the examples, which the run has without."""
    source = np.random.default_rng(0)
    numbers = source.normal(size=(900, 2))
    answers = np.where(numbers[:, 0] + source.normal(size=900) > 2.2, "rare", "usual")
    pl.DataFrame({"a": numbers[:, 0], "b": numbers[:, 1], "answer": answers}).write_csv(tmp_path / "table.csv")
    run = lamina.train(
        Source(tmp_path / "table.csv", "answer"),
        size="tiny",
        epochs=6,
        threads=1,
        precision="float32",
        out=tmp_path / "run",
    )
    run.run.log(Finding("class.imbalance", "note", "Few.", ""))
    found = advice.advise(run, trials=1)
    (tried,) = found["tried"]
    assert tried["remedy"] == "weighted classes"
    assert tried["value"] != found["value"]
