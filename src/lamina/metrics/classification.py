"""Metrics of classification: logits and labels in, one value out; and the exhibits that go with them.

    outputs             (batch, classes) logits; log-probabilities are logits too
    targets["label"]    (batch,) int64, the index of the true class

The metrics agree with scikit-learn's (a test holds this), but take many sets of weights at once, for the bootstrap.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lamina.batch import Tensors
from lamina.exhibits import Exhibit, Matrix, Rows, Scatter
from lamina.metrics.metric import Metric

BINS: Final = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
LARGEST_MATRIX: Final = 30
"""Classes up to which a confusion matrix can still be read."""

TEMPERATURES: Final = [round(10 ** (step / 100), 4) for step in range(-70, 71)]
"""That are tried for calibration, from a fifth to five times; each is 2.3 % more than the one before."""

_BLOCK: Final = 64
"""Sets of weights at a time, so that the sums of one class stay in the processor's cache."""


def classification(classes: int) -> dict[str, Metric]:
    """The metrics of classification among ``classes`` classes, the one that chooses the best epoch first."""
    return {
        "accuracy": Accuracy(),
        "macro_f1": MacroF1(classes),
        "balanced_accuracy": BalancedAccuracy(classes),
        "auroc": AUROC(classes),
        "log_loss": LogLoss(),
        "calibration_error": CalibrationError(),
    }


def temperature(outputs: Tensor, targets: Tensors) -> float:
    """By what to divide logits so that their probabilities are neither too sure nor too doubtful (Guo et al. 2017,
    arXiv:1706.04599): the temperature of the lowest log-loss; 1 where that is not lower by a standard error.

    Args:
        outputs: (examples, classes) logits, of examples that took no part in training and will take none in the proof.
        targets: ``label``, (examples,).
    """
    label, logits = _on_cpu(outputs, targets)
    if len(label) < 2:
        return 1.0
    losses = [-(logits / heat).log_softmax(1).gather(1, label[:, None])[:, 0] for heat in TEMPERATURES]
    best = min(range(len(losses)), key=lambda place: float(losses[place].mean()))
    gain = losses[TEMPERATURES.index(1.0)] - losses[best]
    return TEMPERATURES[best] if float(gain.mean()) > float(gain.std()) / len(gain) ** 0.5 else 1.0


class Accuracy(Metric):
    """Share of examples whose most probable class is the true one."""

    better = "higher"
    share = True

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): whether the prediction is right."""
        label, logits = _on_cpu(outputs, targets)
        return (logits.argmax(1) == label).double()[:, None]

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean."""
        return weights @ rows[:, 0] / weights.sum(1)


class MacroF1(Metric):
    """Mean over the classes of F1, the harmonic mean of precision and recall.

    A class that is neither true nor predicted anywhere in the set is left out of the mean, as in scikit-learn.
    """

    better = "higher"
    share = True  # when all resamples agree, all predictions are right or all are wrong, and F1 equals accuracy

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2): label, prediction."""
        label, logits = _on_cpu(outputs, targets)
        return torch.stack([label, logits.argmax(1)], 1).double()

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): 2 right / (true + predicted) per class, and the mean of that."""
        label, prediction = rows.long().unbind(1)
        right = _sum_by(torch.where(label == prediction, label, self.classes), self.classes + 1, weights)[:, :-1]
        either = _sum_by(label, self.classes, weights) + _sum_by(prediction, self.classes, weights)  # (sets, classes)
        return (2 * right / either).nanmean(1)  # 0 / 0 for an absent class


class BalancedAccuracy(Metric):
    """Mean over the classes of recall; a class that is nowhere true in the set is left out of the mean."""

    better = "higher"
    share = True  # when all resamples agree, all predictions are right or all are wrong, and it equals accuracy

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2): label, whether the prediction is right."""
        label, logits = _on_cpu(outputs, targets)
        return torch.stack([label, logits.argmax(1) == label], 1).double()

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): right / true per class, and the mean of that."""
        label = rows[:, 0].long()
        right = _sum_by(torch.where(rows[:, 1] > 0, label, self.classes), self.classes + 1, weights)[:, :-1]
        return (right / _sum_by(label, self.classes, weights)).nanmean(1)


