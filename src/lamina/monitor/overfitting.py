"""Overfitting: the validation loss rises while the training loss still falls.

Both are the same metric on examples as they are (no augmentation, no dropout), so they can be compared. Both are averaged
over a window of epochs, since the best single epoch is mostly a lucky one; the best window is compared with the last one.
The rise must exceed 2 %, and four standard errors of such a difference, where the noise of an epoch is its distance from
the line between its neighbours: four, since the question is asked anew after each epoch. The training loss must have
fallen by as much.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

FEWEST = 3  # epochs in a window
SHARE = 0.2  # of all epochs so far that a window spans
LEAST = 0.02  # relative rise below which nobody should care
ERRORS = 4.0  # standard errors that a change must exceed
_SPREAD = 1.4826 / math.sqrt(6)  # from the median absolute bend to the standard deviation of one epoch


def find(history: History) -> Finding | None:
    """Say since which epoch the network overfits, and what it costs."""
    name = history.falling()
    window = max(FEWEST, round(SHARE * len(history.epochs)))
    if name is None or len(history.epochs) < 2 * window:
        return None
    valid = [epoch.valid[name] for epoch in history.epochs]
    train = [epoch.train[name] for epoch in history.epochs]
    if not all(map(math.isfinite, valid + train)):
        return None
    averages, falls = _averages(valid, window), _averages(train, window)
    best = min(range(len(averages)), key=averages.__getitem__)
    rise, fall = averages[-1] - averages[best], falls[best] - falls[-1]
    if rise < _margin(valid, averages[best], window) or fall < _margin(train, falls[best], window):
        return None
    lowest = min(range(best, best + window), key=valid.__getitem__)
    first = next(iter(history.better))
    epoch = history.epochs[lowest].epoch
    return Finding(
        "overfitting.validation_rises",
        "warning",
        f"The network overfits since epoch {epoch}: {name} on the validation part rose from {averages[best]:.4g} to "
        f"{averages[-1]:.4g}, while on the training part it fell from {falls[best]:.4g} to {falls[-1]:.4g} "
        f"(means over {window} epochs).",
        "More data or augmentation, more dropout or weight decay, or fewer epochs. "
        f"The weights of the epoch with the best {first} are the ones kept.",
        (f"epoch {epoch}",),
        evidence={"epoch": epoch, "metric": name, "best": averages[best], "now": averages[-1], "window": window},
    )


def _averages(values: list[float], window: int) -> list[float]:
    """Means over every ``window`` neighbours."""
    return [statistics.fmean(values[start : start + window]) for start in range(len(values) - window + 1)]


def _margin(values: list[float], level: float, window: int) -> float:
    """How far apart the means of two windows must be to be told apart."""
    bends = [before - 2 * value + after for before, value, after in zip(values, values[1:], values[2:], strict=False)]
    noise = _SPREAD * statistics.median(map(abs, bends))  # a steady fall or rise is no noise
    return max(ERRORS * noise * math.sqrt(2 / window), LEAST * abs(level))
