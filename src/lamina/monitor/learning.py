"""Not learning: after a fair share of the budget the network is no better than at its start.

The training loss of the last stretch is compared with the first one. A network that learns anything lowers it by far more
than its spread between stretches; one that does not is told so when a quarter of the budget is spent.
"""

import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

SHARE = 0.25  # of the budget that must be spent before a judgement
FEWEST = 8  # records, so that the spread is known
LEAST = 0.02  # relative fall below which nothing was learned


def find(history: History) -> Finding | None:
    """Say that the training loss does not fall."""
    steps = history.steps
    if len(steps) < FEWEST or steps[-1].t < SHARE:
        return None
    player = next(iter(steps[0].loss))
    losses = [step.loss[player] for step in steps]
    quarter = max(2, len(losses) // 4)
    first, last = statistics.mean(losses[:quarter]), statistics.mean(losses[-quarter:])
    spread = statistics.stdev(losses[-quarter:]) / quarter**0.5
    if first - last > max(LEAST * abs(first), 2 * spread):
        return None
    if _at_floor(history):
        return None
    return Finding(
        "learning.none",
        "warning",
        f"The training loss does not fall: {first:.4g} at the start, {last:.4g} after {steps[-1].t:.0%} of the budget.",
        "Check that the answers can be told from the inputs; try another learning rate (--lr) or a larger network (--size).",
        (f"step {steps[-1].step}",),
        evidence={"first": first, "last": last, "spread": spread, "t": steps[-1].t},
    )


def _at_floor(history: History) -> bool:
    """Whether there was little left to learn already: the validation score has moved since the first epoch."""
    name = history.falling()
    if name is None or len(history.epochs) < 2:
        return False
    values = [epoch.valid[name] for epoch in history.epochs]
    return min(values[1:]) < 0.9 * values[0]
