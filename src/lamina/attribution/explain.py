"""Explain: what in each of some inputs made its answer.

*Rows of a table*: Shapley values of their columns, see ``columns``. *Pictures, sound, tokens*: integrated gradients, see
``paths``. Which number stands for an answer, ``questions`` says. In both the shares add up to the difference between the number
for the input and that for a reference; how far they miss it is told.

An explanation that a network with random weights gives as well says something about the input, and nothing about what was
learned (Adebayo et al. 2018, arXiv:1810.03292): so the same is done with fresh weights, and the rank correlation of the two
is told.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from lamina.attribution import columns
from lamina.attribution.paths import REFERENCES, Walked, walk
from lamina.attribution.questions import Question, question, refuse
from lamina.batch import Batch, Tensors
from lamina.data.building import encode_each
from lamina.data.columns import kinds_of
from lamina.data.conforming import conform
from lamina.data.data import Raws
from lamina.data.store import columns_of, gathered
from lamina.errors import OptionError
from lamina.execution import Execution
from lamina.findings import Finding
from lamina.layers.log_mel import hop_of
from lamina.tasks.task import Answer, Facts, Shown, Task

MOST = 8  # inputs that are explained at a time
FRESH = 3  # networks with random weights
ALIKE = 0.5  # rank correlation with the explanations of random weights, from which an explanation tells little
PLAIN = (32,)  # steps of a walk through random weights
INCOMPLETE = 0.05  # share of the difference that the parts may miss


@dataclass(frozen=True)
class Subject:
    """What is needed of a run."""

    task: Task
    facts: Facts
    network: nn.Module
    """In evaluation, prepared by the execution; no weight of it wants a gradient."""
    learns: tuple[bool, ...]
    """Of each of its weights, whether it learns in training."""
    execution: Execution
    fresh: Callable[[int], nn.Module]
    """By a number, a network of the same kind that has learned nothing, likewise."""
    training_rows: Callable[[int], pl.DataFrame]
    """So many raw rows of a table's training part. Raises RunError where the data are not at hand."""
    validation: Callable[[int], tuple[Batch, Batch]]
    """At most so many examples of the validation part, as evaluation takes them and as training does; likewise."""


