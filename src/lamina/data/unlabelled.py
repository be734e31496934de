"""Pictures without classes: where they lie. In goes a source, out comes Data whose answers are not-a-number.

A folder of images, with or without ``train``, ``val`` and ``test`` folders inside; an array of pixels; or what has classes that
are not asked for.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from lamina.data.data import Data, Source
from lamina.data.images import ENDINGS, digests_of_files, image_arrays, refuse_columns, relative_name
from lamina.data.parts import PART_NAMES
from lamina.errors import DataError

ANNOTATIONS = (".csv", ".json", ".jsonl", ".tsv", ".txt", ".xml", ".yaml", ".yml", ".parquet")
"""Endings of files that may say something about the images beside them."""


def is_collection(path: Path) -> bool:
    """Whether a folder holds images itself, no folders of them, and no file that could say what is on them."""
    if not path.is_dir():
        return False
    entries = [entry for entry in os.scandir(path) if not entry.name.startswith(".")]
    images = sum(entry.is_file() and entry.name.lower().endswith(tuple(ENDINGS)) for entry in entries)
    told = any(entry.is_dir() or entry.name.lower().endswith(ANNOTATIONS) for entry in entries)
    return images > 0 and not told


def has_classes(path: Path) -> bool:
    """Whether a folder's images lie in at least two folders, beside train, val and test."""
    inner = [entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    parts = [entry for entry in inner if entry.name.lower() in PART_NAMES]
    within = [entry for part in parts for entry in part.iterdir() if entry.is_dir()] if parts else inner
    return len({entry.name for entry in within}) > 1


def collection(source: Source) -> Data:
    """All images below a folder, in alphabetical order; or an array of pixels.

    Raises:
        DataError: there is no image.
    """
    if source.path is None:
        pixels = np.asarray(source.where)
        return without_classes(image_arrays(Source((pixels, np.zeros(len(pixels))))))
    refuse_columns(source)
    root = source.path
    below = (os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names)
    found = sorted(os.path.abspath(file) for file in below if os.path.splitext(file)[1].lower() in ENDINGS)
    if not found:
        raise DataError("there is no image in it.", str(root), "Name a folder of images.")
    paths = np.array(found, dtype=object)
    where = [relative_name(path, root) for path in paths]
    parts = [PART_NAMES.get(name.split("/")[0].lower(), "") for name in where]
    return Data(
        raws=paths,
        answers=np.full(len(paths), np.nan),
        where=np.array(where, dtype=object),
        part=np.array(parts, dtype="<U5"),
        digests=digests_of_files(paths),
        notes=(f"{len(paths):,} images without classes.",),
    )


def without_classes(data: Data) -> Data:
    """The same examples, their classes forgotten; so one class is none too few."""
    findings = tuple(finding for finding in data.findings if finding.kind != "class.single")
    return replace(data, answers=np.full(len(data), np.nan), findings=findings)
