"""Kinds: what the cells of a column are. In go columns as they were read; out come typed values and what was decided.

Two steps, so that nothing is guessed in silence. ``typed`` decides how cells become values, from all rows and by rules
that need (nearly) every cell to fit: numbers, booleans, dates, or else text. ``columns`` then says, from the training
part alone, what each typed column is to a network: number, category, text, ...
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import polars as pl

from lamina.data.cells import (
    Spelling,
    date_spelling,
    dates_written,
    missing_cells,
    number_spelling,
    numbers_written,
    plain_numbers,
)
from lamina.data.parts import listed

Kind = Literal["number", "category", "boolean", "date", "text", "path", "identifier", "constant"]
Holds = Literal["number", "boolean", "date", "string"]
TYPES: dict[Holds, Any] = {
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Datetime("us"),
    "string": pl.String(),
}
"""The polars type of each kind of value."""
MOST_CLASSES = 20
"""A numeric target with more distinct values than this is regressed."""
UNPARSABLE = 0.01
"""Share of a column's cells that may be no number or date among such: they are taken as missing, and reported."""
_CODE = re.compile(r"(code|zip|postcode|type|category|class|kind|zone|cluster|label|(^|[_\W])id)s?$", re.IGNORECASE)
_IDENTIFIER = re.compile(r"(^|[_\W])(id|uuid|guid|key|index|idx|row|rowid|no|nr|number)$", re.IGNORECASE)
_IDENTIFIER_CAMEL = re.compile(r"[a-z](Id|ID|Key|No|Nr)$")
_MEASURE = re.compile(r"year|month|day|date|time|hour|step|week|t$|x\d*$", re.IGNORECASE)
_IMAGE = r"\.(jpe?g|jfif|png|bmp|gif|tiff?|webp|ppm|pgm)$"


@dataclass(frozen=True)
class Column:
    """What a column is to a network, and why."""

    name: str
    kind: Kind
    holds: Holds
    """The type of its values: what ``conform`` makes of a new table's cells."""
    missing: int
    """Rows without a value."""
    distinct: int
    """Different values."""
    reason: str
    """The rule that decided, said to the user."""
    spelling: str = ""
    """How its cells are written, where that is not plain or codes were numbers; ``conform`` reads a new table's cells so."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields as they are named here."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Column":
        """The inverse of ``to_json``."""
        return cls(**stored)


@dataclass(frozen=True)
class Typed:
    """A column's values, and what became of cells that are none."""

    values: pl.Series
    """Float64, Boolean, Datetime or String; null where missing."""
    spelling: str = ""
    """The form in which the cells are written, where that is not plain (``cells.Spelling``), or where strings were numbers."""
    note: str = ""
    """How the cells were read, where that is not plain."""
    spelled_missing: tuple[str, ...] = ()
    """Spellings other than the empty cell that were taken as missing."""
    infinite: tuple[int, ...] = ()
    """Rows whose cell is an infinite number; taken as missing."""
    unparsable: tuple[int, ...] = ()
    """Rows whose cell is neither missing nor like the others; taken as missing."""


def typed(column: pl.Series) -> Typed:
    """Decide how the cells of a column become values.

    Cells of strings are numbers, booleans or dates when all of them are; of numbers and dates up to 1 % of the cells
    may be something else, which is then taken as missing and reported. Whole numbers are kept as strings when they
    are codes: when some are written with leading zeros, or when the column's name ends in code, zip, type, class, id
    or the like and each value occurs five times on average.

    Args:
        column: as it was read: strings, numbers, booleans, dates.
    """
    if column.dtype == pl.Boolean:
        return Typed(column)
    if column.dtype.is_numeric():
        return _numbers(column.name, column.cast(pl.Float64), note="")
    if column.dtype.is_temporal():
        if column.dtype in (pl.Date, pl.Datetime):
            moments = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if _zoned(column) else column
            return Typed(moments.cast(TYPES["date"]))
        return _numbers(column.name, column.cast(pl.Int64).cast(pl.Float64), note=f"{column.dtype} taken as a number")
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        return Typed(column.cast(pl.String))
    return _typed_strings(column.cast(pl.String))


