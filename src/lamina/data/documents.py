"""Documents: text files, folders of them, columns of tables, JSON lines and lists of texts in; whole documents out.

A document is a file, a row or an item. Whatever they came from, line ends are LF, and what is no text is refused.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamina.data.data import Source
from lamina.data.decoding import ENDINGS as PICTURES
from lamina.data.kinds import typed
from lamina.data.parts import PART_NAMES, listed
from lamina.data.rows import look
from lamina.data.table_files import Table, is_table, read_table
from lamina.data.tables import split_keys
from lamina.data.text_files import ENDINGS, corpus_of, decoded, ending_of, files_below, opened, unreadable
from lamina.errors import DataError, OptionError, unknown
from lamina.findings import Finding

JSON_LINES = (".jsonl", ".ndjson")
LONG = 80  # characters: a column whose cells have as many on average holds texts
LOOKED_AT = 1_000  # rows from which it is told which column holds texts


@dataclass
class Documents:
    """What a source holds."""

    name: str
    texts: list[str]
    where: list[str]
    part: list[str]
    numbered: bool = False
    """Whether a document is a file, so that a passage's place is given by its lines."""
    column: str | None = None
    """The column that they were found in, if they come from a table."""
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def recognised(source: Source) -> tuple[float, str] | None:
    """How surely a source is text to be modelled, 0 to 1, and why; None where it is not. Reads names and first rows only."""
    if (cells := _items(source.where)) is not None:
        strings = bool(cells) and all(isinstance(cell, str) for cell in cells[:LOOKED_AT])
        return (0.9, f"there are {len(cells):,} texts from memory") if strings else None
    if source.path is None:
        return _recognised_column(source) if hasattr(source.where, "columns") else None
    if source.path.is_file() and ending_of(source.path) in ENDINGS:
        return None if source.target else (0.9, "it is a text file")  # with a target it is a table
    if source.path.is_file():
        return _recognised_column(source) if is_table(source.path) else None
    found = files_below(source.path)
    endings = [ending_of(file) for file in found]
    if set(endings) & PICTURES:
        return None
    if is_table(source.path) or set(endings) & {*JSON_LINES}:
        return _recognised_column(source)
    texts = [file for file, end in zip(found, endings, strict=True) if end in ENDINGS]
    if source.target or 2 * len(texts) <= len(found):
        return None
    folders = [[name for name in file.parts[:-1] if name.lower() not in PART_NAMES][:1] for file in texts]
    if all(folders) and len({folder[0] for folder in folders}) > 1:
        return 0.5, f"the folder holds {len(texts):,} text files, though in folders that may be classes"
    return 0.9, f"the folder holds {len(texts):,} text file{'s' * (len(texts) > 1)}"


def documents(source: Source, sort_out: bool = True) -> Documents:
    """All documents of a source.

    Args:
        source: as ``texts.read`` takes it.
        sort_out: whether parts are told by names and what lies beside a corpus is left out.

    Raises:
        DataError: naming file and line or byte.
        OptionError: an option that needs columns, where there are none.
    """
    if source.path is not None and not os.path.exists(source.where):  # not Path.exists, which refuses a long text
        remedy = 'Check the path; a text itself is given as {"text": "Once upon a time"}.'
        raise DataError("there is no such file or folder.", str(source.where)[:80], remedy)
    if has_columns(source.where):
        return _from_table(source, sort_out)
    if option := next((name for name in ("target", "group", "time") if getattr(source, name) is not None), None):
        raise OptionError(
            "texts have no columns.", f"--{option}", "Leave it out, or name a table with a column of texts."
        )
    if (cells := _items(source.where)) is not None:
        where = [f"text {number + 1}" for number in range(len(cells))]
        return _made(Documents("source", [], where, [""] * len(cells)), cells)
    root = Path(source.where)
    corpus, notes = corpus_of(root, ENDINGS, sort_out)
    found = Documents(str(root), [], [file.name for file in corpus], [file.part for file in corpus], numbered=True)
    return _made(replace(found, notes=tuple(notes)), (decoded(file.path) for file in corpus))


