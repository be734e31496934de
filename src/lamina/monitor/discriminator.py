"""The discriminator: it knows its training pictures by heart, or it wins.

``told_apart`` is how often it scores a real picture above a made one. On pictures that it was trained on and on others it
should do alike; a difference of more than ``APART``, and of more than four standard errors (the question is asked after
each epoch), is learning by heart: what it then tells the generator is how to copy. The standard error is that of two shares
of at least ``FEWEST`` pictures, at its largest.

It wins when it tells nearly all held-out pictures from made ones, goes on doing so, and the generator no longer gets better
by it: then its score no longer says what to make better. Telling them apart alone is no illness, for penalties of gradients
keep a good discriminator useful (runs that went well ended at 0.96 to 0.97). At the beginning it always does, so the second
half of the budget is looked at.
"""

import math

from lamina.findings import Finding
from lamina.monitor.monitor import History

TOLD, DISTANCE = "told_apart", "frechet_distance"
APART = 0.1
ERRORS = 4.0
FEWEST = 100  # pictures that are scored; fewer make the bound wider than is assumed here
EPOCHS = 2  # in a row
HALF = 0.5  # of the budget
WINS = 0.98


def find(history: History) -> Finding | None:
    """Say that the discriminator overfits or wins."""
    if TOLD not in history.better or len(history.epochs) < EPOCHS:
        return None
    latest = history.epochs[-EPOCHS:]
    known = [epoch.train[TOLD] for epoch in latest]
    others = [epoch.valid[TOLD] for epoch in latest]
    margin = max(APART, ERRORS * math.sqrt(2 * 0.25 / FEWEST / EPOCHS))
    last = latest[-1]
    evidence = {"training": sum(known) / EPOCHS, "validation": sum(others) / EPOCHS, "t": last.t}
    if (sum(known) - sum(others)) / EPOCHS > margin:
        return Finding(
            "discriminator.overfits",
            "warning",
            f"The discriminator knows its training pictures by heart: it scores {evidence['training']:.0%} of them above made "
            f"ones, but {evidence['validation']:.0%} of the validation pictures.",
            "More pictures; a higher --set vary, or --dropout; a smaller --size; or fewer epochs.",
            (f"epoch {last.epoch}",),
            evidence=evidence,
        )
    distances = [epoch.valid[DISTANCE] for epoch in history.epochs]
    stuck = min(distances[-EPOCHS:]) >= min(distances[:-EPOCHS], default=math.inf)
    if latest[0].t >= HALF and min(others) > WINS and stuck:
        return Finding(
            "discriminator.wins",
            "warning",
            f"The discriminator tells {min(others):.1%} of held-out pictures from made ones, and the generator got no better "
            f"in {EPOCHS} epochs: it can hardly learn any more.",
            "A higher --set penalty, a lower --lr, or more time.",
            (f"epoch {last.epoch}",),
            evidence=evidence,
        )
    return None
