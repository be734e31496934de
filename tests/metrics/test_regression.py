"""The metrics of regression agree with scikit-learn's, in the target's own unit."""

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from torch import Tensor

from lamina.metrics.metric import score
from lamina.metrics.regression import MOST_POINTS, predicted_against_true, regression

MEAN, SCALE = 200_000.0, 115_000.0


def examples(count: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """Standardised predictions and true values, and three sets of weights."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(count, generator=generator)
    outputs = true + 0.5 * torch.randn(count, generator=generator)
    weights = torch.randint(0, 4, (3, count), generator=generator).double()
    return outputs, true, weights


REFERENCES = {
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
    "r2": reference.r2_score,
    "mse": reference.mean_squared_error,
}


@pytest.mark.parametrize("name", list(REFERENCES))
@pytest.mark.parametrize("column", [False, True])
def test_agrees_with_scikit_learn_in_the_unit_of_the_target(name: str, column: bool) -> None:
    outputs, true, weights = examples()
    metric = regression(MEAN, SCALE)[name]
    rows = metric.observe(outputs[:, None] if column else outputs, {"value": true})
    assert rows.dtype == torch.float64
    assert len(rows) == len(true)
    for value, weight in zip(metric.values(rows, weights).tolist(), weights.numpy(), strict=True):
        in_dollars = (true.double().numpy() * SCALE + MEAN, outputs.double().numpy() * SCALE + MEAN)
        assert value == pytest.approx(REFERENCES[name](*in_dollars, sample_weight=weight), rel=1e-9)


def test_order_and_direction() -> None:
    metrics = regression(0, 1)
    assert list(metrics) == ["rmse", "mae", "r2", "mse"]
    assert [metric.better for metric in metrics.values()] == ["lower", "lower", "higher", "lower"]


def test_the_first_number_of_a_row_ranks_the_mistakes() -> None:
    for metric in regression(MEAN, SCALE).values():
        if metric.better == "lower":
            ranks = metric.observe(torch.tensor([0.0, -3.0, 1.0]), {"value": torch.zeros(3)})[:, 0]
            assert ranks.argsort().tolist() == [0, 2, 1]


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_r2_of_a_constant_target_is_not_defined(value: float) -> None:
    metric = regression(MEAN, SCALE)["r2"]
    rows = metric.observe(torch.randn(7), {"value": torch.full((7,), value)})
    assert np.isnan(metric.value(rows))
    assert np.isnan(score(metric, rows).low)


def test_r2_keeps_its_digits_far_from_zero() -> None:
    outputs, true, _ = examples()
    metric = regression(0, 1)["r2"]
    near = metric.value(metric.observe(outputs.double(), {"value": true.double()}))
    far = metric.value(metric.observe(outputs.double() + 1e7, {"value": true.double() + 1e7}))
    assert far == pytest.approx(near, rel=1e-6)


def test_resamples_of_a_single_value_are_left_out_of_r2() -> None:
    metric = regression(0, 1)["r2"]
    rows = metric.observe(torch.tensor([0.1, 0.9]), {"value": torch.tensor([0.0, 1.0])})
    assert np.isfinite(score(metric, rows).low)


def test_scatter_is_in_the_unit_of_the_target() -> None:
    shown = predicted_against_true(torch.tensor([[1.0], [0.0]]), {"value": torch.tensor([0.0, 2.0])}, 10, 5)
    assert shown.x == [10, 20]
    assert shown.y == [15, 10]
    assert shown.diagonal


def test_scatter_draws_the_same_sample_each_time() -> None:
    true = torch.arange(5000.0)
    shown = predicted_against_true(true + 1, {"value": true}, 0, 1)
    assert len(set(shown.x)) == MOST_POINTS
    assert [y - x for x, y in zip(shown.x, shown.y, strict=True)] == [1] * MOST_POINTS
    assert shown == predicted_against_true(true + 1, {"value": true}, 0, 1)
    assert "5,000" in shown.explanation
