"""Paired differences: found when they are there, and rarely when they are not."""

import math

import numpy as np
import pytest
import torch

from lamina.metrics.classification import AUROC, Accuracy, LogLoss, classification
from lamina.metrics.paired import LEVEL, differences, exchanged, holm, mcnemar, paired
from lamina.metrics.regression import regression


def column(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_pairing_finds_a_small_gain_that_two_intervals_would_hide() -> None:
    generator = torch.Generator().manual_seed(0)
    hard = 5 * torch.rand(400, 1, generator=generator).double()
    gain = 0.05 + 0.1 * torch.randn(400, 1, generator=generator).double()
    found = paired(LogLoss(), hard, hard - gain)
    assert found.value == pytest.approx(float(gain.mean()))
    assert found.low > 0
    assert found.p < 0.01
    assert found.high - found.low == pytest.approx(2 * 1.96 * float(gain.std()) / 20, rel=0.15)
    back = paired(LogLoss(), hard - gain, hard)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_zero_is_outside_of_the_interval_where_a_difference_is_proved() -> None:
    generator = torch.Generator().manual_seed(0)
    both, proved = 0, 0
    for trial in range(100):
        rows = torch.randn(60, 2, generator=generator).double().abs() + torch.tensor([0.25, 0.0])
        found = paired(LogLoss(), rows[:, :1], rows[:, 1:], seed=trial)
        both += (found.p < LEVEL) == (found.low > 0 or found.high < 0)
        proved += found.p < LEVEL
    assert 20 < proved < 80
    assert both >= 99  # but for what lies between two percentiles


def test_no_difference_is_no_difference() -> None:
    rows = torch.rand(50, 1).double()
    assert paired(LogLoss(), rows, rows).to_json() == {"value": 0, "low": 0, "high": 0, "p": 1}
    assert paired(Accuracy(), rows.round(), rows.round()).p == 1


def test_nothing_is_proved_where_nothing_is_defined() -> None:
    metric = AUROC(2)
    rows = metric.observe(torch.randn(5, 2), {"label": torch.zeros(5, dtype=torch.int64)})
    assert paired(metric, rows, rows).p == 1
    assert paired(LogLoss(), torch.zeros(0, 1), torch.zeros(0, 1)).p == 1


def test_all_examples_of_one_group_prove_little() -> None:
    gain = torch.randn(10, 1, generator=torch.Generator().manual_seed(1)).double().repeat_interleave(40, 0) + 0.3
    alone, grouped = paired(LogLoss(), gain, 0 * gain), paired(LogLoss(), gain, 0 * gain, groups=np.arange(400) // 40)
    assert alone.p < 0.01 < grouped.p
    right = column([1.0] * 30)
    assert paired(Accuracy(), right, 0 * right).p == pytest.approx(2 * 0.5**30)


def test_of_few_groups_examples_are_compared_and_of_one_example_nothing_is_proved() -> None:
    gain = torch.rand(30, 1, generator=torch.Generator().manual_seed(1)).double()
    few = paired(LogLoss(), gain, 0 * gain, groups=np.zeros(30))
    assert few == paired(LogLoss(), gain, 0 * gain)
    assert few.low < few.value < few.high
    one = paired(LogLoss(), gain[:1], 0 * gain[:1])
    assert one.p == 1
    assert np.isnan(one.low)


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0, 0), (5, 0), (0, 5), (6, 6), (10, 3), (1, 9), (600, 700), (40_000, 41_000)]
)
def test_mcnemar_is_the_binomial_test(only_first: int, only_second: int) -> None:
    from scipy.stats import binomtest

    first = torch.tensor([True] * only_first + [False] * only_second + [True, False])
    second = torch.tensor([False] * only_first + [True] * only_second + [True, False])
    trials = only_first + only_second
    expected = binomtest(only_first, trials).pvalue if trials else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6)


def test_very_many_are_proof_and_still_no_certainty() -> None:
    right = column([1.0] * 3000)
    assert 0 < paired(Accuracy(), right, 0 * right).p < 1e-300


