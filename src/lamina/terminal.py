"""What a person at a terminal sees: progress, decisions, findings, and the summary at the end."""

import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from lamina.findings import Finding
from lamina.records import Epoch, Step
from lamina.watch import Quiet, Watch
from lamina.writing import duration, number

_LINES = 24  # of epochs, shown in all
_STYLE = {"note": "cyan", "warning": "yellow", "stop": "red"}


class Terminal:
    """A Watch that draws on a console. Bars are drawn only where they can move; a job's log gets findings and epochs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.percentage:>3.0f} %  {task.fields[state]}"),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.work: dict[str, TaskID] = {}
        self.score = ""
        self.shown = -math.inf

    def __enter__(self) -> "Terminal":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def say(self, text: str) -> None:
        """A decision, in words; to a person only."""
        if self.console.is_terminal:
            self.console.print(escape(text), style="dim", highlight=False)

    def find(self, finding: Finding) -> None:
        """A finding, with its places and its remedy."""
        colour = _STYLE[finding.severity]
        where = (
            f" [dim]({escape(', '.join(finding.where[:3]))}{', ...' if finding.count > 3 else ''})[/]"
            if finding.where
            else ""
        )
        self.console.print(
            f"[{colour}]{finding.severity}[/] [bold]{finding.kind}[/] {escape(finding.what)}{where} "
            f"[{colour}]→[/] {escape(finding.remedy)}",
            highlight=False,
            soft_wrap=not self.console.is_terminal,
        )  # fmt: skip

    def progress(self, what: str, done: int, total: int) -> None:
        """A bar of its own for each kind of work."""
        if what not in self.work:
            self.work[what] = self.bars.add_task(what, total=total, state="")
        self.bars.update(self.work[what], completed=done, total=total, state=f"{done:,} of {total:,}")
        if done >= total:
            self.bars.remove_task(self.work.pop(what))

    def see(self, record: Step | Epoch) -> None:
        """Move the training bar; an epoch adds a line, when it is not one of very many."""
        if isinstance(record, Step):
            loss = next(iter(record.loss.values()))
            left = record.seconds * (1 - record.t) / max(record.t, 1e-9)
            rate = f"{record.examples_per_s:,.0f} examples/s"
            state = f"epoch {record.epoch}  loss {loss:.4f}  {self.score}  {rate}  {duration(left)} left"
            if "training" not in self.work:
                self.work["training"] = self.bars.add_task("training", total=1.0, state="")
            self.bars.update(self.work["training"], completed=record.t, state=state)
            return
        name, value = next(iter(record.valid.items()))
        self.score = f"{name} {number(value)}"
        if record.t >= 1 or (record.t - self.shown) * _LINES >= 1:
            self.shown = record.t
            loss = next(iter(record.loss.values()))
            scores = "  ".join(f"{key} {number(score)}" for key, score in list(record.valid.items())[:2])
            mark = " [green]best[/]" if record.best else ""
            self.console.print(
                f"epoch {record.epoch:>3}  loss {loss:.4f}  {scores}  [dim]{record.seconds:.1f} s[/]{mark}",
                highlight=False,
                soft_wrap=not self.console.is_terminal,
            )
            for sample in record.samples[:1]:
                if "text" in sample:
                    self.console.print(
                        escape(f"  … {' '.join(sample['text'].split())}"),
                        style="dim",
                        highlight=False,
                        no_wrap=True,
                        overflow="ellipsis",
                    )
        if record.t >= 1 and "training" in self.work:
            self.bars.remove_task(self.work.pop("training"))


@contextmanager
def watching(quiet: bool) -> Iterator[Watch]:
    """Who is told: the terminal, on standard error; nobody with --json."""
    if quiet:
        yield Quiet()
        return
    with Terminal(Console(stderr=True)) as terminal:
        yield terminal


def show_rows(rows: list[dict[str, Any]]) -> None:
    """Rows with the same keys, as a table on standard output."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for position, name in enumerate(rows[0]):
        table.add_column(name, overflow="fold", no_wrap=position == 0)
    for row in rows:
        table.add_row(*(escape("" if value is None else number(value)) for value in row.values()))
    Console().print(table)


def show_summary(
    path: Path, result: dict[str, Any], part: str, findings: list[Finding], seconds: float, next_step: str
) -> None:
    """What train and evaluate end with, on standard output: scores, verdict, findings, report, and what to do next, a command
    with {} for the run."""
    out = Console()
    warnings = sum(finding.severity != "note" for finding in findings)
    page = f"{escape(str(path / 'report' / 'index.html'))}   [dim](in {duration(seconds)})[/]"
    lines = {
        "Verdict": escape(result["verdict"]),
        **({"Seeds": escape(result["seeds"])} if "seeds" in result else {}),
        "Findings": f"{len(findings)}, {warnings} of them warnings or worse",
        "Report": page,
        "Next": next_step.format(escape(shlex.quote(str(path)))),
    }
    out.print()
    out.print(scores_table(result, f"Scores on {escape(part)}, {result['examples']:,} examples"))
    out.print()
    for name, text in lines.items():
        out.print(
            f"[bold]{name:8}[/] {text}",
            highlight=False,
            soft_wrap=name not in ("Verdict", "Seeds") or not out.is_terminal,
        )


def scores_table(result: dict[str, Any], title: str) -> Table:
    """Scores with their intervals, beside the baselines."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("metric", no_wrap=True)
    table.add_column("network", justify="right", style="bold")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for baseline in result["baselines"]:
        table.add_column(baseline.replace("_", " "), justify="right", style="dim")
    for name, score in result["scores"].items():
        arrow = "↑" if score["better"] == "higher" else "↓"
        interval = f"{number(score['low'])} – {number(score['high'])}"
        others = [number(values[name]["value"]) for values in result["baselines"].values()]
        table.add_row(f"{name} {arrow}", number(score["value"]), interval, *others)
    return table
