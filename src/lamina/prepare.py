"""From data to a Run that is ready to train: recognise, read, split, audit, learn the facts, encode, build, measure.

Until the Run is created nothing is left behind when something fails; its recipe is complete from the start, so a run that
is killed at any later moment can be resumed.
"""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lamina import find
from lamina.audit.audit import audited, corrupt
from lamina.batch import Batch
from lamina.data.data import Data, Source
from lamina.data.feed import Feed, Shuffled
from lamina.data.pictures import sheet
from lamina.data.store import Store
from lamina.environment import environment
from lamina.errors import DataError, LaminaError, OptionError, RunError, TrainingError, unknown
from lamina.examples import (
    encoded,
    known_contents,
    learned,
    open_data,
    read_data,
    readable,
    without,
)
from lamina.exhibits import to_json
from lamina.findings import ROWS, Finding
from lamina.layers.summary import summarise
from lamina.machine import gemm_peak
from lamina.measuring import Choice, choose
from lamina.memory import release
from lamina.model import build, family_of
from lamina.plan import Plan
from lamina.preflight.preflight import Flight, fly
from lamina.preflight.trial import Chooser, Trial, fitting, tells_each
from lamina.recipe import Recipe, changed, with_options
from lamina.run import LEARNED, Run, appear, aside_of, free_path
from lamina.showing import galleries
from lamina.tasks.task import Claim, Facts, Task
from lamina.watch import Watch
from lamina.writing import number

DEFAULT_SECONDS = 600.0  # that training takes at most when neither epochs nor a budget are given
FEWEST_EPOCHS = 3  # even then
REMOVABLE = (
    "duplicate.near", "duplicate.within", "label.conflict", "label.suspect", "leak.duplicate", "leak.near_duplicate",
    "picture.blank",
)  # fmt: skip
PICTURED = 24  # training examples in the picture of what the network sees


@dataclass(frozen=True)
class Wishes:
    """What the caller wants to differ from what Lamina would choose."""

    plan: dict[str, Any]
    """Fields of the Plan; the network's family decides the others."""
    execution: dict[str, Any]
    """Fields of the Execution; measuring decides the others."""


@dataclass(frozen=True)
class Prepared:
    """All that training needs."""

    run: Run
    recipe: Recipe
    facts: Facts
    data: Data
    store: Store
    network: nn.Module


def recognise(source: Source, task: str | Task | None, options: dict[str, Any], watch: Watch) -> Task:
    """The task that is named, or the one with the strongest claim on the source; said aloud, with the reason."""
    if isinstance(task, Task):
        return task
    if source.path is not None and not os.path.exists(source.path):  # Path.exists refuses a long text
        what = "there is no such file or folder."
        raise DataError(what, str(source.path)[:200], "Check the spelling of the path.")
    if task is not None:
        return with_options(find.task(task), options)
    names = find.names("tasks")
    made: dict[str, Claim] = {}
    wrong: dict[str, tuple[str, DataError]] = {}
    for name in names:
        try:
            claim = find.task(name).claim(source)
        except DataError as error:  # what is a damaged table to one task may be a sound text to another
            wrong.setdefault(str(error), (name, error))
            continue
        if claim is not None:
            made[name] = claim
    if not made:
        raise _unclaimed(source, names, list(wrong.values()))
    name = max(made, key=lambda candidate: made[candidate].strength)
    watch.say(f"Task: {name.replace('_', ' ')}, because {made[name].reason}.")
    return with_options(find.task(name), options)


def _unclaimed(source: Source, names: list[str], wrong: list[tuple[str, DataError]]) -> DataError:
    """No task fits: what each that tried to read found wrong; where they agree, only that."""
    if len(wrong) == 1:
        return wrong[0][1]
    what = "no task fits what is there: it takes class folders of images, images with boxes, recordings, a table, or texts."
    said = "".join(
        f" {name.replace('_', ' ').capitalize()}: {': '.join(filter(None, (error.where, error.what)))}"
        for name, error in wrong
    )
    remedy = f"Arrange the data so, or name a task with --task ({', '.join(names)})."
    return DataError(what + said, str(source.path or "data"), remedy)


