"""Memorising: a network that can learn at all learns a handful of examples by heart.

A copy is trained on a few examples, and a second one on the same answers, fed the same input for all of them. The first should
end far below the second: if it does not fall at all, something between inputs, loss and weights is broken; if it falls
only as far as the one that sees nothing, the inputs do not arrive. Judged is the mean over the last quarter of the steps, only
after ``FEWEST`` of them: slower networks are left to the monitor.

Where there are several players nothing is asked.
"""

import math
import statistics
import time
from itertools import islice, repeat

from lamina.batch import Batch
from lamina.findings import Finding
from lamina.preflight.trial import Check, Trial, uniform

MOST = 150  # steps
FEWEST = 60  # steps for a judgement
WARM = 10  # steps in which the rate rises
SHARE = 0.25  # of the time that is left, for each of the two
LEAST = 0.1  # relative fall of the loss that anything learns
AHEAD = 0.95  # of the loss of the copy that sees nothing; below it the inputs arrive
KNOWN = 0.1  # of the first loss: that copy, too, has learned all there is, since the answers are alike


def check(trial: Trial) -> Check | None:
    """Train on a few examples, with and without their inputs."""
    seeing = _losses(trial, trial.few, SHARE * trial.left()) if trial.alone else []
    if len(seeing) < FEWEST:
        return None
    blind = _losses(trial, Batch(uniform(trial.few.inputs)[1], trial.few.targets), SHARE * trial.left(), len(seeing))
    name = "a few examples can be learned by heart, and by their inputs"
    first, last = seeing[0], _end(seeing)
    evidence = {"seeing": seeing, "blind": blind}
    seen = f"In {len(seeing)} steps on {len(trial.few)} examples the loss went from {first:.4g} to {last:.4g}"
    if not last < (1 - LEAST) * first:
        finding = Finding(
            "memory.none",
            "warning",
            f"The network cannot learn even {len(trial.few)} examples by heart: in {len(seeing)} steps the loss went from "
            f"{first:.4g} to {last:.4g}.",
            "Try another learning rate (--lr); look at the loss, and at the layers of a network of your own.",
        )
        return Check(name, f"{seen}.", finding, evidence)
    if len(blind) < len(seeing):
        return Check(name, f"{seen}.", evidence={"seeing": seeing})
    seen += f"; fed the same input for all of them, to {_end(blind):.4g}."
    if _end(seeing) < AHEAD * _end(blind) or _end(blind) < KNOWN * first:
        return Check(name, seen, evidence=evidence)
    finding = Finding(
        "input.ignored",
        "warning",
        f"The network learns {len(trial.few)} examples no better than one that is fed the same input for all of them (loss "
        f"{last:.4g} and {_end(blind):.4g}): its inputs hardly arrive.",
        "Look whether the inputs vary and are scaled, and whether the network uses them.",
        evidence={"seeing": last, "blind": _end(blind)},
    )
    return Check(name, seen, finding, evidence)


def _losses(trial: Trial, batch: Batch, seconds: float, most: int = MOST) -> list[float]:
    """The losses of a copy that is trained on one batch, until the time is over."""
    losses: list[float] = []
    until = time.monotonic() + seconds
    steps = trial.train(trial.copy(), repeat(batch), lambda step: 0.5 * trial.plan.lr * min(1.0, (step + 1) / WARM))
    for loss in islice(steps, most):
        if not all(map(math.isfinite, loss.values())):
            break
        losses += loss.values()
        if time.monotonic() > until or (len(losses) >= FEWEST and losses[-1] < 0.01 * losses[0]):
            break
    return losses


def _end(losses: list[float]) -> float:
    """The mean over the last quarter."""
    return statistics.fmean(losses[-max(1, len(losses) // 4) :])