def from_records(records: list[Any], column: str) -> Documents:
    """The texts of dictionaries. Raises DataError naming one without."""
    where = [f"record {number + 1}" for number in range(len(records))]
    for place, record in zip(where, records, strict=True):
        if not isinstance(record, dict) or column not in record:
            raise DataError(
                f'there is no "{column}" in it.', place, f'Give dictionaries such as {{"{column}": "Once"}}.'
            )
    return _made(Documents("records", [], where, [""] * len(records)), [record[column] for record in records])


def has_columns(where: Any) -> bool:
    """Whether texts must be looked for in a column: of a table, of JSON lines, of a DataFrame."""
    if not isinstance(where, str | Path):
        return _items(where) is None
    path = Path(where)
    return os.path.exists(path) and ending_of(path) not in ENDINGS and (is_table(path) or _is_json(path))


def _from_table(source: Source, sort_out: bool) -> Documents:
    """The documents of a column; of a table only what is needed is kept."""
    table, column, notes = _column(source)
    if table is None:
        keys = {name for name in (column, source.group, source.time) if name}
        table = _json_table(Path(source.where), {*keys, "split"} if sort_out else keys, column, sort_out)
    cells = table.frame[column].to_list()
    if type(source.where).__module__.partition(".")[0] == "pandas":  # as they were: reading made strings of numbers
        given = [str(name) for name in source.where.columns].index(column)
        series = source.where.iloc[:, given]
        cells = [None if gone else cell for cell, gone in zip(series, series.isna(), strict=True)]
    found = Documents(table.name, [], table.where.tolist(), table.part.tolist(), column=column)
    found.groups = split_keys(table, source.group, "group")
    found.times = split_keys(table, source.time, "time")
    found.notes, found.findings = (*table.notes, *notes), table.findings
    return _made(found, cells)


def _made(found: Documents, cells: Iterable[Any]) -> Documents:
    """The documents, each checked; what is missing is an empty one."""
    found.texts = [_checked(cell, where) for where, cell in zip(found.where, cells, strict=True)]
    windows = 0
    for number, text in enumerate(found.texts):
        if "\r\n" in text:
            windows += 1
            found.texts[number] = text.replace("\r\n", "\n")
    if windows:
        found.notes = (
            *found.notes,
            f"{windows:,} of {len(found.texts):,} documents end lines with CR LF; LF was taken.",
        )
    return found


def _checked(cell: Any, where: str) -> str:
    """A cell, "" where it is missing. Raises DataError when it is no text."""
    if cell is None or (isinstance(cell, float) and cell != cell):
        return ""
    if not isinstance(cell, str):
        raise DataError(f'"{str(cell)[:40]}" is no text but {type(cell).__name__}.', where, "Give strings.")
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise DataError("it holds half of a character (a lone surrogate).", where, "Write it in UTF-8.") from None
    return cell


def _items(where: Any) -> list[Any] | None:
    """The texts of a list, an array or a Series; None for anything else."""
    if isinstance(where, list) or (hasattr(where, "to_list") and not hasattr(where, "columns")):
        cells: list[Any] = list(where)
    elif isinstance(where, np.ndarray) and where.ndim == 1 and where.dtype.kind in "OU":
        cells = where.tolist()
    else:
        return None
    return None if cells and isinstance(cells[0], list | tuple | np.ndarray) else cells


# --- columns ---


def _recognised_column(source: Source) -> tuple[float, str] | None:
    json_lines = source.path is not None and _is_json(source.path)
    frame = (_json_table(Path(source.where), None) if json_lines else look(source, LOOKED_AT)).frame
    only = frame.columns[0] if frame.width == 1 else None
    if only and source.target in (None, only) and _is_string(frame[only]):
        if only.lower() == "text" or _mean_length(frame[only]) >= LONG:
            return 0.9, f'its only column, "{only}", holds texts'
    elif source.target is None and (named := _named_text(frame)) and _is_string(frame[named]):
        return 0.3, f'the column "{named}" holds texts'
    return None


