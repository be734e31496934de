"""Table files: any source of a table in, one form out: columns, and for each row its place and its part.

Text formats give columns of strings, typed later by rules that can be read (``kinds``); Parquet and data frames keep
their types.
"""

import gzip
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamina.data.data import Part, Source
from lamina.data.delimited import read_delimited
from lamina.data.parts import PART_NAMES, listed
from lamina.errors import DataError
from lamina.findings import Finding

ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson")
"""Endings of table files, each also with .gz but for Parquet."""


@dataclass(frozen=True)
class Table:
    """A table as it was read."""

    frame: pl.DataFrame
    where: np.ndarray
    """(rows,) strings: ``houses.csv:17``, the line in the file."""
    part: np.ndarray
    """(rows,) strings: "train", "valid", "test" or ""."""
    name: str
    """The file or folder, for messages."""
    folder: Path | None = None
    """The folder that paths in the table are relative to."""
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def is_table(path: Path | None) -> bool:
    """Whether a path is a table file or a folder that holds one; looks at names only."""
    if path is None:
        return False
    return bool(_tables_in(path)) if path.is_dir() else path.is_file() and _ending(path) in ENDINGS


def read_table(source: Source, rows: int | None = None) -> Table:
    """Read a table from a file, a folder of train and test files, or memory.

    Args:
        source: a file (CSV, TSV, JSON lines, each also .gz; Parquet); a folder with one such file, or with several
            whose names say train, valid or test; a pandas or polars DataFrame, a two-dimensional array, or a pair of
            one of these and answers. A column "split" with the values train, valid and test is taken as the split.
        rows: read only so many of the first file's rows, to look at.

    Raises:
        DataError: naming file and line.
    """
    if source.path is None:
        return _split_column(_from_memory(source))
    path = source.path
    if not path.exists():
        raise DataError("there is no such file or folder.", str(path), "Check the path.")
    if path.is_file():
        return _split_column(_read_file(path, rows))
    files = _tables_in(path)
    if not files:
        raise DataError("the folder holds no table.", str(path), f"Tables end in {listed(ENDINGS)}, some also in .gz.")
    if len(files) == 1:
        table = _read_file(files[0], rows)
        return _split_column(replace(table, notes=(f"Read {files[0].name}.", *table.notes)))
    parts = {file: part_of_name(file) for file in files}
    used = [file for file in files if parts[file]]
    if not any(part == "train" for part in parts.values()):
        raise DataError(
            f"the folder holds several tables: {listed(file.name for file in files)}.",
            str(path),
            "Name one of them, or put train and test into their names.",
        )
    used.sort(key=lambda file: ("train", "valid", "test").index(str(parts[file])))
    tables = [_read_file(file, rows) for file in (used[:1] if rows else used)]
    joined = _joined(tables, [str(parts[file]) for file in used], source, path)
    notes = [f"The split is the source's own: files {listed(file.name for file in used)}."]
    if len(used) < len(files):
        notes.append(f"Left out: {listed(file.name for file in files if file not in used)}.")
    return replace(joined, notes=(*notes, *joined.notes))


def part_of_name(file: Path) -> Part | None:
    """The part that a file's name says: adult_train.csv.gz is the training part."""
    stem = file.name[: len(file.name) - len(_ending(file)) - (3 if file.suffix.lower() == ".gz" else 0)].lower()
    words = "".join(letter if letter.isalnum() else " " for letter in stem).split()
    found = [PART_NAMES[word] for word in words if word in PART_NAMES]
    return found[-1] if found else None


