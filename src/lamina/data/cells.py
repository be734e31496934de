"""Cells: how missing values, numbers and dates are written. In go columns of strings, out come values.

A spelling is taken only when all cells fit it; where they fit two, the more usual one is taken and that is said.
"""

from dataclasses import dataclass

import polars as pl

MISSING_CELLS = ("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "?", "-", "--")
"""Cells that stand for no value, in lower case and without spaces around."""
_CURRENCY = r"[$€£¥₹]"
_DATES = (
    ("%Y-%m-%d", "2024-12-31"),
    ("%Y/%m/%d", "2024/12/31"),
    ("%d.%m.%Y", "31.12.2024"),
    ("%m/%d/%Y", "12/31/2024"),
    ("%d/%m/%Y", "31/12/2024"),
    ("%d-%m-%Y", "31-12-2024"),
    ("%m-%d-%Y", "12-31-2024"),
    ("%d %b %Y", "31 Dec 2024"),
    ("%d %B %Y", "31 December 2024"),
    ("%d-%b-%Y", "31-Dec-2024"),
    ("%b %d, %Y", "Dec 31, 2024"),
    ("%B %d, %Y", "December 31, 2024"),
    ("%d.%m.%y", "31.12.24"),
    ("%m/%d/%y", "12/31/24"),
    ("%d/%m/%y", "31/12/24"),
    ("%d-%m-%y", "31-12-24"),
    ("%m-%d-%y", "12-31-24"),
    ("%d %b %y", "31 Dec 24"),
    ("%d-%b-%y", "31-Dec-24"),
    ("%y-%m-%d", "24-12-31"),
    ("%y/%m/%d", "24/12/31"),
    ("%y.%m.%d", "24.12.31"),
)
_TIMES = ("", " %H:%M:%S%.f", " %H:%M:%S", " %H:%M", " %I:%M %p")


_SPACES = r" '’\x{a0}\x{202f}"
_NUMBERS = {  # how 1234.5 is written: pattern of a cell, what stands between thousands, what before the fraction
    "1234.5": (r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$", "", "."),
    "1,234.5": (r"^[+-]?([1-9]\d{0,2}(,\d{3})+|\d+)(\.\d*)?$", ",", "."),
    "1 234.5": (rf"^[+-]?(\d{{1,3}}([{_SPACES}]\d{{3}})+|\d+)(\.\d*)?$", rf"[{_SPACES}]", "."),
    "1.234,5": (rf"^[+-]?(\d{{1,3}}(\.\d{{3}})+|\d{{1,3}}([{_SPACES}]\d{{3}})+|\d+)(,\d+)?$", rf"[.{_SPACES}]", ","),
}


@dataclass(frozen=True)
class Spelling:
    """How the numbers or dates of a column are written."""

    form: str
    """1234.5 or the last day of 2024, written so: "1,234.5"; for dates a format such as "%d.%m.%Y"."""
    says: str
    """In words."""
    ambiguous: bool = False
    """Whether the same cells could be read in another way: 1,234 as 1.234, or month and day exchanged."""


def missing_cells(stripped: pl.Series) -> pl.Series:
    """Which cells, spaces removed, stand for no value; Boolean."""
    return stripped.is_null() | stripped.str.to_lowercase().is_in(list(MISSING_CELLS)).fill_null(True)


def plain_numbers(cells: pl.Series) -> pl.Series:
    """Float64 where a cell is a number as programs write it, inf included; null elsewhere."""
    fits = cells.str.contains(_NUMBERS["1234.5"][0]) | cells.str.to_lowercase().str.contains(r"^[+-]?inf(inity)?$")
    return cells.set(~fits.fill_null(False), None).str.to_lowercase().cast(pl.Float64, strict=False)


def number_spelling(cells: pl.Series) -> Spelling | None:
    """The way in which all cells that are not null can be read as numbers; None when there is none.

    Of "1,234" as 1234 and as 1.234 the first is taken, unless a cell rules it out.
    """
    present = cells.drop_nulls()
    bare = _bare(present)
    marks = []
    if present.str.contains(_CURRENCY).any():
        marks.append("a currency sign")
    if present.str.contains("%").any():
        marks.append("a percent sign (12% is 12)")
    fitting = [form for form, (pattern, _, _) in _NUMBERS.items() if bool(bare.str.contains(pattern).all())]
    if len(bare) == 0 or not fitting:
        return None
    says = " and ".join([f"1234.5 as {fitting[0]}", *marks])
    return Spelling(fitting[0], says, ambiguous=fitting[0] == "1,234.5" and "1.234,5" in fitting)


def numbers_written(cells: pl.Series, form: str) -> pl.Series:
    """Float64 where a cell is a number written in that form (``Spelling.form``); null elsewhere."""
    pattern, thousands, decimal = _NUMBERS[form]
    bare = _bare(cells)
    bare = bare.set(~bare.str.contains(pattern).fill_null(False), None)
    if thousands:
        bare = bare.str.replace_all(thousands, "")
    return bare.str.replace(decimal, ".", literal=True).cast(pl.Float64, strict=False)


def date_spelling(cells: pl.Series, unfit: float = 0.0) -> Spelling | None:
    """The way in which the cells that are not null, but for a share ``unfit`` of them, can be read as dates."""
    present = cells.drop_nulls()
    few = present.head(50)
    if len(few) == 0 or not few.str.contains(r"^[A-Za-z]{0,9}.?\d+[-/., ].*\d").mean() >= 0.9:  # type: ignore[operator]
        return None
    fitting = []
    for day, shown in _DATES:
        for time in _TIMES:
            form = day + time
            if dates_written(few, form).null_count() > 0.1 * len(few):
                continue
            if dates_written(present, form).null_count() <= unfit * len(present):
                fitting.append((form, shown + (" 23:59" if time else "")))
                break
    if not fitting:
        return None
    if "%y" in fitting[0][0]:  # day or year comes first: the years of a column lie near to one another
        spans = {form: _years(present, form) for form, _ in fitting}
        fitting = [pair for pair in fitting if spans[pair[0]] == min(spans.values())]
    form, shown = fitting[0]
    return Spelling(form, shown, ambiguous=len(fitting) > 1 and _differ(present, form, fitting[1][0]))


def dates_written(cells: pl.Series, form: str) -> pl.Series:
    """Datetime in microseconds, without a zone (UTC where the cells name one); null where a cell is no such date. A year has
    four digits, or where the form says so two: 70 is 1970, 69 is 2069."""
    if "%Y" in form:  # by which "24" would be a year, too
        long = r"^\d{4}\D" if form.startswith("%Y") else r"^[^:]*\D\d{4}(\D|$)"
        cells = cells.set(~cells.str.contains(long).fill_null(False), None)
    if "%H" in form or "%I" in form:
        plain = cells.str.replace(r"^(\d{4}-\d\d-\d\d)T", "$1 ")
        zoned = plain.str.extract(r"([+-]\d\d):?\d\d$|Z$", 0)
        if zoned.null_count() < len(zoned):
            plain = plain.str.replace(r"Z$", "+0000").str.replace(r"([+-]\d\d):(\d\d)$", "$1$2")
            in_utc = plain.str.to_datetime(form + "%z", strict=False, time_unit="us")
            return in_utc.dt.replace_time_zone(None)
        return plain.str.to_datetime(form, strict=False, time_unit="us")
    return cells.str.to_date(form, strict=False).cast(pl.Datetime("us"))


def _years(cells: pl.Series, form: str) -> int:
    """How many years lie between the first and the last date, read so."""
    years: list[int] = dates_written(cells, form).dt.year().drop_nulls().to_list()
    return max(years) - min(years)


def _differ(cells: pl.Series, first: str, second: str) -> bool:
    return bool((dates_written(cells, first) != dates_written(cells, second)).any())


def _bare(cells: pl.Series) -> pl.Series:
    """Cells without currency and percent signs and the spaces beside them."""
    return (
        cells.str.replace(rf"^([+-]?)\s*{_CURRENCY}\s*", "$1")
        .str.replace(rf"\s*({_CURRENCY}|%)$", "")
        .str.strip_chars()
    )
