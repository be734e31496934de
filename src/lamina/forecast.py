"""Forecast: what a training will take in time, memory and disk; compared with what it took, once it has."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lamina.checkpoint import KEPT
from lamina.findings import Finding
from lamina.plan import Plan

SLOTS = {"adamw": 2, "sgd": 1, "muon": 1}  # numbers that an optimizer keeps for each weight
EVALUATED = 1 / 3  # of the time of a training example: forward alone
HEADROOM = 2.0  # times the forecast that should be free on the disk


@dataclass(frozen=True)
class Forecast:
    """What a training takes."""

    seconds: float
    """From the first step to the last evaluation."""
    memory_bytes: int
    """The most that the process (on an accelerator: its tensors) held at a time."""
    disk_bytes: int
    """The run's directory: checkpoints and the best weights."""

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def foreseen(
    network: nn.Module, plan: Plan, examples: int, evaluated: int, examples_per_s: float, memory_bytes: int
) -> Forecast:
    """The forecast for a plan.

    Args:
        network: what is trained.
        plan: how.
        examples: in an epoch.
        evaluated: after each epoch.
        examples_per_s: forward and backward, as measured.
        memory_bytes: held at most when whole steps were tried.
    """
    seconds = plan.epochs * (examples + EVALUATED * evaluated) / examples_per_s
    weights = sum(tensor.nbytes for tensor in network.state_dict().values())
    checkpoint = weights * (1 + SLOTS[plan.optimizer] + (plan.ema is not None))
    return Forecast(min(seconds, plan.budget or seconds), memory_bytes, weights + KEPT * checkpoint)


def disk_short(forecast: Forecast, path: Path) -> Finding | None:
    """A warning, where the disk that will hold ``path`` has hardly more room than is needed."""
    there = next(folder for folder in path.resolve().parents if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free >= HEADROOM * forecast.disk_bytes:
        return None
    return Finding(
        "disk.short",
        "warning",
        f"The run will take about {forecast.disk_bytes / 1e6:,.0f} MB; {free / 1e6:,.0f} MB are free.",
        "Make room, or put the run on another disk (--out).",
        (str(there),),
        evidence={"needed": forecast.disk_bytes, "free": free},
    )
