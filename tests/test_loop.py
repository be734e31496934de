"""The loop as a generator: closing it, its budget, patience, averaged weights, and a loss that is no number."""

import math
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lamina import loop as loops
from lamina import training
from lamina.checkpoint import restore_checkpoint
from lamina.errors import TrainingError
from lamina.evaluation import evaluate
from lamina.findings import Finding
from lamina.loop import Split, loop, losses_of_varied
from lamina.model import Model, build
from lamina.plan import Plan
from lamina.prepare import Prepared
from lamina.records import Epoch, Step
from lamina.run import Run
from lamina.state import State
from lamina.tasks.image_classification import ImageClassification
from lamina.watch import Quiet
from trained import Trained

on_a_table = pytest.mark.parametrize("trained", ["tabular_classification"], indirect=True)
PLAN = Plan(epochs=4, batch_size=64, lr=2e-3, ema=0.9)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "LOG_EVERY", 2)


def prepared(trained: Trained, plan: Plan, path: Path) -> Prepared:
    """A new run on the trained one's data, with a tiny network."""
    recipe = replace(trained.model.recipe, size="tiny", plan=plan)
    run = Run.create(path, recipe.to_json())
    run.write("facts.json", trained.model.facts)
    run.write("layers.json", trained.model.explain())
    network = build(recipe, trained.model.facts)
    return Prepared(run, recipe, trained.model.facts, trained.data, trained.store, network)


def records_of(ready: Prepared, network: nn.Module | None = None):  # type: ignore[no-untyped-def]
    rows = [ready.store.rows_of(ready.data, part) for part in ("train", "valid")]
    split = Split(*rows, rows[0][:50])
    return loop(
        network or ready.network, ready.recipe.task, ready.facts, ready.store, split, ready.recipe.plan,
        ready.recipe.execution, ready.run,
    )  # fmt: skip


def ended(ready: Prepared) -> dict[str, torch.Tensor]:
    return load_file(max((ready.run.path / "checkpoints").glob("*.safetensors")))


@on_a_table
@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, spare=0.5)], ids=["each once", "easy ones spared"])
@pytest.mark.parametrize("moment", [0, 2, 5, -2], ids=lambda moment: "all steps taken" if moment < 0 else str(moment))
def test_closing_leaves_a_checkpoint_that_continues_to_the_same_weights(
    trained: Trained, tmp_path: Path, moment: int, plan: Plan
) -> None:
    whole, cut = prepared(trained, plan, tmp_path / "whole"), prepared(trained, plan, tmp_path / "cut")
    expected = list(records_of(whole))
    with closing(records_of(cut)) as records:
        seen = [next(records) for _ in range(moment % len(expected) + 1)]
    assert moment >= 0 or isinstance(seen[-1], Step)
    seen += records_of(cut, build(cut.recipe, cut.facts))
    assert [type(record) for record in seen] == [type(record) for record in expected]
    assert [record.loss for record in seen] == [record.loss for record in expected]
    first, second = ended(whole), ended(cut)
    assert all(torch.equal(first[name], second[name]) for name in first.keys() | second.keys())
    assert (whole.run.path / "best.safetensors").read_bytes() == (cut.run.path / "best.safetensors").read_bytes()


@on_a_table
def test_a_budget_that_is_spent_before_it_begins_gives_a_step_that_is_scored(trained: Trained, tmp_path: Path) -> None:
    """Stopped between the two, too: the epoch is closed when the run is resumed, without another step."""
    ready = prepared(trained, replace(PLAN, budget=1e-6), tmp_path / "run")
    with closing(records_of(ready)) as records:
        assert isinstance(step := next(records), Step)
    (epoch,) = records_of(ready, build(ready.recipe, ready.facts))
    assert (step.step, epoch.step, epoch.best) == (1, 1, True)
    assert (ready.run.path / "best.safetensors").exists()
    assert list(records_of(ready, build(ready.recipe, ready.facts))) == []