class AUROC(Metric):
    """Probability that an example of a class is given more of that class than an example of another; ties count half.

    With two classes, of the second one; with more, the mean over the classes of one against the rest (Provost &
    Domingos 2000, unweighted: what scikit-learn calls macro one-vs-rest). A class that is absent from the set, or that
    is all of it, is left out of the mean.
    """

    better = "higher"
    pools = True

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1 + scored classes): label, then log-probabilities, which rank as the probabilities do."""
        label, logits = _on_cpu(outputs, targets)
        # The logarithm still tells 1e-300 from 1e-320; the rounding makes ties of what only the last digit tells apart.
        scores = logits.log_softmax(1).float().double()
        return torch.cat([label[:, None].double(), scores[:, 1:] if self.classes == 2 else scores], 1)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): the rank-sum statistic per class, and the mean of that."""
        label, scored = rows[:, 0].long(), [1] if self.classes == 2 else list(range(self.classes))
        blocks = [  # (examples, sets) each, so that whole rows are summed
            weights[start : start + _BLOCK].T.contiguous() for start in range(0, len(weights), _BLOCK)
        ]
        areas = [
            _area(rows[:, 1 + column].contiguous(), label == name, blocks)
            for column, name in enumerate(scored)
            if (label == name).any()
        ]
        return torch.stack(areas, 1).nanmean(1) if areas else torch.full((len(weights),), torch.nan).double()


class LogLoss(Metric):
    """Mean negative logarithm of the probability that was given to the true class, in nats."""

    better = "lower"
    graded = True

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): the loss of each example."""
        label, logits = _on_cpu(outputs, targets)
        return -logits.log_softmax(1).gather(1, label[:, None])

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean."""
        return weights @ rows[:, 0] / weights.sum(1)


class CalibrationError(Metric):
    """Expected calibration error: how far confidence is from accuracy, over 15 equal bins of the top probability, each
    weighed by its examples (Guo et al. 2017)."""

    better = "lower"
    drifts = True  # sums of lengths grow with noise

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2): confidence, less 1 if the prediction is right, so that surely wrong is largest; confidence."""
        label, logits = _on_cpu(outputs, targets)
        confidence, prediction = logits.softmax(1).max(1)
        return torch.stack([confidence - (prediction == label).double(), confidence], 1)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): sum over the bins of |sum of confidence - sum of right|, divided by the examples."""
        excess = one_hot(_bin(rows[:, 1]), BINS).double() * rows[:, :1]  # (examples, bins)
        return (weights @ excess).abs().sum(1) / weights.sum(1)


def exhibits(outputs: Tensor, targets: Tensors, classes: list[str]) -> list[Exhibit]:
    """What an evaluation of classes shows: confusions, scores per class, and how far probabilities can be believed."""
    return [
        confusion(outputs, targets, classes),
        per_class(outputs, targets, classes),
        reliability(outputs, targets),
    ]


