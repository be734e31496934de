"""What ``lamina explain`` says: the layers, what goes through them, and what in some inputs made their answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lamina.answers import write_whole
from lamina.errors import OptionError
from lamina.findings import Finding
from lamina.printing import print_json, show
from lamina.run import Run
from lamina.writing import number

if TYPE_CHECKING:
    from lamina.attribution.explain import Explained, Explanation

SHOWN = 10  # parts of an input
TOLD = ("name", "type", "shape", "parameters", "flops")
PASSING = {"mean": "mean", "spread": "spread", "dead": "dead", "relative_gradient": "gradient/weights"}


def explain(run: Path, given: list[str], activations: bool, out: Path | None, as_json: bool) -> None:
    """Say what the options ask for.

    Raises:
        OptionError: a page is asked for, and there is nothing to draw, or its name does not end in .html.
    """
    if out is not None and (activations or not given):
        raise OptionError("a page shows what made answers.", f"--out {out}", "Name inputs, without --activations.")
    if out is not None and out.suffix != ".html":
        raise OptionError(f'its name ends in "{out.suffix}".', str(out), "Explanations are written as a .html page.")
    if given and not activations:
        inputs(run, given, out, as_json)
    else:
        layers(run, given, activations, as_json)


def layers(run: Path, given: list[str], activations: bool, as_json: bool) -> None:
    """The layers as a table; with what goes through them, where it is asked for; and with how the last step treated each, where
    training was recorded."""
    opened = Run.open(run)
    found = _passing(run, given) if activations else opened.read("layers.json")
    steps = [step for step in opened.records("step") if step.get("layers")]
    last: dict[str, list[float]] = steps[-1]["layers"] if steps else {}
    rows = []
    for row in found["rows"]:
        treated = next((values for name, values in last.items() if name.rpartition(".")[0] == row["name"]), None)
        if treated is not None:
            row = row | dict(zip(("gradient", "weights", "change", "resting"), treated, strict=True))
        rows.append(row)
    if as_json:
        print_json({"run": str(run), **found, "rows": rows})
        return
    told = [{**{key: row[key] for key in TOLD}, "shape": " × ".join(map(str, row["shape"]))} for row in rows]
    show("layers", told, False)
    typer.echo(f"{found['parameters']:,} parameters, {found['flops']:,} operations for one example")
    if activations:
        what = "of the inputs" if given else "validation examples"
        typer.echo(
            f"\nOver {found['examples']:,} {what}: mean and spread of the outputs; share of units that are zero for all of them"
            + ("" if given else "; length of the gradient by that of the weights")
        )
        show("layers", [_through(row) for row in rows if "mean" in row], False)
        _warn([Finding.from_json(stored) for stored in found["findings"]])
    if last:
        typer.echo(
            f"\nStep {steps[-1]['step']}: the length of each gradient; that of the weights' change, as a share of their own; "
            "and the share of units that no gradient reached"
        )
        show("layers", [_treated(name, values) for name, values in last.items()], False)


def _passing(run: Path, given: list[str]) -> dict[str, Any]:
    from lamina.model import load

    return load(run).explain(*given, activations=True)


def _through(row: dict[str, Any]) -> dict[str, str]:
    """What goes through a layer, for people."""
    told = {title: f"{row[key]:.2g}" if key in row else "" for key, title in PASSING.items()}
    return {"name": row["name"]} | told | {"dead": f"{row['dead']:.0%}"}


def _treated(name: str, values: list[float]) -> dict[str, Any]:
    gradient, _, change, resting = values
    return {"weights": name, "gradient": f"{gradient:.2g}", "change": f"{change:.2g}", "resting": f"{resting:.0%}"}


def inputs(run: Path, given: list[str], out: Path | None, as_json: bool) -> None:
    """What in each input made its answer: said, and drawn on a page."""
    from lamina.attribution.explain import explained
    from lamina.explanation import page
    from lamina.model import load, subject

    found = explained(subject(load(run)), given)
    if out is not None:
        text = page(str(run), found)
        write_whole(lambda path: (path.write_text(text, "utf-8", "replace"), 0), out)
    if as_json:
        print_json({"run": str(run), **found.to_json(), "out": out and str(out)})
        return
    typer.echo("\n\n".join(_lines(one) for one in found.explanations))
    typer.echo(_ending(found, out))
    _warn(found.findings())


def _ending(found: "Explained", out: Path | None) -> str:
    """What was not explained, and where there is more to see."""
    lines = [""] + [f"{where}: {why}" for where, why in found.errors]
    if found.left_out:
        done = len(found.explanations) + len(found.errors)
        lines.append(f"The first {done} examples; {found.left_out:,} more were left out.")
    if out is not None:
        lines.append(str(out))
    elif any(one.kind != "columns" for one in found.explanations):
        lines.append("Add --out page.html to see it drawn.")
    return "\n".join(lines)


def _lines(one: "Explanation") -> str:
    """An explanation on the terminal."""
    from lamina.explanation import answer_of, bars

    lines = [
        f"{one.where}: {answer_of(one)}",
        f"  {one.about} {number(one.value)}; for {one.against}, {number(one.reference)}",
        f"  the parts miss the difference of {number(one.value - one.reference)} by {number(round(one.missing, 4))}; "
        f"likeness to random weights {number(one.random, 2)}"
        + (": it tells little about what was learned" if one.doubtful else ""),
    ]
    for bar in bars(one)[:SHOWN]:
        mark = ("+" if bar["side"] == "for" else "-") * max(1, round(bar["width"] / 5))
        lines.append(f"  {bar['name'][:24]:24} {bar['cell'][:18]:18} {bar['share']:>10} {mark}")
    return "\n".join(lines)


def _warn(findings: list[Finding]) -> None:
    """Findings, on standard error."""
    from rich.console import Console

    from lamina.terminal import Terminal

    terminal = Terminal(Console(stderr=True))
    for finding in findings:
        terminal.find(finding)
