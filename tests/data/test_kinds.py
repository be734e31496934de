"""Kinds: how cells become values, and what a column is."""

from datetime import datetime

import polars as pl
import pytest

from lamina.data.kinds import columns, is_regression, typed


def cells(values: list[str | None], name: str = "a") -> pl.Series:
    return pl.Series(name, values, dtype=pl.String)


@pytest.mark.parametrize(
    ("written", "read", "spelling"),
    [
        (["1", " 2.5 ", "-.5", "1e3", "+5"], [1, 2.5, -0.5, 1000, 5], ""),
        (["1,234", "12,345.5"], [1234, 12345.5], "1,234.5"),
        (["1,5", "2,25"], [1.5, 2.25], "1.234,5"),
        (["0,125", "1,500"], [0.125, 1.5], "1.234,5"),
        (["1.234,5", "2"], [1234.5, 2], "1.234,5"),
        (["1 234", "22"], [1234, 22], "1 234.5"),
        (["$5", "-$ 1.5"], [5, -1.5], "1234.5"),
        (["5 €", "6€"], [5, 6], "1234.5"),
        (["12%", "7.5 %"], [12, 7.5], "1234.5"),
    ],
)
def test_numbers(written: list[str], read: list[float], spelling: str) -> None:
    column = typed(cells(written))
    assert column.values.dtype == pl.Float64
    assert column.values.to_list() == read
    assert column.spelling == spelling
    assert bool(column.note) is bool(spelling)


def test_missing_spellings_are_found_and_said() -> None:
    column = typed(cells(["1", "", None, "NA", "n/a", "NaN", "null", "None", "?", "-", "#N/A", " "]))
    assert column.values.to_list() == [1] + [None] * 11
    assert set(column.spelled_missing) == {"NA", "n/a", "NaN", "null", "None", "?", "-", "#N/A"}


def test_infinite_and_unparsable_cells_are_missing_and_reported() -> None:
    column = typed(cells([str(n) for n in range(300)] + ["inf", "-Infinity", "oops"]))
    assert column.infinite == (300, 301)
    assert column.unparsable == (302,)
    assert column.values.null_count() == 3
    assert typed(cells([str(n) for n in range(50)] + ["oops"])).values.dtype == pl.String  # 2 % are too many
    assert typed(pl.Series("a", [1.0, float("inf"), float("nan")])).values.to_list() == [1, None, None]


@pytest.mark.parametrize(
    ("written", "first"),
    [
        (["2024-12-31", "2024-01-05"], datetime(2024, 12, 31)),
        (["2024-12-31 23:59", "2024-01-05 00:01"], datetime(2024, 12, 31, 23, 59)),
        (["2024-12-31T23:59:01Z", "2024-01-05T00:01:02+02:00"], datetime(2024, 12, 31, 23, 59, 1)),
        (["31.12.2024", "05.01.2024"], datetime(2024, 12, 31)),
        (["12/31/2024", "01/05/2024"], datetime(2024, 12, 31)),
        (["31/12/2024", "05/01/2024"], datetime(2024, 12, 31)),
        (["31 Dec 2024", "5 Jan 2024"], datetime(2024, 12, 31)),
        (["December 31, 2024", "January 5, 2024"], datetime(2024, 12, 31)),
        (["31-Dec-2024", "05-Jan-2024"], datetime(2024, 12, 31)),
        (["31/12/24", "05/01/99"], datetime(2024, 12, 31)),
        (["12/31/24", "01/05/99"], datetime(2024, 12, 31)),
        (["31.12.24", "05.01.99"], datetime(2024, 12, 31)),
        (["24-12-31", "23-01-15", "22-11-03"], datetime(2024, 12, 31)),
        (["31.12.24 10:00:00.1234", "05.01.99 10:00:00.1234"], datetime(2024, 12, 31, 10, 0, 0, 123400)),
        (["31-12-24 08:15", "05-01-99 23:00"], datetime(2024, 12, 31, 8, 15)),
    ],
)
def test_dates(written: list[str], first: datetime) -> None:
    column = typed(cells([*written, ""]))
    assert column.values[0] == first
    assert column.values[1].year in (2024, 2023, 1999)
    assert column.values.null_count() == 1


