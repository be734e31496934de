"""Candidate: one way to run a network, tried on batches and compared with float32.

The gradient of a deep network with random weights depends on its input's last bits, so that any rounding changes much of it;
what counts for training is how this compares with the noise that the choice of the batch's examples gives.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lamina.batch import Batch, Loss
from lamina.execution import Execution
from lamina.memory import ran_out

CONVOLUTIONS = {"winograd": "Winograd", "winograd-compiled": "compiled Winograd"}
Losses = Callable[[nn.Module, Batch], Iterator[Loss]]

LOSS_TOLERANCE = 0.02  # relative; bfloat16 keeps 8 bits, so a mean over a batch agrees to well below this
GRADIENT_TOLERANCE = 0.2  # relative length of the difference, allowed at any rate
NOISE_TOLERANCE = 0.6  # of the gradient's own noise, by the choice of examples: adds at most a third to its variance


@dataclass(frozen=True)
class Candidate:
    """One way to run, and what measuring it gave."""

    execution: Execution
    micro_batches: int
    examples_per_s: float
    loss_error: float
    """Relative to float32."""
    gradient_error: float
    """Length of the difference to float32's gradient, relative to its length."""
    failure: str = ""
    """Why it does not run here."""
    chosen: bool = False
    gradient_noise: float = 0.0
    """Standard deviation of float32's gradient over the choice of examples, relative to its length, where it was needed."""

    @property
    def agrees(self) -> bool:
        """Whether it computes the same as float32."""
        allowed = max(GRADIENT_TOLERANCE, NOISE_TOLERANCE * self.gradient_noise)
        return self.loss_error <= LOSS_TOLERANCE and self.gradient_error <= allowed and not self.failure

    def to_json(self) -> dict[str, Any]:
        """A row of the report's table."""
        way = self.execution
        name = [way.precision, way.layout.replace("-", " ")]
        name += [f"{way.threads} thread{'s' * (way.threads > 1)}"] if way.threads else []
        name += [f"{self.micro_batches} micro-batches"] if self.micro_batches > 1 else []
        name += [f"{CONVOLUTIONS[way.convolutions]} convolutions"] if way.convolutions in CONVOLUTIONS else []
        name += ["compiled"] if way.compiled else []
        note = self.failure or ("" if self.agrees else "refused: it does not compute the same")
        if self.agrees and self.gradient_error > GRADIENT_TOLERANCE:
            note = f"the choice of a batch's examples changes its gradient by {self.gradient_noise:.2f}"
        return {
            "candidate": ", ".join(name),
            "examples_per_s": None if self.failure else self.examples_per_s,
            "error": None if self.failure else self.gradient_error,
            "chosen": self.chosen,
            "note": note,
        }


class Attempt:
    """A copy of the network, run one way on batches."""

    def __init__(self, way: Execution, pieces: int, network: nn.Module, losses: Losses) -> None:
        self.way, self.pieces, self.losses = way, pieces, losses
        self.network: nn.Module | None = deepcopy(network).train()
        for module in self.network.modules():
            if "dropout" in type(module).__name__.lower():  # of PyTorch or of whoever wrote the network
                module.eval()  # its masks would differ between micro-batches and the whole
        self.worker: nn.Module | None = None
        self.seconds: list[float] = []
        self.met: set[int] = set()  # numbers of examples that it has run
        self.rounds: list[float] = []  # examples per second
        self.loss, self.gradient = torch.zeros(()), torch.zeros(1)
        self.loss_error, self.gradient_error = 0.0, 0.0
        self.failure = ""
        self.said = ""  # by whoever failed

    def settled(self, batch: Batch) -> bool:
        """Run one forward and backward pass, timed; False, with the reason in ``failure``, when it does not run here.

        What fails in float32 fails because of the network, which is for the caller to see.
        """
        if self.failure:
            return False
        try:
            self._run(batch)
        except Exception as error:
            if ran_out(error):
                self.failure = "out of memory"
            elif self.way.precision == "float32" and not self.way.compiled and self.way.convolutions == "direct":
                raise
            else:
                self.failure = f"it does not run here ({type(error).__name__})"
                self.said = next(iter(str(error).strip().splitlines()), "")[:200].rstrip(".")
            self.seconds = []
            return False
        return True

    def _run(self, batch: Batch) -> None:
        """Run it, and leave the process as it was: what is compiled asks for sums that do not differ from run to run."""
        kept = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        try:
            self._step(batch)
        finally:
            torch.use_deterministic_algorithms(kept[0], warn_only=kept[1])

    def _step(self, batch: Batch) -> None:
        assert self.network is not None
        self.way.prepare(self.network)
        if self.worker is None:
            self.worker = self.way.worker(self.network)
        moved = self.way.move(batch)
        torch.manual_seed(0)
        total, count = torch.zeros(()), torch.zeros(())
        began = time.perf_counter()
        for piece in moved.pieces(self.pieces):
            every = self.losses(self.worker, piece)
            while True:  # one loss per player
                with self.way.autocast():
                    loss = next(every, None)
                if loss is None:
                    break
                loss.total.backward()  # type: ignore[no-untyped-call]
                total, count = total + loss.total.detach().float().cpu(), count + torch.as_tensor(loss.count).cpu()
        gradients = [p.grad.flatten().float() for p in self.worker.parameters() if p.grad is not None]
        self.loss = total / count  # reading it has waited for the device
        self.seconds.append(time.perf_counter() - began)
        self.met.add(len(batch))
        self.gradient = torch.cat(gradients).cpu()
        self.worker.zero_grad(set_to_none=True)

    def compare(self, reference: "Attempt") -> None:
        """Errors of the last run against the reference's, on the same batch."""
        if self.seconds:
            self.loss_error = _relative(self.loss, reference.loss)
            self.gradient_error = _relative(self.gradient, reference.gradient)

    def noise(self, batch: Batch) -> float:
        """Standard deviation of the gradient over the choice of the batch's examples, relative to its length.

        A loss is a sum, so the gradients of two halves differ by as much as that of the whole varies.
        """
        kept = self.loss, self.gradient, list(self.seconds)
        sides = []
        for half in batch.pieces(2):
            self._run(half)
            sides.append(self.gradient)
        self.loss, self.gradient, self.seconds = kept
        one, other = sides
        return float((one - other).norm() / (one + other).norm().clamp_min(1e-12))

    def rate(self) -> float:
        """Examples per second, the median over the rounds."""
        return statistics.median(self.rounds) if self.rounds else 0.0

    def result(self) -> Candidate:
        """What measuring gave."""
        return Candidate(self.way, self.pieces, self.rate(), self.loss_error, self.gradient_error, self.failure)


def _relative(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm().clamp_min(1e-12))
