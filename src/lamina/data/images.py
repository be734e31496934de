"""Images: where they lie, and how one becomes pixels.

In goes a source (class folders, a table with a column of paths, arrays); out comes Data whose raws are paths or pixel
arrays. How one of them becomes pixels is in ``decoding``; its public names are here too.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lamina.data.classes import as_written
from lamina.data.data import Data, Source
from lamina.data.decoding import ENDINGS as ENDINGS
from lamina.data.decoding import decode as decode
from lamina.data.decoding import decode_whole as decode_whole
from lamina.data.decoding import image_size_and_mode as image_size_and_mode
from lamina.data.decoding import survey as survey
from lamina.data.decoding import upright as upright
from lamina.data.decoding import upright_size as upright_size
from lamina.data.parts import PART_NAMES, listed, single_class
from lamina.data.pixels import as_bytes, channels_last
from lamina.data.table_files import Table, read_table
from lamina.data.tables import missing_targets, path_column, split_keys, target_of
from lamina.errors import DataError, OptionError
from lamina.findings import Finding

LAYOUT = (
    "Expected: one folder per class with its images inside, such as roses/1.jpg; or the same below train/ and test/."
)


def image_folders(source: Source) -> Data:
    """Read class folders of images, with or without ``train``, ``val`` and ``test`` folders around them.

    Args:
        source: its path is the outermost folder.

    Returns:
        Data whose raws are absolute paths and whose answers are folder names.

    Raises:
        DataError: there are no class folders, or a part has a class that the training part lacks.
    """
    root = source.path
    if root is None or not root.is_dir():
        raise DataError("this is not a folder.", str(source.where)[:200], LAYOUT)
    refuse_columns(source)
    notes: list[str] = []
    findings: list[Finding] = []
    top = _unwrapped(root, notes)
    ignored: list[str] = []
    found: list[tuple[str, str, str]] = []  # part, class, path
    for part, folder in _parts(top, notes):
        classes = _folders(folder)
        if not classes and part in ("valid", "test"):
            findings.append(_unused(folder, root))
            continue
        if not classes:
            raise _no_classes(folder)
        ignored += [entry.name for entry in _entries(folder) if not entry.is_dir()]
        for folder_of_class in classes:
            images, others = _images_below(folder_of_class)
            ignored += others
            found += [(part, folder_of_class.name, image) for image in images]
            if not images:
                findings.append(_empty(folder_of_class, root))
    if not found:
        raise DataError("there is no image in any of its folders.", str(root), LAYOUT)
    if ignored:
        notes.append(f"{len(ignored):,} files that are not images of a class were ignored, such as {ignored[0]}.")
    parts, answers, paths = (np.array(column, dtype=object) for column in zip(*found, strict=True))
    _refuse_classes_without_training(parts, answers, str(root))
    notes.insert(0, f"Images in folders named after {len(set(answers))} classes: {listed(sorted(set(answers)))}.")
    return Data(
        raws=paths,
        answers=answers,
        where=np.array([relative_name(path, root) for path in paths], dtype=object),
        part=parts.astype(str),
        digests=digests_of_files(paths),
        notes=tuple(notes),
        findings=(*findings, *single_class(answers)),
    )


def refuse_columns(source: Source) -> None:
    """Raise OptionError where a folder of images should be split by a column."""
    if source.group or source.time:
        remedy = "Name a table with a column of image paths."
        raise OptionError("folders of images have no columns to split by.", "--group, --time", remedy)


def image_column(source: Source, table: Table | None = None) -> Data:
    """Read a table with a column of image paths and a column of answers.

    Args:
        source: the table, and the name of its target column.
        table: what ``read_table(source)`` gave, where that is at hand.

    Returns:
        Data whose raws are absolute paths; a path in the table is absolute, or relative to the table's folder.

    Raises:
        DataError: no column holds image paths, no path leads to a file, or the target is missing.
    """
    table = table or read_table(source)
    column = path_column(table, ENDINGS)
    if column is None:
        raise DataError("no column holds paths of images.", table.name, f"Columns: {listed(table.frame.columns, 30)}.")
    target = target_of(source, table.frame.drop(column), table.name)
    folder = (table.folder or Path()).absolute()
    cells, answers = (as_written(table.frame[name]) for name in (column, target))
    paths = [os.path.join(folder, (cell or "").strip()) for cell in cells]
    groups, times = (split_keys(table, getattr(source, option), option) for option in ("group", "time"))
    there = np.array([os.path.isfile(path) for path in paths], dtype=bool)
    answered = np.array([bool(answer and answer.strip()) for answer in answers], dtype=bool)
    findings = [
        *table.findings,
        *_missing_files(table, column, cells, there),
        *missing_targets(table.where, answered | ~there, target),
    ]
    kept = np.flatnonzero(there & answered)
    if len(kept) == 0:
        raise DataError(
            f'none of the {len(paths):,} paths in column "{column}" leads to a file with an answer; '
            f"the first was looked for at {paths[0]}.",
            table.name,
            "Paths are relative to the table's folder.",
        )
    chosen = np.array(paths, dtype=object)[kept]
    classes = np.array([str(answers[row]).strip() for row in kept], dtype=object)
    return Data(
        raws=chosen,
        answers=classes,
        where=table.where[kept],
        part=table.part[kept],
        digests=digests_of_files(chosen),
        groups=None if groups is None else groups[kept],
        times=None if times is None else times[kept],
        notes=(*table.notes, f'Images are named in column "{column}", their classes in column "{target}".'),
        findings=(*findings, *single_class(classes)),
    )


def image_arrays(source: Source) -> Data:
    """Take images from Python: a pair (images, answers).

    Args:
        source: ``where`` is (images, answers). Images are (n, h, w), (n, h, w, c) or (n, c, h, w); uint8, or floats in
            0..1 or 0..255, or uint16, or bool. Answers are n class names or numbers.

    Returns:
        Data whose raws are (n, h, w) or (n, h, w, c) uint8.

    Raises:
        DataError: shapes, lengths, ranges or answers that do not fit.
    """
    if not (isinstance(source.where, tuple | list) and len(source.where) == 2):
        raise DataError("arrays of images need answers.", "source", "Give a pair: (images, answers).")
    pixels, notes = as_bytes(np.asarray(source.where[0]))
    pixels = channels_last(pixels, notes)
    given = np.asarray(source.where[1])
    if given.ndim != 1 or len(given) != len(pixels):
        raise DataError(
            f"there are {len(pixels)} images, and answers of shape {given.shape}.", "answers", "Give one per image."
        )
    missing = [row for row, answer in enumerate(given.tolist()) if answer is None or answer != answer]
    if missing:
        raise DataError(f"{len(missing)} answers are missing.", f"answers[{missing[0]}]", "Leave those images out.")
    whole = given.dtype.kind == "f" and bool((given == np.round(given)).all())
    answers = np.array([str(answer) for answer in (given.astype(int) if whole else given).tolist()], dtype=object)
    return Data(
        raws=pixels,
        answers=answers,
        where=np.array([f"image {row}" for row in range(len(pixels))], dtype=object),
        part=np.full(len(pixels), "", dtype="<U5"),
        digests=digests_of_rows(pixels),
        notes=(f"{len(pixels):,} images of {pixels.shape[2]} x {pixels.shape[1]} pixels, from memory.", *notes),
        findings=tuple(single_class(answers)),
    )


def digests_of_rows(array: np.ndarray) -> np.ndarray:
    """(examples,) uint64: a hash of each row's bytes."""
    rows = np.ascontiguousarray(array)
    return np.fromiter((_hash(row.tobytes()) for row in rows), dtype=np.uint64, count=len(rows))


