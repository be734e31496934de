"""From data to a proved, saved, reported model: ``train``, ``repeat``, ``resume``, and ``check``, which stops before training.

The one place where the parts meet. (The file is not called train.py, since ``lamina.train`` is the function.)
"""

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from lamina import find
from lamina.checkpoint import remind
from lamina.data.data import Source
from lamina.data.feed import Once
from lamina.data.sparing import sparing
from lamina.data.split import SHARE
from lamina.errors import OptionError, RunError, TrainingError, unknown
from lamina.evaluation import evaluate
from lamina.execution import Device, Execution, Precision, default_device, device_named
from lamina.findings import Finding
from lamina.interrupt import Interrupt, InterruptError
from lamina.loop import Split, loop
from lamina.memory import count_anew, peak
from lamina.model import Model, adopt
from lamina.monitor.monitor import History, Monitor
from lamina.origin import origin
from lamina.plan import Plan
from lamina.prepare import Prepared, Wishes, look, prepare, recognise, reopen
from lamina.recipe import Recipe, changed, with_fields
from lamina.run import Run
from lamina.state import stream
from lamina.tasks.task import Task
from lamina.watch import Quiet, Watch

DIVERGED, RETURNED = "divergence.not_finite", "returned.json"
LOWER = 0.3  # of the learning rate, after a loss that was not finite
SAMPLE = 2000  # training examples that are scored beside the validation part, at most; never more than that has


def train(
    data: Any,
    *,
    task: str | Task | None = None,
    target: str | None = None,
    group: str | None = None,
    time_column: str | None = None,
    options: dict[str, Any] | None = None,
    network: str | nn.Module | None = None,
    size: str | None = None,
    dropout: float | None = None,
    weights: Path | str | None = None,
    epochs: int | None = None,
    budget: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    plan: dict[str, Any] | None = None,
    valid_share: float = SHARE,
    test_share: float = SHARE,
    device: Device | Literal["gpu"] | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    execution: dict[str, Any] | None = None,
    accept: Sequence[str] = (),
    fix: Sequence[str] = (),
    out: Path | str | None = None,
    watch: Watch | None = None,
) -> Model:
    """Train a network on data, prove it on the test part, and write a report.

    Args:
        data: a folder or file; or a pandas or polars DataFrame, or arrays ``(examples, answers)``.
        task: its name, the path of a file that defines one, or a Task; found out from the data when not given.
        target: the column that holds the answer, for a table.
        group: a column whose equal values stay on one side of the split.
        time_column: a column in whose order the data are split.
        options: of the task, by name.
        network: a family's name, or a module: one with ``width`` gets the task's head, another is used as it is.
        size: of the network: tiny, small, medium or large.
        dropout: share of the features that dropout hides.
        weights: a file of weights that a pretrained network starts from; found out when not given.
        epochs: passes over the training part.
        budget: seconds from this call to the end of training.
        batch_size: examples per step.
        lr: peak learning rate.
        seed: of everything random.
        plan: other fields of the Plan that shall differ from what the network's family advises.
        valid_share: of the data, where they come without a validation part.
        test_share: of the data, where they come without a test part.
        device: cpu, cuda or mps, or gpu for either of the two; the accelerator where there is one.
        precision: float32, bfloat16, bfloat16-weights or float16; measured when not given.
        threads: of the CPU; measured when not given.
        execution: other fields of the Execution that shall not be measured: ``layout``, ``convolutions``,
            ``compiled``.
        accept: kinds of findings that shall not stop the run.
        fix: kinds of findings whose examples are left out of training and validation; "all" for each that names some.
        out: the run's directory; ``runs/NAME-N`` when not given.
        watch: who is told how it goes.

    Returns:
        The trained model, with ``scores``, ``predict``, ``evaluate``, ``explain`` and ``report``.

    Raises:
        DataError: the data cannot be used; the error names file and row.
        OptionError: an option is wrong.
        TrainingError: training cannot go on; what was reached is in the run.
    """
    began, watch = time.monotonic(), watch or Quiet()
    kind = default_device() if device is None else device_named(device)
    source = _source(data, target, group, time_column)
    chosen = recognise(source, task, options or {}, watch)
    own = network if isinstance(network, nn.Module) else None
    name, why = chosen.usual_network() if network is None else ("own" if own is not None else str(network), "")
    if why:
        watch.say(why)
    given = {"epochs": epochs, "budget": budget, "batch_size": batch_size, "lr": lr, "seed": seed}
    asked = {field: value for field, value in given.items() if value is not None} | (plan or {})
    changed(Plan(batch_size=sys.maxsize), asked)  # a wrong option is refused before the data are read
    ways = {"precision": precision, "threads": threads} | (execution or {})
    ways = {name: value for name, value in ways.items() if value is not None}
    with_fields(Execution(), ways)
    if dropout is not None and not 0 <= dropout < 1:
        raise OptionError(f"{dropout} was given; it must be from 0 to below 1.", "--dropout", "Change it.")
    if own is None and size not in (None, *find.network(name).SIZES):
        raise unknown(f"size of {name}", str(size), find.network(name).SIZES)
    recipe = Recipe(
        source, chosen, name, size or "", dropout, changed(Plan(), {"seed": asked["seed"]}),
        Execution(kind), valid_share, test_share, accept=tuple(accept),
        weights=None if weights is None else str(weights), fix=tuple(fix),
    )  # fmt: skip
    wishes = Wishes(asked, ways)
    prepared = prepare(recipe, own, wishes, out, watch, began)
    return finish(prepared, watch)