@dataclass(frozen=True)
class Explanation:
    """What in one input made its answer."""

    where: str
    answer: Answer
    kind: str
    """"columns", "picture", "sound", "tokens" or "numbers"."""
    about: str
    """What was explained: "log-odds of rose", or the quantity itself."""
    value: float
    reference: float
    """The same for the reference,"""
    against: str
    """which this is, in words."""
    shares: np.ndarray
    """(columns,), (side, side), (frames, bands) or (tokens,): what each adds to the value; they sum to
    ``value - reference`` less ``missing``."""
    missing: float
    """By how much the shares miss the difference."""
    random: float
    """Rank correlation of the shares' sizes with those of networks with fresh random weights, on average."""
    names: tuple[str, ...] = ()
    """Of the columns, or the tokens."""
    cells: tuple[str, ...] = ()
    """What stands in the columns."""
    picture: np.ndarray | None = None
    """(height, width, 1 or 3) uint8: a picture as the network was given it, or the features of a sound, low tones below."""
    seconds: float = 0.0
    """Of a sound, from one frame of the shares to the next."""
    shown: Shown = field(default_factory=dict)
    """What the task shows of the input, with the answer where it draws that."""
    headline: str = ""
    """The answer in one line, where the number stands for something else than ``prediction``."""

    @property
    def doubtful(self) -> bool:
        """Whether random weights give much the same explanation, by more than chance among so few parts."""
        return self.random > max(ALIKE, 1.96 / (self.shares.size - 1) ** 0.5 if self.shares.size > 1 else 1.0)

    @property
    def incomplete(self) -> bool:
        """Whether the shares miss much of the difference."""
        return abs(self.missing) > INCOMPLETE * max(abs(self.value - self.reference), 1e-3)

    def to_json(self) -> dict[str, Any]:
        """The fields, without the picture."""
        shares: Any = self.shares.round(6).tolist()
        if self.kind == "columns":
            shares = dict(zip(self.names, shares, strict=True))
        elif self.kind == "tokens":
            shares = [[name, share] for name, share in zip(self.names, shares, strict=True)]
        return {
            "input": self.where, "answer": self.answer, "kind": self.kind, "about": self.about, "value": self.value,
            "reference": self.reference, "against": self.against, "shares": shares, "missing": self.missing,
            "random_weights": self.random, "doubtful": self.doubtful,
        }  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """What in some inputs made their answers."""

    explanations: list[Explanation]
    errors: list[tuple[str, str]]
    """(where, why) of those that could not be read, or whose answer nothing stands for."""
    left_out: int
    """How many more examples the inputs have."""

    def findings(self) -> list[Finding]:
        """What makes these explanations doubtful."""
        like = [one for one in self.explanations if one.doubtful]
        short = [one for one in self.explanations if one.incomplete]
        found = []
        if like:
            what = (
                f"{len(like)} of {len(self.explanations)} explanations tell little about what was learned: networks with "
                "random weights rank the parts of the input much alike."
            )
            remedy = "Take them as pictures of the input; compare with other inputs, or cover a part and predict again."
            evidence = {"correlations": [round(one.random, 3) for one in like]}
            found.append(Finding("explanation.random", "warning", what, remedy, _places(like), len(like), evidence))
        if short:
            what = (
                f"The parts of {len(short)} of {len(self.explanations)} explanations miss more than {INCOMPLETE:.0%} of the "
                "difference that they should add up to."
            )
            remedy = "Take their shares as rough; the answer changes too sharply on the way from the reference."
            evidence = {"missing": [round(one.missing, 6) for one in short]}
            found.append(
                Finding("explanation.incomplete", "warning", what, remedy, _places(short), len(short), evidence)
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """What a program reads."""
        return {
            "explanations": [one.to_json() for one in self.explanations],
            "errors": [{"input": where, "error": why} for where, why in self.errors],
            "left_out": self.left_out,
            "findings": [finding.to_json() for finding in self.findings()],
        }


def _places(some: list[Explanation]) -> tuple[str, ...]:
    return tuple(one.where for one in some)[:20]


def explained(subject: Subject, inputs: Sequence[Any]) -> Explained:
    """Say what in each of some inputs made its answer.

    Args:
        subject: of a run.
        inputs: as ``predict`` takes them; the first ``MOST`` examples.

    Raises:
        OptionError: answers of this task are not made from an input, or none of these can be explained.
        RunError: rows of a table are asked about, and the training part is not at hand.
    """
    refuse(subject.task, subject.facts)
    raws, where = subject.task.gather(inputs, subject.facts)
    some, left_out = raws[:MOST], max(0, len(raws) - MOST)
    arrays, good, bad = encode_each(some, lambda few: subject.task.encode(few, subject.facts))
    errors = [(str(where[row]), why) for row, why in bad.items()]
    networks = [subject.fresh(number) for number in range(FRESH)] if arrays is not None else []
    tabular = isinstance(some, pl.DataFrame)
    background = subject.training_rows(columns.ORDERS) if tabular and arrays is not None else None
    found = []
    for place, row in enumerate(good.tolist()):
        inputs_of_one = gathered(columns_of(arrays or {}), torch.tensor([place]))
        one = subject.execution.move(Batch(inputs_of_one, {})).inputs
        try:
            if background is not None:
                cells = cast(pl.DataFrame, some[row : row + 1])
                found.append(_row(subject, networks, cells, background, one, str(where[row])))
            else:
                found.append(_moved(subject, networks, some[row : row + 1], one, str(where[row])))
        except OptionError as error:
            errors.append((str(where[row]), error.what))
    if not found:
        at, why = errors[0] if errors else ("", "there is no example")
        raise OptionError(f"nothing can be explained: {why}", at, "`lamina explain RUN` shows the layers.")
    return Explained(found, errors, left_out)


def _asked(subject: Subject, one: Tensors) -> tuple[Question, Answer]:
    with torch.no_grad():
        outputs = subject.task.outputs(subject.network, one).float().cpu()
    (answer,) = subject.task.decode(outputs, subject.facts)
    return question(subject.task, subject.facts, subject.network, one, answer), answer


def _row(
    subject: Subject, networks: list[nn.Module], row: pl.DataFrame, background: pl.DataFrame, one: Tensors, where: str
) -> Explanation:
    """A row of a table."""
    asked, answer = _asked(subject, one)

    def values(frame: pl.DataFrame) -> list[np.ndarray]:
        encoded = columns_of(subject.task.encode(frame, subject.facts))
        batch = subject.execution.move(Batch(gathered(encoded, torch.arange(len(frame))), {}))
        with torch.no_grad():
            said = [asked.number(network, batch.inputs) for network in (subject.network, *networks)]
        return [_in_unit(asked, number).cpu().double().numpy() for number in said]

    typed = conform(row, kinds_of(subject.facts)) if "columns" in subject.facts else row  # as training rows are
    found = columns.shapley(typed, background, values)
    shares, references = found[0]
    with torch.no_grad():
        value = float(_in_unit(asked, asked.number(subject.network, one)))
    reference = float(references.mean())
    names = columns.names(row, background)
    return Explanation(
        where, answer, "columns", asked.about, value, reference,
        f"the mean over {len(background)} training rows", shares, value - reference - float(shares.sum()),
        _likeness(shares, [other for other, _ in found[1:]]), tuple(names), columns.cells(row, names),
    )  # fmt: skip


def _moved(subject: Subject, networks: list[nn.Module], raws: Raws, one: Tensors, where: str) -> Explanation:
    """A picture, a sound, a text or plain numbers."""
    asked, answer = _asked(subject, one)
    mean = subject.facts.get("mean")
    own = walk(subject.network, asked.number, asked.inputs, mean)
    others = [walk(network, asked.number, asked.inputs, mean, PLAIN).shares for network in networks]
    value, reference = (asked.scale * number + asked.offset for number in (own.value, own.reference))
    (shown,) = subject.task.show(raws, subject.facts, None, [answer])
    rate = subject.facts.get("rate")
    seconds = hop_of(rate) / rate if rate else 0.0
    return Explanation(
        where, answer, own.kind, asked.about, value, reference, REFERENCES[own.kind], asked.scale * own.shares,
        asked.scale * own.missing, _likeness(own.shares, others), asked.tokens, (), _picture(own), seconds, shown,
        asked.headline,
    )  # fmt: skip


def _in_unit(asked: Question, number: Tensor) -> Tensor:
    return asked.scale * number + asked.offset


def _picture(walked: Walked) -> np.ndarray | None:
    """What was moved, for people: pixels as they are; of a sound loud is bright, and low tones are below."""
    if walked.kind == "picture":
        return walked.seen.clip(0, 255).astype(np.uint8)
    if walked.kind == "sound":
        return ((walked.seen.T[::-1, :, None].clip(-2, 3) + 2) * 51).astype(np.uint8)
    return None


def _likeness(own: np.ndarray, others: list[np.ndarray]) -> float:
    """The mean of Spearman's rank correlations of the sizes of some shares with others; 0 where one of them is constant."""
    from scipy.stats import rankdata

    found = []
    for other in others:
        first, second = (rankdata(np.abs(shares).ravel()) for shares in (own, other))
        level = first.std() == 0 or second.std() == 0
        found.append(0.0 if level else float(np.corrcoef(first, second)[0, 1]))
    return float(np.mean(found))