def digests_of_files(paths: np.ndarray) -> np.ndarray:
    """(files,) uint64: a hash of each file's bytes; of its name where it cannot be read (decoding will say so)."""
    pieces = np.array_split(paths, max(1, len(paths) // 256))
    with ThreadPoolExecutor(8) as workers:
        hashes = workers.map(lambda piece: [_hash_of_file(path) for path in piece], pieces)
        return np.fromiter(chain.from_iterable(hashes), dtype=np.uint64, count=len(paths))


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _hash_of_file(path: str) -> int:
    try:
        with open(path, "rb") as stream:
            return _hash(stream.read())
    except OSError:
        return _hash(os.fsencode(path))


# --- folders ---


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, by name, less what systems leave behind."""
    left_behind = ("Thumbs.db", "desktop.ini", "__MACOSX")
    return sorted(entry for entry in folder.iterdir() if entry.name[0] != "." and entry.name not in left_behind)


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _entries(folder) if entry.is_dir()]


def _unwrapped(root: Path, notes: list[str]) -> Path:
    """The folder that holds the classes or parts: an archive unpacks to a folder in a folder."""
    folder = root
    for _ in range(3):
        inner = _folders(folder)
        if len(inner) != 1 or inner[0].name.lower() in PART_NAMES or len(_folders(inner[0])) < 2:
            break
        folder = inner[0]
        notes.append(f"Read {folder.name}/, the only folder inside.")
    return folder


def _parts(top: Path, notes: list[str]) -> list[tuple[str, Path]]:
    """(part, folder) of each part; part "" where the source has none."""
    if not _entries(top):
        raise DataError("the folder is empty.", str(top), LAYOUT)
    folders = _folders(top)
    parts: list[tuple[str, Path]] = [
        (PART_NAMES[folder.name.lower()], folder) for folder in folders if folder.name.lower() in PART_NAMES
    ]
    if not parts:
        return [("", top)]
    if "train" not in [part for part, _ in parts]:
        raise DataError(
            f"there is a folder {parts[0][1].name}/ but none for training.", str(top), "Name the other one train/."
        )
    others = [folder.name for folder in folders if folder.name.lower() not in PART_NAMES]
    notes.append(f"The split is the source's own: folders {listed([folder.name for _, folder in parts])}.")
    if others:
        notes.append(f"Folders beside train/ were left out: {listed(others)}.")
    return sorted(parts, key=lambda one: (("train", "valid", "test").index(one[0]), one[1].name))


def _no_classes(folder: Path) -> DataError:
    images = [entry for entry in _entries(folder) if entry.suffix.lower() in ENDINGS]
    if images:
        what = f"it holds {len(images):,} images (such as {images[0].name}) that are in no class folder."
    else:
        what = "it holds no class folders."
    return DataError(what, str(folder), LAYOUT)


def _images_below(folder: Path) -> tuple[list[str], list[str]]:
    """(images, names of other files) below a folder at any depth; a folder that links to one above is entered once."""
    images: list[str] = []
    others: list[str] = []
    entered = {os.path.realpath(folder)}
    for path, folders, files in os.walk(folder, followlinks=True):
        below = [(name, os.path.realpath(os.path.join(path, name))) for name in sorted(folders) if name[0] != "."]
        folders[:] = [name for name, real in below if real not in entered]
        entered.update(real for _, real in below)
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in ENDINGS and name[0] != ".":
                images.append(os.path.abspath(os.path.join(path, name)))
            elif name[0] != "." and name not in ("Thumbs.db", "desktop.ini"):
                others.append(name)
    return images, others


def relative_name(path: str, root: Path) -> str:
    """A path as messages show it; bytes that are not UTF-8 are replaced."""
    return os.fsencode(os.path.relpath(path, root.absolute())).decode("utf-8", "replace").replace(os.sep, "/")


def _empty(folder: Path, root: Path) -> Finding:
    where = relative_name(str(folder.absolute()), root)
    return Finding(
        "class.empty",
        "warning",
        f"The class folder {where}/ holds no image, so the class is not learned from it.",
        "Add images, or remove the folder.",
        where=(where,),
    )


def _unused(folder: Path, root: Path) -> Finding:
    where = relative_name(str(folder.absolute()), root)
    return Finding(
        "file.unused",
        "note",
        f"{where}/ has no class folders, so nothing can be measured on it; it was left out.",
        "Sort its images into class folders, or use `lamina predict` on it.",
        where=(where,),
    )


def _refuse_classes_without_training(parts: np.ndarray, answers: np.ndarray, where: str) -> None:
    trained = set(answers[(parts == "train") | (parts == "")])
    untrained = sorted(set(answers) - trained)
    if untrained:
        part = parts[answers == untrained[0]][0]
        raise DataError(
            f'the {part} part has a class "{untrained[0]}" that the training part lacks.',
            where,
            f"Classes for training: {listed(sorted(trained))}. Spell the folders alike, or move it out.",
        )


def _missing_files(table: Table, column: str, cells: list[Any], there: np.ndarray) -> Iterator[Finding]:
    gone = np.flatnonzero(~there)
    if len(gone):
        yield Finding(
            "file.missing",
            "warning",
            f'{len(gone):,} of {len(there):,} paths in column "{column}" lead to no file; those rows were left out.',
            "Put the files there, or remove the rows.",
            where=tuple(f"{table.where[row]}: {cells[row]}" for row in gone[:20]),
            count=len(gone),
            evidence={"rows": len(there), "missing": len(gone)},
        )