def repeat(
    run: Path | str,
    data: Any = None,
    *,
    network: nn.Module | None = None,
    seed: int | None = None,
    out: Path | str | None = None,
    watch: Watch | None = None,
) -> Model:
    """Train again by a run's recipe, in a new run.

    Args:
        run: whose recipe is followed.
        data: other data; needed when the run was trained on data in memory.
        network: needed when the caller made it.
        seed: another one; the split stays as it is.
        out: the new run's directory.
        watch: who is told how it goes.
    """
    recipe = Recipe.of(Run.open(run), data)
    if data is not None:
        recipe = replace(recipe, left_out=(), unread=())  # of other examples
    if recipe.source.where is None:
        raise RunError("the run was trained on data in memory.", str(run), "Pass the data to this call.")
    if seed is not None:
        recipe = replace(recipe, split_seed=recipe.splits_by, plan=replace(recipe.plan, seed=seed))
    watch = watch or Quiet()
    _tell_of_device(Run.open(run), recipe, watch)
    return finish(prepare(recipe, network, None, out, watch, time.monotonic()), watch)


def resume(
    run: Path | str,
    data: Any = None,
    *,
    network: nn.Module | None = None,
    accept: Sequence[str] = (),
    watch: Watch | None = None,
) -> Model:
    """Continue a run that was stopped or killed, to the bit; one whose training is over is proved again.

    Args:
        run: its directory.
        data: needed again when the run was trained on data in memory.
        network: needed again when the caller made it.
        accept: kinds of findings that shall not stop the run.
        watch: who is told how it goes.
    """
    watch = watch or Quiet()
    prepared = reopen(Run.open(run), data, network, watch)
    watch.say(f"Continuing {prepared.run.path}.")
    _tell_of_device(prepared.run, prepared.recipe, watch)
    recipe = replace(prepared.recipe, accept=(*prepared.recipe.accept, *accept))
    return finish(replace(prepared, recipe=recipe), watch)


def check(
    data: Any,
    *,
    task: str | Task | None = None,
    target: str | None = None,
    group: str | None = None,
    time_column: str | None = None,
    options: dict[str, Any] | None = None,
    seed: int = 0,
    valid_share: float = SHARE,
    test_share: float = SHARE,
    watch: Watch | None = None,
) -> list[Finding]:
    """Read, split and audit data without training; all that was found. Arguments as those of ``train``."""
    watch = watch or Quiet()
    source = _source(data, target, group, time_column)
    chosen = recognise(source, task, options or {}, watch)
    recipe = Recipe(
        source, chosen, chosen.default_network, "", None, changed(Plan(), {"seed": seed}), Execution(),
        valid_share, test_share,
    )  # fmt: skip
    return look(recipe, watch)[3]


