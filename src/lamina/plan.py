"""Plan: how to train. It knows no task, no data and no network; everything is a function of t, the share of the budget
that is spent."""

import math
from dataclasses import dataclass
from typing import Literal

from lamina.errors import OptionError

Optimizer = Literal["adamw", "sgd", "muon"]
Schedule = Literal["one-cycle", "warmup-cosine", "constant"]


@dataclass(frozen=True)
class Plan:
    """How to train; at most 16 fields, and each docstring is the command line's help."""

    epochs: int = 20
    """Passes over the training part; with a budget in time, the most that are made."""
    budget: float | None = None
    """Seconds of training; the schedule ends when they do."""
    batch_size: int = 128
    """Examples per optimizer step."""
    micro_batches: int = 1
    """Pieces in which a batch goes through the network, to save memory; the gradient is accumulated over them."""
    optimizer: Optimizer = "adamw"
    """adamw (Loshchilov & Hutter 2019), sgd (with Nesterov momentum) or muon (Jordan 2024; adamw on vectors)."""
    lr: float = 1e-3
    """Peak learning rate."""
    weight_decay: float = 1e-2
    """Decoupled L2 shrinkage of weight matrices and filters; norms, biases and embeddings are left alone."""
    momentum: float = 0.9
    """Momentum of sgd and muon, and the first beta of adamw."""
    schedule: Schedule = "one-cycle"
    """one-cycle (Smith 2018), warmup-cosine (Loshchilov & Hutter 2017) or constant."""
    warmup: float = 0.2
    """Share of the budget in which the learning rate rises to its peak."""
    clip: float | None = None
    """Longest gradient norm; a longer gradient is scaled down to it."""
    ema: float | None = None
    """Decay per step of the moving average of the weights that is evaluated and kept (Polyak & Juditsky 1992)."""
    spare: float = 0.0
    """By how much less often examples come whose loss is below the median, and count for more (Qin et al. 2024)."""
    patience: int | None = None
    """Epochs without a better validation score after which training ends; the best weights are kept in any case."""
    seed: int = 0
    """All randomness is a function of this and of the step's number."""

    def __post_init__(self) -> None:
        rules = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "budget": (self.budget is None or 0 < self.budget < math.inf, "more than 0 seconds"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "micro_batches": (1 <= self.micro_batches <= self.batch_size, "from 1 to the batch size"),
            "lr": (self.lr > 0 and math.isfinite(self.lr), "a number above 0"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "warmup": (0 <= self.warmup <= 1, "from 0 to 1"),
            "clip": (self.clip is None or self.clip > 0, "above 0"),
            "ema": (self.ema is None or 0 < self.ema < 1, "between 0 and 1"),
            "spare": (0 <= self.spare < 1, "from 0 to below 1"),
            "seed": (0 <= self.seed < 2**63, "from 0 to below 2^63"),
            "patience": (self.patience is None or self.patience >= 1, "at least 1"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                option = "--" + name.replace("_", "-")
                raise OptionError(f"{getattr(self, name)} was given; it must be {rule}.", option, "Change it.")

    def lr_at(self, t: float) -> float:
        """The learning rate when the share ``t`` of the budget is spent.

        Args:
            t: from 0 (start) to 1 (end); a value beyond is taken as the end.
        """
        t = min(max(t, 0.0), 1.0)
        if t < self.warmup:
            start = 0.04 if self.schedule == "one-cycle" else 0.0
            rise = t / self.warmup
            return self.lr * (start + (1 - start) * rise)
        if self.schedule == "constant":
            return self.lr
        fall = (t - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 1.0
        if self.schedule == "one-cycle":
            return self.lr * max(1 - fall, 1e-4)
        return self.lr * max(0.5 * (1 + math.cos(math.pi * fall)), 1e-4)
