"""Scores and their intervals: the bootstrap covers the truth as often as it says."""

import numpy as np
import pytest
import torch

from lamina.metrics import metric as module
from lamina.metrics.classification import AUROC, Accuracy, CalibrationError, LogLoss, classification
from lamina.metrics.metric import FEWEST_GROUPS, RESAMPLES, resampling, score, scores, wilson
from lamina.metrics.regression import RMSE


def flags(right: int, wrong: int) -> torch.Tensor:
    return torch.cat([torch.ones(right, 1), torch.zeros(wrong, 1)]).double()


def test_the_interval_holds_the_value_and_has_the_width_of_theory() -> None:
    found = score(Accuracy(), flags(800, 200))
    assert found.value == 0.8
    assert found.low < 0.8 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 1000) ** 0.5, rel=0.1)
    assert found.to_json() == {"value": found.value, "low": found.low, "high": found.high}


def test_of_few_examples_the_interval_is_as_wide_as_students_and_holds_the_truth_nearly_as_often() -> None:
    generator = torch.Generator().manual_seed(0)
    held, widths, trials = 0, [], 200
    for trial in range(trials):
        rows = torch.randn(8, 1, generator=generator).double().add(5)
        found = score(LogLoss(), rows, seed=trial)  # their mean
        held += found.low <= 5 <= found.high
        widths.append((found.high - found.low) / (2 * 2.3646 * float(rows.std()) / 8**0.5))
    assert np.mean(widths) == pytest.approx(1, rel=0.06)
    assert held / trials >= 0.92  # 0.89 by percentiles as they are


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    rows = torch.rand(100, 1, generator=torch.Generator().manual_seed(0)).double()
    assert score(LogLoss(), rows, seed=1) == score(LogLoss(), rows, seed=1)
    assert score(LogLoss(), rows, seed=1) != score(LogLoss(), rows, seed=2)


def test_no_examples_no_score() -> None:
    found = score(Accuracy(), torch.zeros(0, 1).double())
    assert np.isnan([found.value, found.low, found.high]).all()


def test_a_metric_that_is_not_defined_has_no_interval() -> None:
    metric = AUROC(2)
    found = score(metric, metric.observe(torch.randn(5, 2), {"label": torch.zeros(5, dtype=torch.int64)}))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_all_right_is_not_proof_of_perfection() -> None:
    found = score(Accuracy(), flags(20, 0))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(0.8389, abs=1e-4)
    assert score(Accuracy(), flags(0, 20)).high == pytest.approx(1 - 0.8389, abs=1e-4)
    outputs = torch.eye(2).repeat(10, 1)
    for name in ("macro_f1", "balanced_accuracy"):
        metric = classification(2)[name]
        perfect = score(metric, metric.observe(outputs, {"label": torch.arange(20) % 2}))
        assert (perfect.value, perfect.low) == (1, pytest.approx(0.8389, abs=1e-4))


def test_all_right_in_few_groups_proves_less() -> None:
    found = score(Accuracy(), flags(40, 0), groups=np.arange(40) % 10)
    assert found.low == pytest.approx(wilson(1.0, 10)[0])


def test_of_few_groups_examples_are_drawn() -> None:
    rows = torch.rand(60, 1, generator=torch.Generator().manual_seed(0)).double()
    for count in (1, 3, FEWEST_GROUPS - 1):
        assert score(LogLoss(), rows, groups=np.arange(60) % count) == score(LogLoss(), rows)
    assert score(LogLoss(), rows, groups=np.arange(60) % FEWEST_GROUPS) != score(LogLoss(), rows)


def test_a_rate_of_errors_may_be_above_one() -> None:
    class Rate(Accuracy):
        better = "lower"

    for rows in (torch.full((1, 1), 3.0), torch.full((20, 1), 2.0)):
        found = score(Rate(), rows.double())
        assert found.value == rows[0, 0]
        assert np.isnan(found.low)


def test_the_interval_of_a_sum_of_lengths_is_not_moved_up() -> None:
    generator = torch.Generator().manual_seed(0)
    metric, found = CalibrationError(), []
    for _ in range(20):
        logits = torch.randn(400, 2, generator=generator)
        label = (torch.rand(400, generator=generator) < logits.softmax(1)[:, 1]).long()  # calibrated
        found.append(score(metric, metric.observe(logits, {"label": label})))
    assert all(0 <= one.low <= one.value <= one.high for one in found)
    apart = [(one.high - one.value) - (one.value - one.low) for one in found if one.low > 0]
    assert abs(np.mean(apart)) < 0.3 * np.mean([one.high - one.low for one in found])


