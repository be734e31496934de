"""Store: encoded examples on disk, made once and used by every later run on the same data, by any number at once.

In go the examples and two functions that encode them; out come named arrays, one row per example. A store's folder is
named by a hash of all that decides its content, and appears whole or not at all: it is built beside and renamed.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lamina.batch import Batch, Tensors, beside
from lamina.data import cache
from lamina.data.building import CHUNK, FORMAT, build
from lamina.data.building import Encode as Encode
from lamina.data.building import Report as Report
from lamina.data.building import Target as Target
from lamina.data.building import encode_each as encode_each
from lamina.data.data import Arrays, Data
from lamina.data.mapped import fetch, mapped
from lamina.data.ragged import Ragged
from lamina.errors import TrainingError

PADDED = 2**24  # values that examples of unequal lengths may take together, padded
_ATTEMPTS = 3  # others may make or remove the same store at the same time

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
        if self.streamed:
            for column in (*self.inputs.values(), *self.targets.values()):
                if isinstance(column, Ragged):
                    fetch(column.values, column.offsets[rows], column.offsets[rows] + column.longest(rows))
                else:
                    fetch(column, rows, rows + 1)
        return Batch(gathered(self.inputs, rows), gathered(self.targets, rows))

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
    again: bool = False,
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
        again: whether one that lacks examples which can be read by now is made anew.

    Raises:
        DataError: no example could be read.
        OptionError: the limit of the cache is none.
        TrainingError: there is no room on the disk, or the cache cannot be written to.
    """
    key = hashlib.blake2b(digest_size=12)
    key.update(json.dumps([FORMAT, data.fingerprint(), decides], sort_keys=True, default=str).encode())
    folder, most = cache.stores() / key.hexdigest(), cache.limit()
    for attempt in range(_ATTEMPTS):
        known = _open(folder)
        if known is not None and (attempt or not (again and _readable_by_now(known, data, encode))):
            return known
        known = None  # nor held any more, so that it can go
        if folder.exists() and not cache.remove(folder):  # another process uses it, or has just made it
            continue
        try:
            with cache.workshop(folder) as partial:
                build(data, encode, target, partial, report, {"data": name, "task": task})
                with suppress(OSError):  # another process may have been quicker
                    partial.rename(folder)
            cache.clear(max(1, most), folder)
        except OSError as error:
            full = error.errno in (ENOSPC, EDQUOT)
            raise TrainingError(
                f"the encoded examples cannot be stored ({error.strerror}).",
                str(folder.parent),
                "Make room (`lamina cache --clear`), or set LAMINA_CACHE to a folder on a disk that has some."
                if full
                else "Set LAMINA_CACHE to a folder that you may write to.",
            ) from None
    raise TrainingError("the encoded examples cannot be opened, nor made anew.", str(folder), "Remove this folder.")


def columns_of(arrays: Arrays) -> Columns:
    """What an encoder gave, as the columns of a store, in memory."""
    return {
        name: Ragged.of(array) if array.dtype == object else torch.from_numpy(array) for name, array in arrays.items()
    }


def gathered(columns: Columns, rows: torch.Tensor) -> Tensors:
    """The rows of all columns; a ragged one comes as NAME, padded, and NAME_lengths."""
    tensors: Tensors = {}
    for name, column in columns.items():
        if isinstance(column, Ragged):
            tensors[name], tensors[f"{name}_lengths"] = column.gather(rows)
        else:
            tensors[name] = column.index_select(0, beside(rows, column))
    return tensors


def by_length(columns: Columns, rows: torch.Tensor) -> torch.Tensor | None:
    """(rows,) the places of some rows, the longest example first; None where nothing is ragged."""
    if not any(isinstance(column, Ragged) for column in columns.values()):
        return None
    return _longest(columns, rows).argsort(descending=True, stable=True).to(rows.device)


def _longest(columns: Columns, rows: torch.Tensor) -> torch.Tensor:
    """(rows,) the length of the longest of each row's ragged arrays."""
    return torch.stack([column.lengths[rows] for column in columns.values() if isinstance(column, Ragged)]).amax(0)


def alike(columns: Columns, count: int) -> Iterator[torch.Tensor]:
    """All of so many rows, in pieces whose examples have lengths so alike that padding takes little: at most ``PADDED`` values,
    or twice what they have. In their order where nothing is ragged."""
    order = by_length(columns, torch.arange(count))
    if order is None:
        yield torch.arange(count)
        return
    sizes = _longest(columns, order)
    start, held = 0, 0
    for end, size in enumerate(sizes.tolist()):
        padded = int(sizes[start]) * (end - start + 1)
        if end > start and padded > max(PADDED, 2 * (held + size)):
            yield order[start:end]
            start, held = end, 0
        held += size
    yield order[start:]


def _readable_by_now(known: Store, data: Data, encode: Encode) -> bool:
    """Whether some of the examples that could not be read once can be: the fault need not have been theirs."""
    lost = np.setdiff1d(np.arange(len(data)), known.kept)[:CHUNK]
    return len(lost) > 0 and encode_each(data.raws[lost], encode)[0] is not None


def _open(folder: Path) -> Store | None:
    """The store in a folder; None where there is none, or one that is not whole.

    Raises TrainingError where one may well be there that cannot be opened: too many files are, or it is another user's.
    """
    try:
        hold = cache.Hold(folder)
        told = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        if any((folder / f"{name}.bin").stat().st_size != _size(array) for name, array in told["arrays"].items()):
            return None
        streamed = sum(map(_size, told["arrays"].values())) > _memory() / 2
        arrays = {name: _array(folder / f"{name}.bin", array, streamed) for name, array in told["arrays"].items()}
        failures = [(where, why) for where, why in told["failures"]]
        kept = arrays.pop("kept").numpy()
    except (FileNotFoundError, ValueError, KeyError):
        return None
    except OSError as error:
        what = f"the encoded examples cannot be opened ({error.strerror})."
        remedy = "Try again, or set LAMINA_CACHE to a folder of your own."
        raise TrainingError(what, str(folder), remedy) from None

    def columns(kind: str) -> Columns:
        found: Columns = {}
        for name, values in arrays.items():
            prefix, _, short = name.partition(".")
            if prefix == kind and f"{name}.offsets" in arrays:
                found[short] = Ragged(values, arrays[f"{name}.offsets"])
            elif prefix == kind and not name.endswith(".offsets"):
                found[short] = values
        return found

    return Store(columns("inputs"), columns("targets"), kept, failures, streamed, hold)


def _array(file: Path, told: dict[str, Any], streamed: bool) -> torch.Tensor:
    """An array of a store: as it lies on disk, but for what every batch needs to find its rows."""
    dtype, shape = np.dtype(told["dtype"]), tuple(told["shape"])
    if file.stem.endswith(("kept", ".offsets")):
        return torch.from_numpy(np.fromfile(file, dtype))
    return mapped(file, dtype, shape, streamed)


def _size(told: dict[str, Any]) -> int:
    size: int = math.prod(told["shape"]) * np.dtype(told["dtype"]).itemsize
    return size


def _memory() -> int:
    """Bytes of this machine's memory."""
    if not hasattr(os, "sysconf"):
        return 2**33
    pages: int = os.sysconf("SC_PHYS_PAGES")
    return pages * os.sysconf("SC_PAGE_SIZE")
