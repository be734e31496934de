"""Native: what is written in C++ is compiled on this machine when it is first needed, where there is a compiler.

A package that holds no machine code installs everywhere, and what is compiled here uses all that this processor can. It is
kept in the cache, under a name made of the source, the compiler and the processor; in a folder into which nobody else can
write, since what lies there is run.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from platformdirs import user_cache_path

from lamina.data.cache import cache_folder, partial_of
from lamina.data.remembered import key_of
from lamina.environment import instructions, processor
from lamina.errors import OptionError
from lamina.layers.winograd_compiled import Kernels

SOURCES, HEADER = ("winograd.cpp", "winograd_fused.cpp"), "winograd.h"
COMPILERS = ("c++", "g++", "clang++")
# Sums are not contracted, so that every compiler and processor gives the same bits; but for products in winograd_fused.cpp,
# which differ where there is no fused multiply-add.
FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-w"]
# Some compilers know no threads; and on a Mac theirs are not PyTorch's, which refuses to stand beside others.
THREADS: tuple[list[str], ...] = ([],) if sys.platform == "darwin" else (["-fopenmp"], [])
PATIENCE = 120.0  # seconds


def compiler() -> str | None:
    """The C++ compiler: that which ``$CXX`` names, or the first that is found. On Windows none is looked for."""
    names = () if os.name == "nt" else (os.environ.get("CXX", ""), *COMPILERS)
    return next((found for name in names if (found := shutil.which(name))), None)


@cache
def winograd() -> Kernels:
    """What is in ``SOURCES``. Raises OptionError where it cannot be compiled."""
    try:
        with ThreadPoolExecutor() as pool:
            return Kernels(*pool.map(_library, SOURCES))
    except (OSError, AttributeError, RuntimeError, subprocess.SubprocessError) as error:
        # AttributeError: of a missing function; RuntimeError: no thread can be started
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        remedy = "Install a C++ compiler, or ask for winograd or direct convolutions."
        if isinstance(error, OSError) and error.errno:  # of the disk
            remedy = "Let LAMINA_CACHE name a folder of your own with room in it, or ask for winograd or direct convolutions."
        raise OptionError(
            f"compiling Winograd's convolutions fails here ({said[0] if said else type(error).__name__}).",
            remedy=remedy,
        ) from None


def compiles() -> bool:
    """Whether ``winograd`` is to be had; the first time on a machine this takes a few seconds."""
    try:
        winograd()
    except OptionError:
        return False
    return True


def _library(name: str) -> ctypes.CDLL:
    """What a source in ``layers`` and its header are compiled to, from the cache if it is there. Damaged ones are made anew."""
    command = compiler()
    if command is None:
        raise OSError("no C++ compiler was found")
    texts = {each: (files("lamina.layers") / each).read_text(encoding="utf-8") for each in (name, HEADER)}
    known = Path(command).resolve()
    made = [str(known), known.stat().st_mtime_ns, FLAGS, THREADS]
    key = key_of(texts, made, processor(), instructions())
    path = _folder() / f"{key}.so"
    if path.exists() and _own(path):
        with suppress(OSError):
            return ctypes.CDLL(str(path))
    partial = partial_of(path)
    try:
        with TemporaryDirectory() as folder:
            for each, text in texts.items():
                Path(folder, each).write_text(text, encoding="utf-8")
            _compile(command, Path(folder, name), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _folder() -> Path:
    """Where libraries lie: in the cache; where others can write there, too, in the user's own."""
    places = [cache_folder() / "native", user_cache_path("lamina") / "native"]
    for place in places:
        with suppress(PermissionError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _own(place):
                return place
    raise PermissionError(13, "others can write into it", str(places[-1]))


def _own(path: Path) -> bool:
    """Whether only this user can write there."""
    known = path.stat()
    return known.st_uid == os.getuid() and not known.st_mode & 0o022


def _compile(command: str, source: Path, into: Path) -> None:
    """Raises CalledProcessError, with what the compiler said, where no way works."""
    for threads in THREADS:
        asked = [command, *FLAGS, *threads, str(source), "-o", str(into)]
        done = subprocess.run(asked, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        if done.returncode < 0:  # it was stopped, by Ctrl-C or for want of memory: no way was tried
            break
        if not done.returncode:
            with into.open("rb") as file:
                os.fsync(file)  # a library that is cut short ends the process that loads it
            return
    done.check_returncode()