def test_five_better_of_twenty_is_not_proof() -> None:
    found = paired(Accuracy(), column([1.0] * 20), column([0.0] * 5 + [1.0] * 15))
    assert found.low > 0  # which is why the interval alone must not decide
    assert found.p == pytest.approx(2 * 0.5**5)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert list(holm({"b": 0.9, "a": 0.8})) == ["b", "a"]
    assert holm({"b": 0.9, "a": 0.8}) == {"b": 1, "a": 1}
    assert holm({}) == {}


def test_few_examples_prove_no_more_than_exchanging_them_does() -> None:
    better = column([1.0, 1.5, 2.0])
    assert paired(LogLoss(), better, better - 0.5).p == 2 / 8
    assert paired(LogLoss(), better[:2], better[:2] - 0.5).p == 2 / 4
    assert paired(LogLoss(), better.repeat(5, 1), better.repeat(5, 1) - 0.5).p < 0.01
    groups = np.arange(3 * 12) // 3  # those of a group change sides together
    assert paired(LogLoss(), better.repeat(12, 1), better.repeat(12, 1) - 0.5, groups=groups).p < 0.01
    tiny = 1 + 1e-9 * better.repeat(3, 1)  # rounding is no reason for less
    assert paired(LogLoss(), tiny, tiny - 1e-9).p >= 2 / 2**9
    nothing = torch.full((4, 1), torch.nan).double()
    assert exchanged(LogLoss(), nothing, nothing) == 1


def test_of_very_many_examples_in_few_groups_some_ways_are_looked_at_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.rand(2, 600, 1, generator=torch.Generator().manual_seed(0)).double()
    whole = exchanged(LogLoss(), *rows, np.arange(600) // 30)
    monkeypatch.setattr("lamina.metrics.paired.CHUNK", 600 * 2 * 7)
    assert exchanged(LogLoss(), *rows, np.arange(600) // 30) == whole


def test_a_better_order_is_proved_whatever_the_scale_of_scores() -> None:
    generator, proved = torch.Generator().manual_seed(0), 0
    for seed in range(20):
        label = torch.arange(30) % 2
        good, bad = (
            torch.stack([torch.zeros(30), s * label + torch.randn(30, generator=generator)], 1) for s in (4.0, 0.0)
        )
        rows = [AUROC(2).observe(logits, {"label": label}) for logits in (good + torch.tensor([0.0, 30.0]), bad)]
        proved += paired(AUROC(2), *rows, seed=seed).p < LEVEL
    assert proved >= 18


def test_false_alarms_are_rare_on_few_examples() -> None:
    generator = torch.Generator().manual_seed(0)
    for size in (3, 6, 12, 30):
        alarms = sum(
            paired(LogLoss(), *torch.rand(2, size, 1, generator=generator).double(), seed=seed).p < LEVEL
            for seed in range(300)
        )
        assert alarms / 300 <= LEVEL + 0.03, size


def test_false_alarms_are_as_rare_as_the_level_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.metrics.metric.RESAMPLES", 300)
    generator = torch.Generator().manual_seed(0)
    kinds = classification(2)
    metrics = {name: kinds[name] for name in ("accuracy", "macro_f1", "auroc", "log_loss")} | regression(0, 1)
    tests, size = 200, 150
    alarms, family = dict.fromkeys(metrics, 0), 0
    for simulated in range(tests):
        label = torch.randint(0, 2, (size,), generator=generator)
        targets = {"label": label, "value": torch.randn(size, generator=generator)}
        rows = []
        for _ in range(2):
            logits = torch.randn(size, 2, generator=generator)
            logits[torch.arange(size), label] += 1
            value = targets["value"] + 0.5 * torch.randn(size, generator=generator)
            rows.append({n: m.observe(logits if n in kinds else value, targets) for n, m in metrics.items()})
        p = {name: found.p for name, found in differences(metrics, *rows, seed=simulated).items()}
        for name in metrics:
            alarms[name] += p[name] < LEVEL
        family += min(holm(p).values()) < LEVEL
    spread = 3 * math.sqrt(LEVEL * (1 - LEVEL) / tests)
    assert all(count / tests <= LEVEL + spread for count in alarms.values()), alarms
    assert sum(alarms.values()) / tests / len(alarms) == pytest.approx(LEVEL, abs=0.025), alarms
    assert family / tests <= LEVEL + spread
