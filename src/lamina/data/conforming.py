"""Conforming: a new table as training had it. In go cells as they were read; out come training's columns and types."""

from typing import Any

import polars as pl

from lamina.data.cells import date_spelling, dates_written, missing_cells, numbers_written, plain_numbers
from lamina.data.kinds import TYPES, UNPARSABLE, Column, Typed, typed, whole_as_strings
from lamina.data.parts import listed
from lamina.data.table_files import Table
from lamina.errors import DataError, unknown
from lamina.findings import Finding


def conform(table: pl.DataFrame | list[dict[str, Any]], kinds: list[Column]) -> pl.DataFrame:
    """Give a new table the input columns and types of the training part.

    Columns beyond those are left out (``extra_columns`` names them). A category that training never saw stays as it is.

    Args:
        table: as ``read_table`` gave it, typed or not; or records, one dictionary per row; a key may be absent.
        kinds: the columns of the training part.

    Raises:
        DataError: a column is missing, or a cell is not what its column held in training; names the row, from 0, and
            the column. Such a cell is never taken as missing.
    """
    frame = _frame_of_records(table) if isinstance(table, list) else table
    known = [kind for kind in kinds if kind.name in frame.columns]
    if isinstance(table, pl.DataFrame):
        for kind in kinds:
            if kind.name not in frame.columns:
                error = unknown("column", kind.name, frame.columns)
                raise DataError(f'the table lacks the column "{kind.name}" that training had.', "", error.remedy)
    elif not known:
        raise DataError(f"no record has a key of training's columns: {listed(k.name for k in kinds)}.", "", "Add them.")
    made = [
        _conformed(frame[kind.name], kind)
        if kind in known
        else pl.Series(kind.name, [None] * frame.height, _dtype(kind))
        for kind in kinds
    ]
    return pl.DataFrame(made)


def extra_columns(frame: pl.DataFrame, kinds: list[Column]) -> list[str]:
    """The columns of a new table that training did not have."""
    return sorted(set(frame.columns) - {kind.name for kind in kinds})


def as_trained(table: Table, kinds: list[Column]) -> tuple[pl.DataFrame, list[Finding]]:
    """The columns that training had, read as it read them; as there, up to 1 % of a column's cells may be something else."""
    found: list[Finding] = []
    made = []
    for kind in kinds:
        if kind.name not in table.frame.columns:
            error = unknown("column", kind.name, table.frame.columns)
            raise DataError(f'it lacks the column "{kind.name}" that training had.', table.name, error.remedy)
        values, unfit = _read_as(table.frame[kind.name], kind)
        rows = tuple(unfit.arg_true().to_list())
        if len(rows) > UNPARSABLE * len(values):
            raise _unfit(table.frame[kind.name], kind, rows[0], str(table.where[rows[0]]))
        found += cell_findings(Typed(values, unparsable=rows), table)
        made.append(values)
    return pl.DataFrame(made), found


def cell_findings(column: Typed, table: Table) -> list[Finding]:
    """What is said of cells of a column that were taken as missing, though something stands there."""
    found = []
    name = column.values.name
    for kind, rows, what in (
        ("value.infinite", column.infinite, "are infinite"),
        ("value.unparsable", column.unparsable, "are not what the others of the column are"),
    ):
        if rows:
            cells = [f'{table.where[row]}: "{table.frame[name][row]}"' for row in rows[:20]]
            found.append(
                Finding(
                    kind,
                    "warning",
                    f'{len(rows):,} cells of the column "{name}" {what}; they were taken as missing.',
                    "Correct them, or leave them empty.",
                    where=tuple(cells),
                    count=len(rows),
                    evidence={"column": name, "rows": table.frame.height},
                )
            )
    return found


def _frame_of_records(records: list[dict[str, Any]]) -> pl.DataFrame:
    names = dict.fromkeys(name for record in records for name in record)
    return pl.DataFrame({name: _series(name, [record.get(name) for record in records]) for name in names})


def _series(name: str, cells: list[Any]) -> pl.Series:
    """Python values as numbers where all are, else as strings."""
    present = [cell for cell in cells if cell is not None]
    if present and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        return pl.Series(name, [None if cell is None else float(cell) for cell in cells], dtype=pl.Float64)
    return pl.Series(name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)


def _dtype(kind: Column) -> Any:
    return TYPES[kind.holds]


def _conformed(column: pl.Series, kind: Column) -> pl.Series:
    """A new column as the type that training had. Raises DataError naming the first cell that does not fit."""
    values, unfit = _read_as(column, kind)
    if unfit.any():
        row = int(unfit.arg_max() or 0)
        error = _unfit(column, kind, row, "")
        raise DataError(f"row {row}, {error.what}", "", error.remedy)
    return values


def _unfit(column: pl.Series, kind: Column, row: int, where: str) -> DataError:
    cell = str(column[row]).strip()
    return DataError(
        f'column "{kind.name}": "{cell}" is not a {kind.holds} as training had it.',
        where,
        f"Training had it written as {kind.spelling or 'plain 1234.5 or 2024-12-31'}; leave missing cells empty.",
    )


def _read_as(column: pl.Series, kind: Column) -> tuple[pl.Series, pl.Series]:
    """A new column as the type that training had, and which of its cells do not fit, which are null."""
    dtype, fits = _dtype(kind), pl.repeat(False, len(column), eager=True)
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if column.dtype == dtype and kind.holds != "string":
        return column, fits
    if column.dtype.is_numeric() and kind.holds == "string":
        return whole_as_strings(column.cast(pl.Float64)), fits
    if column.dtype.is_temporal():  # dates as such; durations and times of day are numbers
        column = typed(column).values
        if column.dtype == dtype:
            return column, fits
    if (column.dtype.is_numeric() or column.dtype == pl.Boolean) and kind.holds == "number":
        return column.cast(pl.Float64), fits
    stripped = column.cast(pl.String).str.strip_chars()
    cells = stripped.set(missing_cells(stripped), None)
    if kind.holds == "string":  # codes that were numbers may be written 1.0 here
        return (
            whole_as_strings(_read_numbers(cells, kind.spelling)).fill_null(cells) if kind.spelling else cells
        ), fits
    values = {"number": _read_numbers, "date": _read_dates, "boolean": _read_booleans}[kind.holds](cells, kind.spelling)
    return values.rename(kind.name), values.is_null() & ~cells.is_null()


def _read_numbers(cells: pl.Series, form: str) -> pl.Series:
    numbers = numbers_written(cells, form) if form else plain_numbers(cells)
    return numbers.set(numbers.is_infinite().fill_null(False), None)


def _read_dates(cells: pl.Series, form: str) -> pl.Series:
    """Dates as training wrote them; else, where more can be read so, and where training had dates as such, in a form that can
    mean but one."""
    spelling = None if form and dates_written(cells, form).null_count() == cells.null_count() else date_spelling(cells)
    other = dates_written(cells, "%Y-%m-%d" if spelling is None or spelling.ambiguous else spelling.form)
    if not form:
        return other
    dates = dates_written(cells, form)
    return dates if dates.null_count() <= other.null_count() else other


def _read_booleans(cells: pl.Series, _: str) -> pl.Series:
    lower = cells.str.to_lowercase()
    yes, no = lower.is_in(["true", "yes", "t", "y", "1", "1.0"]), lower.is_in(["false", "no", "f", "n", "0", "0.0"])
    return yes.set(~(yes | no).fill_null(False), None)
