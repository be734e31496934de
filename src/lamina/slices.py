"""Slices: kinds of examples on which the network is provably worse than on the others.

Examples are cut by all that is known of them: class, size of the true value, group, length, and the columns of a table
(value by value, numbers by quarters, missing cells). On each slice the first metric that is about single examples, and not
about their distribution, is compared with that on all other examples; they are different examples, so the difference has
the variance of both sides, of shares by Agresti & Coull (1998), of other metrics by the bootstrap. Many slices find
something by chance: p-values are corrected for their number (Holm 1979).
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.data.data import Data
from lamina.exhibits import Rows
from lamina.metrics.metric import Metric, resampling
from lamina.metrics.paired import LEVEL, holm
from lamina.writing import number

FEWEST = 20  # examples in a slice, and outside of it
VALUES = 12  # of a column, which is cut value by value
MOST = 200  # slices
SETS = 200  # bootstrap samples of each side
SHOWN = 20

Cut = tuple[str, np.ndarray]
"""What the examples have in common, and (examples,) bool."""


@dataclass(frozen=True)
class Slice:
    """A kind of examples, and how the network does on them."""

    name: str
    examples: int
    value: float
    """The metric on them."""
    others: float
    """The metric on all others."""
    p: float
    """Two-sided, corrected for the number of slices."""
    worse: bool
    """Whether it is proved that the network is worse on them."""


def sliced(
    metrics: dict[str, Metric],
    rows: dict[str, Tensor],
    data: Data,
    targets: Tensors,
    facts: dict[str, Any],
    groups: np.ndarray | None = None,
) -> tuple[str, list[Slice]]:
    """The slices by the first metric of single examples, and its name; "" and none where there is no such metric."""
    first = next((name for name, metric in metrics.items() if metric.ranks and not metric.drifts), "")
    return first, slices(metrics[first], rows[first], data, targets, facts, groups) if first else []


def slices(
    metric: Metric,
    rows: Tensor,
    data: Data,
    targets: Tensors,
    facts: dict[str, Any],
    groups: np.ndarray | None = None,
) -> list[Slice]:
    """How the network does on each slice, those on which it is provably worse first.

    Args:
        metric: by which slices are compared.
        rows: (examples, k), from its ``observe``.
        data: the same examples, in the same order.
        targets: theirs.
        facts: of the task; the names of classes are looked for.
        groups: (examples,), drawn as wholes.
    """
    found: dict[str, tuple[int, float, float, float]] = {}
    for what, inside in _cuts(data, targets, facts):
        count = int(inside.sum())
        if FEWEST <= count <= len(inside) - FEWEST and what not in found:
            sides = [_side(metric, rows, side, groups) for side in (inside, ~inside)]
            if all(map(math.isfinite, (*sides[0], *sides[1]))):
                (value, own), (others, rest) = sides
                deviation = math.sqrt(own + rest)
                z = (value - others) / deviation if deviation else 0.0
                found[what] = count, value, others, math.erfc(abs(z) / math.sqrt(2))
        if len(found) == MOST:
            break
    corrected = holm({what: row[3] for what, row in found.items()})
    sign = 1 if metric.better == "higher" else -1
    made = [
        Slice(what, count, value, others, corrected[what], corrected[what] < LEVEL and sign * (value - others) < 0)
        for what, (count, value, others, _) in found.items()
    ]
    return sorted(made, key=lambda one: (not one.worse, sign * (one.value - one.others)))


def exhibit(name: str, found: list[Slice]) -> list[Rows]:
    """The slices as a table, the worst first; nothing where there are none."""
    if not found:
        return []
    title = name.replace("_", " ")
    rows = [
        [one.name, one.examples, number(one.value), number(one.others), f"{one.p:.2g}", "proved" if one.worse else ""]
        for one in found[:SHOWN]
    ]
    more = f" The worst {SHOWN} of {len(found)} are shown." if len(found) > SHOWN else ""
    return [
        Rows(
            "Slices",
            f"Kinds of examples beside all others, the worst first. p is corrected for the {len(found)} kinds that were "
            f"compared; below {LEVEL:g} the network is proved to be worse there.{more}",
            ["examples with", "count", title, "others", "p", "worse"],
            rows,
        )
    ]


def in_words(name: str, found: list[Slice]) -> str:
    """The slices that are provably worse, in a sentence; nothing where there are none."""
    worse = [one for one in found if one.worse]
    if not worse:
        return ""
    told = "; ".join(f"{one.name} ({number(one.value)}, others {number(one.others)})" for one in worse[:3])
    more = f"; and {len(worse) - 3} more" if len(worse) > 3 else ""
    return f" By {name.replace('_', ' ')} it is proved to be worse on examples with {told}{more}."


def to_json(found: list[Slice]) -> list[dict[str, Any]]:
    """The fields of each."""
    return [asdict(one) for one in found]


def _side(metric: Metric, rows: Tensor, inside: np.ndarray, groups: np.ndarray | None) -> tuple[float, float]:
    """The metric on some examples, and the variance of that."""
    own = rows[torch.from_numpy(inside)]
    value = metric.value(own)
    if metric.share and own.shape[1] == 1 and groups is None:
        adjusted = (value * len(own) + 2) / (len(own) + 4)
        return value, adjusted * (1 - adjusted) / (len(own) + 4)
    pieces: list[Tensor] = []  # of very many examples, few sets come at a time
    for sets in resampling(len(own), 0, None if groups is None else groups[inside]):
        pieces.append(metric.values(own, sets[: SETS - sum(map(len, pieces))]))
        if sum(map(len, pieces)) >= SETS:
            break
    sampled = torch.cat(pieces)
    known = sampled[~torch.isnan(sampled)]
    return value, float(known.var()) if len(known) > 1 else math.nan


def _cuts(data: Data, targets: Tensors, facts: dict[str, Any]) -> Iterator[Cut]:
    """All ways in which examples are alike."""
    if "label" in targets and targets["label"].ndim == 1:
        labels = targets["label"].numpy()
        for index, kind in enumerate(facts.get("classes", [])):
            yield f"class {kind}", labels == index
    elif data.answered and data.answers.dtype.kind == "f":
        yield from _quarters("true value", data.answers)
    if data.groups is not None:
        groups = data.groups.astype(str)
        for group in np.unique(groups):
            yield f"group {group}", groups == group
    for name, lengths in targets.items():
        counted = targets.get(name.removesuffix("_lengths"))
        named = counted is not None and counted.dtype == torch.uint8  # the bytes of a name are no amount
        if name.endswith("_lengths") and lengths.ndim == 1 and not named:
            yield from _quarters(f"number of {name.removesuffix('_lengths')}", lengths.numpy())
    if isinstance(data.raws, pl.DataFrame):
        for column in data.raws.get_columns():
            yield from _of_column(column)


def _of_column(column: pl.Series) -> Iterator[Cut]:
    """A column's missing cells, its values where they are few, its quarters where they are numbers."""
    missing = column.is_null().to_numpy()
    if missing.any():
        yield f"{column.name} missing", missing
    if column.dtype.is_float() and (column.drop_nulls() == column.drop_nulls().floor()).all():
        column = column.cast(pl.Int64, strict=False)
    if column.dtype.is_integer() and column.n_unique() == len(column):
        return  # a number of its own for each example tells nothing about kinds of them
    if column.n_unique() <= VALUES + 1 and not column.dtype.is_float():
        values = column.cast(pl.String, strict=False)
        for value in values.drop_nulls().unique().sort():
            yield f"{column.name} = {value}", (values == value).fill_null(False).to_numpy()
    elif column.dtype.is_numeric():
        yield from _quarters(column.name, column.cast(pl.Float64).fill_null(math.nan).to_numpy())


def _quarters(what: str, values: np.ndarray) -> Iterator[Cut]:
    """The lowest, the middle two and the highest quarters of what is known; fewer where many values are equal."""
    values = values.astype(np.float64)
    known = values[np.isfinite(values)]
    if len(known) < 4 * FEWEST:
        return
    bounds = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    for place, (low, high) in enumerate(pairwise(bounds)):
        inside = (values >= low) & ((values < high) | (values == high) & (place == len(bounds) - 2))
        yield f"{what} from {number(float(low))} to {number(float(high))}", inside
