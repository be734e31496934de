"""Store: encoded examples on disk, made once and used by every later run on the same data, by any number at once.

In go the examples and two functions that encode them; out come named arrays, one row per example. A store's folder is
named by a hash of all that decides its content, and appears whole or not at all: it is built beside and renamed.

    store.json      {"arrays": {"inputs.image": {"dtype", "shape"}, ...}, "failures", "data", "task", "examples", ...}
    *.bin           the arrays, row by row; of a ragged one all values, and in NAME.offsets.bin where each example's begin
    lock            held by whoever uses the store
"""

import hashlib
import json
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamina.batch import Batch, Tensors
from lamina.data import cache
from lamina.data.data import Arrays, Data, Raws
from lamina.data.ragged import Ragged
from lamina.errors import DataError, TrainingError

FORMAT = 2
_CHUNK = 128  # examples that one worker encodes at a time

Encode = Callable[[Raws], Arrays]
Target = Callable[[np.ndarray], Arrays]
Report = Callable[[int, int], None]
"""Called with (examples done, examples in all)."""
Columns = dict[str, torch.Tensor | Ragged]


@dataclass(frozen=True)
class Store:
    """Encoded inputs and targets of all examples that could be read."""

    inputs: Columns
    targets: Columns
    kept: np.ndarray
    """(rows,): which example of the Data each row is."""
    failures: list[tuple[str, str]]
    """(where, why) of the examples that could not be read."""
    streamed: bool = False
    """Whether it takes more than half of the machine's memory, so that a gather may have to wait for the disk."""
    hold: cache.Hold | None = None
    """On its folder."""

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def bytes(self) -> int:
        """What all arrays take."""
        return sum(column.nbytes for columns in (self.inputs, self.targets) for column in columns.values())

    def batch(self, rows: torch.Tensor) -> Batch:
        """The examples at ``rows``, in that order: one gather per array. A ragged one is padded at the ends, and its lengths
        come beside it, as NAME_lengths."""
        return Batch(_gathered(self.inputs, rows), _gathered(self.targets, rows))

    def rows_of(self, data: Data, part: str) -> torch.Tensor:
        """The rows of one part, in the order of the data."""
        return torch.from_numpy(np.flatnonzero(data.part[self.kept] == part))

    def to(self, device: torch.device) -> "Store":
        """The same store, whole in a device's memory."""
        inputs, targets = (
            {name: column.to(device) for name, column in columns.items()} for columns in (self.inputs, self.targets)
        )
        return Store(inputs, targets, self.kept, self.failures)


def prepare(
    data: Data,
    encode: Encode,
    target: Target,
    decides: Any,
    report: Report | None = None,
    name: str = "",
    task: str = "",
) -> Store:
    """Open the store of these examples, building it first where it is not there yet.

    Args:
        data: the examples.
        encode: raws -> arrays.
        target: answers -> arrays.
        decides: JSON of everything else that decides the content (task options, facts, version).
        report: told how far the building is.
        name: of the data, for people.
        task: for people, too.

    Raises:
        DataError: no example could be read.
        TrainingError: there is no room on the disk.
    """
    key = hashlib.blake2b(digest_size=12)
    key.update(json.dumps([FORMAT, data.fingerprint(), decides], sort_keys=True, default=str).encode())
    folder = cache.stores() / key.hexdigest()
    for _ in range(2):
        known = _open(folder)
        if known is not None:
            return known
        partial = Path()
        try:
            shutil.rmtree(folder, ignore_errors=True)  # what is there is not whole
            folder.parent.mkdir(parents=True, exist_ok=True)
            cache.sweep()
            partial = Path(tempfile.mkdtemp(".partial", f"{folder.name}.", folder.parent))
            _build(data, encode, target, partial, report, {"data": name, "task": task})
            _flush(partial)
            with suppress(OSError):  # another process may have been quicker
                partial.rename(folder)
            cache.clear(max(1, cache.limit()), folder)
        except OSError as error:
            raise TrainingError(
                f"the encoded examples cannot be stored ({error.strerror}).",
                str(folder.parent),
                "Make room (`lamina cache --clear`), or set LAMINA_CACHE to a folder on a disk that has some.",
            ) from None
        finally:
            if partial.name:
                shutil.rmtree(partial, ignore_errors=True)
    raise TrainingError("the encoded examples were removed while they were opened.", str(folder), "Try again.")


def encode_each(raws: Raws, encode: Encode) -> tuple[Arrays | None, np.ndarray, dict[int, str]]:
    """Encode examples together; when that fails, one by one, so that a bad one is named and the rest still run.

    Returns:
        The arrays of the good ones (None when there are none), their indices, and why each bad one failed.
    """
    try:
        return encode(raws), np.arange(len(raws)), {}
    except DataError:
        pieces: list[Arrays] = []
        good: list[int] = []
        bad: dict[int, str] = {}
        for index in range(len(raws)):
            try:
                pieces.append(encode(raws[index : index + 1]))
                good.append(index)
            except DataError as error:
                bad[index] = error.what
        if not pieces:
            return None, np.array([], dtype=int), bad
        arrays = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        return arrays, np.array(good), bad


