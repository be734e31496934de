"""The command line: one function per verb. Options of training come from the fields of Plan, with their docstrings as help.

Exit codes: 0 done · 1 something unforeseen · 2 wrong option or name · 3 data that cannot be used · 4 run directory missing or
damaged · 5 training could not go on · 6 some inputs of ``predict`` could not be read · 130 stopped by Ctrl-C.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lamina.errors import LaminaError, OptionError, unwritable
from lamina.listing import cache, networks, runs, tasks
from lamina.options import (
    Accept,
    Compiled,
    Convolutions,
    DataPath,
    Device,
    Fix,
    Group,
    Json,
    Layout,
    MadeInto,
    MaybeData,
    Precision,
    RunPath,
    Settings,
    Size,
    Target,
    TaskName,
    TestShare,
    Threads,
    Time,
    ValidShare,
    Version,
    corrected,
    seconds_of,
    settings_of,
    with_plan,
    with_sampling,
)
from lamina.printing import encodable, fail, leave, print_json, show, summary

DEMO_SECONDS = 30.0  # up to the end of training

app = typer.Typer(
    name="lamina",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(version: Version = False) -> None:
    """Train neural networks by the book: from data to a proved, saved, reported model.

    Start with: lamina train FOLDER   or   lamina train TABLE.csv --target COLUMN   or   lamina demo
    """


def main() -> None:
    """Run the command line; every error becomes one line and an exit code."""
    wants_json = "--json" in sys.argv
    encodable(wants_json)
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except LaminaError as error:
        code = fail(error, wants_json, error.exit_code)
    except typer.TyperException as error:
        name = getattr(getattr(error, "ctx", None), "command_path", "lamina")
        code = fail(corrected(error.format_message(), f"`{name} --help` shows an example."), wants_json, 2)
    except (KeyboardInterrupt, typer.Abort):
        code = fail(LaminaError("stopped by Ctrl-C."), wants_json, 130)
    except MemoryError:
        code = fail(LaminaError("there is not enough memory.", remedy="Try a smaller --batch-size."), wants_json, 5)
    except (BrokenPipeError, SystemExit) as gone:  # whoever read our output, which libraries take for a failure
        if isinstance(gone, SystemExit) and not isinstance(gone.__context__, BrokenPipeError):
            raise
        code = 0
    except Exception as error:
        if os.environ.get("LAMINA_TRACEBACK"):
            raise
        remedy = "This is a defect of Lamina: set LAMINA_TRACEBACK=1 to see where, and report it."
        code = fail(LaminaError(f"{type(error).__name__}: {error}", remedy=remedy), wants_json, 1)
    leave(code if isinstance(code, int) else 0)


@app.command()
@with_plan
def train(
    data: MaybeData = None,
    task: TaskName = None,
    target: Target = None,
    group: Group = None,
    time_column: Time = None,
    settings: Settings = None,
    network: Annotated[str | None, typer.Option(help="A family; see `lamina networks`.")] = None,
    size: Size = None,
    dropout: Annotated[float | None, typer.Option(help="Share of the features that dropout hides.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A file that a pretrained network starts from.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's directory; runs/NAME-N otherwise.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Continue a stopped run, to the bit.")] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="RUN", help="Train again by the recipe of a run.")] = None,
    valid_share: ValidShare = None,
    test_share: TestShare = None,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    layout: Layout = None,
    convolutions: Convolutions = None,
    compiled: Compiled = None,
    accept: Accept = None,
    fix: Fix = None,
    seeds: Annotated[int, typer.Option(help="Trainings with different seeds, whose spread is told.", min=1)] = 1,
    as_json: Json = False,
    *,
    plan: dict[str, Any],
) -> None:
    """Train a network on DATA, prove it on the test part, and write a report.

    Example: lamina train houses.csv --target price --budget 5m
    """
    from lamina import training
    from lamina.seeds import spread
    from lamina.terminal import watching

    began = time.monotonic()
    given = {"valid_share": valid_share, "test_share": test_share}
    shares: dict[str, Any] = {name: share for name, share in given.items() if share is not None}
    decided = plan | shares | {
        "task": task, "target": target, "group": group, "time": time_column, "set": settings, "network": network,
        "size": size, "dropout": dropout, "weights": weights, "device": device, "precision": precision, "threads": threads,
        "layout": layout, "convolutions": convolutions, "compile": compiled, "fix": fix,
    }  # fmt: skip
    with watching(as_json) as watch:
        if resume is not None:
            _refuse("--resume", decided | {"DATA": data, "out": out, "recipe": recipe})
            model = training.resume(resume, accept=accept or (), watch=watch)
        elif recipe is not None:
            _refuse("--recipe", decided | {"seed": None, "accept": accept})
            model = training.repeat(recipe, data, seed=plan.get("seed"), out=out, watch=watch)
        elif data is None:
            raise OptionError("DATA is missing.", remedy="Example: lamina train flowers/")
        else:
            model = training.train(
                data, task=task, target=target, group=group, time_column=time_column, options=settings_of(settings),
                network=network, size=size, dropout=dropout, weights=weights, plan=plan, seed=plan.get("seed", 0),
                device=device, precision=precision, threads=threads, accept=accept or (), fix=fix or (), out=out, watch=watch,
                execution={"layout": layout, "convolutions": convolutions, "compiled": compiled}, **shares,
            )  # fmt: skip
        if seeds > 1:
            spread(model, seeds, data=data, watch=watch)
    summary(model, model.run.read("evaluation/test.json"), "test", time.monotonic() - began, as_json)


@app.command()
def predict(
    run: RunPath,
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT...", help="Files, folders or tables.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="A .csv or .jsonl file, or a form of the task's own; standard output otherwise.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Answer for new INPUTs, in their order; one that cannot be read gets an error of its own.

    Example: lamina predict runs/flowers-1 new/ --out answers.csv
    """
    from lamina.answers import write_answers, write_whole
    from lamina.model import load
    from lamina.terminal import watching

    with watching(as_json or out is None) as watch:
        model = load(run)
        report = partial(watch.progress, "predicting")
        if out is None or out.suffix in (".csv", ".jsonl"):
            form: Literal["csv", "jsonl"] = "jsonl" if as_json else "csv"
            done, failed = write_answers(model.stream(inputs, report), out, form, model.task.rows)
        elif out.suffix in model.task.forms:
            done, failed = write_whole(lambda path: model.write(inputs, path, report), out)
        else:
            raise unwritable(out, {".csv": "a table", ".jsonl": "a line of JSON per answer"} | model.task.forms)
    if as_json:
        print_json({"run": str(run), "predictions": done, "errors": failed, "out": None if out is None else str(out)})
    elif out is not None:
        sys.stderr.write(f"{done:,} answers in {out}" + (f", {failed:,} of them errors" if failed else "") + "\n")
    if failed:
        raise typer.Exit(6)