def _tell_of_device(run: Run, recipe: Recipe, watch: Watch) -> None:
    """Say that a run's device or compiler is not here."""
    used, here = run.read("recipe.json")["execution"], recipe.execution
    if used["kind"] != here.kind:
        watch.say(f"The run used {used['kind']}, which is not here: {here.kind} goes on, and not to the bit.")
    elif used.get("convolutions", here.convolutions) != here.convolutions:
        watch.say("The run's convolutions were compiled, which fails here: it goes on without, and not to the bit.")


def finish(prepared: Prepared, watch: Watch) -> Model:
    """Train to the end of the plan, then prove and report.

    Raises TrainingError when a finding stopped training, and InterruptError when the user did.
    """
    try:
        ended = learn(prepared, watch)
        if ended is None:
            return conclude(prepared, watch)
    except KeyboardInterrupt:
        raise InterruptError(prepared.run.path) from None
    if ended.kind == "stopped.interrupt":
        raise InterruptError(prepared.run.path)
    remedy = f"{ended.remedy} The run is kept; to go on all the same: --resume RUN --accept {ended.kind}."
    raise TrainingError(ended.what, str(prepared.run.path), remedy)


def conclude(prepared: Prepared, watch: Watch) -> Model:
    """Prove the best weights on the test part, and report."""
    run, recipe = prepared.run, prepared.recipe
    own = prepared.network if recipe.network == "own" else None
    model = Model(run, own)
    settle(prepared, model)
    watch.say("Proving the best weights on the test part, beside the baselines.")
    reads = run.count_test_read("train")
    model.prove(prepared.data, prepared.store, "test", reads)
    model.report()
    return model


def settle(prepared: Prepared, model: Model) -> None:
    """Let the validation part decide, by the best weights, what the task leaves to it; kept in the run."""
    task, recipe, store = prepared.recipe.task, prepared.recipe, prepared.store
    if type(task).settle is not Task.settle:
        adopt(model, {name: fact for name, fact in model.facts.items() if name != "settled"})  # of an earlier proof
        rows = store.rows_of(prepared.data, "valid")
        found = evaluate(model.network, task, {}, store, rows, recipe.plan.batch_size, recipe.execution)
        prepared.run.write("settled.json", task.settle(found.outputs, found.targets, model.facts))
        adopt(model, prepared.run.facts())


def learn(prepared: Prepared, watch: Watch) -> Finding | None:
    """Train to the end of the plan; the finding that stopped training, if one did.

    Where the loss is no longer finite, training returns to its last good state and goes on at a lower rate: once.
    """
    ended = drive(prepared, watch)
    if (
        ended is None
        or ended.kind != DIVERGED
        or prepared.run.has(RETURNED)
        or ended.evidence["last_finite_step"] is None
    ):
        return ended
    run, plan = prepared.run, prepared.recipe.plan
    plan = replace(plan, lr=plan.lr * LOWER)
    back = max((int(file.stem) for file in (run.path / "checkpoints").glob("*.safetensors")), default=0)
    said = Finding(
        "divergence.returned",
        "warning",
        f"The loss was no longer a finite number at step {ended.evidence['at']}{_beginning(ended)}. Training "
        f"returned to step {back}, and goes on at a learning rate of {plan.lr:.2g} instead of {prepared.recipe.plan.lr:.2g}.",
        "If it happens again training stops. Look at the examples that are named, and for extreme values.",
        ended.where,
        ended.count,
        evidence={"at": ended.evidence["at"], "step": back, "lr": plan.lr, "origin": ended.evidence.get("origin")},
    )
    run.write(RETURNED, said.to_json())
    run.write("recipe.json", run.read("recipe.json") | {"plan": asdict(plan)})
    return drive(replace(prepared, recipe=replace(prepared.recipe, plan=plan)), watch)


def _beginning(ended: Finding) -> str:
    """Where it began, as the end of a clause."""
    return f", beginning in {ended.evidence['origin']}" if ended.evidence.get("origin") else ""


