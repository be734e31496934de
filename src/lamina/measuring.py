"""Measuring: the quickest way to run a network on this machine, among those that compute the same.

The candidates run a few steps of the run's own network on the run's own batch, in turn, so that a busy machine slows all of
them alike; the quickest whose loss and gradient agree with float32's is taken. The choice is stored in the run: resuming and
repeating use it as it is, to the bit. It is also remembered for this machine and network, unless the machine was so busy that
the figures cannot be trusted; and where a core is busy when it is recalled, it is measured anew.
"""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from lamina import native
from lamina.batch import Batch
from lamina.candidate import GRADIENT_TOLERANCE, Attempt, Candidate, Losses
from lamina.data.remembered import key_of, recall, remember
from lamina.errors import OptionError
from lamina.execution import Execution, Precision
from lamina.layers.convolution import eligible
from lamina.machine import bfloat16_is_native, cores, identity
from lamina.memory import halved

RULES = 10  # raised when the choice comes to be made otherwise: what was remembered before is then measured anew
ROUNDS = 3
SHARE = 0.05  # of the training's time that measuring may take
STEPS = 40  # that an allowance of time should suffice for
LEAST_GAIN = 1.03  # below it a difference is noise, and the plainer way is kept
HINDERED = 1.5  # times slower on a few examples: threads wait for a core that another program keeps busy
HOPELESS = 3.0  # times slower than the quickest on a few examples: not measured any further
COMPILING = 60.0  # seconds that compiling a network takes, roughly; only a training in whose SHARE they fit is compiled
FEW = 8  # small steps take the batch's share of one in so many
LOOK = 10  # small steps that seeing whether a core is busy takes, about
FIT = 1.5  # times as long a training may be as that for which measuring was cut short, to take over its choice
STEADY = 1.5  # slowest over quickest round up to which a measurement is worth remembering


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

    Raises OptionError when the network cannot be run as was asked for.
    """
    if start.kind == "cpu" and asked.get("convolutions") == "winograd-compiled":
        native.winograd()  # says what is missing
    long = bool(seconds and _long(seconds))
    key = key_of(identity(start.kind), native.compiler(), str(network), len(batch), _shapes(batch), asked, long, RULES)
    recalled, planned = _recalled(key, seconds, steps * len(batch))
    given = {name: value for name, value in asked.items() if name in asdict(start)}
    start = replace(start, **{"threads": cores() if start.kind == "cpu" else start.threads, **given})
    counts = sorted({1, max(1, cores() // 2), cores()}) if "threads" not in asked and start.kind == "cpu" else []
    usual = start if recalled is None else recalled.execution
    counts = [count for count in counts if count <= usual.threads]
    if recalled is not None and not _worth_a_look(recalled, planned, len(batch)):
        return recalled
    begun = _unhindered(network, losses, batch, usual, counts) if len(counts) > 1 else usual
    if recalled is not None and begun == usual:
        return recalled
    contest = _Contest(network, losses, batch, replace(start, threads=begun.threads))
    contest.allow(seconds if seconds is not None else steps * contest.step_seconds())
    if contest.best.failure:
        raise _refused(contest.best, given)
    if "precision" not in asked:
        contest.vary([{"precision": each} for each in _precisions(start.kind, network)])
    if counts:
        contest.vary([{"threads": count} for count in counts])
    if "layout" not in asked and any(parameter.ndim == 4 for parameter in network.parameters()):
        contest.vary([{"layout": "channels-first"}])
    if "convolutions" not in asked and start.kind == "cpu":
        contest.vary(contest.convolutions())
    normalises = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if "micro_batches" not in asked and start.kind == "cpu" and not normalises:  # pieces may fit into the cache
        contest.vary([{"micro_batches": count} for count in (2, 4) if len(batch) >= 32 * count])
    if "compiled" not in asked and _long(contest.planned):
        contest.vary([{"compiled": True}])
    choice = contest.choice()
    if contest.steady() and begun == usual and not contest.lacking:
        content = {"candidates": [asdict(candidate) for candidate in choice.candidates]}
        remember("measured", key, content | {"planned": contest.planned if contest.cut else None})
    return choice


def _recalled(key: str, seconds: float | None, examples: int) -> tuple[Choice | None, float]:
    """What an earlier run chose, where it had the time that is due to this one; and how long this one will take, by that."""
    known = recall("measured", key)
    if known is None:
        return None, 0.0
    candidates = [Candidate(**{**row, "execution": Execution(**row["execution"])}) for row in known["candidates"]]
    chosen = next(candidate for candidate in candidates if candidate.chosen)
    if chosen.execution.here() != chosen.execution:  # what was compiled then does not compile now
        return None, 0.0
    planned = examples / chosen.examples_per_s if seconds is None else seconds
    if known["planned"] is not None and planned > FIT * known["planned"]:
        return None, planned
    return Choice(chosen.execution, chosen.micro_batches, candidates, remembered=True), planned


def _refused(asked: Attempt, given: dict[str, Any]) -> OptionError:
    """The error that a network does not run as was asked for."""
    options = [
        "--compile" if name == "compiled" else f"--{name} {value}" for name, value in given.items() if name != "kind"
    ]
    what = f"this network does not run so: {asked.said or asked.failure}."
    return OptionError(what, " ".join(options), "Leave it out: the quickest way that runs here is measured.")


def _unhindered(network: nn.Module, losses: Losses, batch: Batch, start: Execution, counts: list[int]) -> Execution:
    """The way to begin with: that with the most threads, unless a few examples are far quicker with fewer.

    Where another program keeps a core busy, threads wait for one another. Precisions measured so would all seem alike, and
    measuring them would take long. A few small steps are all that this takes: less than what measuring is allowed.
    """
    few = batch.pieces(max(1, len(batch) // FEW))[0]
    begun, least = start, 0.0
    for count in reversed(counts):
        attempt = Attempt(replace(start, threads=count, compiled=False), 1, network, losses)
        for _ in range(3):  # the first makes kernels
            if not attempt.settled(few):
                return start
            if count < counts[-1] and attempt.seconds[-1] > least:  # few of many threads can take long
                break
        seconds = statistics.mean(attempt.seconds[1:] or attempt.seconds)
        if count == counts[-1]:
            least = seconds / HINDERED
        elif seconds >= least:  # even fewer of many threads would only take longer
            break
        else:
            begun, least = replace(start, threads=count), seconds
    return begun


def _worth_a_look(recalled: Choice, planned: float, batch: int) -> bool:
    """Whether seeing if a core is busy takes less than measuring may, of a training of so many seconds."""
    return LOOK * batch / FEW / recalled.examples_per_s <= SHARE * planned


class _Contest:
    """The candidates so far, the best of them, and the time that is left."""

    def __init__(self, network: nn.Module, losses: Losses, batch: Batch, start: Execution) -> None:
        self.network, self.losses = network, losses
        accelerated = start.kind != "cpu"  # which takes as long for few examples as for many
        self.batch = batch if accelerated else batch.pieces(max(1, len(batch) // FEW))[0]
        self.whole = batch
        self.reference = Attempt(replace(start, precision="float32", compiled=False), 1, network, losses)
        self.trials = [self.reference]
        self.best = self.reference
        self.planned = 0.0
        self.began = self.deadline = time.perf_counter()
        self.noise: float | None = None
        self.cut = False  # whether for more measuring there was no time
        self.lacking = False  # whether there is a compiler that fails, which may be mended
        self._fit()
        if accelerated:  # once more: the first step has loaded its libraries
            self._fit()
        if start != self.reference.way:
            self.best = Attempt(start, 1, network, losses)
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
        if late := time.perf_counter() > self.deadline:
            self.cut = True
        variants = [] if late else [self._variant(change) for change in changes]
        new = [trial for trial in variants if (trial.way, trial.pieces) != (self.best.way, self.best.pieces)]
        if not new:
            return
        ways = [(trial.way.compiled, trial.way.threads) for trial in new]
        few = self.batch  # compiling is done for each number of examples, and threads share many better than few
        if all(way == (False, self.best.way.threads) for way in ways):
            few = self.batch.pieces(max(1, len(self.batch) // FEW))[0]
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

    def convolutions(self) -> list[dict[str, Any]]:
        """How this network's convolutions may be computed: by tiles, compiled where they can be.

        Compiling is done once on a machine, so its seconds are not those of measuring.
        """
        dtype, began = self.best.way.computes_in, time.perf_counter()
        if began <= self.deadline and eligible(self.network, dtype, compiled=True):
            compiles = native.compiles()
            self.deadline += time.perf_counter() - began
            if compiles:
                return [{"convolutions": "winograd-compiled"}]
            self.lacking = native.compiler() is not None
        return [{"convolutions": "winograd"}] if eligible(self.network, dtype) else []

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

    def _variant(self, change: dict[str, Any]) -> Attempt:
        pieces = change.get("micro_batches", self.best.pieces)
        way = replace(self.best.way, **{name: value for name, value in change.items() if name != "micro_batches"})
        return Attempt(way, pieces, self.network, self.losses)

    def _hopeless(self, trial: Attempt) -> bool:
        return bool(trial.seconds) and trial.seconds[-1] > HOPELESS * self.best.seconds[-1]

    def _race(self, rivals: list[Attempt]) -> None:
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
                self.cut = True
                break
        for trial in rivals:
            if trial is not self.reference:
                trial.compare(self.reference)
        for trial in rivals:
            if trial.rounds and self._judged(trial).agrees and trial.rate() > LEAST_GAIN * self.best.rate():
                self.best = trial

    def _judged(self, trial: Attempt) -> Candidate:
        """What measuring gave; where the gradient differs much, beside the gradient's own noise."""
        result = trial.result()
        if result.gradient_error <= GRADIENT_TOLERANCE or len(self.batch) < 2:
            return result
        if self.noise is None:
            self.noise = self.reference.noise(self.batch)
        return replace(result, gradient_noise=self.noise)


def _precisions(kind: str, network: nn.Module) -> list[Precision]:
    """The precisions beside float32 that are worth a trial on a device."""
    if kind == "mps" or (kind == "cpu" and not bfloat16_is_native()):
        return []
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    # Under autocast cuDNN's recurrent layers compute in float16, whatever is asked for: only with float16 losses are scaled.
    if kind == "cuda" and (recurrent or not torch.cuda.is_bf16_supported(including_emulation=False)):
        return ["float16"]
    return ["bfloat16", "bfloat16-weights"] if recurrent else ["bfloat16"]  # a copy, where casting each time is slow


def _long(seconds: float) -> bool:
    return SHARE * seconds >= COMPILING


def _shapes(batch: Batch) -> list[Any]:
    return [[name, list(tensor.shape[1:]), str(tensor.dtype)] for name, tensor in batch.inputs.items()]
