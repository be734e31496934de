"""Intervals are right: over 200 simulated test sets, the 95 % interval covers the truth in 92 to 98 %."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lamina.batch import Tensors
from lamina.metrics.classification import AUROC, Accuracy, BalancedAccuracy, LogLoss, MacroF1
from lamina.metrics.metric import Metric, score
from lamina.metrics.regression import MAE, R2, RMSE

SETS, EXAMPLES, MANY = 200, 400, 400_000
Draw = Callable[[np.random.Generator, int], tuple[torch.Tensor, Tensors]]


def classes(source: np.random.Generator, count: int) -> tuple[torch.Tensor, Tensors]:
    """Two classes, one of them rarer, and answers that are often right."""
    label = (source.random(count) < 0.3).astype(np.int64)
    logit = 1.5 * (2 * label - 1) + source.normal(0, 1.5, count)
    return torch.from_numpy(np.stack([-logit / 2, logit / 2], 1)), {"label": torch.from_numpy(label)}


def quantities(source: np.random.Generator, count: int) -> tuple[torch.Tensor, Tensors]:
    """Standardised values, and answers that miss by half a deviation."""
    value = source.normal(0, 1, count)
    return torch.from_numpy(value + source.normal(0, 0.5, count)), {"value": torch.from_numpy(value)}


@pytest.mark.parametrize(
    ("metric", "draw"),
    [
        (Accuracy(), classes),
        (MacroF1(2), classes),
        (BalancedAccuracy(2), classes),
        (AUROC(2), classes),
        (LogLoss(), classes),
        (RMSE(1.0), quantities),
        (MAE(1.0), quantities),
        (R2(), quantities),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Metric) else value.__name__,
)
def test_the_interval_covers_the_truth_as_often_as_it_says(metric: Metric, draw: Draw) -> None:
    truth = metric.value(metric.observe(*draw(np.random.default_rng(10_000), MANY)))
    covered = 0
    for seed in range(SETS):
        found = score(metric, metric.observe(*draw(np.random.default_rng([1, seed]), EXAMPLES)))
        covered += found.low <= truth <= found.high
    assert 0.92 * SETS <= covered <= 0.98 * SETS