def test_a_single_example_has_no_interval() -> None:
    found = score(LogLoss(), torch.tensor([[0.5]]).double())
    assert found.value == pytest.approx(0.5)
    assert np.isnan(found.low)
    assert np.isnan(found.high)


@pytest.mark.parametrize(
    ("share", "examples", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.9, 100, 0.8256, 0.9448), (0.0, 50, 0.0, 0.0713), (1.0, 50, 0.9287, 1.0)],
)
def test_wilson_as_in_the_tables(share: float, examples: int, low: float, high: float) -> None:
    assert wilson(share, examples) == pytest.approx((low, high), abs=1e-4)


def test_each_resample_draws_as_many_as_there_are() -> None:
    weights = torch.cat(list(resampling(50, seed=0)))
    assert weights.shape == (RESAMPLES, 50)
    assert weights.dtype == torch.float64
    assert (weights.sum(1) == 50).all()
    assert weights.mean(0).numpy() == pytest.approx(np.ones(50), abs=0.15)
    assert float(weights.var()) == pytest.approx(1 - 1 / 50, rel=0.05)  # each count is binomial
    assert len(weights.unique(dim=0)) == RESAMPLES


def test_groups_are_drawn_as_wholes() -> None:
    groups = np.array(["a", "b", "a", "c", "b", "a", *"defghij"], dtype=object)
    weights = torch.cat(list(resampling(13, seed=0, groups=groups)))
    assert weights.shape == (RESAMPLES, 13)
    for members in ([0, 2, 5], [1, 4], [3]):
        assert (weights[:, members] == weights[:, members[:1]]).all()
    assert (weights[:, [0, 1, 3, *range(6, 13)]].sum(1) == 10).all()


def test_groups_widen_the_interval_of_examples_that_repeat_each_other() -> None:
    rows = torch.rand(40, 1, generator=torch.Generator().manual_seed(0)).double().repeat_interleave(25, 0)
    alone, grouped = score(LogLoss(), rows), score(LogLoss(), rows, groups=np.arange(1000) // 25)
    assert alone.value == pytest.approx(grouped.value)
    assert (grouped.high - grouped.low) / (alone.high - alone.low) == pytest.approx(5, rel=0.15)


def test_the_resamples_do_not_depend_on_how_many_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.cat(list(resampling(33, seed=4)))
    monkeypatch.setattr(module, "CHUNK", 1000)
    pieces = list(resampling(33, seed=4))
    assert len(pieces) > 10
    assert torch.equal(torch.cat(pieces), whole)


def test_several_metrics_at_once_score_as_each_alone() -> None:
    outputs, label = torch.randn(60, 3, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    metrics = classification(3)
    rows = {name: metric.observe(outputs, {"label": label}) for name, metric in metrics.items()}
    together = scores(metrics, rows, seed=3)
    assert together == {name: score(metric, rows[name], seed=3) for name, metric in metrics.items()}


def test_the_interval_holds_the_truth_in_95_of_100_test_sets() -> None:
    generator = torch.Generator().manual_seed(0)
    probability, sets, size = 0.85, 200, 200
    truths = {
        "accuracy": probability,
        "log_loss": -probability * np.log(probability) - 0.15 * np.log(0.15),
        "rmse": 2.0,
    }
    metrics = {"accuracy": Accuracy(), "log_loss": LogLoss(), "rmse": RMSE(2.0)}
    logits = torch.tensor([[np.log(probability), np.log(1 - probability)]]).repeat(size, 1)
    held = dict.fromkeys(truths, 0)
    for simulated in range(sets):
        label = (torch.rand(size, generator=generator) > probability).long()
        noise = torch.randn(size, generator=generator)
        rows = {
            "accuracy": metrics["accuracy"].observe(logits, {"label": label}),
            "log_loss": metrics["log_loss"].observe(logits, {"label": label}),
            "rmse": metrics["rmse"].observe(noise, {"value": torch.zeros(size)}),
        }
        for name, found in scores(metrics, rows, seed=simulated).items():
            held[name] += found.low <= truths[name] <= found.high
    assert all(0.90 <= count / sets <= 0.99 for count in held.values()), held
