"""Outliers: numbers far outside of the others of their column, and pictures on which there is nothing.

A number is an outlier when it is farther from the median than ``FAR`` times the distance between the 1st and the 99th
percentile. That is the 47th standard deviation of a normal distribution, and for a log-normal one (sigma 1), as incomes are,
one number in half a million: what lies beyond is a typing error or a code for "missing" rather than a tail.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from lamina.audit.duplicates import MOST_NAMED
from lamina.data.data import Data
from lamina.data.mapped import put_together
from lamina.data.tables import columns_of
from lamina.data.thumbnails import pictured, thumbnails
from lamina.findings import Finding

FAR = 10.0
BLANK = 1.0
"""Standard deviation of the grey values of a thumbnail, of 255, below which there is nothing to be seen on it."""
_FEWEST = 50  # numbers below which percentiles say little
_NOTABLE = 0.01  # share of blank pictures from which they weigh


def find(data: Data) -> Iterator[Finding]:
    """Find far-off numbers in the columns of a table, and blank pictures."""
    if pictured(data):
        yield from _blank(data)
    if isinstance(data.raws, pl.DataFrame):
        for column in columns_of(data):
            if column.kind == "number":
                yield from _far(data, column.name)


def _blank(data: Data) -> Iterator[Finding]:
    small = thumbnails(data)
    blank = np.flatnonzero(put_together(len(small), lambda some: small[some].std((1, 2))) < BLANK)
    if len(blank):
        share = len(blank) / len(data)
        yield Finding(
            "picture.blank",
            "warning" if share >= _NOTABLE else "note",
            f"{len(blank):,} of {len(data):,} pictures are of one colour: there is nothing to be seen on them.",
            "Look at them, and remove those that are broken.",
            where=tuple(map(str, data.where[blank[:20]])),
            count=len(blank),
            evidence={"blank": len(blank), "share": round(share, 4), "removable": blank[:MOST_NAMED].tolist()},
        )


def _far(data: Data, name: str) -> Iterator[Finding]:
    assert isinstance(data.raws, pl.DataFrame)
    values = data.raws[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    known = values[(data.part == "train") & np.isfinite(values)]
    if len(known) < _FEWEST:
        return
    low, middle, high = np.quantile(known, [0.01, 0.5, 0.99])
    off = np.where(np.isfinite(values), np.abs(values - middle), 0.0)
    far = np.flatnonzero(off > FAR * (high - low)) if high > low else np.zeros(0, np.int64)
    if len(far):
        far = far[np.argsort(-off[far], kind="stable")]
        yield Finding(
            "value.outlier",
            "note",
            f'{len(far):,} numbers in column "{name}" lie far outside of the others, such as {values[far[0]]:g}; '
            f"98 % of the training part are from {low:g} to {high:g}.",
            "Look whether they are typing errors or stand for a missing value; then leave the cells empty.",
            where=tuple(f"{data.where[row]}: {values[row]:g}" for row in far[:20]),
            count=len(far),
            evidence={"column": name, "outliers": len(far), "low": float(low), "high": float(high)},
        )
