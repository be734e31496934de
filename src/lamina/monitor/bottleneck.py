"""Bottleneck: which part of training takes the time that computing should have.

An epoch's seconds are shared out by phase. Forward and backward passes are what a training is there for; waiting for data is
pure loss, and more than a tenth of it is worth a cure. Evaluation and checkpoints have their price, but more than three
tenths of an epoch mean that they come too often for so little training. The first epoch warms up (pages that are read for the
first time, memory that is asked for), so the second is judged; a run of one epoch is judged by it.
"""

from lamina.findings import Finding
from lamina.monitor.monitor import History

KINDS = {
    "data": "bottleneck.data",
    "optimizer": "bottleneck.optimizer",
    "evaluation": "bottleneck.evaluation",
    "checkpoints": "bottleneck.checkpoints",
    "other": "bottleneck.other",
}
LEAST = 5.0  # seconds of an epoch below which nothing is worth a cure
MOST = {"data": 0.1, "optimizer": 0.3, "evaluation": 0.3, "checkpoints": 0.3, "other": 0.1}
SAID = {
    "data": "waiting for data",
    "optimizer": "the optimizer's step",
    "evaluation": "evaluation",
    "checkpoints": "writing checkpoints",
    "other": "what happens between the steps",
}
REMEDIES = {
    "data": "Put the cache (LAMINA_CACHE) on a quicker disk, or turn off augmentations that take long (--set).",
    "optimizer": "Take larger batches (--batch-size), or a plainer --optimizer.",
    "evaluation": "Hold back less for validation (--valid-share): each epoch is followed by a pass over it.",
    "checkpoints": "Put the run on a quicker disk (--out).",
    "other": "Look whether another program keeps this machine busy.",
}


def find(history: History) -> Finding | None:
    """Name the phase whose share of an epoch is too large."""
    if not history.epochs or (len(history.epochs) < 2 and history.epochs[-1].t < 1):
        return None
    spent = history.epochs[-1].spent
    total = sum(spent.values())
    excess = {phase: spent.get(phase, 0.0) / total - most for phase, most in MOST.items()} if total >= LEAST else {}
    worst = max(excess, key=lambda phase: excess[phase], default=None)
    if worst is None or excess[worst] <= 0:
        return None
    share = spent[worst] / total
    return Finding(
        KINDS[worst],
        "warning" if worst == "data" else "note",
        f"{share:.0%} of an epoch's {total:.0f} s go into {SAID[worst]}, not into learning.",
        REMEDIES[worst],
        (f"epoch {history.epochs[-1].epoch}",),
        evidence={"share": share, **{phase: round(seconds, 3) for phase, seconds in spent.items()}},
    )
