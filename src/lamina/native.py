"""Native: what is written in C++ is compiled on this machine when it is first needed, where there is a compiler.

A package that holds no machine code installs everywhere, and what is compiled here uses all that this processor can. It is
kept in the cache, under a name made of the source, the compiler and the processor.
"""

import ctypes
import os
import shutil
import subprocess
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from lamina.data.cache import cache_folder, partial_of
from lamina.data.remembered import key_of
from lamina.environment import instructions, processor
from lamina.errors import OptionError
from lamina.layers.winograd_compiled import Kernels

COMPILERS = ("c++", "g++", "clang++")
# Sums are not contracted, so that every compiler and processor gives the same bits.
FLAGS = ["-std=c++17", "-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC", "-w"]
THREADS: tuple[list[str], ...] = (["-fopenmp"], [])  # some compilers have none
PATIENCE = 120.0  # seconds


def compiler() -> str | None:
    """The C++ compiler: that which ``$CXX`` names, or the first that is found."""
    return next((found for name in (os.environ.get("CXX", ""), *COMPILERS) if (found := shutil.which(name))), None)


@cache
def winograd() -> Kernels:
    """The transforms of ``layers/winograd.cpp``. Raises OptionError where they cannot be compiled."""
    try:
        return Kernels(_library("winograd.cpp"))
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise OptionError(
            f"compiling Winograd's convolutions fails here ({said[0] if said else type(error).__name__}).",
            remedy="Install a C++ compiler, or ask for winograd or direct convolutions.",
        ) from None


def compiles() -> bool:
    """Whether ``winograd`` is to be had; the first time on a machine this takes about two seconds."""
    try:
        winograd()
    except OptionError:
        return False
    return True


def _library(name: str) -> ctypes.CDLL:
    """What a source in ``layers`` is compiled to, from the cache where it is there; what is damaged does not stay in it."""
    command = compiler()
    if command is None:
        raise OSError("no C++ compiler was found")
    source = files("lamina.layers") / name
    key = key_of(source.read_text(encoding="utf-8"), _version(command), FLAGS, processor(), instructions())
    path = cache_folder() / "native" / f"{key}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(path)
        try:
            with as_file(source) as file:
                _compile(command, file, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _version(command: str) -> str:
    asked = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=PATIENCE, check=True)
    return asked.stdout.partition("\n")[0]


def _compile(command: str, source: Path, into: Path) -> None:
    """Raises CalledProcessError, with what the compiler said, where no way works."""
    for threads in THREADS:
        asked = [command, *FLAGS, *threads, str(source), "-o", str(into)]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE)
        if not done.returncode:
            return
    done.check_returncode()
