"""Rows that are asked for at prediction, and rows as a person reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamina.data.data import Raws, Source
from lamina.data.kinds import Column, is_regression, typed
from lamina.data.table_files import Table, is_table, read_table
from lamina.data.tables import target_of
from lamina.errors import DataError, unknown

LOOKED_AT = 10_000
"""Rows from which it is told whether a target is a quantity."""


def gather(inputs: Sequence[Any], kinds: Sequence[Column]) -> tuple[pl.DataFrame, np.ndarray]:
    """The rows of tables (files or DataFrames), records (dictionaries) or arrays, in the order given.

    Args:
        inputs: files, DataFrames, two-dimensional arrays, dictionaries, or lists of dictionaries.
        kinds: the columns that training had; others are left out.

    Returns:
        The rows with those columns, as they were read, and where each came from.

    Raises:
        DataError: a table lacks a column, or there are no rows.
    """
    frames: list[pl.DataFrame] = []
    where: list[str] = []
    for item in inputs:
        if isinstance(item, dict):
            item = [item]
        if isinstance(item, list):
            records = [{kind.name: record.get(kind.name) for kind in kinds} for record in item]
            frames.append(pl.DataFrame([_column(kind.name, [r[kind.name] for r in records]) for kind in kinds]))
            where += [f"record {index + 1}" for index in range(len(item))]
            continue
        table = read_table(Source(item))
        for kind in kinds:
            if kind.name not in table.frame.columns:
                near = unknown("column", kind.name, table.frame.columns).remedy
                raise DataError(f'the column "{kind.name}", which training had, is missing.', table.name, near)
        frames.append(table.frame.select([kind.name for kind in kinds]))
        where += table.where.tolist()
    if not where:
        raise DataError("there are no rows to answer.", ", ".join(map(str, inputs))[:200], "Name a table with rows.")
    frame = frames[0] if len(frames) == 1 else pl.concat(frames, how="vertical_relaxed")
    return frame, np.array(where, dtype=object)


def is_rows(source: Source) -> bool:
    """Whether a source is a table with columns, rather than a folder of other things or an array of pixels."""
    if source.path is not None:
        return is_table(Path(source.path))
    first = source.where[0] if isinstance(source.where, tuple) else source.where
    if isinstance(first, list) and first and isinstance(first[0], str):
        return False  # texts; NumPy would copy them all to find their shape
    try:
        return hasattr(first, "columns") or len(np.shape(first)) == 2
    except ValueError:  # arrays of different shapes
        return False


def quantity(source: Source) -> tuple[bool, str] | None:
    """Whether the target of a table is a quantity rather than a class, and why; None for a source that is no table.

    Raises DataError when the table cannot be read, or when no target is named.
    """
    if not is_rows(source):
        return None
    table = look(source)
    target = target_of(source, table.frame, table.name)
    return is_regression(typed(table.frame[target]).values)


def look(source: Source, count: int | None = None) -> Table:
    """The first rows; all of them where that cuts what belongs together, such as a quotation of many lines."""
    try:
        return read_table(source, LOOKED_AT if count is None else count)
    except DataError:
        return read_table(source)


def shown(raws: Raws) -> list[dict[str, Any]]:
    """Rows as columns and values, for a report."""
    if not isinstance(raws, pl.DataFrame):
        return [{"text": str(raw)} for raw in raws]
    return [{"row": {name: _plain(value) for name, value in row.items()}} for row in raws.to_dicts()]


def _column(name: str, cells: list[Any]) -> pl.Series:
    try:
        return pl.Series(name, cells, strict=True)
    except (TypeError, pl.exceptions.PolarsError):  # cells of several types: text, as in a file
        return pl.Series(name, [None if cell is None else str(cell) for cell in cells])


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
