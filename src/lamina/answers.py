"""Answers as CSV, as JSON lines or in a form of the task's own, written as they come, so that memory stays flat."""

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TextIO

from lamina.errors import OptionError, TrainingError
from lamina.run import to_json_text

Rows = Callable[[dict[str, Any]], list[dict[str, Any]]]
"""An answer as rows of a table."""


def write_answers(
    answers: Iterable[dict[str, Any]],
    out: Path | None,
    form: Literal["csv", "jsonl"] = "csv",
    rows: Rows = lambda answer: [answer],
) -> tuple[int, int]:
    """Write answers in their order, to a file (its ending decides the form) or to standard output.

    A file appears whole or not at all. In CSV the columns are those of the first good answer, and ``error``.

    Returns:
        How many answers there were, and how many of them were errors.
    """
    if out is None:
        return _write(answers, sys.stdout, form, rows)

    def whole(partial: Path) -> tuple[int, int]:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            return _write(answers, stream, "jsonl" if out.suffix == ".jsonl" else "csv", rows)

    return write_whole(whole, out)


def write_whole(write: Callable[[Path], tuple[int, int]], out: Path) -> tuple[int, int]:
    """Let ``write`` make a file or a folder, which appears at ``out`` whole or not at all; what it returned.

    Raises:
        OptionError: ``out`` is a folder that is there already, with something in it.
        TrainingError: it cannot be written.
    """
    if out.is_dir() and any(out.iterdir()):
        raise OptionError("there is a folder already, and it is not empty.", str(out), "Name another one.")
    partial = out.with_name(f".{out.name}.partial{out.suffix}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        counts = write(partial)
        partial.replace(out)
    except OSError as error:
        raise TrainingError(
            f"it cannot be written ({error.strerror}).", str(out), "Make room or name another place."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)
    return counts


def _write(answers: Iterable[dict[str, Any]], stream: TextIO, form: str, rows: Rows) -> tuple[int, int]:
    done = failed = 0
    writer: csv.DictWriter[str] | None = None
    waiting: list[dict[str, Any]] = []  # errors before the first good answer shows the columns
    for answer in answers:
        done, failed = done + 1, failed + ("error" in answer)
        if form == "jsonl":
            stream.write(to_json_text(answer) + "\n")
            continue
        if "error" in answer and writer is None:
            waiting.append(_flat(answer))
            continue
        for row in [answer] if "error" in answer else rows(answer):
            flat = _flat(row)
            if writer is None:
                writer = _started(stream, flat, waiting)
            writer.writerow(flat)
    if form == "csv" and writer is None:
        _started(stream, {"input": "", "prediction": ""}, waiting)
    return done, failed


def _started(stream: TextIO, first: dict[str, Any], waiting: list[dict[str, Any]]) -> "csv.DictWriter[str]":
    writer = csv.DictWriter(stream, [*first, "error"])
    writer.writeheader()
    writer.writerows(waiting)
    return writer


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    """``{"probabilities": {"a": 1}}`` becomes ``{"probability of a": 1}``, one column each; a list becomes JSON."""
    flat: dict[str, Any] = {}
    for name, value in answer.items():
        if isinstance(value, dict):
            singular = name[:-3] + "y" if name.endswith("ies") else name
            flat |= {f"{singular} of {key}": item for key, item in value.items()}
        else:
            flat[name] = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
    return flat
