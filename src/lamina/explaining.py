"""What ``lamina explain`` says: the layers, and what in some inputs made their answers."""

from pathlib import Path
from typing import Any

import typer

from lamina.answers import write_whole
from lamina.attribution import Explanation, explained
from lamina.errors import OptionError
from lamina.explanation import bars, page
from lamina.model import load
from lamina.printing import print_json, show
from lamina.run import Run
from lamina.writing import number

SHOWN = 10  # columns of a row
TOLD = ("name", "type", "shape", "parameters", "flops")


def layers(run: Path, as_json: bool) -> None:
    """The layers as a table; with how the last step treated each, where training was recorded."""
    opened = Run.open(run)
    found = opened.read("layers.json")
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
    if last:
        typer.echo(
            f"\nStep {steps[-1]['step']}: the length of each gradient; that of the weights' change, as a share of their own; "
            "and the share of units that no gradient reached"
        )
        show("layers", [_treated(name, values) for name, values in last.items()], False)


def _treated(name: str, values: list[float]) -> dict[str, Any]:
    gradient, _, change, resting = values
    return {"weights": name, "gradient": f"{gradient:.2g}", "change": f"{change:.2g}", "resting": f"{resting:.0%}"}


def inputs(run: Path, given: list[str], out: Path | None, as_json: bool) -> None:
    """What in each input made its answer: said, and drawn on a page."""
    if out is not None and out.suffix != ".html":
        raise OptionError(f'its name ends in "{out.suffix}".', str(out), "Explanations are written as a .html page.")
    found = explained(load(run), given)
    if out is not None:
        text = page(str(run), found)
        write_whole(lambda path: (path.write_text(text, encoding="utf-8"), 0), out)
    if as_json:
        print_json({"run": str(run), "explanations": [one.to_json() for one in found], "out": out and str(out)})
        return
    for one in found:
        typer.echo("\n".join(_lines(one)) + "\n")
    if out is not None:
        typer.echo(str(out))
    elif any(one.picture is not None for one in found):
        typer.echo("Add --out page.html to see where in the pictures.")


def _lines(one: Explanation) -> list[str]:
    """An explanation on the terminal."""
    lines = [
        f"{one.where}: {number(one.answer['prediction'])}",
        f"  {one.about} {number(one.value)}, for the reference {number(one.reference)}; the parts miss the difference by "
        f"{number(one.missing)}; likeness to random weights {number(one.random, 2)}"
        + (": it tells little about what was learned" if one.doubtful else ""),
    ]
    for bar in bars(one)[:SHOWN]:
        mark = ("+" if bar["side"] == "for" else "-") * max(1, round(bar["width"] / 5))
        lines.append(f"  {bar['name'][:24]:24} {bar['cell'][:16]:16} {bar['share']:>10} {mark}")
    return lines