@on_a_table
def test_epochs_and_steps_are_counted(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, PLAN, tmp_path / "run")
    records = list(records_of(ready))
    per_epoch = math.ceil(len(ready.store.rows_of(ready.data, "train")) / 64)
    epochs = [record for record in records if isinstance(record, Epoch)]
    assert [epoch.step for epoch in epochs] == [per_epoch * number for number in (1, 2, 3, 4)]
    assert records[-1].t == 1
    for epoch in epochs:  # the epoch's loss is the mean over its stretches, each weighted by its examples
        stretches = [r for r in records if isinstance(r, Step) and r.epoch == epoch.epoch]
        assert (
            min(s.loss["network"] for s in stretches)
            <= epoch.loss["network"]
            <= max(s.loss["network"] for s in stretches)
        )
    assert all(record.examples_per_s > 0 for record in records)


@on_a_table
def test_a_budget_in_time_is_kept_and_the_schedule_ends_with_it(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, replace(PLAN, epochs=100_000, budget=2.0), tmp_path / "run")
    began = time.monotonic()
    records = list(records_of(ready))
    assert 1.9 < time.monotonic() - began < 3.0
    steps = [record for record in records if isinstance(record, Step)]
    assert steps[-1].lr < 0.1 * PLAN.lr
    assert max(step.lr for step in steps) > 0.9 * PLAN.lr
    assert records[-1].t == 1
    assert isinstance(records[-1], Epoch)


@on_a_table
def test_patience_stops_and_the_best_epoch_is_the_one_kept(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, replace(PLAN, epochs=60, patience=2, lr=0.02), tmp_path / "run")
    epochs = [record for record in records_of(ready) if isinstance(record, Epoch)]
    assert len(epochs) < 60
    name = next(iter(ready.recipe.task.metrics(ready.facts)))
    scores = [epoch.valid[name] for epoch in epochs]
    assert [epoch.best for epoch in epochs[-3:]] == [True, False, False]
    assert max(scores) == scores[-3]
    kept = Model(ready.run)
    rows = ready.store.rows_of(ready.data, "valid")
    metric = {name: ready.recipe.task.metrics(ready.facts)[name]}
    found = evaluate(kept.network, kept.task, metric, ready.store, rows, 64, kept.recipe.execution)
    assert metric[name].value(found.rows[name]) == pytest.approx(scores[-3])


@on_a_table
def test_averaged_weights_are_what_is_evaluated_and_kept(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, replace(PLAN, epochs=1), tmp_path / "run")
    list(records_of(ready))
    state = State(build(ready.recipe, ready.facts), ready.recipe.plan, trained.feed)
    restore_checkpoint(ready.run, state)
    assert state.average is not None
    best = load_file(ready.run.path / "best.safetensors")
    averaged, present = state.average.state_dict(), state.network.state_dict()
    assert all(torch.equal(best[name], averaged[name]) for name in best)
    assert not all(torch.equal(best[name], present[name]) for name in best)


@on_a_table
def test_a_loss_that_is_no_number_stops_the_run_and_spoils_nothing(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, replace(PLAN, optimizer="sgd", lr=1e30, warmup=0.0, ema=None), tmp_path / "run")
    for attempt in range(2):  # resuming it stops again, at the same step
        if attempt:
            ready = replace(ready, network=build(ready.recipe, ready.facts))
        with pytest.raises(TrainingError, match="no longer a finite number") as caught:
            training.finish(ready, Quiet())
        assert caught.value.exit_code == 5
        (said,) = ready.run.findings()
        assert said.kind == "divergence.not_finite"
        assert said.what.endswith(f"It began in {said.evidence['origin']}.")
        assert all(bool(tensor.isfinite().all()) for tensor in ended(ready).values())


@on_a_table
def test_a_run_killed_before_its_first_checkpoint_starts_its_log_anew(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, PLAN, tmp_path / "run")
    ready.run.log("a note from preparing")
    records = records_of(ready)
    for _ in range(3):
        ready.run.log(next(records))
    logged = len(list(ready.run.records("step")))
    with pytest.raises(RuntimeError):
        records.throw(RuntimeError("killed"))  # nothing is saved on the way out
    assert logged > 0
    fresh = records_of(ready, build(ready.recipe, ready.facts))
    assert next(fresh).step == 2
    assert [record["kind"] for record in ready.run.records()] == ["note"]


