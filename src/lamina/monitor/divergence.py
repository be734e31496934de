"""Divergence: the loss is no longer a finite number, so every later step is lost.

A single non-finite loss makes the weights non-finite; nothing mends itself after that, so one is enough to stop. Training then
returns to its last good state, once, with a lower learning rate (``training.py``).
"""

import math

from lamina.findings import Finding
from lamina.monitor.monitor import History


def find(history: History) -> Finding | None:
    """Stop at the first loss or gradient that is not finite."""
    if not history.steps:
        return None
    last = history.steps[-1]
    loss = {player: value for player, value in last.loss.items() if not math.isfinite(value)}
    if not loss and math.isfinite(last.gradient_norm):
        return None
    healthy = [step for step in history.steps if all(map(math.isfinite, [*step.loss.values(), step.gradient_norm]))]
    return Finding(
        "divergence.not_finite",
        "stop",
        f"The loss is no longer a finite number at step {last.step}; it was "
        + (
            f"{next(iter(healthy[-1].loss.values())):.4g} at step {healthy[-1].step}."
            if healthy
            else "so from the start."
        ),
        "Lower the learning rate (--lr), clip gradients (--clip 1), and look for extreme values in the data.",
        (f"step {last.step}",),
        evidence={
            "lr": last.lr,
            "last_finite_step": healthy[-1].step if healthy else None,
            "at": last.step if last.highest is None else last.highest[0],
        },
    )
