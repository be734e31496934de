"""Augmentation: training examples are varied so much that learning them is harder than the answers that are asked for.

Augmentation is there to keep the network from learning examples by heart (Shorten & Khoshgoftaar 2019). After each epoch the
loss is taken on a few training examples as they are and varied, both without dropout. It is too strong where two things
hold over the second half of the training, as far as it went. Nothing is learned by heart: on validation examples the network
does as well as on training ones, to within ``ALIKE``, so there is nothing to be kept from. And variation still costs: the
loss on varied examples is higher by ``COST`` than on the same ones as they are, and by ``ERRORS`` standard errors more than
that, as epochs vary; so much of each step is about what is never asked. Usual recipes cost less than a tenth (docs/log.md);
and where all is learned, and both losses are near nothing, it does not matter: the cost must be ``LEAST`` of the loss that
training began with. It is a note: whether less of it is better, ``lamina advise`` finds out by training.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

FEWEST = 5  # epochs
ERRORS = 2.0
COST = 0.15
LEAST = 0.04
ALIKE = 0.05
HALF = 0.5  # of the budget, before which it is not asked


def find(history: History) -> Finding | None:
    """Say that augmentation takes more than it gives."""
    name, later = history.falling(), [epoch for epoch in history.epochs if epoch.t >= HALF and epoch.varied]
    if name is None or len(later) < FEWEST or not history.steps or history.steps[0].highest is None:
        return None
    began, costs = history.steps[0].highest[1], [varied - plain for plain, varied in (epoch.varied for epoch in later)]
    plain, cost = statistics.fmean(epoch.varied[0] for epoch in later), statistics.fmean(costs)
    known, other = (statistics.fmean(getattr(epoch, part)[name] for epoch in later) for part in ("train", "valid"))
    if not all(map(math.isfinite, (began, plain, cost, known, other))):
        return None
    surely = cost - ERRORS * statistics.stdev(costs) / len(costs) ** 0.5
    if surely < max(COST * abs(plain), LEAST * began) or other - known > ALIKE * abs(other):
        return None
    return Finding(
        "augmentation.strong",
        "note",
        f"Training examples may be varied too much: their loss is {plain + cost:.4g} when varied and {plain:.4g} as they are, "
        f"and nothing is learned by heart ({name} {known:.4g} on training examples, {other:.4g} on validation ones).",
        "Vary them less (the task's options: a wrong --set lists them), or let lamina advise try it.",
        (f"epoch {later[-1].epoch}",),
        evidence={"varied": plain + cost, "plain": plain, "began": began, "training": known, "validation": other},
    )
