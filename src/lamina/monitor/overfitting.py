"""Overfitting: the validation loss rises while the training loss still falls.

Both are the same metric on examples as they are (no augmentation, no dropout), so they can be compared. Both are averaged
over a window of epochs, since the best single epoch is mostly a lucky one; the best window is compared with the last one.
The rise must exceed 2 %, and four standard errors of such a difference, where the noise of an epoch is its distance from
the line between its neighbours: four, since the question is asked anew after each epoch. The training loss must have
fallen by as much. Of several players no curve needs to fall, and nothing is said. Where answers are classes, those are named
whose own curve rises by as much as it must: the ones that pay most, first.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History
from lamina.records import Epoch

FEWEST = 3  # epochs in a window
SHARE = 0.2  # of all epochs so far that a window spans
LEAST = 0.02  # relative rise below which nobody should care
ERRORS = 4.0  # standard errors that a change must exceed
_SPREAD = 1.4826 / math.sqrt(6)  # from the median absolute bend to the standard deviation of one epoch


def find(history: History) -> Finding | None:
    """Say since which epoch the network overfits, and what it costs."""
    name = history.falling()
    window = max(FEWEST, round(SHARE * len(history.epochs)))
    if name is None or len(history.epochs) < 2 * window or not history.alone:
        return None
    valid = [epoch.valid[name] for epoch in history.epochs]
    train = [epoch.train[name] for epoch in history.epochs]
    if not all(map(math.isfinite, valid + train)):
        return None
    means, falls = averages(valid, window), averages(train, window)
    best = min(range(len(means)), key=means.__getitem__)
    rise, fall = means[-1] - means[best], falls[best] - falls[-1]
    if rise < margin(valid, means[best], window) or fall < margin(train, falls[best], window):
        return None
    classes = paying(history.epochs, best, window)
    on = f", most of all on {', '.join(list(classes)[:3])}" if classes else ""
    lowest = min(range(best, best + window), key=valid.__getitem__)
    first = next(iter(history.better))
    epoch = history.epochs[lowest].epoch
    return Finding(
        "overfitting.validation_rises",
        "warning",
        f"The network overfits since epoch {epoch}: {name} on the validation part rose from {means[best]:.4g} to "
        f"{means[-1]:.4g}, while on the training part it fell from {falls[best]:.4g} to {falls[-1]:.4g} "
        f"(means over {window} epochs){on}.",
        "More data or augmentation, more dropout or weight decay, or fewer epochs. "
        f"The weights of the epoch with the best {first} are the ones kept.",
        (f"epoch {epoch}",),
        evidence={
            "epoch": epoch, "metric": name, "best": means[best], "now": means[-1], "window": window,
            "classes": dict(list(classes.items())[:20]),
        },
    )  # fmt: skip


def paying(epochs: list[Epoch], best: int, window: int) -> dict[str, float]:
    """By class, what its examples lost together since the best window, the most first; classes that surely lost something."""
    costs = {}
    for name in epochs[-1].classes:
        values = [epoch.classes.get(name, [0, 0, math.nan, math.nan])[3] for epoch in epochs]
        if not all(map(math.isfinite, values)):
            continue
        means = averages(values, window)
        rise = means[-1] - means[best]
        if rise >= margin(values, means[best], window):
            costs[name] = rise * epochs[-1].classes[name][0]
    return dict(sorted(costs.items(), key=lambda pair: -pair[1]))


def averages(values: list[float], window: int) -> list[float]:
    """Means over every ``window`` neighbours."""
    return [statistics.fmean(values[start : start + window]) for start in range(len(values) - window + 1)]


def margin(values: list[float], level: float, window: int) -> float:
    """How far apart the means of two windows must be to be told apart."""
    return max(ERRORS * noise(values) * math.sqrt(2 / window), LEAST * abs(level))


def noise(values: list[float]) -> float:
    """The standard deviation of one epoch about the line between its neighbours: a steady fall or rise is no noise."""
    bends = [before - 2 * value + after for before, value, after in zip(values, values[1:], values[2:], strict=False)]
    return _SPREAD * statistics.median(map(abs, bends))
