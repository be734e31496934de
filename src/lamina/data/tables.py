"""Tables: CSV, TSV, Parquet, JSON lines, data frames and arrays in; Data whose raws are typed columns out.

``read_table`` brings any source into one form, ``Table``; ``tabular`` types its columns and sets the target apart.
A new table, at prediction, gets the columns and types of the training part in ``conforming.py``.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import polars as pl

from lamina.data.cells import missing_cells
from lamina.data.conforming import as_trained, cell_findings
from lamina.data.copies import digests_of_table
from lamina.data.data import Data, Source
from lamina.data.kinds import Column, Typed, columns, is_regression, summary, typed, whole_as_strings
from lamina.data.parts import listed, single_class
from lamina.data.table_files import Table as Table
from lamina.data.table_files import is_table as is_table
from lamina.data.table_files import read_table as read_table
from lamina.errors import DataError, unknown
from lamina.findings import Finding

_LIKELY_TARGETS = ("target", "label", "class", "y", "outcome", "answer", "price", "income", "survived", "score")


def tabular(source: Source, regression: bool | None = None) -> Data:
    """Read a table: its inputs as typed columns, its target as answers.

    Args:
        source: the table and the name of its target; the group column is no input, the time column is one.
        regression: whether the target is a quantity; decided by ``is_regression`` when None.

    Returns:
        Data whose raws are a DataFrame of Float64, Boolean, Datetime and String columns, null where missing, and whose
        answers are class names, or float64 for a quantity. Rows without an answer are left out and reported.

    Raises:
        DataError: naming file, row and column.
    """
    table = read_table(source)
    target = target_of(source, table.frame, table.name)
    notes, findings = list(table.notes), list(table.findings)
    values: dict[str, pl.Series] = {}
    spellings: dict[str, str] = {}
    known = None if source.columns is None else [Column.from_json(stored) for stored in source.columns]
    own = [name for name in (target, source.group, source.time) if name is not None]
    for name in table.frame.columns if known is None else dict.fromkeys(own):
        column = typed(table.frame[name])
        if name == target:
            column = _with_none(column, table.frame[name])
        values[name] = column.values
        findings += cell_findings(column, table)
        notes += _cell_notes(column, target)
        if column.spelling:
            spellings[name] = column.spelling
    answer_values = values[target]
    decided, reason = is_regression(answer_values)
    notes.append(f"{reason}." if regression in (None, decided) else f"{reason}; the task takes it otherwise.")
    regression = decided if regression is None else regression
    answers = _answers(answer_values, regression, table)
    answered = ~answer_values.is_null().to_numpy()
    findings += missing_targets(table.where, answered, target)
    if known is None:
        inputs = pl.DataFrame([values[name] for name in table.frame.columns if name not in (target, source.group)])
    else:
        inputs, unfit = as_trained(table, known)
        findings += unfit
    if inputs.width == 0:
        raise DataError(f'besides the target "{target}" there is no column to learn from.', table.name, "Add columns.")
    if not answered.any():
        raise DataError(f'no row has a value in the target column "{target}".', table.name, "Choose another target.")
    kinds = columns(inputs) if known is None else known
    notes.append(summary(kinds))
    data = Data(
        raws=inputs,
        answers=answers,
        where=table.where,
        part=table.part,
        digests=digests_of_table(inputs, kinds),
        groups=split_keys(table, source.group, "group", values.get(source.group or "")),
        times=split_keys(table, source.time, "time", values.get(source.time or "")),
        notes=tuple(notes),
        findings=tuple(findings),
        spellings=spellings,
    )
    data = data.take(np.flatnonzero(answered))
    if regression or known is not None:
        return data
    _refuse_untrained(data, target)
    return replace(data, findings=(*data.findings, *single_class(data.answers)))


def columns_of(data: Data) -> list[Column]:
    """What the columns of a table's Data are, from the training part alone (from all rows before they are split)."""
    trained = data.of("train") if (data.part == "train").any() else data
    if not isinstance(trained.raws, pl.DataFrame):
        raise DataError("the examples are not rows of a table.", "", "Choose another task.")
    return columns(trained.raws, data.spellings)


def target_of(source: Source, frame: pl.DataFrame, where: str) -> str:
    """The target column. Raises DataError proposing one when none was named, OptionError when it is not there."""
    for option, name in (("target", source.target), ("group", source.group), ("time", source.time)):
        if name is not None and name not in frame.columns:
            error = unknown(f"column (--{option})", name, frame.columns)
            error.where = where
            raise error
    if source.target is not None:
        return source.target
    lower = {name.lower(): name for name in frame.columns}
    likely = next((lower[name] for name in _LIKELY_TARGETS if name in lower), frame.columns[-1])
    raise DataError(
        f"no target column was named; columns: {listed(frame.columns, 30)}.",
        where,
        f"Name the column to predict; perhaps --target {_quoted(likely)}.",
    )


