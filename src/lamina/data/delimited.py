"""Delimited text (CSV, TSV): a file in; out come columns of strings and the line on which each row begins.

One parser, Python's own ``csv``, reads every row and checks its width, so that a line number in a message is the line
in the file, also where a quoted cell holds line breaks.
"""

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import polars as pl

from lamina.data.cells import plain_numbers
from lamina.data.parts import listed
from lamina.errors import DataError

_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "vertical bars"}
_ROWS_AT_ONCE = 20_000
_LONGEST_CELL = 2**31 - 1  # characters; Python's own limit, 131,072, would refuse books


@dataclass(frozen=True)
class Delimited:
    """What a file holds."""

    frame: pl.DataFrame
    """All columns as strings, as they stand in the file."""
    lines: np.ndarray
    """(rows,): the line on which each row begins, from 1."""
    notes: tuple[str, ...]


def read_delimited(file: Path, rows: int | None = None) -> Delimited:
    """Read a file of delimited text, plain or .gz.

    Args:
        file: UTF-8 with or without a byte order mark, or UTF-16 with one. The delimiter is found by trying.
        rows: how many rows to read; all when None.

    Raises:
        DataError: naming the line, when the encoding, a row's width, the quoting or the header is wrong.
    """
    text, notes = _text(file, most=None if rows is None else 64 * 1024 + rows * 4096)
    delimiter, quoting = _dialect(text, file)
    usual = "\t" if ".tsv" in file.name.lower() else ","
    if delimiter != usual:
        notes.append(f"{file.name}: cells are separated by {_DELIMITERS[delimiter]}.")
    if quoting == csv.QUOTE_NONE and '"' in text:
        notes.append(f"{file.name}: quotation marks are part of the text.")
    records = _records(text, delimiter, quoting, file)
    try:
        _, header = next(records)
    except StopIteration:
        raise DataError("the file is empty.", str(file), "Give a header line and rows.") from None
    names = _names(header, file, notes)
    frames, lines = [], []
    records = itertools.islice(records, rows)
    while chunk := list(itertools.islice(records, _ROWS_AT_ONCE)):
        for line, cells in chunk:
            if len(cells) != len(names):
                raise _ragged(file, line, cells, names)
        lines += [line for line, _ in chunk]
        columns = zip(*(cells for _, cells in chunk), strict=True)
        frames.append(
            pl.DataFrame(
                {name: pl.Series(column, dtype=pl.String) for name, column in zip(names, columns, strict=True)}
            )
        )
    if not frames:
        raise DataError("it has a header but no rows.", str(file), "Give rows.")
    return Delimited(pl.concat(frames, rechunk=True), np.array(lines), tuple(notes))


def _text(file: Path, most: int | None) -> tuple[str, list[str]]:
    """The file's text, of which ``most`` bytes at most (then less the last line, which may be cut), and notes."""
    try:
        with _open(file) as stream:
            content = stream.read() if most is None else stream.read(most)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"the file cannot be read ({reason}).", str(file), "Check that it is whole.") from None
    if most is not None and len(content) == most:
        content = content[: content.rfind(b"\n") + 1]
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return content.decode("utf-16"), [f"{file.name} is encoded as UTF-16."]
        except UnicodeDecodeError as error:
            raise DataError(f"it is not valid UTF-16 ({error.reason}).", str(file), "Save it as UTF-8.") from None
    if b"\0" in content[:4096]:
        raise DataError("it holds zero bytes, so it is not a text file.", str(file), "Save the table as CSV in UTF-8.")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte {content[error.start]:#04x} at offset {error.start:,} is not UTF-8.",
            f"{file}:{line}",
            "Save the file as UTF-8, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW.",
        ) from None


def _open(file: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")


def _records(text: str, delimiter: str, quoting: int, file: Path) -> Iterator[tuple[int, list[str]]]:
    """(line on which it begins, cells) of each row that is not empty."""
    csv.field_size_limit(_LONGEST_CELL)  # of the process: there is no narrower one
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    begins = 1
    try:
        for cells in reader:
            if cells:
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"the row that begins here cannot be read ({error}); a quotation mark may be open or stray.",
            f"{file}:{begins}",
            'Close the quotation, and write a quotation mark inside of one twice ("").',
        ) from None


