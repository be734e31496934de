"""Faults planted in networks and trainings: what pre-flight and monitor say of them, and what they say of sound trainings.

``benchmarks/faults.py`` writes what ``page`` gives into ``docs/faults.md``. Findings of the audit are not counted here.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

import lamina
from lamina import find
from lamina.data.data import Source
from lamina.errors import LaminaError
from lamina.findings import Finding
from lamina.watch import Quiet

SEEDS = 3
EPOCHS = 12
AUDIT = (
    "box.",
    "class.",
    "column.",
    "data.",
    "duplicate.",
    "file.",
    "label.",
    "leak.",
    "recording.",
    "target.",
    "text.",
    "value.",
)
NOT_AUDIT = ("leak.batch", "class.unlearned", "class.never")
SMALL: dict[str, dict[str, Any]] = {"object_detection": {"network": "cnn", "size": "tiny"}}
"""How a task's tiny data are trained, where that is not as all are."""
HEAD = """
## In networks and trainings

The same for what pre-flight and monitor say, of trainings of {epochs} epochs on small data that scikit-learn ships or
`tiny()` makes. A fault counts as found when one of the kinds that fit it was said, or stopped the run.

"""


class Sound(nn.Module):
    """Two convolutions, as a person would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 32
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.first(image).relu()).relu()


class Mixing(Sound):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).softmax(0)


class Cut(Sound):
    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.first(image).relu().detach()).relu()


class Blind(Sound):
    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image * 0)


class Dead(Sound):
    """The first layer's bias is so low that hardly any unit is ever active."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.first.bias[2:] = -100.0  # type: ignore[index]


class Lagging(Sound):
    """Its running averages hardly move."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(16, momentum=1e-4)

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.norm(self.first(image)).relu()).relu()


class _Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # type: ignore[override]
        return gradients[0] * 2


class Wrong(Sound):
    def forward(self, image: Tensor) -> Tensor:
        doubled: Tensor = _Twice.apply(super().forward(image))  # type: ignore[no-untyped-call]
        return doubled


class Sure(Sound):
    def forward(self, image: Tensor) -> Tensor:
        return 1000 * super().forward(image) + 300 * torch.arange(32)[:, None, None]


HIGH = (
    "rate.high",
    "rate.beyond",
    "divergence.not_finite",
    "divergence.returned",
    "learning.none",
    "gradient.explodes",
    "units.dead",
)
LOW = ("rate.low", "learning.none", "underfitting.unfinished", "memory.none")
BY_HEART = ("overfitting.validation_rises", "learning.none")


@dataclass(frozen=True)
class Fault:
    name: str
    strength: str
    kinds: tuple[str, ...]
    task: str
    change: Callable[[], dict[str, Any]]
    """Arguments of ``lamina.train``."""
    answers: Callable[[Source, int], Source] | None = None
    """Gives the examples other answers."""


def rate(times: float) -> Callable[[], dict[str, Any]]:
    return lambda: {"times": times}


def dealt(source: Source, seed: int) -> Source:
    """A table with its answers in another order: there is nothing to learn but examples by heart."""
    table = pl.read_csv(source.where)
    order = np.random.default_rng(seed).permutation(len(table))
    assert source.target is not None
    return Source(table.with_columns(table[source.target][order].alias(source.target)), source.target)


def rare(source: Source, seed: int) -> Source:
    """A table of two classes, one of them a twelfth, that nothing tells apart."""
    table = pl.read_csv(source.where)
    assert source.target is not None
    answers = np.where(np.random.default_rng(seed).permutation(len(table)) % 12 == 0, "rare", "usual")
    return Source(table.with_columns(pl.Series(source.target, answers)), source.target)


def own(network: type[Sound]) -> Callable[[], dict[str, Any]]:
    return lambda: {"network": network(), "lr": 3e-3, "size": None}


PICTURES, TABLE = "image_classification", "tabular_classification"
FAULTS = (
    *(
        Fault("learning rate too high", f"{times} times", HIGH, task, rate(times))
        for task in (PICTURES, TABLE)
        for times in (30, 100, 1000)
    ),
    *(Fault("learning rate too low", "a thousandth", LOW, task, rate(1e-3)) for task in (PICTURES, TABLE)),
    Fault("answers dealt at random", "all", BY_HEART, TABLE, lambda: {"epochs": 60}, dealt),
    Fault("a softmax over the batch", "", ("leak.batch",), PICTURES, own(Mixing)),
    Fault("a layer detached", "", ("gradient.unreached",), PICTURES, own(Cut)),
    Fault("the input multiplied away", "", ("input.ignored", "gradient.unreached"), PICTURES, own(Blind)),
    Fault("units dead from the start", "14 of 16", ("units.dead",), PICTURES, own(Dead)),
    Fault("running averages that lag behind", "momentum 1e-4", ("normalisation.drifts",), PICTURES, own(Lagging)),
    *(
        Fault(
            "pictures varied too much", f"hidden in part, shifted by {share} of a side", ("augmentation.strong",),
            PICTURES,
            lambda share=share: {"options": {"shift": share, "erase": 1.0}, "epochs": 30},
        )
        for share in (0.4, 0.8)
    ),
    Fault("a rare class that nothing tells apart", "one in twelve", ("class.unlearned",), TABLE, dict, rare),
    Fault("a backward pass twice too long", "", ("gradient.wrong",), PICTURES, own(Wrong)),
    Fault("features a thousand times too large", "", ("start.sure",), PICTURES, own(Sure)),
)  # fmt: skip


class _Heard(Quiet):
    """Notes what was found."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def find(self, finding: Finding) -> None:
        self.findings.append(finding)


