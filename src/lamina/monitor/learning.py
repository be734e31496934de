"""Not learning: after a fair share of the budget the network is no better than at its start.

The training loss of the latest quarter of the records is compared with that of the first quarter. A network that learns
anything lowers it by far more than their spread; one that surely does not, by not even 5 %, is told so when a quarter of the
budget is spent. A network that has learned it all within its first steps shows in its first record.

Of several players no loss needs to fall: what one of them gains the other loses.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

SHARE = 0.25  # of the budget that must be spent before a judgement
FEWEST = 8  # records, so that the spread is known
LEAST = 0.05  # relative fall below which nothing was learned
ERRORS = 3.0  # standard errors by which this must be sure, since the question is asked anew at each record


def find(history: History) -> Finding | None:
    """Say that the training loss does not fall."""
    steps = history.steps
    if len(steps) < FEWEST or steps[-1].t < SHARE or len(steps[0].loss) > 1:
        return None
    player = next(iter(steps[0].loss))
    quarter = max(2, len(steps) // 4)
    early, late = ([step.loss[player] for step in part] for part in (steps[:quarter], steps[-quarter:]))
    if not all(map(math.isfinite, early + late)):
        return None
    first, last = statistics.fmean(early), statistics.fmean(late)
    error = math.sqrt((statistics.variance(early) + statistics.variance(late)) / quarter)
    most = first - last + ERRORS * error  # that the loss may have fallen, for all that is known
    if most > LEAST * abs(first) or early[0] - last > ERRORS * statistics.stdev(late) + LEAST * abs(first):
        return None
    if _at_floor(history):
        return None
    return Finding(
        "learning.none",
        "warning",
        f"The training loss does not fall: {first:.4g} at the start, {last:.4g} after {steps[-1].t:.0%} of the budget.",
        "Check that the answers can be told from the inputs; try another learning rate (--lr) or a larger network (--size).",
        (f"step {steps[-1].step}",),
        evidence={"first": first, "last": last, "error": error, "t": steps[-1].t},
    )


def _at_floor(history: History) -> bool:
    """Whether there was little left to learn already: the validation score has moved since the first epoch."""
    name = history.falling()
    if name is None or len(history.epochs) < 2:
        return False
    values = [epoch.valid[name] for epoch in history.epochs]
    return min(values[1:]) < 0.9 * values[0]
