"""Run: the directory of one training run. It is the interface: monitor, report, compare and predict read a Run, never a
live object. This module is the only reader and writer of its files.

    recipe.json          all that is needed to repeat the run: data, split, task, network, plan, execution
    facts.json           what the training part taught: classes, columns, means
    settled.json         what the validation part decided after training, where the task has such things
    environment.json     versions, machine, command, date
    learned.bin          digests of the examples of the training and validation part, 8 bytes each
    layers.json          the network's layers: name, type, output shape, parameters, FLOPs per example
    log.jsonl            one JSON object a line: {"kind": "note" | "finding" | "step" | "epoch" | "end", ...}
    best.safetensors     the weights with the best validation score
    checkpoints/         N.safetensors: all that resuming needs, after step N; the last two are kept
    evaluation/          PART.json: scores, baselines, exhibits; PART.safetensors: outputs, targets, rows of each metric
    test_reads.json      how often, when and why the test part was read
    pictures/            augmented.png: training examples as the network sees them
    report/index.html

Every file but the log is written aside, flushed and renamed, so it is whole or absent. No file holds code.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from glob import escape as escape_pattern
from html import escape
from pathlib import Path
from typing import Any

from lamina.data.cache import partial_of
from lamina.errors import RunError, TrainingError
from lamina.findings import Finding
from lamina.records import Epoch, Step
from lamina.writing import number

LEARNED = "learned.bin"
FORMAT = 2
"""Version of the layout above; a reader refuses a newer one and reads every older one."""
ABANDONED = 3600.0  # seconds after which a run that is still being made aside is taken for abandoned: it takes a few


class Run:
    """The directory of one training run."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: Path, recipe: dict[str, Any]) -> "Run":
        """Make the directory, with its recipe. Raises RunError when something is there already."""
        run = cls(path)
        if path.exists() and any(path.iterdir() if path.is_dir() else [path]):
            raise RunError("something is there already.", str(path), "Name another directory with --out, or resume.")
        run.write("recipe.json", {"format": FORMAT, **recipe})
        return run

    @classmethod
    def open(cls, path: Path | str) -> "Run":
        """A run that is there. Raises RunError when it is not, or when a newer Lamina made it."""
        run = cls(path)
        if not run.path.is_dir():
            raise RunError("there is no such run directory.", str(path), "`lamina runs` lists those below ./runs.")
        if not (run.path / "recipe.json").exists():
            raise RunError(
                "this is not a run directory: it has no recipe.json.", str(path), "Name one that train made."
            )
        made_by = run.read("recipe.json").get("format", 0)
        if made_by > FORMAT:
            raise RunError(f"its format is {made_by}; this Lamina reads up to {FORMAT}.", str(path), "Update Lamina.")
        return run

    def read(self, name: str) -> Any:
        """The content of a JSON file of the run. Raises RunError naming the file when it is absent or damaged."""
        file = self.path / name
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError("the file is not there; the run did not get that far.", str(file), "Resume it.") from None
        except (ValueError, OSError) as error:
            raise RunError(f"the file cannot be read ({error}).", str(file), "Restore it, or train again.") from None

    def facts(self) -> dict[str, Any]:
        """What the training part taught; and, as ``settled``, what the validation part decided, once it has."""
        facts: dict[str, Any] = self.read("facts.json")
        return facts | {"settled": self.read("settled.json")} if self.has("settled.json") else facts

    def has(self, name: str) -> bool:
        """Whether the run has a file of that name."""
        return (self.path / name).exists()

    def write(self, name: str, content: Any) -> Path:
        """Write a file whole or not at all: bytes as they are, anything else as JSON."""
        data = content if isinstance(content, bytes) else to_json_text(content, indent=2).encode()
        file = self.path / name
        partial = file.with_name(f".{file.name}.partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
        except OSError as error:
            raise TrainingError(
                f"the file cannot be written ({error.strerror}).",
                str(file),
                "Make room or name another place with --out; what was written before is kept.",
            ) from None
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return file

    def log(self, record: Step | Epoch | Finding | str | dict[str, Any]) -> None:
        """Append one line to the log: a record, a finding, or a note in words."""
        if isinstance(record, str):
            record = {"kind": "note", "what": record}
        elif isinstance(record, Finding):
            record = {"kind": "finding", "finding": record.to_json()}
        elif is_dataclass(record):
            record = {"kind": type(record).__name__.lower(), **asdict(record)}
        try:
            with (self.path / "log.jsonl").open("ab") as stream:
                stream.write(to_json_text(record).encode() + b"\n")
        except OSError as error:
            raise TrainingError(
                f"the log cannot be written ({error.strerror}).", str(self.path), "Make room, then --resume the run."
            ) from None

    def bytes(self) -> int:
        """What its files take on the disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def log_size(self) -> int:
        """Bytes in the log; a checkpoint keeps it, so that resuming cuts off what came after."""
        return (self.path / "log.jsonl").stat().st_size if self.has("log.jsonl") else 0

    def cut_log(self, size: int) -> None:
        """Forget what was logged after the log had ``size`` bytes, and a last line that is not whole."""
        if self.has("log.jsonl"):
            kept = (self.path / "log.jsonl").read_bytes()[:size]  # shorter where a power cut took its end
            os.truncate(self.path / "log.jsonl", kept.rfind(b"\n") + 1)

    def records(self, kind: str | None = None) -> Iterator[dict[str, Any]]:
        """The log's lines, in order, of one kind or all; a last line that is still being written is left out.

        Raises RunError naming the line when it is damaged.
        """
        file = self.path / "log.jsonl"
        if not file.exists():
            return
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    record = json.loads(line)
                    wanted = kind in (None, record["kind"])
                except (ValueError, KeyError, TypeError):
                    raise RunError("the line is damaged.", f"{file}:{number}", "Restore it, or delete it.") from None
                if wanted:
                    yield record

    def findings(self) -> list[Finding]:
        """All that was found wrong, in the order in which it was found."""
        return [Finding.from_json(record["finding"]) for record in self.records("finding")]

    def count_test_read(self, why: str) -> int:
        """Note that the test part is about to be read; how often it has been, this time included."""
        reads = self.read("test_reads.json") if self.has("test_reads.json") else []
        reads.append({"when": datetime.now(UTC).isoformat(timespec="seconds"), "why": why})
        self.write("test_reads.json", reads)
        return len(reads)

    def _repr_html_(self) -> str:
        """What a notebook shows: what was learned from what, the score, the verdict and what was found."""
        stored = self.read("recipe.json")
        rows = {
            "Run": str(self.path),
            "Data": stored["data"]["source"] or "in memory",
            "Task": stored["task"]["name"].replace("_", " "),
            "Network": " ".join(filter(None, [stored["network"]["name"], stored["network"]["size"]])),
        }
        if self.has("evaluation/test.json"):
            proved = self.read("evaluation/test.json")
            for name, score in list(proved["scores"].items())[:3]:
                value, low, high = (number(score[key]) for key in ("value", "low", "high"))
                rows[name.replace("_", " ")] = f"{value} (95 % interval {low} to {high})"
            rows["Verdict"] = proved["verdict"]
        else:
            rows["State"] = f"{len(list(self.records('epoch')))} epochs done, not finished"
        worst = [finding.what for finding in self.findings() if finding.severity != "note"]
        rows |= {"Findings": " ".join(worst)} if worst else {}
        cells = (f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table>{''.join(cells)}</table>"

    def delete(self) -> None:
        """Remove the directory."""
        shutil.rmtree(self.path, ignore_errors=True)


def listed(folder: Path) -> list[dict[str, Any]]:
    """A row for each run below a folder: where, what, its score; a damaged one says so in ``state``."""
    rows: list[dict[str, Any]] = []
    for recipe in sorted(folder.glob("**/recipe.json")):
        row = dict.fromkeys(("run", "task", "network", "metric", "value", "low", "high", "state"))
        row |= {"run": str(recipe.parent), "state": "not finished"}
        rows.append(row)
        try:
            run = Run.open(recipe.parent)
            stored = run.read("recipe.json")
            row |= {"task": stored["task"]["name"]}
            row |= {"network": " ".join(filter(None, [stored["network"]["name"], stored["network"]["size"]]))}
            if run.has("evaluation/test.json"):
                name, score = next(iter(run.read("evaluation/test.json")["scores"].items()))
                row |= {"metric": name, **{key: score[key] for key in ("value", "low", "high")}, "state": "proved"}
        except RunError as error:
            row |= {"state": error.what}
        except (KeyError, TypeError, AttributeError):
            row |= {"state": "its files are damaged"}
    return rows


def to_json_text(content: Any, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinities become null, since other readers refuse them; what is no UTF-8 is escaped."""
    text = json.dumps(_plain(content), indent=indent, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def free_path(name: str, root: Path = Path("runs")) -> Path:
    """The first of ``runs/NAME-1``, ``runs/NAME-2``, ... that is not there."""
    number = 1
    while (root / f"{name}-{number}").exists():
        number += 1
    return root / f"{name}-{number}"


def appear(run: Run, path: Path) -> Run:
    """Rename a run's directory, which was made aside, to ``path``. Raises RunError when something is there by now."""
    with suppress(OSError):
        path.rmdir()  # an empty one, which Windows does not replace
    try:
        run.path.rename(path)
    except OSError:
        if not path.exists():
            raise
        remedy = "Another run took the name; name another directory with --out."
        raise RunError("something is there already.", str(path), remedy) from None
    return Run(path)


def aside_of(path: Path) -> Path:
    """A new hidden name beside a run's, to make it under; what killed programs left of such goes."""
    for left in path.parent.glob(f".{escape_pattern(path.name)}.*.partial"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
    return partial_of(path, hidden=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if hasattr(value, "tolist"):  # of NumPy or PyTorch
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    return value
