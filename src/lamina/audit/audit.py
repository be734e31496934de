"""The audit: data, already split, in; findings out, the gravest first.

Each file of this folder is an illness and has one function, ``find(data)``; listing the folder finds it.
"""

import hashlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import polars as pl

import lamina
from lamina.data import thumbnails
from lamina.data.data import Data
from lamina.data.remembered import key_of, recall, remember
from lamina.findings import Finding

RULES = 2  # raised when illnesses come to be looked for otherwise: what was found before is then looked for anew
_GRAVITY = {"stop": 0, "warning": 1, "note": 2}


def audit(data: Data, report: Callable[[int, int], None] | None = None) -> list[Finding]:
    """Look for every illness that this folder knows, and add what reading found.

    Args:
        data: every example has its part.
        report: is told how many illnesses of how many were looked for.
    """
    found = list(data.findings)
    names = illnesses()
    try:
        for done, name in enumerate(names, 1):
            find: Callable[[Data], Iterator[Finding]] = import_module(f"lamina.audit.{name}").find
            found += find(data)
            if report:
                report(done, len(names))
    finally:
        thumbnails.forget()  # they take room on the disk
    return sorted(found, key=lambda finding: _GRAVITY[finding.severity])


def audited(data: Data, report: Callable[[int, int], None] | None = None) -> list[Finding]:
    """The same as ``audit``, found out once for the same examples in the same parts: many pictures take a minute."""
    key = key_of(
        lamina.__version__, RULES, data.fingerprint(), _digest(data), [finding.to_json() for finding in data.findings]
    )
    known = recall("audit", key)
    if known is None:
        found = [finding.to_json() for finding in audit(data, report)]
        known = {"findings": json.loads(json.dumps(found, default=lambda number: number.item()))}
        remember("audit", key, known)
    return [Finding.from_json(finding) for finding in known["findings"]]


def _digest(data: Data) -> str:
    """What a fingerprint does not tell, and findings go by: names, parts, groups and times; the columns of a table."""
    digest = hashlib.blake2b(digest_size=16)
    for column in (data.where, data.part, data.groups, data.times):
        digest.update(b"\1" if column is None else "\0".join(map(str, column.tolist())).encode("utf-8", "replace"))
    form = data.raws.schema if isinstance(data.raws, pl.DataFrame) else data.raws.dtype
    digest.update(str(form).encode())
    return digest.hexdigest()


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
