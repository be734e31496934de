"""Columns: from the typed columns of a table to the numbers and codes that a network takes.

``learn`` looks at the training part and gives a JSON description; ``apply`` follows it on any rows. What each kind of
column becomes:

    number      the normal score of its rank among the training rows, so that outliers and units do not matter
                (Gorishniy et al. 2021 transform all numbers so); the median where it is missing; with 9 to 255 distinct
                values it is a category as well, so that a single telling value can be seen
    date        the same, of its year, month, day of the month, weekday, hour and of its moment, where these vary
    category    a code; 0 for missing and for what training never saw
    boolean     a category
    text        one 0/1 number for each of its most frequent words
    any         a further 0/1 number, "is missing", where training rows are
    identifier, constant, path: nothing; they tell rows apart, not what rows have in common
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, cast

import numpy as np
import polars as pl

from lamina.data import tables
from lamina.data.conforming import conform
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.kinds import Column
from lamina.errors import DataError
from lamina.layers.shapes import Table

QUANTILES = 1000  # points of the rank transform, at most
FARTHEST = 4.0  # normal scores are cut there
WORDS = 16  # of a text column, at most
FEWEST, MOST = 9, 255  # distinct values between which a number is a category as well
SEEN = 10  # times that a value must occur to get a code of its own then
_WORD = re.compile(r"[^\W\d_]+")
_DATE_PARTS = ("epoch", "year", "month", "day", "weekday", "hour")


def column_facts(data: Data) -> dict[str, Any]:
    """The facts that every task on tables needs: what the columns are, and how they are encoded.

    Raises DataError when no column is left to learn from.
    """
    kinds = tables.columns_of(data)
    learned = learn(cast(pl.DataFrame, data.raws), kinds)
    if not learned["numbers"] and not learned["categories"]:
        reasons = "; ".join(f"{kind.name} is {kind.kind}" for kind in kinds[:10])
        raise DataError(f"no column is left to learn from: {reasons}.", "", "Add columns that say something.")
    return {"columns": [kind.to_json() for kind in kinds], "encoding": learned}


def kinds_of(facts: dict[str, Any]) -> list[Column]:
    """What the columns were in training."""
    return [Column.from_json(stored) for stored in facts["columns"]]


def encoded(raws: Raws, facts: dict[str, Any]) -> Arrays:
    """Rows, typed or as they were read, as a network takes them. Raises DataError naming row and column."""
    return apply(conform(cast(pl.DataFrame, raws), kinds_of(facts)), facts["encoding"])


def shape(facts: dict[str, Any]) -> Table:
    """What a backbone must take."""
    encoding = facts["encoding"]
    return Table(len(encoding["numbers"]), tuple(len(one["codes"]) + 1 for one in encoding["categories"]))


def write_csv(bunch: Any, file: Path, target: str) -> Source:
    """Write a data set of scikit-learn as a CSV file, and say how to read it."""
    frame = pl.DataFrame(np.asarray(bunch.data), [str(name).replace(" ", "_") for name in bunch.feature_names])
    names = getattr(bunch, "target_names", None)
    answers = [str(names[label]) for label in bunch.target] if names is not None else bunch.target.tolist()
    frame.with_columns(pl.Series(target, answers)).write_csv(file)
    return Source(file, target)


def learn(frame: pl.DataFrame, kinds: Sequence[Column]) -> dict[str, Any]:
    """How to encode these columns, learned from training rows.

    Args:
        frame: typed columns, null where missing.
        kinds: what each of them is.

    Returns:
        ``numbers``: one dict per number that the network sees; ``categories``: ``column`` and ``codes``.
    """
    numbers: list[dict[str, Any]] = []
    categories: list[dict[str, Any]] = []
    for kind in kinds:
        values = frame[kind.name]
        if kind.kind in ("identifier", "constant", "path"):
            continue
        if kind.kind == "number":
            numbers += _scored(kind.name, "value", values.to_numpy())
            if FEWEST <= kind.distinct <= MOST:
                categories.append({"column": kind.name, "codes": _frequent_values(values)})
        elif kind.kind == "date":
            for part in _DATE_PARTS:
                numbers += _scored(kind.name, part, _date_part(values, part))
        elif kind.kind == "text":
            numbers += [{"column": kind.name, "from": "word", "word": word} for word in _frequent_words(values)]
        else:
            categories.append(
                {"column": kind.name, "codes": values.cast(pl.String).drop_nulls().unique().sort().to_list()}
            )
            continue
        if values.null_count():
            numbers.append({"column": kind.name, "from": "missing"})
    return {"numbers": numbers, "categories": categories}


def apply(frame: pl.DataFrame, learned: dict[str, Any]) -> Arrays:
    """Encode rows as ``learn`` said.

    Returns:
        ``numbers``, (rows, numbers) float32, and ``categories``, (rows, category columns) int64 codes.
    """
    words = {
        name: _words_of(frame[name]) for name in {one["column"] for one in learned["numbers"] if one["from"] == "word"}
    }
    numbers = np.zeros((len(frame), len(learned["numbers"])), dtype=np.float32)
    for index, one in enumerate(learned["numbers"]):
        values = frame[one["column"]]
        if one["from"] == "missing":
            numbers[:, index] = values.is_null().to_numpy()
        elif one["from"] == "word":
            numbers[:, index] = [one["word"] in words_of_row for words_of_row in words[one["column"]]]
        else:
            plain = values.to_numpy() if one["from"] == "value" else _date_part(values, one["from"])
            plain = np.where(np.isnan(plain), one["median"], plain)
            numbers[:, index] = np.interp(plain, one["values"], one["scores"])
    categories = np.zeros((len(frame), len(learned["categories"])), dtype=np.int64)
    for index, one in enumerate(learned["categories"]):
        position = {code: place + 1 for place, code in enumerate(one["codes"])}
        cells = frame[one["column"]].cast(pl.String).to_list()
        categories[:, index] = [0 if cell is None else position.get(cell, 0) for cell in cells]
    return {"numbers": numbers, "categories": categories}


def _scored(column: str, part: str, values: np.ndarray) -> list[dict[str, Any]]:
    """The rank transform of one column of numbers: values, ascending, and their normal scores; nothing if all are equal."""
    present = np.sort(values[~np.isnan(values)])
    if len(present) == 0 or present[0] == present[-1]:
        return []
    points = min(QUANTILES, max(10, len(present) // 30))
    knots = np.unique(np.quantile(present, np.linspace(0, 1, points + 1)))
    ranks = (np.searchsorted(present, knots, "left") + np.searchsorted(present, knots, "right")) / (2 * len(present))
    normal = NormalDist()
    scores = [float(np.clip(normal.inv_cdf(min(max(rank, 1e-6), 1 - 1e-6)), -FARTHEST, FARTHEST)) for rank in ranks]
    median = float(np.median(present))
    return [{"column": column, "from": part, "median": median, "values": knots.tolist(), "scores": scores}]


def _date_part(values: pl.Series, part: str) -> np.ndarray:
    """(rows,) float64: a part of each date, NaN where it is missing; the epoch is in days."""
    if part == "epoch":
        return values.dt.epoch("s").cast(pl.Float64).to_numpy() / 86_400
    numbers: np.ndarray = getattr(values.dt, part)().cast(pl.Float64).to_numpy()
    return numbers


def _frequent_values(values: pl.Series) -> list[str]:
    """The values of a number column that are seen often enough, as text."""
    counts = values.drop_nulls().value_counts().filter(pl.col("count") >= SEEN)
    return counts[values.name].sort().cast(pl.String).to_list()


def _frequent_words(values: pl.Series) -> list[str]:
    """Words in at least 1 % of the rows (and 8), and not in nearly all of them: the most frequent first."""
    counts = Counter(word for words in _words_of(values) for word in words)
    least = max(8, round(0.01 * len(values)))
    return [word for word, count in counts.most_common(WORDS) if least <= count <= len(values) - least]


def _words_of(values: pl.Series) -> list[set[str]]:
    return [set(_WORD.findall(text.lower())) if text is not None else set() for text in values.to_list()]