@on_a_table
def test_a_finished_run_that_is_resumed_ends_with_the_same_words(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, replace(PLAN, epochs=2), tmp_path / "run")
    assert training.learn(ready, Quiet()) is None
    (first,) = ready.run.records("end")
    again = replace(ready, network=build(ready.recipe, ready.facts))
    assert training.learn(again, Quiet()) is None
    (second,) = ready.run.records("end")
    assert first == second
    assert first["epochs"] == 2
    assert first["seconds"] > 0


@on_a_table
@pytest.mark.parametrize(("failures", "ends"), [({7}, True), ({7, *range(15, 999)}, False)])
def test_a_loss_that_was_finite_returns_training_once_at_a_lower_rate(
    trained: Trained, tmp_path: Path, failures: set[int], ends: bool
) -> None:
    ready = prepared(trained, replace(PLAN, ema=None), tmp_path / "run")
    calls = 0

    def fail(module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += module.training
        return output * math.nan if module.training and calls in failures else output

    ready.network.register_forward_hook(fail)
    if ends:
        training.learn(ready, Quiet())
    else:
        stopped = training.learn(ready, Quiet())
        assert stopped is not None
        assert stopped.kind == "divergence.not_finite"
        again = training.learn(ready, Quiet())  # nor does it return again when it is resumed
        assert again is not None
        assert again.kind == "divergence.not_finite"
    kinds = [finding.kind for finding in ready.run.findings()]
    assert kinds == ["divergence.returned"] + ["divergence.not_finite"] * (not ends)
    (said,) = [finding for finding in ready.run.findings() if finding.kind == "divergence.returned"]
    assert said.evidence["at"] == 7
    plan = ready.recipe.plan
    steps = trained.feed.steps(plan.batch_size)
    epoch, position = divmod(7 - 1, steps)
    rows = trained.feed.batches(plan.batch_size, np.random.default_rng([plan.seed, epoch]))[position]
    assert said.where[1:] == tuple(trained.data.where[trained.store.kept[rows.numpy()]].astype(str)[:20])
    assert ready.run.read("recipe.json")["plan"]["lr"] == pytest.approx(0.3 * PLAN.lr)
    assert max(record["lr"] for record in ready.run.records("step")) <= 0.3 * PLAN.lr * 1.001
    assert all(bool(tensor.isfinite().all()) for tensor in ended(ready).values())


@on_a_table
def test_easy_examples_are_spared_and_those_of_a_step_are_known_all_the_same(trained: Trained, tmp_path: Path) -> None:
    plain, spared = (prepared(trained, replace(PLAN, spare=spare), tmp_path / f"run{spare}") for spare in (0.0, 0.5))
    ends = [[record for record in records_of(ready) if isinstance(record, Epoch)] for ready in (plain, spared)]
    assert ends[0][0].loss["network"] == pytest.approx(ends[1][0].loss["network"], rel=1e-5)  # all are new in an epoch
    assert ends[0][1].loss != ends[1][1].loss
    assert [epoch.step for epoch in ends[0]] == [epoch.step for epoch in ends[1]]

    ready = prepared(trained, replace(PLAN, spare=0.5), tmp_path / "cut")
    steps = trained.feed.steps(PLAN.batch_size)
    with closing(records_of(ready)) as records:
        for record in records:
            if isinstance(record, Step) and record.epoch == 3:
                break
    at = Finding("loss.jump", "note", "", "", evidence={"at": 2 * steps + 2})
    state = State(ready.network, ready.recipe.plan, trained.feed)
    assert restore_checkpoint(ready.run, state)
    rows = state.batches()[1]
    assert not torch.equal(rows, trained.feed.batches(64, np.random.default_rng([PLAN.seed, 2]))[1])
    expected = trained.data.where[trained.store.kept[rows.numpy()]].astype(str)[:20]
    assert training.located(at, ready).where == tuple(expected)
    earlier = replace(at, evidence={"at": steps + 2})
    assert training.located(earlier, ready) == earlier  # that epoch's choice is gone


@on_a_table
def test_each_layer_is_inspected_and_the_worst_batch_is_known(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, PLAN, tmp_path / "run")
    steps = [record for record in records_of(ready) if isinstance(record, Step)]
    weights = {name: weight for name, weight in ready.network.named_parameters() if weight.ndim >= 2}
    for step in steps:
        assert step.layers.keys() <= weights.keys()
        assert all(0 <= row[3] <= 1 and 0 <= row[2] <= 1 for row in step.layers.values())
        assert step.highest is not None
        assert step.step - 2 < step.highest[0] <= step.step  # LOG_EVERY
        assert step.highest[1] >= step.loss["network"] * (1 - 1e-6)
    assert set(steps[-1].layers) == weights.keys()
    assert all(min(row[:3]) > 0 for row in steps[-1].layers.values())


@on_a_table
def test_an_epoch_counts_what_was_asked_and_answered_of_each_class(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, PLAN, tmp_path / "run")
    epochs = [record for record in records_of(ready) if isinstance(record, Epoch)]
    label = ready.store.batch(ready.store.rows_of(ready.data, "valid")).targets["label"]
    asked = dict(zip(ready.facts["classes"], torch.bincount(label).tolist(), strict=True))
    for epoch in epochs:
        assert {name: row[0] for name, row in epoch.classes.items()} == asked
        assert sum(row[1] for row in epoch.classes.values()) == len(label)
        weighted = sum(row[0] * row[3] for row in epoch.classes.values()) / len(label)
        assert weighted == pytest.approx(epoch.valid["log_loss"])
        assert epoch.varied == []  # rows of a table are not varied


@pytest.mark.parametrize("trained", ["image_classification"], indirect=True)
@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
@pytest.mark.parametrize("spare", [0.0, 0.5])
def test_mixed_images_train_and_none_is_spared(trained: Trained, tmp_path: Path, mix: str, spare: float) -> None:
    ready = prepared(trained, replace(PLAN, epochs=2, spare=spare), tmp_path / "run")
    task = ImageClassification(mix=mix)  # type: ignore[arg-type]
    assert len(list(records_of(replace(ready, recipe=replace(ready.recipe, task=task))))) > 2
    remembered = {name for name in ended(ready) if name.startswith("feed.")}
    assert remembered == ({"feed.losses", "feed.showings"} if spare else set())
    if spare:
        assert bool(ended(ready)["feed.losses"].isnan().all())


@pytest.mark.parametrize("trained", ["image_classification"], indirect=True)
def test_varied_examples_count_alike_whether_or_not_some_are_spared(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "VARIED", 0.1)
    ready = prepared(trained, PLAN, tmp_path / "run")
    rows, found = trained.feed.rows, []  # type: ignore[attr-defined]
    for spare in (0.0, 0.5):
        state = State(ready.network, replace(PLAN, spare=spare), trained.feed)
        state.feed.heed(rows, torch.rand(len(rows), generator=torch.Generator().manual_seed(1)))
        state.feed.turn(0.1)
        assert ("weight" in state.feed.batch(rows[:8]).targets) == bool(spare)
        state.examples = 500
        found.append(losses_of_varied(state, ready.recipe.task, ready.facts, rows[:60]))
    assert found[0] == found[1]


@pytest.mark.parametrize("trained", ["image_classification"], indirect=True)
def test_varied_examples_are_scored_beside_the_same_ones_as_they_are(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "VARIED", 0.1)
    facts = trained.model.facts
    found = {}
    for shift in (0.0, 0.9):
        changed = facts | {"augmentation": {"flip": False, "shift": shift, "crop": 1.0}}
        ready = replace(prepared(trained, replace(PLAN, epochs=3), tmp_path / str(shift)), facts=changed)
        found[shift] = [record for record in records_of(ready) if isinstance(record, Epoch)][-1].varied
    plain, varied = found[0.0]
    assert plain == pytest.approx(varied)
    plain, varied = found[0.9]
    assert varied > 1.1 * plain


@pytest.mark.parametrize("trained", ["image_classification"], indirect=True)
def test_layers_that_normalise_are_compared_with_their_batches(trained: Trained, tmp_path: Path) -> None:
    ready = prepared(trained, replace(PLAN, epochs=2), tmp_path / "run")
    steps = [record for record in records_of(ready) if isinstance(record, Step)]
    norms = {name for name, module in ready.network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert norms
    assert all(step.norms.keys() == norms for step in steps)
    assert all(0 <= nats < 100 for step in steps for nats in step.norms.values())
