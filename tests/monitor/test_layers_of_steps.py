"""Illnesses that show in how steps treat layers, in single batches, in the noise of scores; sound runs show none."""

import math
import random
from dataclasses import replace
from typing import Any

import pytest

from lamina.monitor.monitor import History, Monitor
from lamina.records import Epoch, Step

BETTER: Any = {"accuracy": "higher", "log_loss": "lower"}
SOUND = {"first": [0.5, 10.0, 1e-3, 0.1], "second": [0.4, 8.0, 2e-3, 0.0], "third": [0.1, 3.0, 5e-4, 0.0]}


def steps(count: int = 60, noise: float = 0.05, layers: dict[str, list[float]] | None = None) -> list[Step]:
    """A run that goes well: the loss falls, with noise; so does the highest of each stretch."""
    source = random.Random(count)
    made = []
    for i in range(1, count + 1):
        loss = (0.3 + math.exp(-4 * i / count)) * (1 + source.gauss(0, noise))
        made.append(
            Step(20 * i, 1, i / count, {"network": loss}, 1e-3, math.exp(source.gauss(0, 0.4)), 1.0, 1, 1.0,
                 SOUND if layers is None else layers, (20 * i - 3, loss * (1.2 + 0.1 * source.random())))
        )  # fmt: skip
    return made


def found(records: list[Step] | list[Epoch], **known: Any) -> list[str]:
    monitor = Monitor(History(BETTER, **known))
    return [finding.kind for record in records for finding in monitor.see(record)]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("count", [10, 60, 300])
def test_a_run_that_goes_well_raises_nothing(count: int, noise: float) -> None:
    assert found(steps(count, noise)) == []


@pytest.mark.parametrize(("share", "said"), [(0.4, []), (0.6, ["units.dead"]), (1.0, ["units.dead"])])
def test_units_without_gradient_are_dead(share: float, said: list[str]) -> None:
    assert found(steps(layers=SOUND | {"second": [0.4, 8.0, 2e-3, share]})) == said


def test_units_that_rest_now_and_then_are_not_dead() -> None:
    resting = SOUND | {"second": [0.4, 8.0, 2e-3, 0.9]}
    assert found([replace(step, layers=resting if i % 5 else SOUND) for i, step in enumerate(steps())]) == []


def test_the_first_steps_may_rest() -> None:
    """Layers that start at zero let nothing through at first."""
    early = SOUND | {"second": [0.0, 8.0, 0.0, 1.0]}
    assert found([replace(step, layers=early if step.t < 0.05 else SOUND) for step in steps(200)]) == []


def test_a_layer_that_does_not_move_has_vanishing_gradients() -> None:
    assert found(steps(layers=SOUND | {"first": [1e-9, 10.0, 1e-9, 0.0]})) == ["gradient.vanishes"]
    assert found([replace(step, lr=1e-9 if step.t > 0.9 else 1e-3) for step in steps()]) == []


@pytest.mark.parametrize(("clip", "said"), [(None, ["gradient.explodes"]), (1.0, [])])
def test_gradients_that_stay_long_explode_unless_they_are_clipped(clip: float | None, said: list[str]) -> None:
    made = [replace(step, gradient_norm=300.0 if i >= 50 else step.gradient_norm) for i, step in enumerate(steps())]
    assert found(made, clip=clip) == said
    made = [replace(step, gradient_norm=300.0 if i == 50 else step.gradient_norm) for i, step in enumerate(steps())]
    assert found(made) == []  # a single one is no illness


def test_a_leap_of_the_loss_names_its_batch() -> None:
    made = steps()
    made[40] = replace(made[40], highest=(801, 9.0))
    monitor = Monitor(History(BETTER))
    (finding,) = [finding for step in made for finding in monitor.see(step)]
    assert (finding.kind, finding.where, finding.evidence["at"]) == ("loss.spike", ("step 801",), 801)


def test_steps_that_exchange_the_weights_are_too_long() -> None:
    wild = {name: [g, w, 0.3, dead] for name, (g, w, _, dead) in SOUND.items()}
    assert found(steps(layers=wild)) == ["rate.high"]
    assert found(steps(layers=SOUND | {"third": [0.1, 3.0, 0.9, 0.0]})) == []  # one layer that began at zero


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_loss_that_rises_above_its_beginning_is_a_rate_too_high(noise: float) -> None:
    source = random.Random(1)
    rising = [
        replace(step, loss={"network": (0.7 + 0.5 * step.t) * (1 + source.gauss(0, noise))}, highest=None)
        for step in steps()
    ]
    assert "rate.high" in found(rising)


@pytest.mark.parametrize("low", [1, 3])
def test_a_loss_that_leaps_at_once_is_a_rate_too_high(low: int) -> None:
    source = random.Random(2)
    leaping = [
        replace(step, loss={"network": (2.3 if i < low else 12.0) * (1 + source.gauss(0, 0.05))}, highest=None)
        for i, step in enumerate(steps())
    ]
    assert "rate.high" in found(leaping)


def test_a_few_large_values_that_come_now_and_then_are_no_rise() -> None:
    """As in squared errors of a skewed quantity, learned soundly: the first record may lack them."""
    alarms = 0
    for seed in range(40):
        source = random.Random(seed)
        losses = [0.3 + 0.2 * source.lognormvariate(0, 0.8) for _ in steps()]
        alarms += "rate.high" in found(
            [replace(step, loss={"network": loss}, highest=None) for step, loss in zip(steps(), losses, strict=True)]
        )
    assert alarms <= 1


def test_steps_too_short_to_get_anywhere() -> None:
    tiny = {name: [g, w, 1e-6, dead] for name, (g, w, _, dead) in SOUND.items()}
    assert found(steps(layers=tiny)) == ["rate.low"]


