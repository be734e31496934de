"""Plateau: a large part of the training changed nothing on the validation part.

Judged at the end: had training stopped after the first ``SHARE`` of its epochs, the best score of the main metric would
have been as good. Epochs differ by chance, and the best of many is a lucky one; so the mean of the last window is compared
with that of the best window in the first part, by the noise of single epochs. Overfitting says so itself, and says more; so
does a network that forgets its training examples, too.
"""

import math

from lamina.findings import Finding
from lamina.monitor.monitor import History
from lamina.monitor.overfitting import averages
from lamina.monitor.overfitting import find as overfits

FEWEST = 12  # epochs, of which a part can be judged
SHARE = 0.4
WINDOW = 3


def find(history: History) -> Finding | None:
    """Say how much of the training was for nothing."""
    epochs = history.epochs
    if len(epochs) < FEWEST or epochs[-1].t < 1 or not history.alone or overfits(history) is not None:
        return None
    name = next(iter(history.better))
    sign = 1 if history.better[name] == "higher" else -1
    values = [sign * epoch.valid[name] for epoch in epochs]
    if not all(map(math.isfinite, values)):
        return None
    early = round(SHARE * len(values))
    before, after = averages(values[:early], WINDOW), averages(values[early:], WINDOW)
    if max(after) > max(before) or max(values[early:]) > max(values[:early]):
        return None
    known = averages([sign * epoch.train[name] for epoch in epochs], WINDOW)
    if not known[-1] >= known[0]:
        return None
    best = values.index(max(values)) + 1
    return Finding(
        "plateau.validation",
        "note",
        f"{name} on the validation part was best in epoch {best} of {len(values)}; what came after made it no better.",
        f"Fewer --epochs, or --patience {max(3, len(values) // 10)}; for a better score more data or another network.",
        (f"epoch {best}",),
        evidence={"metric": name, "best_epoch": best, "epochs": len(values)},
    )