@app.command()
@with_sampling
def generate(
    run: RunPath,
    prompt: Annotated[list[str] | None, typer.Option(help="What is continued, or a class; repeatable.")] = None,
    samples: Annotated[int, typer.Option("--samples", "-n", help="Texts or pictures per prompt.", min=1)] = 1,
    out: MadeInto = None,
    as_json: Json = False,
    *,
    wish: dict[str, Any],
) -> None:
    """Let a RUN write or paint: continue each prompt, to the terminal as it comes; or make pictures.

    Example: lamina generate runs/book-1 --prompt "It was a dark" --tokens 300
    """
    from lamina.generating import write_made
    from lamina.model import load
    from lamina.sampling import Sampling
    from lamina.terminal import watching

    prompts = [text for text in prompt or [""] for _ in range(samples)]
    chosen = Sampling(**wish)
    with watching(as_json or out is None) as watch:
        write_made(prompts, load(run).generation(prompts, chosen), out, str(run), as_json, watch)


@app.command()
def evaluate(
    run: RunPath,
    data: MaybeData = None,
    target: Target = None,
    as_json: Json = False,
) -> None:
    """Score a RUN on its own test part, or on other labelled DATA.

    Example: lamina evaluate runs/flowers-1 flowers-of-2025/
    """
    from lamina.model import load
    from lamina.terminal import watching

    began = time.monotonic()
    with watching(as_json) as watch:
        model = load(run)
        result = model.evaluate(data, target, lambda done, total: watch.progress("encoding", done, total))
        model.report()
    summary(model, result, result["part"], time.monotonic() - began, as_json)


@app.command()
def report(run: RunPath, as_json: Json = False) -> None:
    """Write the report of a RUN anew: one page that needs nothing but a browser.

    Example: lamina report runs/flowers-1
    """
    from lamina.report.report import write_report
    from lamina.run import Run

    page = write_report(Run.open(run))
    print_json({"run": str(run), "report": str(page)}) if as_json else typer.echo(str(page))


