"""Building: examples are encoded once, in threads, and written row by row into the folder of a store.

    NAME.bin            an array, row by row; of a ragged one all values, and the margin that Ragged wants
    NAME.offsets.bin    of a ragged one, where each example's values begin
    store.json          {"arrays": {"inputs.image": {"dtype", "shape"}, ...}, "failures", "data", "task", "examples"}
    lock                held by whoever builds or uses the store

Only as much as the threads are working on is in memory at any moment, however many examples there are.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from lamina.data.data import Arrays, Data, Raws
from lamina.errors import DataError

FORMAT = 4
CHUNK = 128  # examples that one worker encodes at a time
ROWS = 4096  # rows of a table, which are small, and quicker together
SHARES = (
    16  # into which examples are divided that cannot be encoded together: half of a chunk is likely to fail as well
)
AHEAD = 2  # chunks per worker that are encoded before they can be written

Encode = Callable[[Raws], Arrays]
Target = Callable[[np.ndarray], Arrays]
Report = Callable[[int, int], None]
"""Called with (examples done, examples in all)."""
Chunk = tuple[int, Arrays | None, np.ndarray, dict[int, str]]
"""Its first example, and what ``encode_each`` says of it."""


def encode_each(raws: Raws, encode: Encode) -> tuple[Arrays | None, np.ndarray, dict[int, str]]:
    """Encode examples together; when that fails, fewer at a time, so that a bad one is named and the rest still run.

    Returns:
        The arrays of the good ones (None when there are none), their indices, and why each bad one failed.
    """
    try:
        return encode(raws), np.arange(len(raws)), {}
    except DataError as error:
        if len(raws) <= 1:
            return None, np.array([], dtype=int), dict.fromkeys(range(len(raws)), error.what)
    share = -(-len(raws) // SHARES)
    found: list[Arrays] = []
    good: list[np.ndarray] = []
    bad: dict[int, str] = {}
    for start in range(0, len(raws), share):
        arrays, fine, failed = encode_each(raws[start : start + share], encode)
        found += [] if arrays is None else [arrays]
        good.append(start + fine)
        bad |= {start + index: why for index, why in failed.items()}
    together = {name: np.concatenate([arrays[name] for arrays in found]) for name in found[0]} if found else None
    return together, np.concatenate(good), bad


def build(
    data: Data, encode: Encode, target: Target, folder: Path, report: Report | None, told: dict[str, Any]
) -> None:
    """Encode all examples and write them, in their order, into ``folder``; ``store.json`` last.

    Args:
        data: the examples.
        encode: raws -> arrays.
        target: answers -> arrays.
        folder: is there, and belongs to nobody else.
        report: told how far it is.
        told: what else ``store.json`` shall say.

    Raises:
        DataError: no example could be read, or the arrays do not fit together; names the example and the rule.
        OSError: they cannot be written.
    """
    targets = target(data.answers)
    total = len(data)
    kept: list[np.ndarray] = []
    failures: list[tuple[str, str]] = []
    with ExitStack() as open_files:
        writer = _Writer(folder, open_files)
        chunk = ROWS if isinstance(data.raws, pl.DataFrame) else CHUNK
        for start, arrays, good, bad in _encoded(data.raws, encode, chunk):
            failures += [(str(data.where[start + index]), why) for index, why in sorted(bad.items())]
            if arrays is not None:
                kept.append(start + good)
                rows = {f"inputs.{name}": array for name, array in arrays.items()}
                for name, array in targets.items():
                    _count(f"targets.{name}", array, total, "")
                    rows[f"targets.{name}"] = array[kept[-1]]
                writer.append(rows | {"kept": kept[-1].astype(np.int64)}, data.where[kept[-1]])
            if report:
                report(min(start + chunk, total), total)
        if not kept:
            where, why = failures[0] if failures else ("", "there are no examples")
            raise DataError(f"none of the {total} examples could be read; the first: {why}", where, "Check the files.")
        written = writer.close()
    told = told | {"format": FORMAT, "failures": failures, "examples": sum(map(len, kept)), "arrays": written}
    (folder / "store.json").write_text(json.dumps(told), encoding="utf-8")
    for file in folder.iterdir():  # onto the disk, so that a power cut later on finds the store whole
        with file.open("r+b") as stream:  # Windows brings to the disk only what may be written to
            os.fsync(stream.fileno())


def _encoded(raws: Raws, encode: Encode, chunk: int) -> Iterator[Chunk]:
    """The chunks in their order, encoded in threads (image decoding lets go of the interpreter), a few of them ahead."""

    def work(start: int) -> Chunk:
        return start, *encode_each(raws[start : start + chunk], encode)

    count = os.cpu_count() or 1
    workers = ThreadPoolExecutor(count)
    coming: deque[Future[Chunk]] = deque()
    try:
        for start in range(0, len(raws), chunk):
            coming.append(workers.submit(work, start))
            if len(coming) > AHEAD * count:  # a slow disk shall not let them pile up
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        workers.shutdown(cancel_futures=True)


class _Writer:
    """The arrays of a store, which are written a few rows at a time."""

    def __init__(self, folder: Path, open_files: ExitStack) -> None:
        self.folder, self.open_files = folder, open_files
        self.columns: dict[str, _Column] = {}

    def append(self, rows: Arrays, where: np.ndarray) -> None:
        """Write rows of all arrays; ``where`` they come from. Raises DataError for what does not fit to the rows before."""
        if not self.columns:
            self.columns = {name: _Column(name, array, str(where[0])) for name, array in rows.items()}
            for column in self.columns.values():
                column.file = self.open_files.enter_context((self.folder / f"{column.name}.bin").open("wb"))
                if column.ragged and f"{column.name}_lengths" in rows:
                    raise DataError(f'"{column.name}_lengths" is what batches call its lengths.', remedy="Rename it.")
        if set(rows) != set(self.columns):
            odd = ", ".join(sorted(set(rows) ^ set(self.columns)))
            raise DataError(f"only some examples have {odd}.", str(where[0]), "Encode all examples alike.")
        for name, array in rows.items():
            _count(name, array, len(where), str(where[0]))
            self.columns[name].append(array, where)

    def close(self) -> dict[str, Any]:
        """What ``store.json`` says of the arrays, now that all their rows are written."""
        return {name: told for column in self.columns.values() for name, told in column.close(self.folder).items()}


class _Column:
    """One array that is written row by row; one of objects is ragged."""

    file: Any

    def __init__(self, name: str, first: np.ndarray, where: str) -> None:
        """Raises DataError when what is to be written is no array of numbers."""
        self.name, self.ragged = name, first.dtype == object
        self.like: np.ndarray = first[0] if self.ragged else first
        self.rows, self.lengths = 0, [0]
        try:
            torch.from_numpy(np.empty(0, self.like.dtype))
        except (TypeError, ValueError, AttributeError):
            raise self._wrong(self.like, "arrays of numbers are wanted", where) from None
        if not self.like.ndim:
            raise self._wrong(self.like, "at least one dimension is wanted", where)

    def append(self, array: np.ndarray, where: np.ndarray) -> None:
        """Write rows: an array, or one of objects that are arrays of different lengths. Raises DataError for another shape."""
        like = self.like
        pieces = list(array) if self.ragged else [array]
        for place, piece in enumerate(pieces):
            form = getattr(piece, "dtype", None), np.ndim(piece), np.shape(piece)[1:]
            if form != (like.dtype, like.ndim, like.shape[1:]):
                raise self._wrong(piece, f"the first example's is {_form(like)}", str(where[place]))
        together = np.concatenate(pieces) if self.ragged else array
        self.file.write(np.ascontiguousarray(together).data)
        self.rows += len(together)
        if self.ragged:
            self.lengths += [len(piece) for piece in pieces]

    def close(self, folder: Path) -> dict[str, Any]:
        """What ``store.json`` says of what was written."""
        if self.ragged:
            margin = np.zeros((max(self.lengths), *self.like.shape[1:]), self.like.dtype)
            self.file.write(margin.data)
            self.rows += len(margin)
        self.file.close()
        told = {self.name: {"dtype": self.like.dtype.str, "shape": [self.rows, *self.like.shape[1:]]}}
        if self.ragged:
            offsets = np.array(list(accumulate(self.lengths)), dtype=np.int64)
            offsets.tofile(folder / f"{self.name}.offsets.bin")
            told[f"{self.name}.offsets"] = {"dtype": offsets.dtype.str, "shape": [len(offsets)]}
        return told

    def _wrong(self, given: Any, rule: str, where: str) -> DataError:
        return DataError(
            f'"{self.name}" is {_form(given)}; {rule}.',
            where,
            "Encode every example as the same type and shape; where the first dimension differs, give "
            "lamina.data.ragged.ragged(arrays).",
        )


def _form(given: Any) -> str:
    """Type and shape of an example, in words."""
    if not isinstance(given, np.ndarray):
        return f"a {type(given).__name__}"
    return f"{given.dtype} {given.shape[1:]}"


def _count(name: str, array: np.ndarray, wanted: int, where: str) -> None:
    """Raise DataError unless there is a row for each example."""
    if len(array) != wanted:
        raise DataError(f'"{name}" has {len(array)} rows for {wanted} examples.', where, "Give one row per example.")
