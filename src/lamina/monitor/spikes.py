"""Spikes: single batches with a loss far above all others.

Each record names the step of its stretch with the highest loss. Highest losses of stretches differ little from one another;
how much is known from the last ``WINDOW`` of them, robustly (median absolute deviation). A step that lies ``DEVIATIONS`` of
these above their median, and ``TIMES`` above the median at least, is a spike: of normal noise such a step comes once in a
thousand million, of noise with heavy tails once in many runs. Its batch can be looked at: often there are broken examples
in it.
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

WINDOW = 20  # records
FEWEST = 10  # before the spike
DEVIATIONS = 12.0
TIMES = 3.0


def find(history: History) -> Finding | None:
    """Name the step whose loss stands out."""
    known = [
        step for step in history.steps[-WINDOW - 1 :] if step.highest is not None and math.isfinite(step.highest[1])
    ]
    if len(known) <= FEWEST or known[-1] is not history.steps[-1]:
        return None
    *before, last = (step.highest[1] for step in known if step.highest is not None)
    middle = statistics.median(before)
    deviation = 1.4826 * statistics.median(abs(loss - middle) for loss in before)
    if last <= middle + DEVIATIONS * deviation or last <= TIMES * abs(middle):
        return None
    assert known[-1].highest is not None
    at = known[-1].highest[0]
    return Finding(
        "loss.spike",
        "note",
        f"The loss leaps to {last:.4g} in step {at} of epoch {known[-1].epoch}; {middle:.4g} is usual by then.",
        "Look at the examples of that batch: broken ones make such leaps. If they are sound: --clip 1, or a lower --lr.",
        (f"step {at}",),
        evidence={"at": at, "epoch": known[-1].epoch, "loss": last, "usual": middle},
    )