@app.command()
def compare(first: RunPath, second: RunPath, as_json: Json = False) -> None:
    """Say whether two runs differ, by a paired test on the same test examples.

    Example: lamina compare runs/flowers-1 runs/flowers-2
    """
    from lamina.comparison import compare as compare_runs

    found = compare_runs(first, second)
    print_json(found.to_json()) if as_json else typer.echo(found.in_words())


@app.command()
def explain(
    run: RunPath,
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT...]", help="As for predict.", show_default=False)
    ] = None,
    activations: Annotated[bool, typer.Option("--activations", help="What goes through each layer.")] = False,
    out: Annotated[Path | None, typer.Option(help="A .html page that shows it.")] = None,
    as_json: Json = False,
) -> None:
    """Say what in INPUTs made their answers; without any, show the layers of a RUN's network.

    Example: lamina explain runs/flowers-1 new/rose.jpg --out why.html
    """
    from lamina import explaining

    explaining.explain(run, inputs or [], activations, out, as_json)


@app.command()
def advise(
    run: RunPath,
    budget: Annotated[str | None, typer.Option(help="For all trials; each as long as RUN otherwise.")] = None,
    trials: Annotated[int, typer.Option(help="Remedies that are tried, at most.", min=1)] = 6,
    apply: Annotated[
        bool, typer.Option("--apply", help="Train anew by the best recipe, if one is proved better.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The new run's directory; runs/NAME-N otherwise.")] = None,
    as_json: Json = False,
) -> None:
    """Try remedies for what was found in a RUN, and rank them by the validation score.

    Example: lamina advise runs/flowers-1 --budget 10m
    """
    from lamina import advise as advice
    from lamina.terminal import watching

    seconds = None if budget is None else seconds_of(budget)
    with watching(as_json) as watch:
        found = advice.advise(run, budget=seconds, trials=trials, apply=apply, out=out, watch=watch)
    if as_json:
        print_json({"run": str(run), **found})
        return
    show("tried", advice.table(found), False)
    typer.echo(found["verdict"])


@app.command()
def check(
    data: DataPath,
    task: TaskName = None,
    target: Target = None,
    group: Group = None,
    time_column: Time = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Audit DATA without training: what they are, and what is wrong with them.

    Example: lamina check houses.csv --target price
    """
    from lamina import training
    from lamina.terminal import watching

    with watching(as_json) as watch:
        findings = training.check(
            data, task=task, target=target, group=group, time_column=time_column, options=settings_of(settings),
            watch=watch,
        )  # fmt: skip
    if as_json:
        print_json({"data": data, "findings": [finding.to_json() for finding in findings]})
    else:
        worst = sum(finding.severity != "note" for finding in findings)
        typer.echo(
            f"{len(findings)} finding{'s' * (len(findings) > 1)}, {worst} of them warnings or worse."
            if findings
            else "Nothing was found wrong."
        )
    if any(finding.severity == "stop" for finding in findings):
        raise typer.Exit(3)


@app.command()
def demo(
    task: Annotated[str, typer.Argument(help="Which task; see `lamina tasks`.")] = "image_classification",
    out: Annotated[Path | None, typer.Option(help="The run's directory; runs/NAME-N otherwise.")] = None,
    as_json: Json = False,
) -> None:
    """Train on a small data set, real where an installed library ships one, from start to report. It is left beside the run.

    Example: lamina demo tabular_regression
    """
    from lamina import find, training
    from lamina.terminal import watching

    began = time.monotonic()
    with watching(as_json) as watch:
        made = find.task(task)()
        folder = (out.parent if out else Path("runs")) / "demo-data" / task
        folder.mkdir(parents=True, exist_ok=True)
        model = training.train(made.tiny(folder), task=made, budget=DEMO_SECONDS, out=out, watch=watch)
    summary(model, model.run.read("evaluation/test.json"), "test", time.monotonic() - began, as_json)


for verb in (runs, cache, tasks, networks):
    app.command()(verb)


def _refuse(option: str, decided: dict[str, Any]) -> None:
    """A resumed or repeated run takes from its recipe what would otherwise be decided."""
    given = [name for name, value in decided.items() if value is not None and value != []]
    if given:
        names = ", ".join(name if name.isupper() else "--" + name.replace("_", "-") for name in given)
        raise OptionError(f"{names} cannot be given with {option}: the recipe decides.", option, "Leave it out.")


if __name__ == "__main__":
    main()
