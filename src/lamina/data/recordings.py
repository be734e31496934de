"""Recordings with transcripts: tables, LJSpeech folders and pairs of files in; Data whose raws are paths out.

a table or JSON lines   a column of paths, a column of transcripts; perhaps columns "split" and "speaker"
LJSpeech                metadata.csv with lines ID|text|text as it is read, and wavs/ID.wav
Hugging Face            metadata.csv with the columns file_name and transcription, in the folder of the recordings
pairs                   a.wav beside a.txt, in any folder

Folders train, valid and test may each hold one of these.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamina.data.audio import ENDINGS
from lamina.data.classes import as_written
from lamina.data.data import Data, Source
from lamina.data.parts import PART_NAMES, listed
from lamina.data.recording_checks import LAYOUT, Found, checked, illness
from lamina.data.rows import LOOKED_AT
from lamina.data.table_files import Table, is_table, read_table
from lamina.data.tables import column_of, missing_targets, path_column, split_keys
from lamina.data.text_files import decoded
from lamina.errors import DataError, OptionError

TRANSCRIPTS = ("transcript", "transcription", "text", "sentence", "normalized_text", "words", "label")
SPEAKERS = ("speaker", "speaker_id", "client_id", "voice")


def recognised(source: Source) -> str | None:
    """Why a source holds recordings with transcripts, or None; looks at names and the first rows of a table."""
    path = source.path
    if path is None or not path.exists():
        return None
    if _ljspeech(path):
        return "the folder has the layout of LJSpeech"
    if is_table(path):
        table = read_table(source, LOOKED_AT)
        column = path_column(table, ENDINGS)
        return None if column is None else f'the column "{column}" holds paths of recordings'
    for folder in _parts_of(path):
        if reason := recognised(replace(source, where=folder)):
            return f'in "{folder.name}", {reason}'
    if path.is_dir():
        count = sum(1 for file in _sounds(path) if _beside(file))
        return f"the folder holds {count:,} recordings beside their transcripts" if count else None
    return None


def read(source: Source) -> Data:
    """Find recordings and transcripts; broken, too long and too fast ones are left out, and reported.

    Raises:
        DataError: nothing was found; names what was looked for.
        OptionError: a column is named, and there are none.
    """
    path = source.path
    if path is None and not hasattr(source.where, "columns"):
        raise DataError("recordings are read from files.", "source", LAYOUT)
    if path is not None and not path.exists():
        raise DataError("there is no such file or folder.", str(path), "Check the path.")
    found = _found(source)
    for option, name, keys in (("group", source.group, found.groups), ("time", source.time, found.times)):
        if name is not None and keys is None:
            raise OptionError(
                "there are no columns to split by.", f"--{option} {name}", "Name a table with such a column."
            )
    return checked(found, source.name)


def gather(inputs: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Recordings to be answered: files, folders of them, tables with a column of paths, ``-`` for standard input, or arrays.

    Raises:
        DataError: there is nothing at all.
    """
    raws: list[Any] = []
    where: list[str] = []
    for item in inputs:
        if isinstance(item, np.ndarray | bytes):
            raws.append(item)
            where.append(f"recording {len(raws)}")
        elif str(item) == "-":
            raws.append(sys.stdin.buffer.read())
            where.append("standard input")
        elif Path(item).is_dir():
            below = [str(file) for file in _sounds(Path(item))]
            raws, where = raws + below, where + below
        elif Path(item).is_file() and is_table(Path(item)):
            table = read_table(Source(item))
            column = _needed_column(table)
            folder = (table.folder or Path()).absolute()
            raws += [os.path.join(folder, str(cell or "")) for cell in table.frame[column].to_list()]
            where += table.where.tolist()
        else:
            raws.append(str(item))
            where.append(str(item))
    if not raws:
        raise DataError("there is no recording in it.", listed(inputs), "Name sound files, or folders of them.")
    column_of_raws = np.empty(len(raws), dtype=object)
    for place, raw in enumerate(raws):
        column_of_raws[place] = raw
    return column_of_raws, np.array(where, dtype=object)


# --- layouts ---


def _found(source: Source) -> Found:
    path = source.path
    if path is not None and _ljspeech(path):
        return _from_ljspeech(path)
    if path is None or is_table(path):
        return _from_table(source)
    if parts := _parts_of(path):
        return _joined([(part, _found(replace(source, where=part))) for part in parts])
    return _from_pairs(path)


def _parts_of(path: Path) -> list[Path]:
    """The folders named after parts that hold tables or LJSpeech's layout."""
    if not path.is_dir():
        return []
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and folder.name.lower() in PART_NAMES)
    return [folder for folder in folders if is_table(folder)]


def _joined(found: list[tuple[Path, Found]]) -> Found:
    """What folders named after parts hold, as one."""
    names = [folder.name for folder, _ in found]
    parts: list[str] = [PART_NAMES[name.lower()] for name in names]
    grouped = [one.groups for _, one in found if one.groups is not None]
    timed = [one.times for _, one in found if one.times is not None]
    return Found(
        [each for _, one in found for each in one.paths],
        [each for _, one in found for each in one.texts],
        [each for _, one in found for each in one.speakers],
        [f"{name}/{each}" for name, (_, one) in zip(names, found, strict=True) for each in one.where],
        [part for part, (_, one) in zip(parts, found, strict=True) for _ in one.paths],
        (f"The split is the source's own: folders {listed(names)}.", *found[0][1].notes),
        tuple(finding for _, one in found for finding in one.findings),
        np.concatenate(grouped) if grouped else None,
        np.concatenate(timed) if timed else None,
    )