def drive(prepared: Prepared, watch: Watch) -> Finding | None:
    """Drive the loop from the last checkpoint: log each record, let the monitor see it; what stopped training, if it was."""
    run, recipe, store = prepared.run, prepared.recipe, prepared.store
    train_rows = store.rows_of(prepared.data, "train")
    order = torch.Generator().manual_seed(stream(recipe.plan.seed, 3))
    valid_rows = store.rows_of(prepared.data, "valid")
    sample = train_rows[torch.randperm(len(train_rows), generator=order)[: min(SAMPLE, len(valid_rows))]]
    split = Split(train_rows, valid_rows, sample)
    metrics = recipe.task.metrics(prepared.facts)
    directions = {name: metric.better for name, metric in metrics.items()}
    shares = frozenset(name for name, metric in metrics.items() if metric.share)
    records = loop(prepared.network, recipe.task, prepared.facts, store, split, recipe.plan, recipe.execution, run)
    monitor = None
    count_anew(recipe.execution.device)
    with Interrupt() as interrupt, closing(records):
        for record in records:
            if monitor is None:  # only now: resuming cuts the log back to the checkpoint
                monitor = Monitor(History(directions, len(valid_rows), shares, recipe.plan.clip))
                _tell_of_return(run, watch)
                monitor.recall(list(run.records()))
            run.log(record)
            watch.see(record)
            findings = [traced(located(finding, prepared), prepared) for finding in monitor.see(record)]
            for finding in findings:
                run.log(finding)
                watch.find(finding)
            stopping = [found for found in findings if found.severity == "stop" and found.kind not in recipe.accept]
            if stopping:
                return stopping[0]
            if interrupt.asked:
                return Finding("stopped.interrupt", "stop", "training was stopped by the user.", "")
    *_, last = run.records("step")  # of the log, since a resumed run may have had nothing left to do
    held = peak(recipe.execution.device)
    run.log(
        {
            "kind": "end",
            "epochs": last["epoch"],
            "seconds": last["seconds"],
            "memory_bytes": held,
            "disk_bytes": run.bytes(),
        }
    )
    return None


def _tell_of_return(run: Run, watch: Watch) -> None:
    """Log that training returned, where it did and the log, cut back to the checkpoint, does not hold it (any more)."""
    if run.has(RETURNED) and "divergence.returned" not in {finding.kind for finding in run.findings()}:
        news = Finding.from_json(run.read(RETURNED))
        run.log(news)
        watch.find(news)


def located(finding: Finding, prepared: Prepared) -> Finding:
    """A finding about a step, with the examples that its batch was made of; others as they are."""
    at, store, plan = finding.evidence.get("at"), prepared.store, prepared.recipe.plan
    feed = sparing(
        prepared.recipe.task.feed(store, store.rows_of(prepared.data, "train"), prepared.network), plan.spare
    )
    if at is None or not isinstance(feed, Once):
        return finding
    epoch, position = divmod(at - 1, feed.steps(plan.batch_size))
    if epoch > 0 and feed.remembered() and remind(prepared.run, feed) != epoch:
        return finding
    rows = feed.batches(plan.batch_size, np.random.default_rng([plan.seed, epoch]))[position]
    names = prepared.data.where[store.kept[list(dict.fromkeys(rows.tolist()))]].astype(str)
    return replace(finding, where=(*finding.where, *names[:20].tolist()), count=len(names))


def traced(finding: Finding, prepared: Prepared) -> Finding:
    """A loss that was no longer finite, with the layer in which that began; others as they are."""
    if finding.kind != DIVERGED:
        return finding
    recipe, store = prepared.recipe, prepared.store
    feed = recipe.task.feed(store, store.rows_of(prepared.data, "train"), prepared.network)
    began = origin(
        prepared.network, recipe.task, prepared.facts, feed, recipe.plan, recipe.execution, prepared.run, finding.evidence["at"]
    )  # fmt: skip
    if began is None:
        return finding
    return replace(finding, what=f"{finding.what} It began in {began}.", evidence=finding.evidence | {"origin": began})


def _source(data: Any, target: str | None, group: str | None, time_column: str | None) -> Source:
    """Data as they were given; answers that come beside the examples need no name of their own."""
    if isinstance(data, Source):
        return data
    return Source(data, target or ("target" if isinstance(data, tuple) else None), group, time_column)