def test_moments_with_a_zone_are_taken_in_utc_whoever_read_them() -> None:
    there = pl.Series("when", [datetime(2024, 12, 31, 19)]).dt.replace_time_zone("America/New_York")
    assert typed(there).values.to_list() == [datetime(2025, 1, 1)]
    assert typed(cells(["2024-12-31 19:00:00-05:00"])).values.to_list() == [datetime(2025, 1, 1)]


def test_a_reading_that_could_be_another_is_said() -> None:
    assert "otherwise" in typed(cells(["01/02/2024"])).note
    assert "otherwise" in typed(cells(["1,234"])).note
    assert "otherwise" not in typed(cells(["13/02/2024"])).note
    assert "otherwise" in typed(cells(["01/02/24", "02/03/24"])).note
    assert "otherwise" not in typed(cells(["31.12.24", "15.03.24"])).note  # years lie near to one another


@pytest.mark.parametrize(
    "written", [["2024-02-30"], ["12:30"], ["1/2", "3/4"], ["192.168.0.1"], ["1_000"], ["0x1f"], ["a1"]]
)
def test_what_is_no_number_nor_date_stays_text(written: list[str]) -> None:
    assert typed(cells(written)).values.to_list() == written


def test_codes_are_kept_as_strings() -> None:
    assert typed(cells(["007", "123"])).values.to_list() == ["007", "123"]
    assert typed(cells(["1", "2", "3"] * 10, "Pclass")).values[0] == "1"
    assert typed(pl.Series("zip", [1.0, 2.0, 3.0] * 10)).values[0] == "1"
    assert typed(cells(["1", "2", "3"] * 10, "rooms")).values.dtype == pl.Float64
    assert typed(cells([str(n) for n in range(30)], "code")).values.dtype == pl.Float64  # they do not repeat


def test_kinds() -> None:
    rows = 60
    frame = pl.DataFrame(
        {
            "PassengerId": [float(7 * n * n) for n in range(rows)],
            "counter": [float(n) for n in range(rows)],
            "year": [float(1960 + n) for n in range(rows)],
            "size": [float(n % 7) for n in range(rows)],
            "ratio": [n / 7 for n in range(rows)],
            "same": [1.0] * rows,
            "nothing": pl.Series([None] * rows, dtype=pl.String),
            "same or missing": ["x", None] * (rows // 2),
            "city": ["Rome", "Oslo", "Bern"] * (rows // 3),
            "name": [f"Name of {n}" for n in range(rows)],
            "code": [f"X{n:04}" for n in range(rows)],
            "file": [f"pictures/{n}.JPG" for n in range(rows)],
            "flag": [True, False] * (rows // 2),
            "seen": [datetime(2024, 1, 1 + n % 9) for n in range(rows)],
        }
    )
    kinds = {column.name: column.kind for column in columns(frame)}
    assert kinds == {
        "PassengerId": "identifier",
        "counter": "identifier",
        "year": "number",
        "size": "number",
        "ratio": "number",
        "same": "constant",
        "nothing": "constant",
        "same or missing": "category",
        "city": "category",
        "name": "text",
        "code": "identifier",
        "file": "path",
        "flag": "boolean",
        "seen": "date",
    }
    assert all(column.reason for column in columns(frame))
    assert columns(frame.select("counter"))[0].kind == "number"  # the only input there is


def test_is_regression() -> None:
    assert is_regression(pl.Series("y", [float(n) for n in range(21)]))[0]
    assert not is_regression(pl.Series("y", [float(n % 20) for n in range(100)]))[0]
    assert is_regression(pl.Series("y", [0.5, 1.5, 2.0]))[0]
    assert not is_regression(pl.Series("y", [-0.5, 0.5]))[0]
    assert not is_regression(pl.Series("y", ["a", "b"]))[0]
