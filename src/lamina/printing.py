"""Printing: what verbs end with, for people at a terminal or, as one JSON object, for programs."""

import ast
import codecs
import io
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from lamina.errors import LaminaError

if TYPE_CHECKING:
    from lamina.model import Model

PLAIN = {"−": "-", "–": "-", "↑": "^", "↓": "v"}
"""What stands for signs that an encoding lacks; "?" for any other."""


def encodable(as_json: bool) -> None:
    """Let standard output take every character: where its encoding lacks one, another stands for it, and in JSON an escape."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in ("strict", "surrogateescape"):
        codecs.register_error("lamina", _escaped if as_json else _replaced)
        sys.stdout.reconfigure(errors="lamina")


def _escaped(error: UnicodeError) -> tuple[str, int]:
    lacking, end = _lacking(error)
    return json.dumps(lacking)[1:-1], end


def _replaced(error: UnicodeError) -> tuple[str, int]:
    lacking, end = _lacking(error)
    return "".join(PLAIN.get(sign, "?") for sign in lacking), end


def _lacking(error: UnicodeError) -> tuple[str, int]:
    """The characters that cannot be written, and where they end."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return error.object[error.start : error.end], error.end


def summary(model: "Model", result: dict[str, Any], part: str, seconds: float, as_json: bool) -> None:
    """What train and evaluate end with."""
    from lamina.terminal import show_summary

    page = model.path / "report" / "index.html"
    findings = model.run.findings()
    seeds = model.run.read("seeds.json") if model.run.has("seeds.json") else None
    if as_json:
        print_json(
            {
                "run": str(model.path),
                "task": model.run.read("recipe.json")["task"]["name"],
                "metrics": {
                    name: {key: score[key] for key in ("value", "low", "high")}
                    for name, score in result["scores"].items()
                },
                "baselines": result["baselines"],
                "findings": [finding.to_json() for finding in findings],
                "verdict": result["verdict"],
                "seeds": seeds,
                "report": str(page),
                "seconds": round(seconds, 3),
            }
        )  # fmt: skip
        return
    next_step = "lamina generate {}" if model.generates else "lamina predict {} INPUT..."
    if seeds is not None:
        result = result | {"seeds": seeds["verdict"]}
    show_summary(model.path, result, part, findings, seconds, next_step)


def list_files(kind: Literal["tasks", "networks"], as_json: bool) -> None:
    """Names and first lines of the modules' docstrings, read without importing them."""
    folder = Path(__file__).parent / kind
    rows = []
    for file in sorted(folder.glob("*.py")):
        if file.stem not in ("__init__", "task"):
            doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            rows.append({"name": file.stem, "what": doc.splitlines()[0]})
    show(kind, rows, as_json)


def show(name: str, rows: list[dict[str, Any]], as_json: bool, nothing: str = "") -> None:
    """A table for people, or one JSON object."""
    from lamina.terminal import show_rows

    if as_json:
        print_json({name: rows})
    elif rows:
        show_rows(rows)
    else:
        sys.stdout.write(f"{nothing}\n")


def fail(error: LaminaError, as_json: bool, code: int) -> int:
    """An error on standard error, as one line, or as JSON; the exit code."""
    if as_json:
        with suppress(BrokenPipeError):
            print_json({"error": error.to_json()})
    else:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")  # one line, whatever a library said
    return code


def leave(code: int) -> NoReturn:
    """End the program with an exit code, also where whoever read standard output has gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(code)
    sys.exit(code)


def print_json(content: Any) -> None:
    """One JSON object on one line."""
    from lamina.run import to_json_text

    sys.stdout.write(to_json_text(content) + "\n")
    sys.stdout.flush()
