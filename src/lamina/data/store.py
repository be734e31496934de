"""Store: encoded examples on disk, memory-mapped, made once and used by every later run on the same data.

In go the examples and two functions that encode them; out come named arrays, one row per example. A store's folder is
named by a hash of all that decides its content, and appears whole or not at all: it is built beside and renamed.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path

from lamina.batch import Batch, Tensors
from lamina.data.data import Arrays, Data, Raws
from lamina.errors import DataError, TrainingError

FORMAT = 1
_CHUNK = 128  # examples that one worker encodes at a time
_ABANDONED = 86_400.0  # seconds after which nobody is building a store any more

Encode = Callable[[Raws], Arrays]
Target = Callable[[np.ndarray], Arrays]
Report = Callable[[int, int], None]
"""Called with (examples done, examples in all)."""


@dataclass(frozen=True)
class Store:
    """Encoded inputs and targets of all examples that could be read."""

    inputs: Tensors
    targets: Tensors
    kept: np.ndarray
    """(rows,): which example of the Data each row is."""
    failures: list[tuple[str, str]]
    """(where, why) of the examples that could not be read."""

    def __len__(self) -> int:
        return len(self.kept)

    def batch(self, rows: torch.Tensor) -> Batch:
        """The examples at ``rows``, in that order: one gather per array."""
        return Batch(
            {name: tensor[rows] for name, tensor in self.inputs.items()},
            {name: tensor[rows] for name, tensor in self.targets.items()},
        )

    def rows_of(self, data: Data, part: str) -> torch.Tensor:
        """The rows of one part, in the order of the data."""
        return torch.from_numpy(np.flatnonzero(data.part[self.kept] == part))


def cache_folder() -> Path:
    """Where stores lie: ``$LAMINA_CACHE``, or the user's cache folder."""
    return Path(os.environ["LAMINA_CACHE"]) if "LAMINA_CACHE" in os.environ else user_cache_path("lamina")


def prepare(data: Data, encode: Encode, target: Target, decides: Any, report: Report | None = None) -> Store:
    """Open the store of these examples, building it first where it is not there yet.

    Args:
        data: the examples.
        encode: raws -> arrays.
        target: answers -> arrays.
        decides: JSON of everything else that decides the content (task options, facts, version).
        report: told how far the building is.

    Raises:
        DataError: no example could be read.
        TrainingError: there is no room on the disk.
    """
    key = hashlib.blake2b(digest_size=12)
    key.update(json.dumps([FORMAT, data.fingerprint(), decides], sort_keys=True, default=str).encode())
    folder = cache_folder() / "store" / key.hexdigest()
    if not (folder / "store.json").exists():
        partial = Path()
        try:
            shutil.rmtree(folder, ignore_errors=True)  # one without store.json was not left by us
            folder.parent.mkdir(parents=True, exist_ok=True)
            _sweep(folder.parent)
            partial = Path(tempfile.mkdtemp(".partial", f"{folder.name}.", folder.parent))
            _build(data, encode, target, partial, report)
            _flush(partial)
            with suppress(OSError):  # another process may have been quicker
                partial.rename(folder)
        except OSError as error:
            raise TrainingError(
                f"the encoded examples cannot be stored ({error.strerror}).",
                str(folder.parent),
                "Make room, or set LAMINA_CACHE to a folder on a disk that has some.",
            ) from None
        finally:
            if partial.name:
                shutil.rmtree(partial, ignore_errors=True)
    return _open(folder)


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


def _build(data: Data, encode: Encode, target: Target, folder: Path, report: Report | None) -> None:
    """Encode in threads (image decoding lets go of the interpreter), each writing its rows into the mapped files."""
    targets = target(data.answers)
    total = len(data)
    good = np.zeros(total, dtype=bool)
    reasons: dict[int, str] = {}
    files: Arrays = {}

    def work(start: int) -> int:
        stop = min(start + _CHUNK, total)
        arrays, indices, bad = encode_each(data.raws[start:stop], encode)
        reasons.update({start + index: why for index, why in bad.items()})
        if arrays is not None:
            for name, array in arrays.items():
                if name not in files:
                    files[name] = _reserve(folder / f"inputs.{name}.npy", array.dtype, (total, *array.shape[1:]))
                files[name][start + indices] = array
            good[start + indices] = True
        return stop - start

    done = 0
    starts = list(range(0, total, _CHUNK))
    while starts and not files:  # alone, until a chunk has shown the shapes
        done += work(starts.pop(0))
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for count in workers.map(work, starts):
            done += count
            if report:
                report(done, total)
    failures = [(str(data.where[index]), why) for index, why in sorted(reasons.items())]
    if not good.any():
        where, why = failures[0] if failures else ("", "there are no examples")
        raise DataError(f"none of the {total} examples could be read; the first: {why}", where, "Check the files.")
    for name, array in targets.items():
        np.save(folder / f"targets.{name}.npy", array)
    np.save(folder / "kept.npy", np.flatnonzero(good))
    for array in files.values():
        array.flush()  # type: ignore[attr-defined]
    (folder / "store.json").write_text(json.dumps({"format": FORMAT, "failures": failures}))


def _sweep(parent: Path) -> None:
    """Remove what processes that were killed left behind."""
    for partial in parent.glob("*.partial"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > _ABANDONED:
                shutil.rmtree(partial, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Bring every file onto the disk, so that a power cut after the renaming finds the store whole."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _reserve(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A mapped file whose room on the disk is really there: writing to a map on a full disk would kill the process."""
    mapped = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    with file.open("r+b") as stream:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, max(1, file.stat().st_size))
    return mapped


def _open(folder: Path) -> Store:
    stored = json.loads((folder / "store.json").read_text())
    kept = np.load(folder / "kept.npy")
    arrays = {file.stem: np.load(file, mmap_mode="c") for file in sorted(folder.glob("*.*.npy"))}
    whole = len(kept) == len(next(iter(arrays.values())))

    def named(prefix: str) -> Tensors:
        chosen = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(prefix)}
        return {name: torch.from_numpy(array if whole else array[kept]) for name, array in chosen.items()}

    failures = [(where, why) for where, why in stored["failures"]]
    return Store(named("inputs."), named("targets."), kept, failures)