def epochs(train: list[float], valid: list[float], accuracy: list[float] | None = None) -> list[Epoch]:
    count = len(train)
    shares = accuracy or [1 - value for value in valid]
    return [
        Epoch(i + 1, i, (i + 1) / count, {"network": 1.0}, {"accuracy": 1 - train[i], "log_loss": train[i]},
              {"accuracy": shares[i], "log_loss": valid[i]}, 1.0, 1.0, {}, False)
        for i in range(count)
    ]  # fmt: skip


def test_a_network_that_still_learns_at_the_end_has_underfitted() -> None:
    falling = [0.9 - 0.05 * i for i in range(12)]
    assert found(epochs(falling, [value + 0.01 for value in falling])) == ["underfitting.unfinished"]
    assert found(epochs(falling, falling)[:-1]) == []  # before the end nobody knows
    assert found(epochs(falling, [0.5 + value / 2 for value in falling])) == []  # some is known by heart already
    learned = [0.3 + math.exp(-i) for i in range(12)]
    assert found(epochs(learned, learned)) == []


def test_epochs_that_changed_nothing_are_a_plateau() -> None:
    train = [0.9 - 0.04 * i for i in range(20)]
    early = [0.5 + 0.1 * min(i, 5) - 0.001 * i for i in range(20)]
    assert found(epochs(train, [0.3] * 20, early)) == ["plateau.validation"]
    late = [0.5 + 0.02 * i for i in range(20)]
    assert found(epochs(train, [0.3] * 20, late)) == []


@pytest.mark.parametrize(("noise", "said"), [(0.005, []), (0.06, ["validation.noisy"])])
def test_scores_that_leap_by_more_than_chance_are_noisy(noise: float, said: list[str]) -> None:
    """Of 1,000 examples a share of 0.8 has a standard error of 0.013."""
    source = random.Random(0)
    shares = [0.8 + 0.002 * i + source.gauss(0, noise) for i in range(24)]
    curve = [0.5 - 0.01 * i for i in range(24)]
    kinds = found(epochs(curve, [0.6 - 0.005 * i for i in range(24)], shares), validated=1000, shares={"accuracy"})
    assert [kind for kind in kinds if kind != "plateau.validation"] == said


@pytest.mark.parametrize(("nats", "said"), [(0.1, []), (0.9, ["normalisation.drifts"])])
def test_batches_far_from_the_running_statistics_are_drift(nats: float, said: list[str]) -> None:
    assert found([replace(step, norms={"stem.norm": nats, "last.norm": 0.02}) for step in steps()]) == said


def test_statistics_may_be_far_at_first_and_now_and_then() -> None:
    assert found([replace(step, norms={"norm": 9.0 if step.t < 0.2 else 0.05}) for step in steps()]) == []
    assert found([replace(step, norms={"norm": 0.05 if i % 5 == 0 else 9.0}) for i, step in enumerate(steps())]) == []


def evaluated(count: int = 12, **given: Any) -> list[Epoch]:
    """Epochs of a run that goes well."""
    made = []
    for i in range(1, count + 1):
        loss = 0.3 + math.exp(-4 * i / count)
        scores = {"log_loss": loss, "accuracy": 1 - loss / 2}
        made.append(Epoch(i, 10 * i, i / count, {"network": loss}, scores, scores, 1.0, 1.0, {}, i == count, **given))
    return made


BEGAN: list[Any] = [replace(steps()[0], highest=(1, 2.3))]


@pytest.mark.parametrize(("varied", "said"), [(0.33, []), (0.5, ["augmentation.strong"])])
def test_examples_that_are_varied_beyond_recognition_are_told(varied: float, said: list[str]) -> None:
    kinds = found([*BEGAN, *evaluated(varied=[0.3, varied])])
    assert [kind for kind in kinds if kind != "underfitting.unfinished"] == said


def test_strong_augmentation_that_keeps_from_overfitting_is_let_be() -> None:
    valid = [replace(epoch, valid={"log_loss": 0.9, "accuracy": 0.5}) for epoch in evaluated(varied=[0.3, 1.9])]
    assert "augmentation.strong" not in found([*BEGAN, *valid])


def test_what_variation_costs_does_not_matter_where_all_is_learned() -> None:
    assert "augmentation.strong" not in found([*BEGAN, *evaluated(varied=[0.01, 0.03])])


@pytest.mark.parametrize(
    ("asked", "answers", "said"),
    [(20, [0] * 12, True), (4, [0] * 12, False), (20, [0] * 11 + [1], True), (20, [0] * 4 + [9] * 8, False)],
)
def test_a_class_that_is_never_answered_while_training(asked: int, answers: list[int], said: bool) -> None:
    table = [{"a": [90.0, 90.0, 0.1, 0.1], "b": [float(asked), float(count), 2.0, 2.0]} for count in answers]
    history = [replace(epoch, classes=classes) for epoch, classes in zip(evaluated(), table, strict=True)]
    assert ("class.unlearned" in found(history)) == said


def test_overfitting_names_the_classes_that_pay() -> None:
    made = []
    for i, epoch in enumerate(evaluated(30)):
        rise = 0.6 * max(0, i / 30 - 0.35)
        classes = {"calm": [50.0, 50.0, 0.2, 0.3], "torn": [50.0, 50.0, 0.2, 0.3 + 2 * rise]}
        made.append(replace(epoch, valid={"log_loss": 0.3 + rise, "accuracy": 0.5}, classes=classes))
    monitor = Monitor(History(BETTER))
    said = [finding for record in made for finding in monitor.see(record) if finding.kind.startswith("overfitting")]
    assert "most of all on torn" in said[0].what
    assert list(said[0].evidence["classes"]) == ["torn"]
