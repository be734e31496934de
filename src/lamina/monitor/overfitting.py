"""Overfitting: the validation loss rises while the training loss still falls.

Both are the same metric on examples as they are (no augmentation, no dropout), so they can be compared. The rule asks for
three epochs after the best one, all of them worse by more than the noise: the typical change of the validation loss from
one epoch to the next around the best epoch (median absolute change), and at least 2 %. The training loss must have fallen
by as much over the same epochs.
"""

import statistics
from itertools import pairwise

from lamina.findings import Finding
from lamina.monitor.monitor import History

AFTER = 3  # epochs past the best that must all be worse
LEAST = 0.02  # relative rise below which nobody should care


def find(history: History) -> Finding | None:
    """Say since which epoch the network overfits, and what it costs."""
    name = history.falling()
    if name is None or len(history.epochs) < AFTER + 2:
        return None
    valid = [epoch.valid[name] for epoch in history.epochs]
    train = [epoch.train[name] for epoch in history.epochs]
    best = min(range(len(valid)), key=valid.__getitem__)
    after = valid[best + 1 :]
    if len(after) < AFTER:
        return None
    nearby = valid[max(0, best - 5) : best + 6]
    noise = statistics.median(abs(b - a) for a, b in pairwise(nearby))
    margin = max(noise, LEAST * abs(valid[best]))
    if min(after[-AFTER:]) < valid[best] + margin or train[-1] > train[best] - LEAST * abs(train[best]):
        return None
    first = next(iter(history.better))
    epoch = history.epochs[best].epoch
    return Finding(
        "overfitting.validation_rises",
        "warning",
        f"The network overfits since epoch {epoch}: {name} on the validation part rose from {valid[best]:.4g} to "
        f"{valid[-1]:.4g}, while on the training part it fell from {train[best]:.4g} to {train[-1]:.4g}.",
        "More data or augmentation, more dropout or weight decay, or fewer epochs. "
        f"The weights of the epoch with the best {first} are the ones kept.",
        (f"epoch {epoch}",),
        evidence={"epoch": epoch, "metric": name, "best": valid[best], "now": valid[-1], "noise": noise},
    )
