"""Measuring: the quickest way to run a network on this machine, among those that compute the same.

The candidates run a few steps of the run's own network on the run's own batch, in turn, so that a busy machine slows all of
them alike; the quickest whose loss and gradient agree with float32's is taken. The gradient of a deep network with random
weights depends on its input's last bits, so that any rounding changes much of it; what counts for training is how this
compares with the noise that the choice of the batch's examples gives. The choice is stored in the run: resuming and repeating
use it as it is, to the bit. It is also remembered for this machine and network, unless the machine was so busy that the
figures cannot be trusted.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lamina.batch import Batch, Loss
from lamina.data.remembered import key_of, recall, remember
from lamina.execution import Execution, Precision
from lamina.layers.winograd import eligible
from lamina.machine import bfloat16_is_native, cores, identity
from lamina.memory import halved, ran_out

Losses = Callable[[nn.Module, Batch], Iterator[Loss]]

RULES = 3  # raised when the choice comes to be made otherwise: what was remembered before is then measured anew
ROUNDS = 3
SHARE = 0.05  # of the training's time that measuring may take
STEPS = 40  # that an allowance of time should suffice for
LEAST_GAIN = 1.03  # below it a difference is noise, and the plainer way is kept
HOPELESS = 3.0  # times slower than the quickest on a few examples: not measured any further
COMPILING = 60.0  # seconds that compiling a network takes, roughly; only a training in whose SHARE they fit is compiled
STEADY = 1.5  # slowest over quickest round up to which a measurement is worth remembering
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
        name += ["Winograd convolutions"] if way.convolutions == "winograd" else []
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


@dataclass(frozen=True)
class Choice:
    """The way to run that was chosen, and all that was measured."""

    execution: Execution
    micro_batches: int
    candidates: list[Candidate]
    remembered: bool = False
    """Whether the figures are of an earlier run."""

    @property
    def examples_per_s(self) -> float:
        """Forward and backward, of the one that was chosen."""
        return next(candidate.examples_per_s for candidate in self.candidates if candidate.chosen)


def choose(
    network: nn.Module,
    losses: Losses,
    batch: Batch,
    start: Execution,
    asked: dict[str, Any],
    seconds: float | None = None,
    steps: int = 1000,
) -> Choice:
    """Measure the candidates on this network and batch; the quickest that agrees with float32.

    One property is varied after the other, each time from the best so far: precision, threads, layout, convolutions,
    micro-batches, compilation. What was asked for is not varied.

    Args:
        network: left as it was.
        losses: the task's ``losses``.
        batch: a training batch, on the CPU.
        start: the device, and what holds where nothing is asked or measured.
        asked: fields of Execution, or ``micro_batches``, that the user decided.
        seconds: that training will take, where that is known.
        steps: that training will take, otherwise.
    """
    long = bool(seconds and _long(seconds))
    key = key_of(identity(start.kind), start.kind, str(network), len(batch), _shapes(batch), asked, long, RULES)
    known = recall("measured", key)
    if known is not None:
        return _choice_of(known)
    given = {name: value for name, value in asked.items() if name in asdict(start)}
    every = {"threads": cores()} if start.kind == "cpu" else {}
    contest = _Contest(network, losses, batch, replace(start, **{**every, **given}))
    contest.allow(seconds if seconds is not None else steps * contest.step_seconds())
    if "precision" not in asked:
        contest.vary([{"precision": each} for each in _precisions(start.kind, network)])
    if "threads" not in asked and start.kind == "cpu":  # two threads can be worse than one where a core is busy
        contest.vary([{"threads": count} for count in sorted({1, max(1, cores() // 2)})])
    if "layout" not in asked and any(parameter.ndim == 4 for parameter in network.parameters()):
        contest.vary([{"layout": "channels-first"}])
    if "convolutions" not in asked and start.kind == "cpu" and eligible(network, contest.best.way.computes_in):
        contest.vary([{"convolutions": "winograd"}])
    normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if "micro_batches" not in asked and start.kind == "cpu" and not normalises:  # pieces may fit into the cache
        contest.vary([{"micro_batches": count} for count in (2, 4) if len(batch) >= 32 * count])
    if "compiled" not in asked and _long(contest.planned):
        contest.vary([{"compiled": True}])
    choice = contest.choice()
    if contest.steady():
        remember("measured", key, {"candidates": [asdict(candidate) for candidate in choice.candidates]})
    return choice


class _Contest:
    """The candidates so far, the best of them, and the time that is left."""

    def __init__(self, network: nn.Module, losses: Losses, batch: Batch, start: Execution) -> None:
        self.network, self.losses = network, losses
        self.batch = batch.pieces(max(1, len(batch) // 8))[0]
        self.whole = batch
        self.reference = _Trial(replace(start, precision="float32", compiled=False), 1, network, losses)
        self.trials = [self.reference]
        self.best = self.reference
        self.planned = 0.0
        self.began = time.perf_counter()
        self.deadline = self.began
        self.noise: float | None = None
        self._fit()
        if start != self.reference.way:
            self.best = _Trial(start, 1, network, losses)
            self.trials.append(self.best)

    def step_seconds(self) -> float:
        """Of one training step, by what is known so far."""
        return self.reference.seconds[-1] * len(self.whole) / len(self.batch)

    def allow(self, planned: float) -> None:
        """Learn how long training will take: it decides how long measuring may, and on how many examples."""
        self.planned = planned
        self.deadline = self.began + SHARE * planned
        each = self.reference.seconds[-1] / len(self.batch)
        affordable = int(SHARE * planned / STEPS / each)
        if affordable > len(self.batch):
            self.batch = self.whole.pieces(max(1, round(len(self.whole) / affordable)))[0]
            self._fit()
        self._race([self.best])

    def vary(self, changes: list[dict[str, Any]]) -> None:
        """Measure variants of the best so far beside it, and take the quickest."""
        variants = [] if time.perf_counter() > self.deadline else [self._variant(change) for change in changes]
        new = [trial for trial in variants if (trial.way, trial.pieces) != (self.best.way, self.best.pieces)]
        if not new:
            return
        compiles = any(trial.way.compiled for trial in new)  # which would be done for each number of examples
        few = self.batch if compiles else self.batch.pieces(max(1, len(self.batch) // 8))[0]
        for trial in [*new, self.best]:  # a step on few examples shows who is hopeless
            trial.settled(few)
        if self.reference is not self.best:
            self.reference.settled(few)
        hopeful = []
        for trial in new:
            self.trials.append(trial)
            if self._hopeless(trial):  # unless that was its kernels being made, or the network compiled
                trial.settled(few)
            trial.compare(self.reference)
            trial.rounds = [len(few) / trial.seconds[-1]] if trial.seconds else []
            if trial.seconds and not self._hopeless(trial):
                hopeful.append(trial)
        if hopeful:
            self._race([self.best, *hopeful])
        for trial in self.trials:
            if trial not in (self.best, self.reference):
                trial.network = trial.worker = None

    def choice(self) -> Choice:
        """What is decided so far, as plain values; the networks are let go."""
        candidates = [replace(self._judged(trial), chosen=trial is self.best) for trial in self.trials]
        return Choice(self.best.way, self.best.pieces, candidates)

    def steady(self) -> bool:
        """Whether the rounds of the one that was chosen are much alike."""
        return len(self.best.rounds) >= ROUNDS and max(self.best.rounds) <= STEADY * min(self.best.rounds)

    def _fit(self) -> None:
        """Take as many examples as fit into memory."""
        while not self.reference.settled(self.batch):
            self.reference.failure = ""
            self.batch = self.batch.pieces(-(-len(self.batch) // halved(len(self.batch))))[0]

    def _variant(self, change: dict[str, Any]) -> "_Trial":
        pieces = change.get("micro_batches", self.best.pieces)
        way = replace(self.best.way, **{name: value for name, value in change.items() if name != "micro_batches"})
        return _Trial(way, pieces, self.network, self.losses)

    def _hopeless(self, trial: "_Trial") -> bool:
        return bool(trial.seconds) and trial.seconds[-1] > HOPELESS * self.best.seconds[-1]

    def _race(self, rivals: list["_Trial"]) -> None:
        """Let them run in turn, and keep the quickest that agrees."""
        for trial in rivals:
            trial.rounds = []
            if len(self.batch) not in trial.met:  # what a number of examples needs is made when it first comes
                trial.settled(self.batch)
        for number in range(ROUNDS):
            for trial in rivals:
                if trial.settled(self.batch):
                    trial.rounds.append(len(self.batch) / trial.seconds[-1])
            if number == 0 and self.reference not in rivals:
                self.reference.settled(self.batch)
            if time.perf_counter() > self.deadline:
                break
        for trial in rivals:
            if trial is not self.reference:
                trial.compare(self.reference)
        for trial in rivals:
            if trial.rounds and self._judged(trial).agrees and trial.rate() > LEAST_GAIN * self.best.rate():
                self.best = trial

    def _judged(self, trial: "_Trial") -> Candidate:
        """What measuring gave; where the gradient differs much, beside the gradient's own noise."""
        result = trial.result()
        if result.gradient_error <= GRADIENT_TOLERANCE or len(self.batch) < 2:
            return result
        if self.noise is None:
            self.noise = self.reference.noise(self.batch)
        return replace(result, gradient_noise=self.noise)


