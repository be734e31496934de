"""Recordings with transcripts: tables, LJSpeech folders and pairs of files in; Data whose raws are paths out.

a table or JSON lines   a column of paths, a column of transcripts; perhaps columns "split" and "speaker"
LJSpeech                metadata.csv with lines ID|text|text as it is read, and wavs/ID.wav
Hugging Face            metadata.csv with the columns file_name and transcription, in the folder of the recordings
pairs                   a.wav beside a.txt, in any folder; train/ and test/ are parts
"""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lamina.data.audio import ENDINGS, Header, header
from lamina.data.data import Data, Source
from lamina.data.images import digests_of_files
from lamina.data.parts import PART_NAMES, listed
from lamina.data.rows import LOOKED_AT
from lamina.data.table_files import Table, is_table, read_table
from lamina.data.tables import column_of, missing_targets
from lamina.errors import DataError, OptionError
from lamina.findings import Finding

TRANSCRIPTS = ("transcript", "transcription", "text", "sentence", "normalized_text", "words", "label")
SPEAKERS = ("speaker", "speaker_id", "client_id", "voice")
LONGEST = 60.0  # seconds of a recording to train with
FASTEST = 30.0  # characters per second that anybody speaks
SAME = 10  # recordings of each transcript from which on the transcripts are balanced in a split
_LAYOUT = "Give a table with columns of paths and transcripts, an LJSpeech folder, or a folder of a.wav beside a.txt."


@dataclass(frozen=True)
class Transcript:
    """What was said, and by whom, where that is known."""

    text: str
    speaker: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Found:
    """What a source holds, row by row."""

    paths: list[str]
    texts: list[str]
    speakers: list[str]
    where: list[str]
    part: list[str]
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    groups: np.ndarray | None = None


def recognised(source: Source) -> str | None:
    """Why a source holds recordings with transcripts, or None; looks at names and the first rows of a table."""
    path = source.path
    if path is None or not path.exists():
        return None
    if _ljspeech(path):
        return "the folder has the layout of LJSpeech"
    if is_table(path):
        table = read_table(source, LOOKED_AT)
        column = path_column(table)
        return None if column is None else f'the column "{column}" holds paths of recordings'
    if path.is_dir():
        count = sum(1 for file in _sounds(path) if file.with_suffix(".txt").is_file())
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
        raise DataError("recordings are read from files.", "source", _LAYOUT)
    if path is not None and not path.exists():
        raise DataError("there is no such file or folder.", str(path), "Check the path.")
    if path is not None and _ljspeech(path):
        found = _from_ljspeech(path)
    elif path is None or is_table(path):
        found = _from_table(source)
    else:
        found = _from_pairs(path)
    if found.groups is None and source.group is not None:
        raise OptionError("there are no columns to group by.", "--group", "Name a table with such a column.")
    return _checked(found, source.name)


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


def path_column(table: Table) -> str | None:
    """The first column whose cells, nearly all, end like sound files; None when there is none."""
    for name in table.frame.columns:
        if table.frame.schema[name] == pl.String:
            cells = table.frame[name].drop_nulls().str.strip_chars().str.to_lowercase()
            cells = cells.filter(cells != "").head(1000)
            named = cells.str.contains(r"\.(" + "|".join(ending[1:] for ending in sorted(ENDINGS)) + ")$")
            if len(cells) and float(named.sum()) >= 0.95 * len(cells):
                return name
    return None


# --- layouts ---


def _from_table(source: Source) -> _Found:
    table = read_table(source)
    column = _needed_column(table)
    target = _transcript_column(source, table, column)
    speaker = next((name for name in table.frame.columns if name.lower() in SPEAKERS), None)
    folder = (table.folder or Path()).absolute()
    cells, texts = (table.frame[name].cast(str).to_list() for name in (column, target))
    said = [(text or "").strip() for text in texts]
    there = np.array([bool(text) for text in said])
    kept = np.flatnonzero(there)
    speakers = [""] * len(cells) if speaker is None else table.frame[speaker].cast(str).fill_null("").to_list()
    note = f'Recordings are named in column "{column}", transcripts are in column "{target}".'
    if speaker is not None:
        note += f' Speakers are in column "{speaker}"; --group {speaker} keeps each on one side of the split.'
    return _Found(
        [os.path.join(folder, (cells[row] or "").strip()) for row in kept],
        [said[row] for row in kept],
        [speakers[row] for row in kept],
        table.where[kept].tolist(),
        table.part[kept].tolist(),
        (*table.notes, note),
        (*table.findings, *missing_targets(table.where, there, target)),
        None if source.group is None else np.array(column_of(table, source.group).cast(str).to_list())[kept],
    )


def _needed_column(table: Table) -> str:
    column = path_column(table)
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
    others = [name for name in table.frame.columns if name != paths]
    for name in TRANSCRIPTS:
        if match := next((other for other in others if other.lower() == name), None):
            return match
    texts = [name for name in others if table.frame.schema[name] == pl.String]
    if len(texts) == 1:
        return texts[0]
    raise DataError(
        f"no column is named as transcripts are ({listed(TRANSCRIPTS)}).",
        table.name,
        f"Name it with --target. Columns: {listed(others, 30)}.",
    )


def _ljspeech(path: Path) -> bool:
    """Whether a folder has metadata.csv with lines of ID|text."""
    told = path / "metadata.csv"
    if not path.is_dir() or not told.is_file() or not (path / "wavs").is_dir():
        return False
    with told.open(encoding="utf-8", errors="replace") as lines:
        return "|" in lines.readline()