def columns(frame: pl.DataFrame, spellings: Mapping[str, str] | None = None) -> list[Column]:
    """Say what each column of a typed frame is; from the training part, since its values decide.

    Args:
        frame: columns of Float64, Boolean, Datetime or String, as ``typed`` makes them.
        spellings: by column, how its cells were written where that is not plain.
    """
    kinds = [_column(frame[name], alone=frame.width == 1) for name in frame.columns]
    return [replace(kind, spelling=(spellings or {}).get(kind.name, "")) for kind in kinds]


def is_regression(target: pl.Series) -> tuple[bool, str]:
    """Whether a target is a quantity to regress rather than a class to tell, and why.

    Args:
        target: typed; numbers with more than 20 distinct values, or with fractions, are quantities. A number of two
            distinct values is a class in any case.
    """
    present = target.drop_nulls()
    distinct = present.n_unique()
    if target.dtype != pl.Float64:
        return False, f'"{target.name}" holds {distinct} different names: classification'
    whole = bool((present == present.round()).all())
    if distinct > MOST_CLASSES:
        return True, f'"{target.name}" holds {distinct:,} different numbers: regression'
    if not whole and distinct > 2:
        return True, f'"{target.name}" holds numbers with fractions: regression'
    return False, f'"{target.name}" holds {distinct} different numbers, {MOST_CLASSES} at most: classification'


def summary(kinds: list[Column]) -> str:
    """The columns by kind, in one sentence."""
    by_kind: dict[str, list[str]] = {}
    for column in kinds:
        by_kind.setdefault(column.kind, []).append(column.name)
    return "Columns by kind: " + "; ".join(f"{kind}: {listed(names, 15)}" for kind, names in by_kind.items()) + "."


def whole_as_strings(numbers: pl.Series) -> pl.Series:
    """Numbers as strings; whole ones without a decimal point."""
    whole = numbers.cast(pl.Int64, strict=False)
    return (
        pl.select(
            pl.when(whole.cast(pl.Float64) == numbers).then(whole.cast(pl.String)).otherwise(numbers.cast(pl.String))
        )
        .to_series()
        .rename(numbers.name)
    )


# --- from cells to values ---


def _typed_strings(cells: pl.Series) -> Typed:
    stripped = cells.str.strip_chars()
    missing = missing_cells(stripped)
    spelled = stripped.filter(missing).drop_nulls()
    spellings = tuple(spelled.filter(spelled != "").unique().sort().to_list())
    present = stripped.set(missing, None)
    count = int((~missing).sum())
    if count == 0:
        return Typed(present, spelled_missing=spellings)
    numbers = plain_numbers(present)
    bad = numbers.is_null() & ~missing
    if bad.any():
        spelling = number_spelling(present)
        if spelling is not None:
            read = _numbers(cells.name, numbers_written(present, spelling.form), _says(spelling))
            return replace(read, spelling=spelling.form, spelled_missing=spellings)
    if int(bad.sum()) <= UNPARSABLE * count:
        if bool(present.str.contains(r"^0\d+$").any()):
            return Typed(present, "", "numbers with leading zeros, kept as codes", spellings)
        return replace(_numbers(cells.name, numbers, note=""), spelled_missing=spellings, unparsable=_rows(bad))
    booleans = _booleans(present)
    if booleans is not None:
        return Typed(booleans, spelled_missing=spellings)
    dates = date_spelling(present, UNPARSABLE)
    if dates is not None:
        values = dates_written(present, dates.form)
        return Typed(values, dates.form, _says(dates), spellings, (), _rows(values.is_null() & ~missing))
    return Typed(present, spelled_missing=spellings)