class _Column:
    """An array that is written row by row."""

    def __init__(self, folder: Path, name: str, first: np.ndarray) -> None:
        self.name = name
        self.ragged = first.dtype == object
        self.like: np.ndarray = first[0] if self.ragged else first
        self.lengths: list[int] = []
        self.rows = 0
        self.file = (folder / f"{name}.bin").open("wb")

    def append(self, array: np.ndarray, where: str) -> None:
        """Write rows: an array, or one of objects that are arrays of different lengths. Raises DataError for another shape."""
        pieces = list(array) if self.ragged else [array]
        for piece in pieces:
            if piece.dtype != self.like.dtype or piece.shape[1:] != self.like.shape[1:]:
                raise DataError(
                    f'"{self.name}" is {piece.dtype} {piece.shape[1:]}; the first example\'s is '
                    f"{self.like.dtype} {self.like.shape[1:]}.",
                    where,
                    "An encoder must give every example the same type, and the same shape but for a first, ragged dimension.",
                )
            self.file.write(np.ascontiguousarray(piece).data)
            self.lengths.append(len(piece))
            self.rows += len(piece)

    def close(self, folder: Path) -> dict[str, Any]:
        """What ``store.json`` says of the arrays that were written."""
        self.file.close()
        told = {self.name: {"dtype": self.like.dtype.str, "shape": [self.rows, *self.like.shape[1:]]}}
        if self.ragged:
            offsets = np.array([0, *accumulate(self.lengths)], dtype=np.int64)
            offsets.tofile(folder / f"{self.name}.offsets.bin")
            told[f"{self.name}.offsets"] = {"dtype": offsets.dtype.str, "shape": [len(offsets)]}
        return told


def _build(
    data: Data, encode: Encode, target: Target, folder: Path, report: Report | None, told: dict[str, Any]
) -> None:
    """Encode chunks in threads (image decoding lets go of the interpreter), and write them in their order."""
    targets = target(data.answers)
    total = len(data)
    kept: list[np.ndarray] = []
    failures: list[tuple[str, str]] = []
    columns: dict[str, _Column] = {}

    def work(start: int) -> tuple[int, Arrays | None, np.ndarray, dict[int, str]]:
        return start, *encode_each(data.raws[start : start + _CHUNK], encode)

    def write(name: str, array: np.ndarray, start: int) -> None:
        if name not in columns:
            columns[name] = _Column(folder, name, array)
            open_files.callback(columns[name].file.close)
        columns[name].append(array, str(data.where[start]))

    with ExitStack() as open_files, ThreadPoolExecutor(os.cpu_count()) as workers:
        open_files.callback(
            workers.shutdown, wait=True, cancel_futures=True
        )  # before the workers' own end, which waits
        for start, arrays, good, bad in workers.map(work, range(0, total, _CHUNK)):
            failures += [(str(data.where[start + index]), why) for index, why in sorted(bad.items())]
            if arrays is not None:
                kept.append(start + good)
                for name, array in arrays.items():
                    write(f"inputs.{name}", array, start)
                for name, array in targets.items():
                    write(f"targets.{name}", array[kept[-1]], start)
            if report:
                report(min(start + _CHUNK, total), total)
        if not kept:
            where, why = failures[0] if failures else ("", "there are no examples")
            raise DataError(f"none of the {total} examples could be read; the first: {why}", where, "Check the files.")
        write("kept", np.concatenate(kept).astype(np.int64), 0)
        written = [column.close(folder) for column in columns.values()]
    told |= {"format": FORMAT, "failures": failures, "examples": sum(map(len, kept))}
    told["arrays"] = {name: array for each in written for name, array in each.items()}
    (folder / "lock").touch()
    (folder / "store.json").write_text(json.dumps(told), encoding="utf-8")


def _flush(folder: Path) -> None:
    """Bring every file onto the disk, so that a power cut after the renaming finds the store whole."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _open(folder: Path) -> Store | None:
    """The store in a folder; None where there is none, or one that is not whole."""
    try:
        hold = cache.Hold(folder)
        told = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        for name, array in told["arrays"].items():
            if (folder / f"{name}.bin").stat().st_size != _size(array):
                return None
    except (OSError, ValueError, KeyError):
        return None
    total = sum(map(_size, told["arrays"].values()))
    streamed = total > _memory() / 2
    arrays = {name: _mapped(folder / f"{name}.bin", array, streamed) for name, array in told["arrays"].items()}

    def columns(kind: str) -> Columns:
        found: Columns = {}
        for name, values in arrays.items():
            prefix, _, short = name.partition(".")
            if prefix == kind and f"{name}.offsets" in arrays:
                found[short] = Ragged(torch.from_numpy(values), torch.from_numpy(arrays[f"{name}.offsets"]))
            elif prefix == kind and not name.endswith(".offsets"):
                found[short] = torch.from_numpy(values)
        return found

    failures = [(where, why) for where, why in told["failures"]]
    return Store(columns("inputs"), columns("targets"), arrays["kept"], failures, streamed, hold)


def _mapped(file: Path, told: dict[str, Any], streamed: bool) -> np.ndarray:
    """An array of a store, as it lies on disk; copied on writing, since PyTorch knows no array that cannot be written."""
    dtype, shape = np.dtype(told["dtype"]), tuple(told["shape"])
    if not math.prod(shape):
        return np.zeros(shape, dtype)
    values: np.ndarray = np.memmap(file, dtype, "c", shape=shape)
    if streamed and hasattr(mmap, "MADV_RANDOM"):  # it will not stay in memory: reading ahead is for nothing
        values._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return values


def _size(told: dict[str, Any]) -> int:
    size: int = math.prod(told["shape"]) * np.dtype(told["dtype"]).itemsize
    return size


def _memory() -> int:
    """Bytes of this machine's memory."""
    if not hasattr(os, "sysconf"):
        return 2**33
    pages: int = os.sysconf("SC_PHYS_PAGES")
    return pages * os.sysconf("SC_PAGE_SIZE")


def _gathered(columns: Columns, rows: torch.Tensor) -> Tensors:
    tensors: Tensors = {}
    for name, column in columns.items():
        at = rows.to(column.offsets.device if isinstance(column, Ragged) else column.device)
        if isinstance(column, Ragged):
            tensors[name], tensors[f"{name}_lengths"] = column.gather(at)
        else:
            tensors[name] = column.index_select(0, at)
    return tensors