def _ending(file: Path) -> str:
    name = file.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _tables_in(folder: Path) -> list[Path]:
    """The table files of a folder; plain text counts only where nothing else does, since read-me files end so."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name[0] != "."]
    return [file for file in files if _ending(file) in ENDINGS and _ending(file) != ".txt"]


def _read_file(file: Path, rows: int | None) -> Table:
    ending = _ending(file)
    if ending in (".csv", ".tsv", ".txt"):
        read = read_delimited(file, rows)
        frame, places, notes = read.frame, read.lines, read.notes
    elif ending == ".parquet":
        frame, notes = _parquet(file, rows), ()
        places = np.arange(1, frame.height + 1)
    elif ending in (".jsonl", ".ndjson"):
        frame, places = _json_lines(file, rows)
        notes = ()
    else:
        raise DataError(f'tables that end in "{ending}" are not read.', str(file), f"Give one of {listed(ENDINGS)}.")
    if frame.height == 0:
        raise DataError("the table has no rows.", str(file), "Give rows.")
    where = np.array([f"{file.name}:{place}" for place in places], dtype=object)
    noted = (f"{file.name}: {frame.height:,} rows, {frame.width} columns.", *notes) if rows is None else notes
    return Table(_plain(frame, str(file)), where, np.full(frame.height, "", "<U5"), str(file), file.parent, noted)


def _parquet(file: Path, rows: int | None) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, n_rows=rows)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"it is not a readable Parquet file ({error}).", str(file), "Write it again.") from None


def _json_lines(file: Path, rows: int | None) -> tuple[pl.DataFrame, np.ndarray]:
    """(columns, line of each row). A column of numbers or of booleans keeps its type; any other becomes strings."""
    records: list[dict[str, Any]] = []
    lines: list[int] = []
    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if rows is not None and len(records) >= rows:
                    break
                if line.strip():
                    records.append(_record(line, f"{file}:{number}"))
                    lines.append(number)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read ({error}).", str(file), "Check that it is whole.") from None
    if not records:
        raise DataError("the file is empty.", str(file), "Give one JSON object a line.")
    names = dict.fromkeys(name for record in records for name in record)
    return pl.DataFrame([_column(name, [r.get(name) for r in records]) for name in names]), np.array(lines)


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"the line is not JSON ({error}).", where, "Give one JSON object a line, in UTF-8.") from None
    if not isinstance(record, dict):
        raise DataError("the line is not a JSON object.", where, 'Give one such as {"age": 3} a line.')
    nested = [name for name, value in record.items() if isinstance(value, list | dict)]
    if nested:
        raise DataError(f'"{nested[0]}" holds a list or an object.', where, "Give a column of its own to each value.")
    return record


def _column(name: str, cells: list[Any]) -> pl.Series:
    """Python values as one column: Boolean or Float64 where all are, else String."""
    present = [cell for cell in cells if cell is not None]
    if present and all(isinstance(cell, bool) for cell in present):
        return pl.Series(name, cells, dtype=pl.Boolean)
    if present and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in present):
        return pl.Series(name, [None if cell is None else float(cell) for cell in cells], dtype=pl.Float64)
    return pl.Series(name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)


def _plain(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame, when every column holds single values. Raises DataError naming one that does not."""
    for column, dtype in frame.schema.items():
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
            raise DataError(f'the column "{column}" holds {dtype}.', name, "Give a column of its own to each value.")
    return frame


# --- memory ---


def _from_memory(source: Source) -> Table:
    given, answers = source.where, None
    if isinstance(given, tuple | list) and len(given) == 2:
        given, answers = given
    if isinstance(given, pl.DataFrame):
        frame, labels = given, range(given.height)
    elif type(given).__module__.partition(".")[0] == "pandas" and hasattr(given, "columns"):
        frame, labels = _from_pandas(given), given.index.tolist()
    else:
        frame = _from_array(given)
        labels = range(frame.height)
    if answers is not None:
        frame = _with_answers(frame, answers, source.target or "target")
    if frame.height == 0:
        raise DataError("the table has no rows.", "source", "Give rows.")
    where = np.array([f"row {label}" for label in labels], dtype=object)
    notes = (f"A table from memory: {frame.height:,} rows, {frame.width} columns.",)
    return Table(_plain(frame, "source"), where, np.full(frame.height, "", "<U5"), "source", None, notes)


def _from_pandas(given: Any) -> pl.DataFrame:
    """A pandas DataFrame column by column through NumPy, which needs no further library."""
    names = [str(name) for name in given.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f'the column name "{twice[0]}" is there twice.', "source", "Give each a name of its own.")
    return pl.DataFrame([_from_pandas_column(name, given.iloc[:, at]) for at, name in enumerate(names)])