class _Trial:
    """A copy of the network, run one way."""

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
            self.seconds = []
            return False
        return True

    def _run(self, batch: Batch) -> None:
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

    def compare(self, reference: "_Trial") -> None:
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


def _precisions(kind: str, network: nn.Module) -> list[Precision]:
    """The precisions beside float32 that are worth a trial on a device."""
    if kind == "mps" or (kind == "cpu" and not bfloat16_is_native()):
        return []
    if kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ["float16"]
    recurrent = any(
        isinstance(module, nn.RNNBase) for module in network.modules()
    )  # slow where weights are cast each time
    return ["bfloat16", "bfloat16-weights"] if recurrent else ["bfloat16"]


def _long(seconds: float) -> bool:
    return SHARE * seconds >= COMPILING


def _relative(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm().clamp_min(1e-12))


def _shapes(batch: Batch) -> list[Any]:
    return [[name, list(tensor.shape[1:]), str(tensor.dtype)] for name, tensor in batch.inputs.items()]


def _choice_of(known: dict[str, Any]) -> Choice:
    """A choice as it was remembered."""
    candidates = [Candidate(**{**row, "execution": Execution(**row["execution"])}) for row in known["candidates"]]
    chosen = next(candidate for candidate in candidates if candidate.chosen)
    return Choice(chosen.execution, chosen.micro_batches, candidates, remembered=True)
