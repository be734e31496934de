"""The examples of a recipe: read and split, encoded, and what their training part teaches; each found out once and kept."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import lamina
from lamina import find
from lamina.data import split
from lamina.data.columns import kinds_of
from lamina.data.conforming import conform
from lamina.data.copies import coincidence_is_likely, digests_of_table
from lamina.data.data import Data
from lamina.data.remembered import key_of, recall, remember
from lamina.data.store import Report, Store, prepare
from lamina.errors import DataError, RunError
from lamina.recipe import Recipe
from lamina.run import FORMAT, to_json_text
from lamina.tasks.task import Facts, Task

OUT = "out"  # the part of examples that are left out


def read_data(recipe: Recipe) -> Data:
    """Find the examples of a recipe and split them as it says."""
    data = split.complete(recipe.task.read(recipe.source), recipe.splits_by, recipe.valid_share, recipe.test_share)
    return without(data, np.array(recipe.left_out, dtype=np.int64))


def in_no_part(data: Data, rows: np.ndarray) -> Data:
    """The data with some examples in no part."""
    part = data.part.astype("<U5")
    part[rows] = OUT
    return replace(data, part=part)


def without(data: Data, rows: np.ndarray) -> Data:
    """The same; but those of the test part stay, so that scores remain comparable."""
    return in_no_part(data, rows[data.part[rows] != "test"])


def readable(data: Data, store: Store, recipe: Recipe) -> tuple[Data, Recipe]:
    """The data with what could not be encoded in no part, and what a recipe knows of it; and the recipe that knows it.

    Raises DataError where nothing of a part can be read.
    """
    for part, count in data.counts().items():
        if count and not len(store.rows_of(data, part)):
            where, why = store.failures[0]
            what = f"none of the {count:,} examples of the {part} part can be read; the first: {why}"
            raise DataError(what, where, "Replace the files, or take the part away: it is carved then.")
    left_out = tuple(np.flatnonzero(data.part == OUT).tolist())
    unread = tuple(sorted({*recipe.unread, *np.setdiff1d(np.arange(len(data)), store.kept).tolist()}))
    data = in_no_part(data, np.array(unread, dtype=np.int64))
    parts = digest_of_parts(data)
    return data, replace(recipe, fingerprint=data.fingerprint(), left_out=left_out, unread=unread, parts=parts)


def digest_of_parts(data: Data) -> str:
    """Sixteen hexadecimal digits that change when an example comes into another part."""
    return hashlib.blake2b("\n".join(data.part).encode(), digest_size=8).hexdigest()


def open_data(recipe: Recipe, facts: Facts, report: Report | None = None) -> tuple[Data, Store]:
    """The very examples of a run. Raises RunError when they have changed since."""
    if recipe.source.where is None:
        raise RunError("the run was trained on data in memory.", "data", "Pass the data to this call.")
    data = in_no_part(read_data(recipe), np.array(recipe.unread, dtype=np.int64))
    if recipe.fingerprint and data.fingerprint() != recipe.fingerprint:
        raise RunError(
            "the data have changed since the run was made, or this version reads them otherwise: its split cannot be repeated.",
            str(recipe.source.where),
            "Restore them, or name labelled data: lamina evaluate RUN DATA.",
        )
    if recipe.parts and digest_of_parts(data) != recipe.parts:
        raise RunError(
            "this version splits the data otherwise than the run was made with: what it trained on would be tested.",
            str(recipe.source.where),
            "Train again, or name other labelled data: lamina evaluate RUN DATA.",
        )
    return data, encoded(recipe.task, facts, data, report, recipe.source.name)


def encoded(
    task: Task, facts: Facts, data: Data, report: Report | None = None, name: str = "", again: bool = False
) -> Store:
    """The store of ``data``, which people call ``name``; made where it is not there yet, or where it lacks examples that can be
    read by now and ``again`` is asked for."""
    decides = {
        "task": repr(task),
        "code": find.code_of(type(task)),
        "facts": {name: fact for name, fact in facts.items() if name != "settled"},  # that came after training
        "format": FORMAT,
        "form": _form(data),
    } | ({"files": files} if (files := _files(task)) else {})
    return prepare(
        data, lambda raws: task.encode(raws, facts), lambda given: task.target(given, facts), decides, report,
        name, find.name_of(type(task)), again,
    )  # fmt: skip


def learned(task: Task, data: Data) -> Facts:
    """The facts of the training part, found out once."""
    train = data.of("train")
    code = find.code_of(type(task))
    key = key_of(train.fingerprint(), _form(train), repr(task), _files(task), code, lamina.__version__, FORMAT)
    known = recall("facts", key)
    if known is None:
        known = json.loads(to_json_text(task.facts(train)))  # as a run that is resumed will read them
        remember("facts", key, known)
    return known


def contents(data: Data, facts: Facts) -> np.ndarray:
    """(examples,) uint64: the digest of each; of a table's rows that of the columns which training knows, so that another table
    with more of them, or in another order, has the same."""
    if isinstance(data.raws, pl.DataFrame) and "columns" in facts:
        kinds = kinds_of(facts)
        return digests_of_table(conform(data.raws, kinds), kinds)
    return data.digests


def known_contents(data: Data, facts: Facts) -> np.ndarray:
    """The digests of all that trains or validates; none where rows of a table can be equal by coincidence."""
    known = data.take(np.flatnonzero(np.isin(data.part, ("train", "valid"))))
    return np.unique(contents(known, facts))[: 0 if coincidence_is_likely(known.raws) else None]


def _form(data: Data) -> list[Any]:
    """What the fingerprint does not tell: equal contents with other names of columns, or in another form, teach something
    else; and so do answers of which only a part was told, such as a transcript without its speaker."""
    raws, answers = data.raws, data.answers
    told = [_reprs(answers)] if answers.dtype == object and len(answers) and is_dataclass(answers[0]) else []
    if isinstance(raws, pl.DataFrame):
        return [str(raws.schema), data.spellings, *told]
    if raws.dtype == object and len(raws) and is_dataclass(raws[0]):  # such as passages: what stands before, the column
        return ["object", _reprs(raws), *told]
    return [str(raws.dtype), raws.shape[1:], *told]


def _reprs(things: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for thing in things:
        digest.update(repr(thing).encode())
    return digest.hexdigest()


def _files(task: Task) -> dict[str, str]:
    """The options of a task that name files, with digests of these: what they teach changes with their content."""
    found = {}
    for field in fields(task):
        value = getattr(task, field.name)
        if isinstance(value, str | Path) and os.path.isfile(value):
            with Path(value).open("rb") as stream:
                found[field.name] = hashlib.file_digest(stream, "blake2b").hexdigest()
    return found