def _numbers(name: str, numbers: pl.Series, note: str) -> Typed:
    """Numbers with NaN and infinities taken out; as strings where they are codes."""
    infinite = numbers.is_infinite().fill_null(False)
    finite = numbers.is_finite().fill_null(False)
    values = numbers.set(~finite, None)
    rows = tuple(infinite.arg_true().to_list())
    present = values.drop_nulls()
    if (
        _CODE.search(name)
        and len(present)
        and bool((present == present.round()).all())
        and present.n_unique() * 5 <= len(present)
        and present.n_unique() > 2
    ):
        return Typed(
            whole_as_strings(values), "1234.5", "whole numbers, kept as codes because of the column's name", (), rows
        )
    return Typed(values, note=note, infinite=rows)


def _rows(marked: pl.Series) -> tuple[int, ...]:
    return tuple(marked.arg_true().to_list())


def _says(spelling: Spelling) -> str:
    return f"written {spelling.says}" + (", though the cells could be read otherwise" if spelling.ambiguous else "")


def _booleans(present: pl.Series) -> pl.Series | None:
    lower = present.str.to_lowercase()
    values = set(lower.drop_nulls().unique().to_list())
    for yes, no in (("true", "false"), ("yes", "no"), ("t", "f"), ("y", "n")):
        if values == {yes, no}:
            return (lower == yes).rename(present.name)
    return None


def _zoned(column: pl.Series) -> bool:
    return isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None


# --- from values to kinds ---


def _column(values: pl.Series, alone: bool) -> Column:
    present = values.drop_nulls()
    distinct, missing = present.n_unique(), len(values) - len(present)
    absent = missing > 0.01 * len(values)  # then whether it is there says something; row identifiers are always there
    holds: Holds = next((name for name, dtype in TYPES.items() if values.dtype == dtype), "string")

    def decided(kind: Kind, reason: str) -> Column:
        return Column(values.name, kind, holds, missing, distinct, reason)

    if distinct == 0 or (distinct == 1 and missing == 0):
        return decided("constant", "it holds no value" if distinct == 0 else "every row holds the same value")
    if holds == "boolean":
        return decided("boolean", "its values are two opposites")
    if holds == "date":
        return decided("date", "its values are dates")
    if holds == "number":
        reason = "" if alone or absent else _numbers_rows(present, distinct)
        return decided("identifier", reason) if reason else decided("number", "its values are numbers")
    if _share(present, _IMAGE) >= 0.95:
        return decided("path", "its values end like image files")
    if not absent and _names_rows(present, distinct):
        return decided("identifier", "its values are different codes in every row")
    if distinct <= 0.2 * len(present) or (distinct <= 50 and distinct <= 0.5 * len(present)):
        return decided("category", f"{distinct:,} different values in {len(present):,} rows: they repeat")
    return decided("text", f"{distinct:,} different values in {len(present):,} rows: they rarely repeat")


def _numbers_rows(present: pl.Series, distinct: int) -> str:
    """Why a column of numbers only numbers the rows; empty when it does not."""
    if len(present) < 20 or distinct < 0.99 * len(present) or not bool((present == present.round()).all()):
        return ""
    name = present.name
    if _IDENTIFIER.search(name) or _IDENTIFIER_CAMEL.search(name):
        return "its name is an identifier's, and every row has another number"
    low, high = float(str(present.min())), float(str(present.max()))
    dense = len(present) >= 50 and distinct == len(present) and distinct >= 0.5 * (high - low + 1)
    if dense and not _MEASURE.search(name):
        return f"it counts the rows: whole numbers from {low:.0f} to {high:.0f}, none of them twice"
    return ""


def _names_rows(present: pl.Series, distinct: int) -> bool:
    """Whether strings are codes that differ in every row: no spaces, digits in them."""
    if len(present) < 20 or distinct < 0.99 * len(present):
        return False
    return _share(present, r"^\S{1,64}$") >= 0.95 and _share(present, r"\d") >= 0.9


def _share(present: pl.Series, pattern: str) -> float:
    cells = present.head(1000).str.to_lowercase().str.contains(pattern)
    return float(cells.sum()) / max(len(cells), 1)
