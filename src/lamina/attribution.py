"""Attribution: what in an input made the answer.

*Pictures*: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365). On the straight way from a picture of the
training part's mean colour to the picture, the gradients of the answer by each pixel are averaged; times the difference
they add up to the difference of the answers. How far they miss it is told.

*Rows of a table*: Shapley values (Shapley 1953; by sampled orders, Štrumbelj & Kononenko 2014). A training row becomes the
row in question, column by column in a random order; what each column changes is averaged over orders and training rows.
They add up to the difference from the mean answer over these rows.

An explanation that a network with random weights gives as well says something about the input, and nothing about what was
learned (Adebayo et al. 2018, arXiv:1810.03292): so the same is done with fresh weights, and the rank correlation of the two
is told.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from lamina.batch import Tensors
from lamina.data.building import encode_each
from lamina.errors import OptionError
from lamina.model import Model, build, open_data
from lamina.tasks.task import Answer

MOST = 8  # inputs that are explained at a time
STEPS = 32  # on the way to a picture
ORDERS = 64  # of columns
ALIKE = 0.5  # rank correlation with the explanation of random weights, from which it tells little


@dataclass(frozen=True)
class Explanation:
    """What in one input made its answer."""

    where: str
    answer: Answer
    about: str
    """What was explained: "log-probability of rose", or the quantity itself."""
    value: float
    reference: float
    """The same for the reference: a picture of the mean colour, or the mean over training rows."""
    shares: np.ndarray
    """(side, side) by pixel, or (columns,): what each adds to the value; they sum to ``value - reference`` less ``missing``."""
    names: tuple[str, ...]
    """Of the columns; empty for a picture."""
    cells: tuple[str, ...]
    """What stands in them."""
    missing: float
    """By how much the shares miss the difference."""
    random: float
    """Rank correlation of the shares' sizes with those of a network with fresh random weights."""
    picture: np.ndarray | None = None
    """(side, side, 1 or 3) uint8, as the network was given it."""

    @property
    def doubtful(self) -> bool:
        """Whether random weights give much the same explanation, by more than chance among so few parts."""
        return self.random > max(ALIKE, 1.96 / (self.shares.size - 1) ** 0.5 if self.shares.size > 1 else 1.0)

    def to_json(self) -> dict[str, Any]:
        """The fields, without the picture."""
        shares: Any = self.shares.round(6).tolist()
        if self.names:
            shares = dict(zip(self.names, shares, strict=True))
        return {
            "input": self.where, "answer": self.answer, "about": self.about, "value": self.value,
            "reference": self.reference, "shares": shares, "missing": self.missing, "random_weights": self.random,
        }  # fmt: skip


def explained(model: Model, inputs: Sequence[Any], data: Any = None) -> list[Explanation]:
    """Say what in each of some inputs made its answer.

    Args:
        model: whose answers are one class or one quantity each.
        inputs: as ``predict`` takes them; the first ``MOST`` examples.
        data: the run's data, needed for tables when it was trained on data in memory.

    Raises:
        OptionError: answers of this task are something else, or no input can be read.
    """
    raws, where = model.task.gather(inputs, model.facts)
    raws, where = raws[:MOST], where[:MOST]
    arrays, good, bad = encode_each(raws, lambda some: model.task.encode(some, model.facts))
    if arrays is None:
        raise OptionError(
            f"nothing can be explained: {next(iter(bad.values()), 'there is no example')}.",
            str(where[0]) if len(where) else "",
        )
    encoded = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()} if _plain(arrays) else {}
    tabular, pictured = isinstance(raws, pl.DataFrame), [n for n, t in encoded.items() if t.ndim == 4]
    if not encoded or not (tabular or pictured) or _outputs(model, model.network, encoded).ndim != 2:
        raise OptionError(
            f"answers of {type(model.task).__name__} are no single class or quantity.", "explain",
            "So far pictures and rows of tables with such answers are explained; `lamina explain RUN` shows the layers.",
        )  # fmt: skip
    fresh = _fresh(model)
    outputs = _outputs(model, model.network, encoded)
    answers = model.task.decode(outputs, model.facts)
    background = _background(model, data) if tabular else None
    found = []
    for place, row in enumerate(good.tolist()):
        index = int(outputs[place].argmax()) if outputs.shape[1] > 1 else None
        if background is not None:
            assert isinstance(raws, pl.DataFrame)
            found.append(_row(model, fresh, raws[row], background, str(where[row]), answers[place], index))
        else:
            one = {name: tensor[place : place + 1] for name, tensor in encoded.items()}
            found.append(_picture(model, fresh, one, pictured[0], str(where[row]), answers[place], index))
    return found


def _fresh(model: Model) -> nn.Module:
    """A network of the same kind that has learned nothing; what starts at zero is drawn, too, or all answers were alike."""
    with torch.random.fork_rng():
        torch.manual_seed(model.recipe.plan.seed + 1)
        if model.recipe.network == "own":
            network = deepcopy(model.network)
            for module in network.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
        else:
            seeded = replace(model.recipe.plan, seed=model.recipe.plan.seed + 1)
            network = build(replace(model.recipe, plan=seeded), model.facts)
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
    return model.recipe.execution.prepare(network).eval()


def _plain(arrays: dict[str, Any]) -> bool:
    """Whether all examples have the same shape."""
    return all(np.asarray(array).dtype != object for array in arrays.values())