def confusion(outputs: Tensor, targets: Tensors, classes: list[str]) -> Matrix | Rows:
    """Which classes are taken for which: a matrix, or the thirty most frequent confusions when classes are many.

    Args:
        outputs: (examples, classes) logits.
        targets: ``label``, (examples,).
        classes: their names, in the order of the logits.
    """
    label, logits = _on_cpu(outputs, targets)
    count = len(classes)
    table = torch.bincount(label * count + logits.argmax(1), minlength=count**2).reshape(count, count)
    if count <= LARGEST_MATRIX:
        return Matrix(
            "Confusion matrix",
            "Each row is a true class; the columns say what its examples were taken for. The diagonal is right.",
            classes,
            classes,
            table.double().tolist(),
        )
    wrong = table.clone().fill_diagonal_(0).flatten()
    most = wrong.argsort(descending=True, stable=True)[:LARGEST_MATRIX].tolist()
    return Rows(
        "Most frequent confusions",
        f"Of {int(wrong.sum()):,} wrong predictions, the pairs of classes that were confused most often.",
        ["truth", "prediction", "count"],
        [[classes[cell // count], classes[cell % count], int(wrong[cell])] for cell in most if wrong[cell] > 0],
    )


def per_class(outputs: Tensor, targets: Tensors, classes: list[str]) -> Rows:
    """How good the predictions are class by class, the worst F1 first; None where a number is not defined.

    Args:
        outputs: (examples, classes) logits.
        targets: ``label``, (examples,).
        classes: their names, in the order of the logits.
    """
    label, logits = _on_cpu(outputs, targets)
    prediction = logits.argmax(1)
    true = torch.bincount(label, minlength=len(classes)).tolist()
    predicted = torch.bincount(prediction, minlength=len(classes)).tolist()
    right = torch.bincount(label[label == prediction], minlength=len(classes)).tolist()
    rows = [
        [
            name,
            true[i],
            _ratio(right[i], predicted[i]),
            _ratio(right[i], true[i]),
            _ratio(2 * right[i], true[i] + predicted[i]),
        ]
        for i, name in enumerate(classes)
    ]
    return Rows(
        "Class by class",
        "Precision: how much of what was called this class is of it. Recall: how much of the class was found. "
        "F1: their harmonic mean. The worst class stands first.",
        ["class", "examples", "precision", "recall", "F1"],
        sorted(rows, key=lambda row: (row[4] is None, row[4])),
    )


def reliability(outputs: Tensor, targets: Tensors) -> Scatter:
    """Confidence against accuracy, one point for each of the calibration error's bins that holds 5 examples or more.

    Args:
        outputs: (examples, classes) logits.
        targets: ``label``, (examples,).
    """
    label, logits = _on_cpu(outputs, targets)
    confidence, prediction = logits.softmax(1).max(1)
    bins = _bin(confidence)
    examples = torch.bincount(bins, minlength=BINS)
    kept = examples >= 5
    mean_confidence = torch.bincount(bins, confidence, BINS)[kept] / examples[kept]
    accuracy = torch.bincount(bins, (prediction == label).double(), BINS)[kept] / examples[kept]
    return Scatter(
        "Confidence against accuracy",
        "Predictions in groups of like confidence. On the diagonal, what the network is sure of to 80 % is right in "
        "80 % of cases; below it, the network is too sure of itself; above it, not sure enough.",
        mean_confidence.tolist(),
        accuracy.tolist(),
        "mean confidence",
        "share that is right",
        diagonal=True,
    )


def _on_cpu(outputs: Tensor, targets: Tensors) -> tuple[Tensor, Tensor]:
    """Labels (batch,) int64 and logits (batch, classes) float64, on the CPU."""
    return targets["label"].detach().cpu().long(), outputs.detach().cpu().double()


def _bin(confidence: Tensor) -> Tensor:
    """The calibration bin of each confidence: bin i holds i / 15 < confidence <= (i + 1) / 15."""
    return ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _sum_by(index: Tensor, count: int, weights: Tensor) -> Tensor:
    """Per set, the weights of the examples that have each index, summed.

    Args:
        index: (examples,), from 0 to ``count`` - 1.
        count: how many indices there are.
        weights: (sets, examples).

    Returns:
        (sets, count).
    """
    return torch.zeros(len(weights), count, dtype=torch.float64).index_add_(1, index, weights)


def _area(score: Tensor, positive: Tensor, blocks: list[Tensor]) -> Tensor:
    """Area under the ROC curve of one score, for every set of weights; NaN where one side has no weight.

    The examples are sorted once. Then, per set, the weights on each distinct positive score are summed, and the weights
    of the negatives on and between them: one addition per example and set, and the rest is short.

    Args:
        score: (examples,).
        positive: (examples,) bool, at least one.
        blocks: (examples, sets) weights each.

    Returns:
        (sets of all blocks,).
    """
    distinct, level = np.unique(score[positive].numpy(), return_inverse=True)  # ascending
    levels, count = torch.from_numpy(distinct), len(distinct)
    # Rows of the sums: count levels of positives, then 2 count + 1 slots of negatives. Slot 2i lies below level i and
    # above level i - 1, slot 2i + 1 is on level i.
    row = torch.searchsorted(levels, score) + torch.searchsorted(levels, score, right=True) + count
    row[positive] = torch.from_numpy(level)
    areas = []
    for block in blocks:
        sums = torch.zeros(3 * count + 1, block.shape[1], dtype=torch.float64).index_add_(0, row, block)
        on, negatives = sums[:count], sums[count:]  # (levels, sets), (slots, sets)
        upward = on.cumsum(0)
        positives = upward[-1]
        won = ((positives - upward + on) * negatives[0:-1:2] + (positives - upward + on / 2) * negatives[1::2]).sum(0)
        areas.append(won / (positives * negatives.sum(0)))
    return torch.cat(areas)
