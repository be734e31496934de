"""Comparing runs: what differs is said, what is not proved is said, and what cannot be compared is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lamina.comparison import compare
from lamina.errors import RunError
from lamina.metrics.classification import classification
from lamina.metrics.metric import Metric
from lamina.metrics.regression import regression
from lamina.run import Run

CLASSES = 3
COUNT = 400


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.metrics.metric.RESAMPLES", 500)


def run(
    path: Path,
    skill: float,
    seed: int = 0,
    task: str = "image_classification",
    fingerprint: str = "f00d",
    metrics: dict[str, Metric] | None = None,
    groups: np.ndarray | None = None,
) -> Run:
    """A run directory as training leaves it, with an evaluation of a classifier of some skill."""
    made = Run.create(path, {"task": {"name": task, "options": {}}})
    label = torch.arange(COUNT) % CLASSES
    outputs = torch.randn(COUNT, CLASSES, generator=torch.Generator().manual_seed(seed))
    outputs[torch.arange(COUNT), label] += skill
    kept = metrics or classification(CLASSES)
    rows = {f"rows.{name}": metric.observe(outputs, {"label": label}) for name, metric in kept.items()}
    if groups is not None:
        rows["groups"] = torch.from_numpy(groups)
    (path / "evaluation").mkdir()
    save_file(rows, path / "evaluation" / "test.safetensors")
    made.write("evaluation/test.json", {"fingerprint": fingerprint, "examples": COUNT})
    return made


def test_a_better_run_is_named(tmp_path: Path) -> None:
    worse, better = run(tmp_path / "worse", 1, seed=1), run(tmp_path / "better", 2.5, seed=2)
    for pair in ((worse, better), (better, worse)):
        found = compare(*pair, classification(CLASSES))
        assert (found.first, found.second) == (pair[0].path.name, pair[1].path.name)
        assert found.examples == COUNT
        for name in ("accuracy", "macro_f1", "auroc", "log_loss"):
            one = next(compared for compared in found.metrics if compared.metric == name)
            assert one.winner == "better"
            assert "better is better by" in one.said
            assert "proved (p = " in one.said
            assert one.difference == pytest.approx(one.second - one.first)
            assert one.low <= one.difference <= one.high
            assert one.corrected >= one.p
        accuracy = found.metrics[0]
        low, high = sorted(100 * abs(bound) for bound in (accuracy.low, accuracy.high))
        assert f"{100 * abs(accuracy.difference):.3g} points" in accuracy.said
        assert f"(95 % interval {low:.3g} to {high:.3g})" in accuracy.said


def test_equals_are_not_proved_to_differ(tmp_path: Path) -> None:
    found = compare(run(tmp_path / "a", 1, seed=1), run(tmp_path / "b", 1, seed=4), classification(CLASSES))
    for compared in found.metrics:
        assert compared.winner is None
        assert "not proved" in compared.said
    assert found.in_words().count("\n") == len(found.metrics)


def test_lower_is_better_where_it_is(tmp_path: Path) -> None:
    runs = []
    for name, noise in (("rough", 1.0), ("fine", 0.5)):
        made = Run.create(tmp_path / name, {"task": {"name": "tabular", "options": {}}})
        metrics = regression(0, 2000)
        outputs = noise * torch.randn(COUNT, generator=torch.Generator().manual_seed(0))
        rows = {
            f"rows.{key}": metric.observe(outputs, {"value": torch.zeros(COUNT)}) for key, metric in metrics.items()
        }
        made.write("evaluation/test.json", {"fingerprint": "1"})
        save_file(rows, made.path / "evaluation" / "test.safetensors")
        runs.append(made)
    found = compare(*runs, regression(0, 2000))
    rmse = found.metrics[0]
    assert rmse.metric == "rmse"
    assert rmse.winner == "fine"
    assert "points" not in rmse.said
    r2 = found.metrics[2]
    assert np.isnan(r2.difference)
    assert r2.winner is None


def test_groups_are_read(tmp_path: Path) -> None:
    groups = np.arange(COUNT) // 40
    alone = compare(run(tmp_path / "a", 1, 1), run(tmp_path / "b", 2.5, 2), classification(CLASSES))
    grouped = compare(
        run(tmp_path / "c", 1, 1, groups=groups), run(tmp_path / "d", 2.5, 2, groups=groups), classification(CLASSES)
    )
    assert alone.metrics[0].difference == grouped.metrics[0].difference
    assert alone.metrics[0].low != grouped.metrics[0].low


def test_only_shared_metrics_are_compared(tmp_path: Path) -> None:
    few = {name: metric for name, metric in classification(CLASSES).items() if name in ("accuracy", "log_loss")}
    found = compare(run(tmp_path / "a", 1), run(tmp_path / "b", 1, metrics=few), classification(CLASSES))
    assert [compared.metric for compared in found.metrics] == ["accuracy", "log_loss"]
    with pytest.raises(RunError, match="no metric in common"):
        compare(Run(tmp_path / "a"), Run(tmp_path / "b"), regression(0, 1))


def test_json_is_strict_and_complete(tmp_path: Path) -> None:
    found = compare(run(tmp_path / "a", 1, 1), run(tmp_path / "b", 2, 2), classification(CLASSES), names=("old", "new"))
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (content["first"], content["second"], content["examples"]) == ("old", "new", COUNT)
    assert list(content["metrics"]) == list(classification(CLASSES))
    assert content["metrics"]["accuracy"]["winner"] == "new"


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    found = compare(run(tmp_path / "monday" / "run", 1), run(tmp_path / "tuesday" / "run", 1), classification(CLASSES))
    assert (found.first, found.second) == (str(Path("monday", "run")), str(Path("tuesday", "run")))


def test_other_tasks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="tasks differ: image_classification and tabular"):
        compare(run(tmp_path / "a", 1), run(tmp_path / "b", 1, task="tabular"), classification(CLASSES))


def test_other_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="same examples"):
        compare(run(tmp_path / "a", 1), run(tmp_path / "b", 1, fingerprint="beef"), classification(CLASSES))


def test_a_run_without_evaluation_is_refused(tmp_path: Path) -> None:
    bare = Run.create(tmp_path / "bare", {"task": {"name": "image_classification"}})
    with pytest.raises(RunError, match='no evaluation "test"') as caught:
        compare(run(tmp_path / "a", 1), bare, classification(CLASSES))
    assert "bare" in caught.value.where


def test_a_path_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        compare(run(tmp_path / "a", 1), tmp_path / "nowhere", classification(CLASSES))


@pytest.mark.parametrize("content", [None, b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{"])
def test_damaged_rows_are_refused(tmp_path: Path, content: bytes | None) -> None:
    first, second = run(tmp_path / "a", 1), run(tmp_path / "b", 1)
    file = second.path / "evaluation" / "test.safetensors"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(RunError, match="cannot be read") as caught:
        compare(first, second, classification(CLASSES))
    assert str(file) in caught.value.where


def test_an_evaluation_or_recipe_that_says_nothing_is_refused(tmp_path: Path) -> None:
    first, second = run(tmp_path / "a", 1), run(tmp_path / "b", 1)
    second.write("evaluation/test.json", [])
    with pytest.raises(RunError, match="on which examples"):
        compare(first, second, classification(CLASSES))
    second.write("recipe.json", {"format": 1})
    with pytest.raises(RunError, match="names no task"):
        compare(first, second, classification(CLASSES))