def missing_targets(where: np.ndarray, answered: np.ndarray, target: str) -> list[Finding]:
    """The finding that rows have no answer; empty when all have one."""
    rows = np.flatnonzero(~answered)
    if len(rows) == 0:
        return []
    return [
        Finding(
            "target.missing",
            "warning",
            f'{len(rows):,} of {len(where):,} rows have no value in the target column "{target}"; they were left out.',
            "Fill them in, or leave them out yourself.",
            where=tuple(str(where[row]) for row in rows[:20]),
            count=len(rows),
            evidence={"rows": len(where), "missing": len(rows)},
        )
    ]


def column_of(table: Table, name: str) -> pl.Series:
    """A column by name. Raises OptionError with the nearest name."""
    if name not in table.frame.columns:
        raise unknown("column", name, table.frame.columns)
    return table.frame[name]


def split_keys(table: Table, name: str | None, option: str, values: pl.Series | None = None) -> np.ndarray | None:
    """(rows,): what a split goes by; None where no column was named.

    Args:
        table: with the column.
        name: of the column.
        option: "group" or "time", by which it was named.
        values: of the column, typed, where they are at hand.

    Raises:
        OptionError: there is no such column.
        DataError: a row has no value, which is named; or times are neither dates nor numbers.
    """
    if name is None:
        return None
    cells = column_of(table, name)
    column = typed(cells).values if values is None else values
    written = cells.cast(pl.String).str.strip_chars()
    missing = (missing_cells(written) if option == "group" else column.is_null()).to_numpy()
    if missing.any():
        raise DataError(
            f'{int(missing.sum()):,} of {len(missing):,} rows have no value in the column "{name}" (--{option}).',
            str(table.where[int(missing.argmax())]),
            "Fill them in, or leave those rows out.",
        )
    if option == "group":  # as it is written: 7, not 7.0
        return np.array(written.to_list(), dtype=object)
    if column.dtype not in (pl.Float64, pl.Datetime("us")):
        raise DataError(
            f'the column "{name}" holds neither dates nor numbers.', table.name, "Write dates as 2024-12-31."
        )
    return column.to_numpy()


def path_column(table: Table, endings: Collection[str]) -> str | None:
    """The first column whose cells, nearly all, end like files of a kind; None when there is none."""
    for name in table.frame.columns:
        if table.frame.schema[name] == pl.String:
            cells = table.frame[name].drop_nulls().str.strip_chars().str.to_lowercase()
            cells = cells.filter(cells != "").head(1000)
            named = cells.str.contains(r"\.(" + "|".join(ending[1:] for ending in sorted(endings)) + ")$")
            if len(cells) and float(named.sum()) >= 0.95 * len(cells):
                return name
    return None


def _refuse_untrained(data: Data, target: str) -> None:
    """Raise DataError when a row of another part has a class that no row of the training part has."""
    if not (data.part == "train").any():
        return
    trained = set(data.answers[data.part == "train"])
    for row in np.flatnonzero(data.part != "train"):
        if data.answers[row] not in trained:
            raise DataError(
                f'the target "{target}" is "{data.answers[row]}", a class that no training row has.',
                str(data.where[row]),
                f"Classes for training: {listed(sorted(trained))}. Spell them alike, or leave those rows out.",
            )


def _quoted(name: str) -> str:
    return f"'{name}'" if not name.isidentifier() else name


def _answers(values: pl.Series, regression: bool, table: Table) -> np.ndarray:
    """(rows,) float64, NaN where missing; or class names, objects."""
    if regression:
        if values.dtype != pl.Float64:
            raise DataError(
                f'the target column "{values.name}" holds {values.dtype} and cannot be regressed.',
                table.name,
                "Choose a column of numbers, or classification.",
            )
        return values.fill_null(float("nan")).to_numpy().astype(np.float64)
    given = table.frame[values.name]
    if values.dtype == pl.Boolean and given.dtype == pl.String:  # yes and no stay yes and no, as they stand first
        spelled = {flag: given.filter(values == flag)[0].strip() for flag in values.drop_nulls().unique()}
        names = pl.Series([spelled.get(value, "") for value in values], dtype=pl.String)
    else:
        names = whole_as_strings(values) if values.dtype == pl.Float64 else values.cast(pl.String)
    return np.array(names.fill_null("").to_list(), dtype=object)


def _with_none(column: Typed, cells: pl.Series) -> Typed:
    """A target of names, in which "None" is one of them and no missing value."""
    if column.values.dtype != pl.String or "none" not in map(str.lower, column.spelled_missing):
        return column
    written = cells.cast(pl.String).str.strip_chars()
    named = (written.str.to_lowercase() == "none").fill_null(False)
    rows = f"({int(named.sum()):,} rows)"
    note = f'"{written.filter(named)[0]}" is taken as a class {rows}; leave cells empty where nothing is known'
    return replace(column, values=column.values.set(named, written.filter(named)[0]), note=note)


def _cell_notes(column: Typed, target: str) -> list[str]:
    name = column.values.name
    notes = []
    if column.note:
        notes.append(f'Column "{name}": {column.note}.')
    missing = column.values.null_count()
    if missing and name != target:
        spelled = f" (also written {', '.join(column.spelled_missing)})" if column.spelled_missing else ""
        notes.append(f'Column "{name}": {missing:,} of {len(column.values):,} values are missing{spelled}.')
    return notes