def _from_pandas_column(name: str, column: Any) -> pl.Series:
    kind = getattr(column.dtype, "kind", "O")
    if kind == "b":
        return _column(name, [None if gone else bool(cell) for cell, gone in zip(column, column.isna(), strict=True)])
    if kind in "iuf":
        return pl.Series(name, column.to_numpy(dtype=np.float64, na_value=np.nan)).fill_nan(None)
    if kind == "M":
        naive = column if column.dt.tz is None else column.dt.tz_convert(None)
        return pl.Series(name, naive.to_numpy().astype("datetime64[us]"))
    return _column(name, [None if gone else cell for cell, gone in zip(column, column.isna(), strict=True)])


def _from_array(given: Any) -> pl.DataFrame:
    array = np.asarray(given)
    if array.ndim != 2 or array.dtype.kind not in "biufOU":
        raise DataError(
            f"an array of shape {array.shape} and type {array.dtype} is no table.",
            "source",
            "Give a path, a data frame, or numbers as (rows, columns).",
        )
    if array.dtype.kind in "OU":
        return pl.DataFrame([_column(str(at), array[:, at].tolist()) for at in range(array.shape[1])])
    return pl.DataFrame([pl.Series(str(at), array[:, at].astype(np.float64)) for at in range(array.shape[1])])


def _with_answers(frame: pl.DataFrame, answers: Any, target: str) -> pl.DataFrame:
    given = np.asarray(answers)
    if given.ndim != 1 or len(given) != frame.height:
        raise DataError(f"{frame.height} rows, and answers of shape {given.shape}.", "answers", "Give one per row.")
    if target in frame.columns:
        raise DataError(f'answers were given, and there is a column "{target}" too.', "answers", "Give one of the two.")
    return frame.with_columns(_column(target, given.tolist()))


# --- parts ---


def _joined(tables: list[Table], parts: list[str], source: Source, folder: Path) -> Table:
    """Tables of one folder as one. Raises DataError when their columns differ."""
    kept = [tables[0]]
    kept_parts = parts[:1]
    findings: list[Finding] = []
    expected = set(tables[0].frame.columns)
    for table, part in zip(tables[1:], parts[1:], strict=False):
        lacking, more = expected - set(table.frame.columns), set(table.frame.columns) - expected
        if lacking == {source.target} and not more:
            findings.append(_without_answers(table, str(source.target)))
            continue
        if lacking or more:
            differ = f"it lacks {listed(sorted(lacking))}" if lacking else f"it has {listed(sorted(more))} besides"
            raise DataError(
                f"its columns differ from those of {Path(tables[0].name).name}: {differ}.",
                table.name,
                "Give both the same columns."
                if expected & set(table.frame.columns)
                else "The first lines may be data: put a line with the column names first.",
            )
        kept.append(table)
        kept_parts.append(part)
    names = tables[0].frame.columns
    same = all(table.frame.select(names).schema == tables[0].frame.schema for table in kept)
    frames = [table.frame.select(names) for table in kept]
    frame = pl.concat(frames if same else [part.cast(pl.String) for part in frames], rechunk=True)
    return Table(
        frame,
        np.concatenate([table.where for table in kept]),
        np.concatenate([np.full(t.frame.height, part, "<U5") for t, part in zip(kept, kept_parts, strict=True)]),
        str(folder),
        folder,
        tuple(note for table in kept for note in table.notes),
        tuple(findings),
    )


def _without_answers(table: Table, target: str) -> Finding:
    file = Path(table.name).name
    return Finding(
        "file.unused",
        "note",
        f'{file} has no column "{target}", so nothing can be measured on it; it was left out.',
        "Use `lamina predict` on it after training.",
        where=(file,),
    )


def _split_column(table: Table) -> Table:
    """The table with its part taken from a column "split", where that names parts and files did not."""
    name = next((name for name in table.frame.columns if name.lower() == "split"), None)
    if name is None or table.frame.schema[name] != pl.String:
        return table
    cells = [(cell or "").strip().lower() for cell in table.frame[name]]
    if not _all_parts(cells):
        return table
    part = np.array([PART_NAMES[cell] for cell in cells], dtype="<U5")
    note = f'The split is the source\'s own: column "{name}".'
    return replace(table, frame=table.frame.drop(name), part=part, notes=(*table.notes, note))


def _all_parts(cells: Iterable[str]) -> bool:
    return all(cell in PART_NAMES for cell in cells)