def _outputs(model: Model, network: nn.Module, inputs: Tensors) -> Tensor:
    with torch.no_grad():
        return (
            model.task.outputs(network.eval(), {n: t.to(model.recipe.execution.device) for n, t in inputs.items()})
            .float()
            .cpu()
        )


def _values(model: Model, outputs: Tensor, index: int | None) -> Tensor:
    """(examples,): the log-probability of a class; or the quantity, in its own unit."""
    if index is not None:
        return outputs.log_softmax(1)[:, index]
    return torch.tensor([float(answer["prediction"]) for answer in model.task.decode(outputs, model.facts)])


def _about(answer: Answer, index: int | None) -> str:
    return "the quantity that is predicted" if index is None else f"log-probability of {answer['prediction']}"


def _picture(
    model: Model, fresh: nn.Module, one: Tensors, name: str, where: str, answer: Answer, index: int | None
) -> Explanation:
    """Integrated gradients of one picture."""
    image = one[name].float()
    reference = torch.tensor(model.facts.get("mean", [127.0] * image.shape[3]), dtype=torch.float32).expand_as(image)
    own, at_reference, value = _integrated(model, model.network, one, name, reference, index)
    alike = _correlation(own, _integrated(model, fresh, one, name, reference, index)[0])
    pixels: np.ndarray = one[name][0].clamp(0, 255).byte().numpy()
    missing = value - at_reference - float(own.sum())
    return Explanation(where, answer, _about(answer, index), value, at_reference, own, (), (), missing, alike, pixels)


def _integrated(
    model: Model, network: nn.Module, one: Tensors, name: str, reference: Tensor, index: int | None
) -> tuple[np.ndarray, float, float]:
    """The shares of the pixels (side, side), and the values of reference and picture."""
    network.eval()
    image, device = one[name].float(), model.recipe.execution.device
    place = 0 if index is None else index

    def value(pixels: Tensor) -> Tensor:
        inputs = {n: t.expand(len(pixels), *t.shape[1:]).to(device) for n, t in one.items()} | {name: pixels.to(device)}
        outputs = model.task.outputs(network, inputs).float()
        return outputs.log_softmax(1)[:, place] if outputs.shape[1] > 1 else outputs[:, 0]

    shares = (torch.arange(STEPS) + 0.5) / STEPS  # the middle of each step
    way = (reference + shares[:, None, None, None] * (image - reference)).requires_grad_()
    (gradient,) = torch.autograd.grad(value(way).sum(), way)
    with torch.no_grad():
        ends = value(torch.cat([reference, image])).cpu().tolist()
    added = ((image - reference)[0] * gradient.mean(0).cpu()).sum(2)
    return added.numpy(), float(ends[0]), float(ends[1])


def _background(model: Model, data: Any) -> pl.DataFrame:
    """Training rows from which the way to a row begins."""
    recipe = model.recipe if data is None else model.recipe.__class__.of(model.run, data)
    examples, _ = open_data(recipe, model.facts)
    train = np.flatnonzero(examples.part == "train")
    chosen = np.random.default_rng(0).choice(train, ORDERS, replace=len(train) < ORDERS)
    assert isinstance(examples.raws, pl.DataFrame)
    return examples.raws[chosen]


def _row(
    model: Model, fresh: nn.Module, row: pl.DataFrame, background: pl.DataFrame, where: str, answer: Answer,
    index: int | None,
) -> Explanation:  # fmt: skip
    """Shapley values of the columns of one row."""
    columns = [name for name in background.columns if name in row.columns]
    order = np.stack([np.random.default_rng(number).permutation(len(columns)) for number in range(ORDERS)])
    turned = np.argsort(order, 1)  # at which step a column becomes the row's
    steps = np.arange(len(columns) + 1)
    taken = turned[:, None, :] < steps[None, :, None]  # (orders, steps, columns)
    frame = pl.DataFrame(
        {
            name: pl.select(
                pl.when(pl.Series(taken[:, :, place].ravel()))
                .then(pl.lit(row[name][0], dtype=background[name].dtype))
                .otherwise(pl.Series(background[name]).gather(np.repeat(np.arange(ORDERS), len(steps))))
            ).to_series()
            for place, name in enumerate(columns)
        }
    )  # fmt: skip
    arrays = model.task.encode(frame, model.facts)
    inputs = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}

    def shares(network: nn.Module) -> tuple[np.ndarray, np.ndarray]:
        values = _values(model, _outputs(model, network, inputs), index).reshape(ORDERS, len(steps)).numpy()
        changes = np.diff(values, axis=1)
        return np.take_along_axis(changes, turned, 1).mean(0), values

    own, values = shares(model.network)
    cells = tuple("missing" if row[name][0] in (None, "") else str(row[name][0]) for name in columns)
    value, reference = float(values[:, -1].mean()), float(values[:, 0].mean())
    return Explanation(
        where, answer, _about(answer, index), value, reference, own, tuple(columns), cells,
        value - reference - float(own.sum()), _correlation(own, shares(fresh)[0]),
    )  # fmt: skip


def _correlation(own: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of the sizes of two sets of shares; 0 where one of them is constant."""
    from scipy.stats import rankdata

    first, second = (rankdata(np.abs(shares).ravel()) for shares in (own, other))
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
