"""Each illness has curves that show it, and curves that do not; noise alone is no illness."""

import json
import math
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lamina.monitor.monitor import History, Monitor
from lamina.records import Epoch, Step
from lamina.run import Run

SPENT = {
    "data": 0.1,
    "forward": 3.0,
    "backward": 6.0,
    "optimizer": 0.5,
    "evaluation": 1.0,
    "checkpoints": 0.1,
    "other": 0.1,
}
BETTER = {"accuracy": "higher", "log_loss": "lower"}


def epochs(train: list[float], valid: list[float]) -> list[Epoch]:
    return [
        Epoch(i, i * 10, i / len(train), {"network": t}, {"log_loss": t, "accuracy": 1 - t},
              {"log_loss": v, "accuracy": 1 - v}, 1.0, 1.0, SPENT, False)
        for i, (t, v) in enumerate(zip(train, valid, strict=True), 1)
    ]  # fmt: skip


def steps(losses: list[float], norm: float = 1.0) -> list[Step]:
    return [Step(i * 20, 1, i / len(losses), {"network": x}, 1e-3, norm, 1.0, 1, 1.0) for i, x in enumerate(losses, 1)]


def kinds(records: list[Epoch] | list[Step]) -> list[str]:
    monitor = Monitor(History(BETTER))  # type: ignore[arg-type]
    return [finding.kind for record in records for finding in monitor.see(record)]


def falling(count: int, floor: float = 0.2, speed: float = 4.0) -> list[float]:
    return [floor + 0.5 * math.exp(-speed * i / count) for i in range(count)]


def noisy(values: list[float], noise: float, seed: int) -> list[float]:
    source = random.Random(seed)
    return [value * (1 + source.gauss(0, noise)) for value in values]


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize("count", [12, 40])
def test_a_rising_validation_loss_is_overfitting(count: int, noise: float) -> None:
    valid = [x + 0.5 * max(0, i / count - 0.35) for i, x in enumerate(falling(count, 0.4, 12))]
    monitor = Monitor(History(BETTER))  # type: ignore[arg-type]
    found = [f for record in epochs(falling(count, 0.0), noisy(valid, noise, 0)) for f in monitor.see(record)]
    assert [finding.kind for finding in found] == ["overfitting.validation_rises"]
    assert 0.2 * count <= found[0].evidence["epoch"] <= 0.6 * count
    json.dumps(found[0].to_json(), allow_nan=False)


@pytest.mark.parametrize("count", [5, 10, 30, 100])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_falling_flat_and_noisy_curves_are_not_overfitting(count: int, noise: float) -> None:
    for seed in range(5):
        flat = [0.5] * count
        assert kinds(epochs(falling(count), noisy(falling(count, 0.3), noise, seed))) == []
        assert kinds(epochs(falling(count), noisy(falling(count, 0.4, 12), noise, seed))) == []
        assert set(kinds(epochs(noisy(flat, noise, seed), noisy(flat, noise, seed + 99)))) <= {"plateau.validation"}


def test_both_losses_rising_is_not_overfitting() -> None:
    rising = [0.3 + 0.01 * i for i in range(30)]
    assert kinds(epochs(rising, rising)) == []


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.05])
def test_a_flat_training_loss_is_not_learning(noise: float) -> None:
    assert kinds(steps(noisy([0.69] * 100, noise, 1))) == ["learning.none"]


@pytest.mark.parametrize("count", [8, 30, 200])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
def test_a_falling_training_loss_is_learning(count: int, noise: float) -> None:
    for seed in range(3):
        assert kinds(steps(noisy(falling(count), noise, seed))) == []
        at_once = [0.3 + 0.4 * math.exp(-i / 2) for i in range(count)]  # all is learned in the first steps
        assert kinds(steps(noisy(at_once, noise, seed))) == []


def test_too_little_was_seen_to_judge() -> None:
    assert kinds(steps([0.69] * 100)[:24]) == []
    assert kinds(steps([0.69] * 7)) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stops_at_once(bad: float) -> None:
    monitor = Monitor(History(BETTER))  # type: ignore[arg-type]
    found = [f for record in steps([0.7, 0.6, bad, bad]) for f in monitor.see(record)]
    assert [(finding.kind, finding.severity) for finding in found] == [("divergence.not_finite", "stop")]
    assert found[0].evidence["last_finite_step"] == 40
    assert "0.6 at step 40" in found[0].what
    assert kinds(steps([0.7, 0.6], norm=bad)) == ["divergence.not_finite"]
    assert "from the start" in Monitor(History(BETTER)).see(steps([bad])[0])[0].what  # type: ignore[arg-type]


def test_a_resumed_run_recalls_its_log_and_says_nothing_twice(tmp_path: Path) -> None:
    run = Run.create(tmp_path, {})
    valid = [x + 0.5 * max(0, i / 30 - 0.35) for i, x in enumerate(falling(30, 0.4, 12))]
    records = epochs(falling(30, 0.0), valid)
    first = Monitor(History(BETTER))  # type: ignore[arg-type]
    for record in records[:25]:
        run.log(record)
        for finding in first.see(record):
            run.log(finding)
    assert len(run.findings()) == 1
    run.log(Step(1, 1, 0.1, {"network": math.nan}, 0.1, math.nan, 1.0, 1, 1.0))  # null in the log
    second = Monitor(History(BETTER))  # type: ignore[arg-type]
    second.recall(list(run.records()))
    assert second.history.epochs == first.history.epochs
    assert math.isnan(second.history.steps[0].loss["network"])
    assert [f for record in records[25:] for f in second.see(record) if f.kind.startswith("overfitting")] == []


def test_a_log_of_format_1_is_recalled() -> None:
    step, epoch = asdict(steps([0.5])[0]), asdict(epochs([0.5], [0.5])[0])
    del step["micro_batches"], epoch["spent"]
    monitor = Monitor(History(BETTER))  # type: ignore[arg-type]
    monitor.recall([{"kind": "step", **step}, {"kind": "epoch", **epoch}])
    assert [finding for record in epochs([0.4], [0.4]) for finding in monitor.see(record)] == []


@pytest.mark.parametrize("phase", ["data", "optimizer", "evaluation", "checkpoints", "other"])
def test_a_phase_that_takes_the_time_of_learning_is_named(phase: str) -> None:
    slow = [replace(epoch, spent=SPENT | {phase: 8.0}) for epoch in epochs(falling(5), falling(5, 0.3))]
    found = [finding for record in slow for finding in Monitor(History(BETTER)).see(record)]  # type: ignore[arg-type]
    assert found[0].kind == f"bottleneck.{phase}"
    assert found[0].severity == ("warning" if phase == "data" else "note")
    assert kinds(slow[:1]) == []  # the first epoch warms up
    assert kinds([replace(slow[0], t=1.0)]) == [f"bottleneck.{phase}"]
    short = [replace(epoch, spent={name: seconds / 100 for name, seconds in epoch.spent.items()}) for epoch in slow]
    assert kinds(short) == []


def test_more_pieces_than_planned_are_told_once() -> None:
    records = steps([0.5] * 3)
    assert kinds(records) == []
    records += [replace(step, micro_batches=4) for step in steps([0.5] * 3)]
    assert kinds(records) == ["memory.short"]
