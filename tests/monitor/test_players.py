"""Two players: collapse, and a discriminator that knows by heart or wins; a run that goes well raises nothing."""

from typing import Any

import pytest

from lamina.monitor.monitor import History, Monitor
from lamina.records import Epoch, Step

BETTER: Any = {"frechet_distance": "lower", "distribution_recall": "higher", "told_apart": "lower"}


def epochs(recall: list[float], train: list[float], valid: list[float], better: bool = True) -> list[Epoch]:
    count = len(recall)
    return [
        Epoch(i + 1, 10 * i, (i + 1) / count, {"discriminator": 1.0, "generator": 1.0}, scores(i, recall, train, better),
              scores(i, recall, valid, better), 1.0, 1.0, {}, False)
        for i in range(count)
    ]  # fmt: skip


def scores(place: int, recall: list[float], told: list[float], better: bool = True) -> dict[str, float]:
    distance = 9.0 - 0.1 * place if better else 9.0 + 0.1 * place
    return {"frechet_distance": distance, "distribution_recall": recall[place], "told_apart": told[place]}


def kinds(
    recall: list[float], train: list[float] | None = None, valid: list[float] | None = None, better: bool = True
) -> list[str]:
    usual = [0.8] * len(recall)
    monitor = Monitor(History(BETTER))
    return [f.kind for epoch in epochs(recall, train or usual, valid or usual, better) for f in monitor.see(epoch)]


def test_a_run_that_goes_well_raises_nothing() -> None:
    recall = [0.0, 0.01, 0.05, 0.2, 0.35, 0.4, 0.38, 0.45, 0.43, 0.47]
    assert kinds(recall, [0.99, 0.97, 0.9, 0.85, 0.83, 0.8, 0.8, 0.79, 0.78, 0.78]) == []


def test_recall_that_falls_to_less_than_half_is_collapse_and_says_since_when() -> None:
    monitor = Monitor(History(BETTER))
    found = [
        finding
        for epoch in epochs([0.1, 0.3, 0.4, 0.4, 0.2, 0.1, 0.05], [0.8] * 7, [0.8] * 7)
        for finding in monitor.see(epoch)
    ]
    assert [finding.kind for finding in found] == ["generator.collapse"]
    assert "epoch 4" in found[0].what
    assert found[0].where == ("epoch 6",)


def test_one_unlucky_epoch_is_no_collapse() -> None:
    assert kinds([0.1, 0.3, 0.4, 0.15, 0.4, 0.41, 0.42]) == []


def test_a_generator_that_never_covers_anything_is_named_when_half_of_the_budget_is_spent() -> None:
    assert kinds([0.0] * 4) == ["generator.collapse"]
    assert kinds([0.0, 0.0, 0.0, 0.0, 0.05, 0.1, 0.2, 0.3]) == ["generator.collapse"]  # it was true when it was said
    assert kinds([0.0, 0.0, 0.01, 0.06, 0.1, 0.1, 0.2, 0.3]) == []


@pytest.mark.parametrize(("gap", "said"), [(0.05, []), (0.3, ["discriminator.overfits"])])
def test_a_discriminator_that_knows_its_pictures_by_heart(gap: float, said: list[str]) -> None:
    assert kinds([0.3] * 6, [0.65 + gap] * 6, [0.65] * 6) == said


def test_a_discriminator_that_wins_to_the_end() -> None:
    assert kinds([0.3] * 6, [0.995] * 6, [0.99] * 6, better=False) == ["discriminator.wins"]
    assert kinds([0.3] * 6, [0.995] * 6, [0.99] * 6) == []  # the generator still gets better by it
    assert (
        kinds([0.3] * 6, [0.995] * 6, [0.99, 0.99, 0.99, 0.9, 0.9, 0.9], better=False) == []
    )  # at the beginning it does


def test_the_losses_of_players_need_not_fall() -> None:
    monitor = Monitor(History(BETTER))
    even = [
        Step(20 * i, 1, i / 20, {"discriminator": 0.6 + 0.01 * (i % 2), "generator": 1.1}, 1e-3, 1.0, 1.0, 1, 1.0)
        for i in range(20)
    ]
    assert [finding.kind for step in even for finding in monitor.see(step)] == []


def test_other_tasks_are_not_asked() -> None:
    monitor = Monitor(History({"accuracy": "higher"}))
    one = Epoch(1, 1, 0.9, {"network": 1.0}, {"accuracy": 0.5}, {"accuracy": 0.5}, 1.0, 1.0, {}, True)
    assert monitor.see(one) == monitor.see(one) == []