def said(
    task: str, seed: int, answers: Callable[[Source, int], Source] | None = None, times: float = 1.0, **given: Any
) -> list[Finding]:
    """What pre-flight and monitor say of one training."""
    heard = _Heard()
    wishes = {"epochs": EPOCHS, "threads": 1, "precision": "float32", "seed": seed} | SMALL.get(task, {}) | given
    made = find.task(task)(**wishes.pop("options", {}))
    with tempfile.TemporaryDirectory() as folder:
        source = made.tiny(Path(folder))
        if answers is not None:
            source = answers(source, seed)
        if times != 1:
            sound = lamina.train(source, task=made, **wishes | {"epochs": 1}, out=Path(folder) / "sound")
            wishes["lr"] = times * sound.recipe.plan.lr
        try:
            lamina.train(source, task=made, **wishes, out=Path(folder) / "run", watch=heard)
        except LaminaError as error:
            print(json.dumps({"stopped": error.what}), flush=True)
    return [f for f in heard.findings if not f.kind.startswith(AUDIT) or f.kind in NOT_AUDIT]


def _planted(fault: Fault, seed: int) -> list[Finding]:
    torch.manual_seed(seed)  # networks are made here
    return said(fault.task, seed, fault.answers, **fault.change())


def page(seeds: int = SEEDS) -> str:
    """The chapter."""
    rows = ["| Fault | Strength | Planted in | Found | Said |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        each = [_planted(fault, seed) for seed in range(seeds)]
        hits = np.mean([any(f.kind in fault.kinds for f in findings) for findings in each])
        kinds = sorted({f"`{f.kind}`" for findings in each for f in findings})
        rows.append(
            f"| {fault.name} | {fault.strength} | {fault.task.replace('_', ' ')} | {hits:.0%} | {', '.join(kinds)} |"
        )
        print(
            json.dumps({"fault": fault.name, "strength": fault.strength, "task": fault.task, "found": hits}), flush=True
        )
    alarms = ["| Sound trainings | Stops a run | Warnings a run | Notes a run | Kinds |", "|---|---|---|---|---|"]
    for name in find.names("tasks"):
        each = [said(name, seed) for seed in range(seeds)]
        counts = [
            np.mean([sum(f.severity == grade for f in findings) for findings in each])
            for grade in ("stop", "warning", "note")
        ]
        kinds = sorted({f"`{f.kind}`" for findings in each for f in findings})
        alarms.append(
            f"| {name.replace('_', ' ')} | {counts[0]:.1f} | {counts[1]:.1f} | {counts[2]:.1f} | {', '.join(kinds)} |"
        )
        print(json.dumps({"sound": name, "kinds": kinds}), flush=True)
    return HEAD.format(epochs=EPOCHS) + "\n".join(rows) + "\n\n" + "\n".join(alarms) + "\n"
