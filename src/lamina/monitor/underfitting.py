"""Underfitting: training ended while the network was still learning, and nothing was known by heart yet.

Two things must hold at the end. *Still learning*: the mean of the training metric over the last window of epochs lies below
that of the window before by more than four standard errors of such a difference and by more than ``LEAST`` of all that was
learned. *Nothing by heart*: on training and on validation examples the network does alike, to within ``ALIKE``. Then time
or size was short, and nothing speaks against more of it. A network that does alike on both and has stopped learning may
have learned all there is: nothing is said.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History
from lamina.monitor.overfitting import averages, margin

FEWEST = 3  # epochs in a window
LEAST = 0.05
ALIKE = 0.05


def find(history: History) -> Finding | None:
    """Say that more training would have helped."""
    name = history.falling()
    epochs = history.epochs
    if name is None or len(epochs) < 2 * FEWEST or epochs[-1].t < 1 or not history.alone:
        return None
    train, valid = ([getattr(epoch, part)[name] for epoch in epochs] for part in ("train", "valid"))
    if not all(map(math.isfinite, train + valid)):
        return None
    means = averages(train, FEWEST)
    fall, learned = means[-1 - FEWEST] - means[-1], max(train) - means[-1]
    if fall < margin(train, means[-1], FEWEST) or fall < LEAST * learned:
        return None
    known, other = statistics.fmean(train[-FEWEST:]), statistics.fmean(valid[-FEWEST:])
    if other - known > ALIKE * abs(other):
        return None
    return Finding(
        "underfitting.unfinished",
        "note",
        f"The network was still learning when training ended ({name} on the training part {means[-1 - FEWEST]:.4g}, then "
        f"{means[-1]:.4g}), and did as well on validation examples: nothing was learned by heart yet.",
        "More --epochs or a longer --budget; then a larger --size.",
        (f"epoch {epochs[-1].epoch}",),
        evidence={
            "metric": name,
            "before": means[-1 - FEWEST],
            "now": means[-1],
            "training": known,
            "validation": other,
        },
    )
