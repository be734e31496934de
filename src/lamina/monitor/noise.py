"""Noise: the validation score leaps from epoch to epoch more than chance among its examples allows.

A share of n validation examples has a standard error of sqrt(p (1 - p) / n), were other examples drawn each time. They are
the same ones, so between epochs it should vary by less; where it varies by more than ``TIMES`` that, in the second half,
when the rate falls, the weights themselves leap. The best epoch is then a lucky one. The variation of an epoch is its
distance from the line between its neighbours, so a steady rise is none.
"""

import math

from lamina.findings import Finding
from lamina.monitor.monitor import History
from lamina.monitor.overfitting import noise

FEWEST = 8  # epochs in the second half
TIMES = 2.0


def find(history: History) -> Finding | None:
    """Say that the best epoch is a lucky one."""
    name = next((name for name in history.better if name in history.shares), None)
    late = [epoch for epoch in history.epochs if epoch.t > 0.5]
    if name is None or len(late) < FEWEST or history.validated < 2 or not history.alone:
        return None
    values = [epoch.valid[name] for epoch in late]
    middle = sum(values) / len(values)
    if not all(map(math.isfinite, values)) or not 0 < middle < 1:
        return None
    chance, varies = math.sqrt(middle * (1 - middle) / history.validated), noise(values)
    if varies <= TIMES * chance:
        return None
    return Finding(
        "validation.noisy",
        "warning",
        f"{name} on the validation part varies by {varies:.2g} from epoch to epoch; among {history.validated} examples chance "
        f"explains {chance:.2g}. The weights leap, and the best epoch is a lucky one.",
        "Average the weights (--ema 0.99), lower the learning rate (--lr), or take larger batches (--batch-size).",
        (f"epoch {late[-1].epoch}",),
        evidence={"metric": name, "varies": varies, "chance": chance},
    )
