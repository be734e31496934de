"""Metrics of regression: predictions and true values in, one value in the target's own unit out; and an exhibit.

outputs             (batch,) or (batch, 1), standardised: less the mean and divided by the scale of the training part
targets["value"]    (batch,), standardised likewise
"""

import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.exhibits import Scatter
from lamina.metrics.metric import Metric

MOST_POINTS = 2000
"""Points up to which a scatter plot is quick to draw and can be read."""


def regression(mean: float, scale: float) -> dict[str, Metric]:
    """The metrics of regression, the one that chooses the best epoch first.

    Args:
        mean: of the target in the training part, in the target's unit. No metric depends on it, since all are made of
            differences; it is taken so that facts go in as they are.
        scale: standard deviation of the target in the training part, in the target's unit.
    """
    return {"rmse": RMSE(scale), "mae": MAE(scale), "r2": R2(), "mse": MSE(scale)}


class RMSE(Metric):
    """Root of the mean squared error, in the target's unit."""

    better = "lower"
    graded = True

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): squared error."""
        return (self.scale * _error(outputs, targets)).square()[:, None]

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): root of the weighted mean."""
        return (weights @ rows[:, 0] / weights.sum(1)).sqrt()


class MAE(Metric):
    """Mean absolute error, in the target's unit."""

    better = "lower"
    graded = True

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): absolute error."""
        return (self.scale * _error(outputs, targets)).abs()[:, None]

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean."""
        return weights @ rows[:, 0] / weights.sum(1)


class R2(Metric):
    """Coefficient of determination: the share of the target's variance that is explained; 0 for predicting the mean.

    It has no unit, and is not defined for a set in which all true values are equal.
    """

    better = "higher"

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2): squared error, true value; both standardised."""
        return torch.stack([_error(outputs, targets).square(), _true(targets)], 1)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): 1 - squared errors / squared deviations from the set's mean."""
        error, true = rows.unbind(1)
        true = true - true.mean()  # or the difference of two large sums would lose the digits that matter
        squares = weights @ true.square()
        deviations = squares - (weights @ true).square() / weights.sum(1)
        deviations = torch.where(deviations > 1e-12 * squares, deviations, torch.nan)
        return 1 - weights @ error / deviations


class MSE(Metric):
    """Mean squared error, in the square of the target's unit."""

    better = "lower"
    graded = True

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): squared error."""
        return (self.scale * _error(outputs, targets)).square()[:, None]

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean."""
        return weights @ rows[:, 0] / weights.sum(1)


def predicted_against_true(outputs: Tensor, targets: Tensors, mean: float, scale: float) -> Scatter:
    """Each prediction against the true value, in the target's unit; a fixed random 2000 of them when there are more.

    Args:
        outputs: (examples,) or (examples, 1), standardised.
        targets: ``value``, (examples,), standardised.
        mean: of the target in the training part, in the target's unit.
        scale: standard deviation of the target in the training part, in the target's unit.
    """
    true, predicted = _true(targets), _true(targets) + _error(outputs, targets)
    shown = torch.arange(len(true))
    explanation = "Each point is an example; on the diagonal the prediction is right."
    if len(true) > MOST_POINTS:
        shown = torch.randperm(len(true), generator=torch.Generator().manual_seed(0))[:MOST_POINTS].sort().values
        explanation += f" {MOST_POINTS:,} of {len(true):,} examples, drawn at random."
    return Scatter(
        "Prediction against truth",
        explanation,
        (true[shown] * scale + mean).tolist(),
        (predicted[shown] * scale + mean).tolist(),
        "true value",
        "predicted value",
        diagonal=True,
    )


def _true(targets: Tensors) -> Tensor:
    """(batch,) float64 on the CPU."""
    return targets["value"].detach().cpu().double().reshape(-1)


def _error(outputs: Tensor, targets: Tensors) -> Tensor:
    """Prediction less true value, (batch,) float64 on the CPU; never (batch, batch), whatever the outputs' shape."""
    return outputs.detach().cpu().double().reshape(-1) - _true(targets)