def prepare(
    recipe: Recipe, own: nn.Module | None, wishes: Wishes | None, out: Path | str | None, watch: Watch, began: float
) -> Prepared:
    """Make a Run of a recipe.

    Args:
        recipe: complete, or with only source, task and network decided.
        own: the caller's network, if it is not one of Lamina's.
        wishes: None for a recipe that is complete.
        out: the run's directory; the first free ``runs/NAME-N`` when not given.
        watch: who is told.
        began: when the verb began (``time.monotonic``); a budget in time counts from there.
    """
    path = Path(out) if out else free_path(recipe.source.name)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError("something is there already.", str(path), "Name another directory with --out, or --resume it.")
    data, facts, store, findings, audit = look(recipe, watch)
    data, recipe = readable(data, store, recipe)
    stop_at(findings, recipe.accept)
    choice = None
    if wishes is not None:
        recipe, choice = _settle(recipe, own, wishes, facts, data, store, began)
    network = build(recipe, facts, own)
    start = begin(network, recipe)
    looked = time.monotonic()
    flight = _fly(recipe, wishes, network, facts, data, store, choice, path)
    recipe, flown = flight.recipe, time.monotonic() - looked
    for finding in flight.findings:
        watch.find(finding)
    stop_at(flight.findings, recipe.accept, TrainingError)
    findings = [*findings, *flight.findings]
    aside = aside_of(path)  # so that a run is there whole, or not at all
    try:
        run = _create(aside, recipe, facts, data, store, network, choice)
        for note in [*data.notes, *facts.get("notes", [])]:
            run.log(note)
        for finding in findings:
            run.log(finding)
        run.write(LEARNED, known_contents(data, facts).astype("<u8").tobytes())
        run.write("preflight.json", flight.to_json())
        run.write("audit.json", {"exhibits": [to_json(one) for one in galleries(recipe.task, facts, data, findings)]})
        for note in start + flight.notes + _describe(recipe, run.read("layers.json")["parameters"], choice):
            watch.say(note)
            run.log(note)
        run.log({"kind": "prepared", "seconds": time.monotonic() - began, "audit": audit, "preflight": flown})
        run = _placed(run, path, None if out else recipe.source.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Prepared(run, recipe, facts, data, store, network)


def _placed(run: Run, path: Path, name: str | None) -> Run:
    """The run in its place, or in the next free one of ``name`` where another training was quicker."""
    while True:
        try:
            return appear(run, path)
        except RunError:
            if name is None:
                raise
            path = free_path(name)


def look(recipe: Recipe, watch: Watch) -> tuple[Data, Facts, Store, list[Finding], float]:
    """Read, split, audit and encode the data of a recipe, saying what is recognised and found; last, the audit's seconds."""
    data = read_data(recipe)
    for note in data.notes:
        watch.say(note)
    watch.say("Examples: " + ", ".join(f"{count:,} {part}" for part, count in data.counts().items()) + ".")
    began = time.monotonic()
    findings = audited(data, partial(watch.progress, "auditing"))
    took = time.monotonic() - began
    for finding in findings:
        watch.find(finding)
    if recipe.fix and not recipe.left_out:  # a recipe that is repeated leaves out the same ones
        data, findings, said = mended(data, findings, recipe.fix)
        watch.say(said)
    facts = learned(recipe.task, data)
    for note in facts.get("notes", []):
        watch.say(note)
    report = partial(watch.progress, "encoding")
    store = encoded(recipe.task, facts, data, report, recipe.source.name, again=True)
    release(torch.device("cpu"))  # what looking at all examples took
    if store.failures:
        findings.append(corrupt(store.failures, len(data)))
        watch.find(findings[-1])
    return data, facts, store, findings, took


def mended(data: Data, findings: list[Finding], kinds: Sequence[str]) -> tuple[Data, list[Finding], str]:
    """Leave the examples out of training and validation that findings of some kinds name, or of "all"; and say so. What was
    mended becomes a note.

    The files stay as they are. Raises OptionError for a kind that can not be mended so.
    """
    known = {finding.kind for finding in findings if finding.evidence.get("removable")}
    for kind in kinds:
        if kind != "all" and kind not in REMOVABLE:
            raise unknown("kind of finding that leaves examples out", kind, (*REMOVABLE, "all"))
    wanted = known if "all" in kinds else known & set(kinds)
    left = {
        kind: {row for found in findings if found.kind == kind for row in found.evidence["removable"]}
        for kind in sorted(wanted)
    }
    rows = np.array(sorted(set().union(*left.values())), dtype=np.int64)
    before, after = data.counts(), without(data, rows).counts()
    gone = ", ".join(f"{before[part] - after[part]:,} of the {part} part" for part in ("train", "valid"))
    told = ", ".join(f"{len(named):,} by {kind}" for kind, named in left.items())
    if not len(rows):
        return data, findings, "Nothing was left out: no finding of the kinds that were named has examples."
    mend = f"Left out: {gone} ({told}). The files stay as they are."
    told_so = [_mended(finding) if finding.kind in wanted else finding for finding in findings]
    return replace(without(data, rows), notes=(*data.notes, mend)), told_so, mend


def _mended(finding: Finding) -> Finding:
    """As a note; the proof has nothing to leave out for it any more."""
    evidence = {name: value for name, value in finding.evidence.items() if name not in ROWS}
    what = f"{finding.what} What could be left out of training and validation was."
    return replace(finding, severity="note", what=what, evidence=evidence)


def stop_at(findings: Sequence[Finding], accept: Sequence[str], error: type[LaminaError] = DataError) -> None:
    """Raise an error at the first finding that makes a run worthless, unless its kind was accepted."""
    for finding in findings:
        if finding.severity == "stop" and finding.kind not in accept:
            remedy = f"{finding.remedy} To train all the same: --accept {finding.kind}."
            raise error(finding.what, ", ".join(finding.where[:3]), remedy)


def reopen(run: Run, data: Any, own: nn.Module | None, watch: Watch) -> Prepared:
    """All that continuing a run needs; its facts, split and store are those of its start."""
    recipe = Recipe.of(run, data)
    facts = run.read("facts.json")
    examples, store = open_data(recipe, facts, partial(watch.progress, "encoding"))
    network = build(recipe, facts, own)
    if not any((run.path / "checkpoints").glob("*")):  # it was killed before its first: it starts as it would have then
        begin(network, recipe)
    return Prepared(run, recipe, facts, examples, store, network)


def begin(network: nn.Module, recipe: Recipe) -> list[str]:
    """Give a network the weights that it starts from, where its family has learned before; what was done, in words.

    Raises OptionError when they cannot be had, or when the family does not start from weights and some were named.
    """
    load = None if recipe.network == "own" else getattr(find.network(recipe.network), "load", None)
    if load is None and recipe.weights is not None:
        raise OptionError(
            f"{recipe.network} starts from random weights.", f"--weights {recipe.weights}", "Add --network pretrained."
        )
    if load is None:
        return []
    return [f"Weights: those of {load(network.get_submodule('backbone'), recipe.size, recipe.weights)}."]


def _settle(
    recipe: Recipe, own: nn.Module | None, wishes: Wishes, facts: Facts, data: Data, store: Store, began: float
) -> tuple[Recipe, Choice]:
    """Decide what the caller left open: size and plan by the network's family, execution and length by measuring."""
    if own is None:
        family, shape = family_of(recipe, facts)
        smallest = replace(recipe, size=recipe.size or next(iter(family.SIZES)))
        amount = _feed(smallest, facts, data, store, build(smallest, facts)).amount
        recipe = replace(recipe, size=recipe.size or family.default_size(shape, amount))
        advised: Plan = family.plan(shape, amount)
    else:
        advised = recipe.plan
    plan = changed(advised, wishes.plan)
    recipe = replace(recipe, plan=plan)
    network = build(recipe, facts, own)
    feed = _feed(recipe, facts, data, store, network)
    batch = _first(feed, plan)
    if own is not None:
        fitting(network, recipe.task, batch)
    if plan.spare and (type(feed) is not Shuffled or not tells_each(network, recipe.task, facts, batch)):
        if "spare" in wishes.plan:
            said = "this task, with these options, does not tell the loss of each example."
            raise OptionError(said, "--spare", "Leave it out.")
        plan = replace(plan, spare=0.0)
    seconds = plan.budget if plan.budget is not None or "epochs" in wishes.plan else DEFAULT_SECONDS
    asked = wishes.execution | ({"micro_batches": plan.micro_batches} if "micro_batches" in wishes.plan else {})
    steps = plan.epochs * feed.steps(plan.batch_size)
    choice = choose(network, recipe.task.losses, batch, recipe.execution, asked, seconds, steps)
    if "micro_batches" not in wishes.plan:
        plan = replace(plan, micro_batches=choice.micro_batches)
    if plan.budget is not None:
        left = max(plan.budget - (time.monotonic() - began), 0.05 * plan.budget)
        plan = replace(plan, budget=left)
    elif "epochs" not in wishes.plan:
        fit = int(DEFAULT_SECONDS * choice.examples_per_s / max(1, len(feed)))
        plan = replace(plan, epochs=min(plan.epochs, max(FEWEST_EPOCHS, fit)))
    return replace(recipe, execution=choice.execution, plan=plan), choice


def _fly(
    recipe: Recipe, wishes: Wishes | None, network: nn.Module, facts: Facts, data: Data, store: Store,
    choice: Choice | None, path: Path,
) -> Flight:  # fmt: skip
    """Make the pre-flight checks; a recipe that is repeated keeps its learning rate, and only the cheap ones are made."""
    plan, feed = recipe.plan, _feed(recipe, facts, data, store, network)
    evaluated = store.rows_of(data, "valid")
    speed = None if choice is None else choice.examples_per_s
    by: Chooser = "nobody" if recipe.network == "own" else "family"
    if wishes is None or "lr" in wishes.plan:
        by = "user"
    trial = Trial(
        network, recipe.task, facts, store, feed, store.rows_of(data, "train"), evaluated, plan, recipe.execution, by
    )
    return fly(recipe, trial, speed, path)


def _create(
    path: Path, recipe: Recipe, facts: Facts, data: Data, store: Store, network: nn.Module, choice: Choice | None
) -> Run:
    """The run's directory, with all that is known before training."""
    feed = _feed(recipe, facts, data, store, network)
    content = recipe.to_json()
    content["data"]["counts"] = data.counts()
    content["measured"] = {
        "table": [candidate.to_json() for candidate in choice.candidates] if choice else [],
        "remembered": choice is not None and choice.remembered,
        "gemm_flops": gemm_peak(recipe.execution),
    }
    batch = _first(feed, recipe.plan)
    layers = summarise(network, batch.inputs)
    run = Run.create(path, content)
    run.write("facts.json", facts)
    run.write("environment.json", environment())
    run.write("layers.json", layers)
    generator = torch.Generator().manual_seed(recipe.plan.seed)
    varied = recipe.task.augment(batch.pieces(max(1, len(batch) // PICTURED))[0], facts, generator)
    seen = recipe.task.seen(varied, facts)
    if seen is not None:
        run.write("pictures/augmented.png", sheet(seen))
    return run


def _feed(recipe: Recipe, facts: Facts, data: Data, store: Store, network: nn.Module) -> Feed:
    """What the recipe trains on."""
    return recipe.task.feed(store, store.rows_of(data, "train"), network)


def _first(feed: Feed, plan: Plan) -> Batch:
    """The first batch of training."""
    return feed.batch(feed.batches(plan.batch_size, np.random.default_rng([plan.seed, 0]))[0])


def _describe(recipe: Recipe, parameters: int, choice: Choice | None) -> list[str]:
    """The decisions of ``_settle`` in words."""
    plan = recipe.plan
    length = (
        f"{plan.epochs} epoch{'s' * (plan.epochs > 1)}"
        if plan.budget is None
        else f"{plan.budget:.0f} s (at most {plan.epochs} epochs)"
    )
    said = [
        f"Network: {' '.join(filter(None, [recipe.network, recipe.size]))}, {parameters:,} parameters.",
        f"Plan: {length}, batches of {plan.batch_size}, {plan.optimizer} at {plan.lr:g}, {plan.schedule}"
        f"{', easy examples spared' if plan.spare else ''}.",
    ]
    if choice is not None:
        chosen = next(candidate.to_json() for candidate in choice.candidates if candidate.chosen)
        when = "Measured before" if choice.remembered else "Measured"
        others = f" of {len(choice.candidates)} ways" if len(choice.candidates) > 1 else ""
        said.append(
            f"{when}: {chosen['candidate']} on {recipe.execution.kind} is the quickest{others}, "
            f"{number(choice.examples_per_s)} examples/s."
        )
    return said
