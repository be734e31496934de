"""Text files: a file or a folder in; out come the files of a corpus, each with its part, and what they hold."""

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import IO, NamedTuple, cast

from lamina.data.images import relative_name
from lamina.data.parts import PART_NAMES, listed
from lamina.data.table_files import part_of_name
from lamina.errors import DataError

ENDINGS = (".txt", ".text", ".md", ".tokens")
"""Endings of text files, each also with .gz; the last is WikiText's."""
BESIDE = ("readme", "license", "licence", "copying", "changelog")
"""Stems of files that lie beside a corpus and are no part of it."""


class File(NamedTuple):
    """A file of a corpus."""

    path: Path
    name: str
    """Below the folder that was named."""
    part: str


def corpus_of(root: Path, endings: Sequence[str], sort_out: bool) -> tuple[list[File], list[str]]:
    """The files with such endings, each with its part; and notes. Raises DataError when there are none."""
    if not root.is_dir():
        return [File(root, relative_name(str(root), root.parent), "")], []
    names = [name for name in files_below(root) if ending_of(name) in endings]
    if not names:
        raise DataError(
            "the folder holds no text files.", str(root), f"Texts end in {listed(endings)}, some also in .gz."
        )
    notes = []
    if sort_out:
        corpus = [name for name in names if name.name.lower().partition(".")[0] not in BESIDE] or names
        parts = [_part(name) for name in corpus]
        named = [name for name, part in zip(corpus, parts, strict=True) if part]
        if len(named) == len(corpus) > 1 and "train" not in parts:
            raise DataError(f"no file says that it is for training: {listed(named)}.", str(root), "Name one train.")
        if "train" in parts and 2 * len(named) > len(corpus):
            notes.append(f"The split is the source's own: {listed(named)}.")
            pairs = [(name, part) for name, part in zip(corpus, parts, strict=True) if part]
        else:
            if named:
                notes.append(f"Most files name no part, so {listed(named, 3)} was taken as one like the others.")
            pairs = [(name, "") for name in corpus]
        if unused := [name for name in names if name not in {used for used, _ in pairs}]:
            notes.append(f"Left out: {listed(unused)}.")
    else:
        pairs = [(name, "") for name in names]
    return [File(root / name, relative_name(str(root / name), root), part) for name, part in pairs], notes


def decoded(file: Path) -> str:
    """A file's text. Raises DataError naming the line and the byte that is none."""
    try:
        with opened(file) as stream:
            content: bytes = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(file, error) from None
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    if not wide and (zero := content.find(b"\0")) >= 0:
        raise DataError(
            f"byte {zero:,} is zero, so it is not a text file.", str(file), "Save its text as UTF-8, or leave it out."
        )
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte {content[error.start]:#04x} at offset {error.start:,} is not {'UTF-16' if wide else 'UTF-8'}.",
            f"{file}:{line}",
            "Save the file as UTF-8, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW.",
        ) from None


def ending_of(file: PurePath) -> str:
    """The ending before .gz, in lower case."""
    return PurePath(file.name.lower().removesuffix(".gz")).suffix


def files_below(root: Path) -> list[PurePath]:
    """The files below a folder, relative to it, in alphabetical order; hidden ones left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [PurePath(os.path.relpath(os.path.join(folder, name), root)) for name in names if name[0] != "."]
    return sorted(found)


def opened(file: Path) -> IO[bytes]:
    """A file, plain or .gz."""
    return cast(IO[bytes], gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")


def unreadable(file: Path, error: Exception) -> DataError:
    """The error for a file that is missing, may not be read or was cut."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(f"the file cannot be read ({reason}).", str(file), "Check that it is whole.")


def _part(name: PurePath) -> str:
    """The part that a path says: by a folder, else by the file."""
    folder = next((folder.lower() for folder in name.parts[:-1] if folder.lower() in PART_NAMES), None)
    return PART_NAMES[folder] if folder else part_of_name(Path(name.name)) or ""