def _dialect(text: str, file: Path) -> tuple[str, int]:
    """(delimiter, quoting): that under which the first rows have equally many cells, and most of them."""
    start = text[: 256 * 1024]
    usual = ["\t", ",", ";", "|"] if ".tsv" in file.name.lower() else [",", ";", "\t", "|"]
    tried: list[tuple[bool, int, int, str, int]] = []
    for rank, delimiter in enumerate(usual):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE) if delimiter == "\t" else (csv.QUOTE_MINIMAL,):
            widths = []
            try:
                widths += [len(cells) for _, cells in itertools.islice(_records(start, delimiter, quoting, file), 50)]
            except DataError:
                if quoting == csv.QUOTE_MINIMAL and delimiter == "\t":
                    continue
                first = start.split("\n", 1)[0]
                widths = [first.count(delimiter) + 1, 0]
            if widths:
                agree = len(set(widths)) == 1 and widths[0] > 1
                tried.append((agree, widths[0], -rank, delimiter, quoting))
    best = max(tried, key=lambda one: one[:3], default=(False, 0, 0, usual[0], csv.QUOTE_MINIMAL))
    if best[3] == "\t" and best[4] == csv.QUOTE_MINIMAL and _breaks(text, file):
        return "\t", csv.QUOTE_NONE
    return best[3], best[4]


def _breaks(text: str, file: Path) -> bool:
    """Whether quotation marks of a tab-separated file are part of the text: then cells begin or end with one alone."""
    if '"' not in text:
        return False
    rows = [cells for _, cells in _records(text, "\t", csv.QUOTE_NONE, file)]
    lone = any(cell.startswith('"') != (cell.endswith('"') and cell != '"') for cells in rows for cell in cells)
    try:
        quoted = {len(cells) for _, cells in _records(text, "\t", csv.QUOTE_MINIMAL, file)}
    except DataError:
        return True
    return len(quoted) > 1 or (lone and len({len(cells) for cells in rows}) == 1)


def _names(header: list[str], file: Path, notes: list[str]) -> list[str]:
    """The column names. Raises DataError when one is missing or twice there, or when the header is a row of data."""
    names = [name.strip() for name in header]
    if len(names) > 1 and names[0] == "" and all(names[1:]):
        names[0] = "unnamed" if "unnamed" not in names else "unnamed column 1"
        notes.append(f'{file.name}: the first column has no name and is called "{names[0]}" here.')
    remedy = "Give each column a name of its own."
    if not all(names):
        raise DataError(f"column {names.index('') + 1} of {len(names)} has no name.", f"{file}:1", remedy)
    twice = sorted({name for name in names if names.count(name) > 1})
    numbers = plain_numbers(pl.Series(names, dtype=pl.String))
    counts = numbers.to_list() in ([float(i) for i in range(len(names))], [float(i + 1) for i in range(len(names))])
    if numbers.null_count() == 0 and not (counts and len(names) > 1):
        raise DataError(
            f"the first line looks like data, not like column names: {listed(names, 5)}.",
            f"{file}:1",
            "Put a line with the column names first.",
        )
    if twice:
        hint = " The first line may be data." if numbers.count() else ""
        raise DataError(f'{len(twice)} column names are there twice, such as "{twice[0]}".{hint}', f"{file}:1", remedy)
    if numbers.count() and not counts:
        first = names[int((~numbers.is_null()).arg_max() or 0)]
        notes.append(f'{file.name}: the first line was taken as column names, though one of them is "{first}".')
    return names


def _ragged(file: Path, line: int, cells: list[str], names: list[str]) -> DataError:
    return DataError(
        f"line {line} has {len(cells)} fields, the header has {len(names)}.",
        f"{file}:{line}",
        "Quote cells that hold the delimiter, or complete the row.",
    )