def _from_ljspeech(path: Path) -> _Found:
    paths, texts, where = [], [], []
    for number, line in enumerate((path / "metadata.csv").read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split("|")
        if len(cells) < 2 or not cells[-1].strip():
            raise DataError(
                "the line has no transcript.", f"metadata.csv:{number}", "Lines are ID|text|text as it is read."
            )
        paths.append(str(path.absolute() / "wavs" / f"{cells[0]}.wav"))
        texts.append(cells[-1].strip())
        where.append(f"metadata.csv:{number}")
    note = "The folder has the layout of LJSpeech; the last field of each line is the transcript."
    return _Found(paths, texts, [""] * len(paths), where, [""] * len(paths), (note,))


def _from_pairs(path: Path) -> _Found:
    files = list(_sounds(path)) if path.is_dir() else []
    if not files:
        raise DataError("there is no recording in it.", str(path), _LAYOUT)
    paired = [file for file in files if file.with_suffix(".txt").is_file()]
    alone = [str(file.relative_to(path)) for file in files if not file.with_suffix(".txt").is_file()]
    texts: list[str] = []
    for file in paired:
        try:
            texts.append(" ".join(file.with_suffix(".txt").read_text(encoding="utf-8-sig").split()))
        except UnicodeDecodeError:
            where = str(file.with_suffix(".txt").relative_to(path))
            raise DataError("the transcript is not UTF-8.", where, "Save it as UTF-8.") from None
    alone += [str(file.relative_to(path)) for file, text in zip(paired, texts, strict=True) if not text]
    kept = [(file.absolute(), text) for file, text in zip(paired, texts, strict=True) if text]
    if not kept:
        raise DataError("no recording has a transcript beside it.", str(path), _LAYOUT)
    parts = []
    for file, _ in kept:
        names = [name.lower() for name in file.relative_to(path.absolute()).parts[:-1]]
        parts.append(next((PART_NAMES[name] for name in names if name in PART_NAMES), ""))
    return _Found(
        [str(file) for file, _ in kept],
        [text for _, text in kept],
        [""] * len(kept),
        [str(file.relative_to(path.absolute())) for file, _ in kept],
        parts if "train" in parts else [""] * len(kept),
        ("Transcripts are text files beside the recordings.",),
        tuple(_finding("recording.no_transcript", "have no transcript", alone, len(files), "Write one beside each.")),
    )


def _sounds(folder: Path) -> Iterator[Path]:
    """The sound files below a folder, in alphabetical order."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in ENDINGS and file.name[0] != ".":
            yield file


# --- checks ---


def _checked(found: _Found, name: str) -> Data:
    """Data of what can be read; findings about the rest."""
    if not found.paths:
        raise DataError("there is no recording with a transcript in it.", name, _LAYOUT)
    with ThreadPoolExecutor(4) as workers:
        headers = list(workers.map(_header, found.paths))
    good = np.array([not isinstance(told, str) and told.samples > 0 for told in headers])
    broken = [f"{where}: {told if isinstance(told, str) else 'it has no samples'}"
              for where, told, fine in zip(found.where, headers, good, strict=True) if not fine]  # fmt: skip
    seconds = np.array([told.seconds if isinstance(told, Header) else 0.0 for told in headers])
    letters = np.array([len(text) for text in found.texts])
    long, fast = good & (seconds > LONGEST), good & (letters > FASTEST * seconds)
    where = np.array(found.where, dtype=object)
    findings = [
        *found.findings,
        *_finding("recording.broken", "cannot be read", broken, len(good), "Replace them."),
        *_finding(
            "recording.long", f"last longer than {LONGEST:.0f} s", where[long], len(good), "Cut them at pauses.",
        ),
        *_finding(
            "recording.fast", f"have more than {FASTEST:.0f} characters per second", where[fast], len(good),
            "Compare them with their transcripts: one of the two is cut off, or they belong to others.",
        ),
    ]  # fmt: skip
    kept = np.flatnonzero(good & ~long & ~fast)
    if not len(kept):
        first = broken[0] if broken else str(where[0])
        raise DataError(f"none of the {len(good):,} recordings can be used.", first, "Check the files.")
    read = [headers[row] for row in kept]
    rates = sorted({told.rate for told in read if isinstance(told, Header)})
    channels = sorted({told.channels for told in read if isinstance(told, Header)})
    amount = (
        f"Recordings: {len(kept):,}, {seconds[kept].sum() / 60:,.1f} minutes, at {listed(rates)} samples per second"
    )
    mixed = f", {listed(channels)} channels, mixed to one." if channels != [1] else "."
    paths = np.array(found.paths, dtype=object)[kept]
    answers = np.empty(len(kept), dtype=object)
    for place, row in enumerate(kept):
        answers[place] = Transcript(found.texts[row], found.speakers[row])
    texts = np.array(found.texts, dtype=object)[kept]
    few = len(set(texts)) * SAME <= len(texts)
    return Data(
        raws=paths,
        answers=answers,
        where=where[kept],
        part=np.array(found.part, dtype="<U5")[kept],
        digests=digests_of_files(paths),
        groups=None if found.groups is None else found.groups[kept],
        balanced=texts if few else np.full(len(kept), "", dtype=object),
        notes=(*found.notes, amount + mixed),
        findings=tuple(findings),
    )


def _header(path: str) -> Header | str:
    try:
        return header(path)
    except DataError as error:
        return error.what


def _finding(kind: str, what: str, where: Sequence[str] | np.ndarray, of: int, remedy: str) -> Iterator[Finding]:
    if len(where):
        yield Finding(
            kind,
            "warning",
            f"{len(where):,} of {of:,} recordings {what}; they were left out.",
            remedy,
            where=tuple(map(str, where[:20])),
            count=len(where),
            evidence={"recordings": of, "left_out": len(where)},
        )
