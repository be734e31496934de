"""Questions: which one number stands for an answer, so that it can be asked what made it; from the answer's form alone.

a class              its log-odds: the logarithm of its probability against that of all others together
a quantity           itself, in its own unit
boxes                the log-odds of the strongest one's score
what was said        the log-probability of each frame's likeliest token, together
the next token       its log-odds
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lamina.attribution.paths import Number
from lamina.batch import Tensors
from lamina.data.vocabulary import Vocabulary
from lamina.errors import OptionError
from lamina.layers.shapes import Canvas, Recording, Tokens
from lamina.tasks.task import Answer, Facts, Task

SCORE, KIND = 4, 5  # places of a box's score and class in outputs, as layers/boxes.py gives them
LOGITS = 6  # from where on a cell's scores stand, as layers/detector.py gives them
CONTEXT = 64  # tokens before the next one that are asked about


@dataclass(frozen=True)
class Question:
    """What is explained of one example."""

    about: str
    """In words: "log-odds of rose"."""
    number: Number
    inputs: Tensors
    """What goes into the network; (1, ...) each."""
    scale: float = 1.0
    """By which the number is multiplied, and"""
    offset: float = 0.0
    """what is added then, so that it is in its unit."""
    tokens: tuple[str, ...] = ()
    """Of texts, what is read, token by token."""
    headline: str = ""
    """The answer in one line, where the number stands for something else than ``prediction``."""


def refuse(task: Task, facts: Facts) -> None:
    """Raise OptionError for a task whose answers are not made from an input."""
    if isinstance(task.takes(facts), Canvas):
        what = "a run that makes pictures up does not answer about an input, so there is nothing in one to point at."
        raise OptionError(what, "explain INPUT", "Leave INPUT out: the layers are shown.")


def question(task: Task, facts: Facts, network: nn.Module, inputs: Tensors, answer: Answer) -> Question:
    """The question that goes with an answer.

    Args:
        task: whose answer it is.
        facts: of the run.
        network: in evaluation.
        inputs: of one example, (1, ...) each.
        answer: as ``task.decode`` gives it.

    Raises:
        OptionError: no single number stands for the answer.
    """
    said, shape = answer["prediction"], task.takes(facts)
    with torch.no_grad():
        outputs = task.outputs(network, inputs).float().cpu()
    if "probabilities" in answer and outputs.shape == (1, len(answer["probabilities"])):
        return Question(f"log-odds of {said}", _of_class(task, int(outputs.argmax())), inputs)
    if isinstance(said, int | float) and outputs.numel() == 1:
        return _of_quantity(task, facts, outputs, inputs)
    if isinstance(said, list) and outputs.ndim == 3 and outputs.shape[2] > KIND:
        return _of_box(task, facts, network, outputs, inputs, said)
    if isinstance(shape, Recording) and outputs.ndim == 3:
        return _of_frames(network, inputs)
    if isinstance(shape, Tokens) and "vocabulary" in facts and "tokens" in inputs:
        return _of_next(facts, network, inputs)
    what = "no single number stands for what this task answers, so there is none whose making could be told."
    raise OptionError(what, "explain INPUT", "Leave INPUT out: the layers are shown.")


def log_odds(logits: Tensor, kind: int) -> Tensor:
    """(batch,) of one class, from (batch, classes) logits or log-probabilities; unlike a probability it does not saturate."""
    others = torch.cat([logits[:, :kind], logits[:, kind + 1 :]], 1)
    odds: Tensor = logits[:, kind] - others.logsumexp(1)
    return odds


def _of_class(task: Task, kind: int) -> Number:
    return lambda network, inputs: log_odds(task.outputs(network, inputs).float(), kind)


def _of_quantity(task: Task, facts: Facts, outputs: Tensor, inputs: Tensors) -> Question:
    """Decoding is a straight line from outputs to quantities: two of its points show it."""
    two = torch.stack([outputs.flatten(), outputs.flatten() + 1]).view(2, *outputs.shape[1:])
    low, high = (float(one["prediction"]) for one in task.decode(two, facts))
    return Question(
        "the quantity that is predicted",
        lambda network, inputs: task.outputs(network, inputs).float().flatten(),
        inputs,
        high - low,
        low - (high - low) * float(outputs),
    )


def _of_box(task: Task, facts: Facts, network: nn.Module, outputs: Tensor, inputs: Tensors, said: Any) -> Question:
    """The score of the strongest box: what its own cell says on the way; or of outputs alone, the strongest of its class."""
    score, kind = outputs[0, 0, SCORE].item(), int(outputs[0, 0, KIND])
    if score <= 0:
        what = "nothing at all is found in it, so there is no box to be explained."
        raise OptionError(what, "explain INPUT", "Name an example with an object.")
    names = facts.get("classes", [])
    place = ", ".join(f"{side:.0f}" for side in outputs[0, 0, :4].tolist())
    about = f"the strongest box ({names[kind] if kind < len(names) else kind} at {place}, score {score:.2f})"
    about += "" if said else ", which is below the threshold and not in the answer"

    def scored(network: nn.Module, inputs: Tensors) -> Tensor:
        boxes = task.outputs(network, inputs).float()  # (batch, boxes, 6)
        return (boxes[..., SCORE] * (boxes[..., KIND] == kind)).amax(1)

    with torch.no_grad():
        cells = network(**inputs)
    if isinstance(cells, Tensor) and cells.ndim == 3 and cells.shape[2] == LOGITS + len(names):
        best, cell = cells[0, :, LOGITS + kind].float().max(0)
        if abs(float(best.sigmoid()) - score) < 1e-3:

            def logit(network: nn.Module, inputs: Tensors) -> Tensor:
                own: Tensor = network(**inputs)[:, int(cell), LOGITS + kind].float()
                return own

            return Question(f"log-odds of {about}", logit, inputs)
    return Question(f"score of {about}", scored, inputs)


def _of_frames(network: nn.Module, inputs: Tensors) -> Question:
    with torch.no_grad():
        path = network(**inputs).argmax(2)  # (1, frames)

    def number(network: nn.Module, inputs: Tensors) -> Tensor:
        scores = network(**inputs).float()  # (batch, frames, vocabulary)
        places = path.expand(len(scores), -1)[..., None]
        together: Tensor = scores.gather(2, places).sum((1, 2))
        return together

    return Question("log-probability of what was heard, over all frames", number, inputs)


def _of_next(facts: Facts, network: nn.Module, inputs: Tensors) -> Question:
    """The token that would come after the last ones, read by themselves."""
    vocabulary = Vocabulary.of_json(facts["vocabulary"])
    read = [_row(inputs, name) for name in ("before", "tokens") if name in inputs]
    tokens = torch.cat(read)[-CONTEXT:].long()[None]
    with torch.no_grad():
        logits = _following(network, {"tokens": tokens})
    kind = int(logits.argmax())

    def number(network: nn.Module, inputs: Tensors) -> Tensor:
        return log_odds(_following(network, inputs), kind)

    names = tuple(vocabulary.decode([token]) for token in tokens[0].tolist())
    said = f"{vocabulary.decode([kind])!r} comes next"
    headline = f"{said}, with probability {float(logits.softmax(1)[0, kind]):.2f}"
    return Question(f"log-odds that {said}", number, {"tokens": tokens}, tokens=names, headline=headline)


def _following(network: nn.Module, inputs: Tensors) -> Tensor:
    """(batch, vocabulary) logits of the token after the last."""
    logits: Tensor = network(**inputs)[0][:, -1].float()
    return logits


def _row(inputs: Tensors, name: str) -> Tensor:
    """A ragged input of one example, without its padding."""
    lengths = inputs.get(f"{name}_lengths")
    return inputs[name][0] if lengths is None else inputs[name][0, : int(lengths[0])]