def _column(source: Source) -> tuple[Table | None, str, tuple[str, ...]]:
    """(the table, or None for JSON lines, which are read when the column is known; the column of texts; notes)."""
    json_lines = source.path is not None and _is_json(source.path)
    table = _json_table(Path(source.where), None) if json_lines else read_table(source)
    frame = table.frame
    for option in ("target", "group", "time"):
        name = getattr(source, option)
        if name is not None and name not in frame.columns:
            error = unknown(f"column (--{option})", name, frame.columns)
            error.where = table.name
            raise error
    rest = None if json_lines else table
    if source.target is not None:
        if frame.schema[source.target] != pl.String:
            what = f'the column "{source.target}" holds {frame.schema[source.target]}, no texts.'
            raise DataError(what, table.name, "Name another with --target.")
        return rest, source.target, ()
    strings = [name for name in frame.columns if name not in (source.group, source.time) and _is_string(frame[name])]
    long = [name for name in strings if _mean_length(frame[name]) >= LONG]
    named = _named_text(frame.select(strings))
    chosen = [named] if named else strings if len(strings) == 1 else long
    if len(chosen) != 1:
        what = "no column holds texts" if not strings else "it is not clear which column holds the texts"
        raise DataError(
            f"{what}; columns: {listed(frame.columns, 30)}.",
            table.name,
            f"Name it, perhaps --target {(chosen or strings)[0]}."
            if strings
            else "Name a table with a column of texts.",
        )
    return rest, chosen[0], (f'The texts are those of the column "{chosen[0]}"; --target names another.',)


def _named_text(frame: pl.DataFrame) -> str | None:
    return next((name for name in frame.columns if name.lower() == "text"), None)


def _is_string(column: pl.Series) -> bool:
    """Whether cells are neither numbers nor dates nor yes and no, as far as the first say."""
    return column.dtype == pl.String and typed(column.head(LOOKED_AT)).values.dtype == pl.String


def _mean_length(column: pl.Series) -> float:
    lengths = column.head(LOOKED_AT).drop_nulls().str.len_chars()
    return float(lengths.sum()) / max(1, len(lengths))


def _json_table(root: Path, wanted: set[str] | None, text: str = "", sort_out: bool = True) -> Table:
    """JSON lines, one or several files, as a table of strings.

    Args:
        root: a file or a folder.
        wanted: fields to keep; None looks at the first rows only, and keeps all that hold single values.
        text: the field whose every value must be a string.
        sort_out: as in ``documents``.

    Raises:
        DataError: naming file and line.
    """
    shards, notes = corpus_of(root, JSON_LINES, sort_out)
    records: list[dict[str, Any]] = []
    where: list[str] = []
    part: list[str] = []
    for file in shards if wanted is not None else shards[:1]:
        for number, record in _records(file.path):
            if wanted is None and len(records) == LOOKED_AT:
                break
            where.append(f"{file.name}:{number}")
            part.append(file.part)
            if text:
                _checked(record.get(text), where[-1])
            plain = {name: value for name, value in record.items() if not isinstance(value, list | dict)}
            records.append({name: plain[name] for name in plain if wanted is None or name in wanted})
    if not records:
        raise DataError("there is no row in it.", str(root), 'Give one JSON object such as {"text": "Once"} a line.')
    names = dict.fromkeys(name for record in records for name in record)
    frame = pl.DataFrame([_strings(name, [record.get(name) for record in records]) for name in names])
    table = read_table(Source(frame))  # a column "split" is taken as there
    parts = np.array(part, dtype="<U5") if any(part) else table.part
    noted = (*notes, f"{root.name}: {len(records):,} rows.", *table.notes[1:])
    return replace(table, where=np.array(where, dtype=object), part=parts, name=str(root), notes=noted)


def _records(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of each line that is not blank."""
    try:
        with opened(file) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, _record(line, f"{file}:{number}")
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error) from None


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is not JSON ({error}).", where, "Give one JSON object a line, in UTF-8.") from None
    if not isinstance(record, dict):
        raise DataError("the line is not a JSON object.", where, 'Give one such as {"text": "Once"} a line.')
    return record


def _strings(name: str, cells: list[Any]) -> pl.Series:
    texts = [None if cell is None else str(cell).encode("utf-8", "replace").decode() for cell in cells]
    return pl.Series(name, texts, dtype=pl.String)


def _is_json(path: Path) -> bool:
    if not path.is_dir():
        return ending_of(path) in JSON_LINES
    endings = {ending_of(file) for file in files_below(path)}
    return bool(endings & {*JSON_LINES}) and not endings & {".csv", ".tsv", ".parquet"}
