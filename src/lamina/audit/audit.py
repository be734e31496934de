"""The audit: data, already split, in; findings out, the gravest first.

Each file of this folder is an illness and has one function, ``find(data)``; listing the folder finds it.
"""

import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

from lamina.data.data import Data
from lamina.findings import Finding

_GRAVITY = {"stop": 0, "warning": 1, "note": 2}


def audit(data: Data) -> list[Finding]:
    """Look for every illness that this folder knows, and add what reading found.

    Args:
        data: every example has its part.
    """
    found = list(data.findings)
    for name in illnesses():
        find: Callable[[Data], Iterator[Finding]] = import_module(f"lamina.audit.{name}").find
        found += find(data)
    return sorted(found, key=lambda finding: _GRAVITY[finding.severity])


def illnesses() -> list[str]:
    """The names of the files with a ``find``, in alphabetical order."""
    return sorted(
        module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.name != "audit"
    )


def corrupt(failures: list[tuple[str, str]], total: int) -> Finding:
    """The finding that examples could not be read.

    Args:
        failures: (where, why) of each.
        total: examples in all.
    """
    share = len(failures) / max(total, 1)
    return Finding(
        "file.unreadable",
        "stop" if share > 0.5 else "warning",
        f"{len(failures):,} of {total:,} examples could not be read and were left out; the first: {failures[0][1]}",
        "Replace or remove them.",
        where=tuple(f"{where}: {why}" for where, why in failures[:20]),
        count=len(failures),
        evidence={"unreadable": len(failures), "examples": total, "share": round(share, 4)},
    )
