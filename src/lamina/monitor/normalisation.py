"""Normalisation: batches lie far from the statistics with which the network will be evaluated.

In training, batch normalisation takes mean and deviation from the batch; in evaluation, from running averages of them
(Ioffe & Szegedy 2015, arXiv:1502.03167). Where these lag behind (weights that change quickly, a small momentum, too few
steps) or the batches are not alike, the network that is evaluated is another one than that which was trained. Each channel
is taken as a normal distribution, and the divergence of a step's batch from the running statistics is recorded, in nats. Of n
values from the very distribution it is about 1/n; it is recorded for batches of 16 examples and more, so chance gives less
than a tenth, and sound trainings stay below a fiftieth (docs/log.md). A fifth of a nat is a mean that lies two thirds of a
deviation off in every channel, or a deviation that is half as large. So much must be there at each of ``RECORDS`` inspected
steps in a row, when a fifth of the budget is spent: before that, averages still hold what they began with.
"""

from lamina.findings import Finding
from lamina.monitor.monitor import History

RECORDS = 5
MOST = 0.2
EARLY = 0.2  # of the budget


def find(history: History) -> Finding | None:
    """Name the layers whose running statistics are not those of their batches."""
    if not history.alone:
        return None
    known = history.lasting(lambda step: step.norms, RECORDS, EARLY)
    off = {name: nats for name, nats in known.items() if nats > MOST}
    if not off:
        return None
    worst = next(iter(off))
    others = f", and {len(off) - 1} other layers" if len(off) > 1 else ""
    return Finding(
        "normalisation.drifts",
        "warning",
        f"The statistics with which {worst}{others} will be evaluated are not those of the batches that train: they lie "
        f"{off[worst]:.2g} nats apart in each channel, at {RECORDS} steps in a row.",
        "A lower --lr, a larger --batch-size, or averages that follow sooner (a larger momentum of the layer).",
        tuple(off)[:20],
        len(off),
        evidence={"step": history.steps[-1].step, **dict(list(off.items())[:20])},
    )
