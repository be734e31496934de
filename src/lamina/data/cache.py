"""Cache: the folder of what was encoded or measured once; listed, bounded, cleared.

A store in it is used by any number of processes at once. Each holds a shared lock on the store's file ``lock`` (flock, which
the system lets go of when a process ends, however it ends), and so does who builds one. Only who gets the lock alone removes a
store.
"""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from lamina.errors import OptionError
from lamina.writing import duration

try:
    import fcntl
except ImportError:  # not on Windows: there open files cannot be removed in any case
    fcntl = None  # type: ignore[assignment]

MOST = 20 * 2**30  # bytes of stores, unless the disk is small
SHARE = 0.1  # of a small disk
FOUND_OUT = ("facts", "measured", "audit", "recordings", "native")  # to be had again; who read which test part is not
ABANDONED = 60.0 if fcntl is not None else 86_400.0  # seconds until a build that nobody holds is taken for abandoned


@dataclass(frozen=True)
class Entry:
    """A store that is there."""

    folder: Path
    data: str
    """Name of the data."""
    task: str
    examples: int
    bytes: int
    used: float
    """When it was last opened, in seconds since 1970."""
    open: bool
    """Whether a living process uses it."""

    def in_words(self) -> dict[str, str]:
        """A row of a table for people."""
        return {
            "data": self.data,
            "task": self.task.replace("_", " "),
            "examples": f"{self.examples:,}",
            "size": f"{self.bytes / 1e6:,.1f} MB",
            "last used": f"{duration(max(0.0, time.time() - self.used))} ago",
            "in use": "yes" if self.open else "no",
        }

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        used = datetime.fromtimestamp(self.used, UTC).isoformat(timespec="seconds")
        return {**asdict(self), "folder": str(self.folder), "used": used}


def cache_folder() -> Path:
    """Where all lies: ``$LAMINA_CACHE``, or the user's cache folder."""
    return Path(place) if (place := os.environ.get("LAMINA_CACHE")) else user_cache_path("lamina")


def partial_of(path: Path, hidden: bool = False) -> Path:
    """A new name beside a file or folder that shall appear whole or not at all: it is made under that, and renamed."""
    return path.with_name(f"{'.' * hidden}{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")


def stores() -> Path:
    """Where stores lie."""
    return cache_folder() / "store"


def limit() -> int:
    """Bytes that stores may take: ``$LAMINA_CACHE_LIMIT`` (such as 20GB), or 20 GiB, or a tenth of a small disk."""
    said = os.environ.get("LAMINA_CACHE_LIMIT")
    if said is None:
        return int(min(MOST, SHARE * shutil.disk_usage(_existing(cache_folder())).total))
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([KMGT]?)(I?)B?\s*", said.upper())
    if match is None:
        raise OptionError(f"{said!r} is not a size.", "LAMINA_CACHE_LIMIT", "Write 500MB or 20GB.")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(unit or " "))


class Hold:
    """A store is held from here until this object is gone: nobody removes it meanwhile. Opening it is noted as a use of it."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where there is no store."""
        self.descriptor = os.open(folder / "lock", os.O_RDONLY)
        if fcntl is not None:
            # On a disk that knows no locks nobody gets one alone either, so nothing is removed from it.
            with suppress(OSError):
                fcntl.flock(self.descriptor, fcntl.LOCK_SH)
        with suppress(OSError):  # another user's
            os.utime(folder / "lock")

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # at the very end there is no ``os`` any more
        if hasattr(self, "descriptor"):
            close(self.descriptor)


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A new folder beside a store's, to build it in and to rename; what of it is left in the end, however it ends, goes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep()
    partial = partial_of(folder)
    partial.mkdir()
    try:
        (partial / "lock").touch()
        hold = Hold(partial) if fcntl is not None else None  # Windows renames no folder in which a file is open
        yield partial
        del hold
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def entries() -> list[Entry]:
    """All stores, the one that was used last first."""
    found = []
    for file in stores().glob("*/store.json"):
        with suppress(OSError, ValueError):  # another process is just removing it
            if file.parent.suffix == ".partial":
                continue
            told = json.loads(file.read_text(encoding="utf-8"))
            size = sum(part.stat().st_size for part in file.parent.iterdir())
            used = max(part.stat().st_mtime for part in file.parent.iterdir())
            with _alone(file.parent) as alone:
                busy = not alone
            data, task, examples = map(told.get, ("data", "task", "examples"))  # an earlier version's lack them
            found.append(Entry(file.parent, data or "", task or "", examples or 0, size, used, busy))
    return sorted(found, key=lambda entry: -entry.used)


def clear(most: int = 0, spared: Path | None = None) -> list[Entry]:
    """Remove the stores that were used longest ago until the rest take at most ``most`` bytes; those that were removed.

    Args:
        most: bytes that may stay.
        spared: one that stays in any case, as all do that a living process uses.
    """
    sweep()
    known = entries()
    total = sum(entry.bytes for entry in known)
    removed = []
    for entry in reversed(known):
        if total <= most:
            break
        if entry.folder != spared and remove(entry.folder):
            removed.append(entry)
            total -= entry.bytes
    if not most:  # nothing shall stay: what was measured and found out, neither
        for kind in FOUND_OUT:
            for pattern in ("*.json", "*.so", "*.partial"):
                for file in (cache_folder() / kind).glob(pattern):
                    with suppress(OSError):  # another user's, or in use on Windows
                        file.unlink()
    return removed


def remove(folder: Path) -> bool:
    """Remove a store, unless a living process uses it: whether it is gone."""
    aside = partial_of(folder)
    with _alone(folder) as alone:
        if not alone:
            return False
        try:
            folder.rename(aside)  # so that it is there whole, or not at all
        except OSError:
            return False
    shutil.rmtree(aside, ignore_errors=True)
    return True


def sweep() -> None:
    """Remove what processes that were killed while they built left behind."""
    for partial in stores().glob("*.partial"):
        with suppress(OSError):
            if time.time() - partial.stat().st_mtime > ABANDONED:
                with _alone(partial) as alone:
                    if alone:
                        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Have the lock of a store for oneself, while that is possible: whether nobody uses the store."""
    if fcntl is None:
        yield True
        return
    for mode in (os.O_RDWR, os.O_RDONLY):  # some network disks lock for one alone only what may be written to
        try:
            descriptor = os.open(folder / "lock", mode)
            break
        except FileNotFoundError:  # who uses a store has its lock open
            yield folder.exists()
            return
        except OSError:
            continue
    else:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:
        alone = False
    try:
        yield alone
    finally:
        os.close(descriptor)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())
