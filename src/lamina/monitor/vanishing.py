"""Vanishing and exploding gradients.

*Vanishing, by layer.* float32 has 24 bits: a step that changes a layer's weights by less than 2^-24 of their length changes
hardly any of them at all. A layer whose change stays below that at ``RECORDS`` inspected steps in a row, while the learning
rate is not small and another layer moves, has no part in what is learned.

*Exploding.* The gradient's length is compared with its median over the last records. Its logarithm is what is roughly
normal, so the bound is ``DEVIATIONS`` of its (robust) deviations, and a factor of ``TIMES`` at least; ``RUN`` records in a
row must lie beyond it, since single long gradients are what clipping is for. Where gradients are clipped nothing is said.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

ROUNDED = 2.0**-24
RECORDS = 5
RATE = 0.05  # of the highest learning rate so far, above which a step should be felt
EARLY = 0.05  # of the budget
FEWEST, WINDOW = 20, 200  # records for a median, at least and at most
DEVIATIONS = 6.0
TIMES = 10.0
RUN = 3


def find(history: History) -> Finding | None:
    """Name layers that do not move, or say since when gradients are far too long."""
    return _vanishing(history) or _exploding(history)


def _vanishing(history: History) -> Finding | None:
    every = max(1, len(history.steps) // WINDOW)
    highest = max((step.lr for step in history.steps[::every]), default=0.0)
    latest = [step for step in history.steps[-RECORDS:] if step.layers and step.t >= EARLY and step.lr > RATE * highest]
    if len(latest) < RECORDS:
        return None
    most = {name: max(step.layers.get(name, [0.0] * 4)[2] for step in latest) for name in latest[-1].layers}
    still = [name for name, change in most.items() if change < ROUNDED]
    if not still or len(still) == len(most):
        return None
    return Finding(
        "gradient.vanishes",
        "warning",
        f"{len(still)} of {len(most)} layers do not move: a step changes {still[0]} by {most[still[0]]:.1g} of its length, "
        "less than float32 can hold.",
        "Residual connections or normalisation between the layers; a smaller --size; another --optimizer (adamw).",
        tuple(still[:20]),
        len(still),
        evidence={name: most[name] for name in still[:20]},
    )


def _exploding(history: History) -> Finding | None:
    norms = [step.gradient_norm for step in history.steps[-WINDOW - RUN :]]
    if history.clip is not None or len(norms) < FEWEST + RUN or not all(map(math.isfinite, norms)) or min(norms) <= 0:
        return None
    before, latest = [math.log(norm) for norm in norms[:-RUN]], norms[-RUN:]
    middle = statistics.median(before)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in before)
    bound = middle + max(DEVIATIONS * deviation, math.log(TIMES))
    if min(map(math.log, latest)) <= bound:
        return None
    step = history.steps[-RUN]
    return Finding(
        "gradient.explodes",
        "warning",
        f"Gradients are {latest[-1] / math.exp(middle):.0f} times as long as usual since step {step.step}.",
        "Clip them (--clip 1), or lower the learning rate (--lr).",
        (f"step {step.step}",),
        evidence={"usual": math.exp(middle), "now": latest[-1], "bound": math.exp(bound)},
    )
