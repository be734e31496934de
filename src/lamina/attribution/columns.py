"""Columns: what each column of a row adds to a number, by Shapley values (Shapley 1953), estimated from sampled orders
(Štrumbelj & Kononenko 2014).

A training row becomes the row in question, column by column in a random order; what each column changes is averaged over
orders and training rows. The raw cells are exchanged, before they are encoded: so numbers, categories, dates, texts and missing
cells are treated alike, and nothing has to know which encoded places belong to which column.
"""

from collections.abc import Callable

import numpy as np
import polars as pl

ORDERS = 64


def shapley(
    row: pl.DataFrame, background: pl.DataFrame, value: Callable[[pl.DataFrame], list[np.ndarray]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Shapley values of the columns of one row.

    Args:
        row: of one row, its columns typed as those of the background.
        background: ``ORDERS`` training rows with the same columns, and maybe others.
        value: rows -> of each network (rows,), the number that is explained.

    Returns:
        Of each network (columns,) what each adds, and (orders,) the number for each row of the background.
    """
    columns = names(row, background)
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
    )
    found = []
    for values in value(frame):
        by_order = values.reshape(ORDERS, len(steps))
        changes = np.take_along_axis(np.diff(by_order, axis=1), turned, 1)
        found.append((changes.mean(0), by_order[:, 0]))
    return found


def names(row: pl.DataFrame, background: pl.DataFrame) -> list[str]:
    """The columns that are exchanged."""
    return [name for name in background.columns if name in row.columns]


def cells(row: pl.DataFrame, columns: list[str]) -> tuple[str, ...]:
    """What stands in a row, as a person reads it."""
    return tuple("missing" if row[name][0] in (None, "") else str(row[name][0]) for name in columns)