def _from_table(source: Source) -> Found:
    table = read_table(source)
    column = _needed_column(table)
    target = _transcript_column(source, table, column)
    speaker = next((name for name in table.frame.columns if name.lower() in SPEAKERS), None)
    folder = (table.folder or Path()).absolute()
    cells, texts = (as_written(table.frame[name]) for name in (column, target))
    said = [(text or "").strip() for text in texts]
    groups, times = (split_keys(table, getattr(source, option), option) for option in ("group", "time"))
    there = np.array([bool(text) for text in said])
    kept = np.flatnonzero(there)
    speakers = [""] * len(cells) if speaker is None else [name or "" for name in as_written(table.frame[speaker])]
    note = f'Recordings are named in column "{column}", transcripts are in column "{target}".'
    if speaker is not None:
        note += f' Speakers are in column "{speaker}"; --group {speaker} keeps each on one side of the split.'
    return Found(
        [os.path.join(folder, (cells[row] or "").strip()) for row in kept],
        [said[row] for row in kept],
        [speakers[row] for row in kept],
        table.where[kept].tolist(),
        table.part[kept].tolist(),
        (*table.notes, note),
        (*table.findings, *missing_targets(table.where, there, target)),
        None if groups is None else groups[kept],
        None if times is None else times[kept],
    )


def _needed_column(table: Table) -> str:
    column = path_column(table, ENDINGS)
    if column is None:
        raise DataError(
            "no column holds paths of recordings.", table.name, f"Columns: {listed(table.frame.columns, 30)}."
        )
    return column


def _transcript_column(source: Source, table: Table, paths: str) -> str:
    """The column that was named, or is named as transcripts are, or is the only other one of texts."""
    if source.target is not None:
        column_of(table, source.target)
        return source.target
    others = [name for name in table.frame.columns if name not in (paths, source.group, source.time)]
    for name in TRANSCRIPTS:
        if match := next((other for other in others if other.lower() == name), None):
            return match
    texts = [name for name in others if table.frame.schema[name] == pl.String]
    if len(texts) == 1:
        return texts[0]
    raise DataError(
        f"no column is named as transcripts are ({listed(TRANSCRIPTS)}).",
        table.name,
        f"Name it with --target. Other columns: {listed(others, 30) or 'none'}.",
    )


def _ljspeech(path: Path) -> bool:
    """Whether a folder has metadata.csv with lines of ID|text."""
    told = path / "metadata.csv"
    if not path.is_dir() or not told.is_file() or not (path / "wavs").is_dir():
        return False
    with told.open(encoding="utf-8", errors="replace") as lines:
        return "|" in lines.readline()


def _from_ljspeech(path: Path) -> Found:
    paths, texts, where = [], [], []
    for number, line in enumerate(decoded(path / "metadata.csv").splitlines(), 1):
        cells = line.split("|")
        if len(cells) < 2 or not cells[-1].strip():
            raise DataError(
                "the line has no transcript.", f"metadata.csv:{number}", "Lines are ID|text|text as it is read."
            )
        paths.append(str(path.absolute() / "wavs" / f"{cells[0]}.wav"))
        texts.append(cells[-1].strip())
        where.append(f"metadata.csv:{number}")
    note = "The folder has the layout of LJSpeech; the last field of each line is the transcript."
    return Found(paths, texts, [""] * len(paths), where, [""] * len(paths), (note,))


def _from_pairs(path: Path) -> Found:
    files = list(_sounds(path)) if path.is_dir() else []
    if not files:
        raise DataError("there is no recording in it.", str(path), LAYOUT)
    beside = {file: _beside(file) for file in files}
    texts = {file: " ".join(decoded(text).split()) for file, text in beside.items() if text is not None}
    alone = [str(file.relative_to(path)) for file in files if not texts.get(file)]
    kept = [(file.absolute(), text) for file, text in texts.items() if text]
    if not kept:
        raise DataError("no recording has a transcript beside it.", str(path), LAYOUT)
    parts = []
    for file, _ in kept:
        names = [name.lower() for name in file.relative_to(path.absolute()).parts[:-1]]
        parts.append(next((PART_NAMES[name] for name in names if name in PART_NAMES), ""))
    return Found(
        [str(file) for file, _ in kept],
        [text for _, text in kept],
        [""] * len(kept),
        [str(file.relative_to(path.absolute())) for file, _ in kept],
        parts if "train" in parts else [""] * len(kept),
        ("Transcripts are text files beside the recordings.",),
        tuple(
            illness(
                "recording.no_transcript",
                "have no transcript; they were left out",
                alone,
                len(files),
                "Write one beside each.",
            )
        ),
    )


def _beside(file: Path) -> Path | None:
    """The text file beside a sound file."""
    return next((text for ending in (".txt", ".TXT") if (text := file.with_suffix(ending)).is_file()), None)


def _sounds(folder: Path) -> Iterator[Path]:
    """The sound files below a folder, in alphabetical order."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in ENDINGS and file.name[0] != ".":
            yield file
