"""Execution: on which device, in which precision, with how many threads; chosen by measuring.

The candidates run a few steps of the run's own network on the run's own batch, in turn, so that a busy machine slows all
of them alike; the quickest whose loss and gradient agree with float32's is taken. The choice is stored in the run:
resuming and repeating use it as it is, to the bit.
"""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lamina.batch import Batch, Loss

Precision = Literal["float32", "bfloat16"]
Losses = Callable[[nn.Module, Batch], Any]

ROUNDS = 3
LOSS_TOLERANCE = 0.02  # relative; bfloat16 keeps 8 bits, so a mean over a batch agrees to well below this
GRADIENT_TOLERANCE = 0.2  # relative length of the difference; rounding noise of that size is below a batch's own noise


@dataclass(frozen=True)
class Execution:
    """How a network is run."""

    kind: str = "cpu"
    """Device: cpu, cuda or mps."""
    precision: Precision = "float32"
    """float32, or bfloat16 for matrix products and convolutions (autocast), weights staying in float32."""
    threads: int = 0
    """Threads of the CPU; 0 leaves PyTorch's own choice."""

    @property
    def device(self) -> torch.device:
        """The device as PyTorch names it."""
        return torch.device(self.kind)

    def prepare(self, network: nn.Module) -> nn.Module:
        """Put the network onto the device, its filters channels last as the pixels are stored, and set the threads."""
        if self.threads:
            torch.set_num_threads(self.threads)
        network.to(self.device)
        return network.to(memory_format=torch.channels_last)

    def move(self, batch: Batch) -> Batch:
        """Put a batch onto the device."""
        return batch.to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network runs forward."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """One way to run, and what measuring it gave."""

    execution: Execution
    examples_per_s: float
    loss_error: float
    """Relative to float32."""
    gradient_error: float
    """Length of the difference to float32's gradient, relative to its length."""
    chosen: bool = False

    @property
    def agrees(self) -> bool:
        """Whether it computes the same as float32."""
        return self.loss_error <= LOSS_TOLERANCE and self.gradient_error <= GRADIENT_TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """A row of the report's table."""
        way = self.execution
        threads = f", {way.threads} thread{'s' * (way.threads > 1)}" if way.threads else ""
        return {
            "candidate": f"{way.precision}{threads}",
            "examples_per_s": self.examples_per_s,
            "error": self.gradient_error,
            "chosen": self.chosen,
        }


def default_device() -> str:
    """The accelerator where there is one."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose(
    network: nn.Module, losses: Losses, batch: Batch, device: str, precision: Precision | None, threads: int | None
) -> tuple[Execution, list[Candidate]]:
    """Measure the candidates on this network and batch; the quickest that agrees with float32.

    Args:
        network: left as it was.
        losses: the task's ``losses``.
        batch: a training batch, on the CPU.
        device: cpu, cuda or mps.
        precision: when given, only this one is tried.
        threads: when given, only this number is tried.

    Returns:
        The choice, and all that was measured, for the log.
    """
    counts = [threads] if threads else sorted({1, _cores()}, reverse=True) if device == "cpu" else [0]
    ways = [Execution(device, "float32", count) for count in counts]
    if precision == "bfloat16" or (precision is None and device != "mps"):
        ways.append(Execution(device, "bfloat16", counts[0]))
    trials = [_Trial(way, network, losses) for way in ways]
    small = batch.pieces(max(1, len(batch) // 16))[0]
    for trial in trials:  # a first step on few examples warms up, and shows who is hopeless
        trial.run(small)
        trial.run(small)
    quickest = min(trial.seconds[-1] for trial in trials)
    rivals = [trial for trial in trials if trial is trials[0] or trial.seconds[-1] <= 3 * quickest]
    for trial in trials:
        trial.compare(trials[0])
        trial.seconds = trial.seconds[-1:] if trial not in rivals else []
    for _ in range(ROUNDS):
        for trial in rivals:
            trial.run(batch)
    for trial in rivals:
        trial.compare(trials[0])
    measured = [trial.result(len(batch) if trial in rivals else len(small)) for trial in trials]
    if precision is None:
        allowed = [candidate for candidate in measured if candidate.agrees] or measured[:1]
    else:  # the user's word counts, whatever was measured; the table shows the error
        allowed = [candidate for candidate in measured if candidate.execution.precision == precision]
    best = max(allowed, key=lambda candidate: candidate.examples_per_s)
    return best.execution, [replace(candidate, chosen=candidate is best) for candidate in measured]


class _Trial:
    """A copy of the network, run one way."""

    def __init__(self, way: Execution, network: nn.Module, losses: Losses) -> None:
        self.way = way
        self.network = way.prepare(deepcopy(network)).train()
        self.losses = losses
        self.seconds: list[float] = []
        self.loss, self.gradient = torch.zeros(()), torch.zeros(1)
        self.loss_error, self.gradient_error = 0.0, 0.0

    def run(self, batch: Batch) -> None:
        """One forward and backward pass, timed."""
        self.way.prepare(self.network)
        moved = self.way.move(batch)
        torch.manual_seed(0)
        began = time.perf_counter()
        with self.way.autocast():
            loss: Loss = next(iter(self.losses(self.network, moved)))
        loss.total.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad.flatten().float() for p in self.network.parameters() if p.grad is not None]
        self.loss = (loss.total.detach().float() / loss.count).cpu()  # reading it waits for the device
        self.seconds.append(time.perf_counter() - began)
        self.gradient = torch.cat(gradients).cpu()
        self.network.zero_grad(set_to_none=True)

    def compare(self, reference: "_Trial") -> None:
        """Errors of the last run against the reference's."""
        self.loss_error = _relative(self.loss, reference.loss)
        self.gradient_error = _relative(self.gradient, reference.gradient)

    def result(self, examples: int) -> Candidate:
        """The median over the rounds."""
        rate = examples / statistics.median(self.seconds)
        return Candidate(self.way, rate, self.loss_error, self.gradient_error)


def _relative(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm().clamp_min(1e-12))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
