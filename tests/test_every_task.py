"""The contract: what must hold for every task, found by its file. A new task is tested without a line here."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from elsewhere import DEVICE, Apart, move
from lamina import find
from lamina.batch import Batch
from lamina.data.ragged import joined
from lamina.data.store import by_length
from lamina.errors import OptionError
from lamina.evaluation import evaluate
from lamina.execution import Execution
from lamina.loop import train_epoch
from lamina.model import build
from lamina.plan import Plan
from lamina.report import words
from lamina.state import State
from trained import Trained

TASKS = find.names("tasks")
every_task = pytest.mark.parametrize("trained", TASKS, indirect=True)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What PyTorch does not know of the other device is told to it."""
    plain = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda data, device=None, **options: plain(data, **options).to(device))
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    fused = "_get_fused_kernels_supported_devices"
    monkeypatch.setattr(import_module("torch.optim.optimizer"), fused, lambda: [DEVICE.type])
    own = State.generator
    monkeypatch.setattr(State, "generator", lambda state, device: own(state, torch.device("cpu")))
    with Apart():
        yield


def test_what_is_left_on_the_cpu_is_found(apart: None) -> None:
    layer = move(nn.Linear(3, 2))
    assert layer(torch.ones(1, 3, device=DEVICE)).device == DEVICE
    with pytest.raises(RuntimeError, match=r"shape \(1, 3\) was left on the CPU"):
        layer(torch.ones(1, 3))
    with pytest.raises(TypeError, match="float64"):
        layer.weight.double()


def test_tasks_are_found_by_their_files() -> None:
    assert {"image_classification", "tabular_classification", "tabular_regression"} <= set(TASKS)
    for name in TASKS:
        assert find.name_of(find.task(name)) == name


@every_task
def test_learns_its_tiny_data_beyond_the_trivial_baseline(trained: Trained) -> None:
    result = trained.model.run.read("evaluation/test.json")
    name, score = next(iter(result["scores"].items()))
    trivial = next(iter(result["baselines"].values()))[name]
    assert score["low"] <= score["value"] <= score["high"]
    if score["better"] == "higher":
        assert score["low"] > trivial["value"]
    else:
        assert score["high"] < trivial["value"]


@every_task
def test_every_metric_is_explained(trained: Trained) -> None:
    assert [name for name in trained.model.task.metrics(trained.model.facts) if words.term(name) is None] == []


@every_task
def test_a_loss_does_not_depend_on_how_a_batch_was_cut(trained: Trained) -> None:
    network, task = trained.model.network.eval(), trained.model.task
    batch = first(trained, 23)
    whole = list(task.losses(network, batch))
    cut = [list(task.losses(network, piece)) for piece in batch.pieces(4)]
    for index, loss in enumerate(whole):
        pieces = [losses[index] for losses in cut]
        assert {piece.player for piece in pieces} == {loss.player}
        assert sum(float(piece.total.detach()) for piece in pieces) == pytest.approx(
            float(loss.total.detach()), rel=1e-5
        )
        assert sum(float(piece.count) for piece in pieces) == pytest.approx(float(loss.count))


@every_task
def test_an_example_is_answered_alike_whatever_stands_beside_it(trained: Trained) -> None:
    network, task = trained.model.network.eval(), trained.model.task
    together = trained.store.batch(torch.arange(9))
    with torch.inference_mode():
        outputs = task.outputs(network, together.inputs)
        for index in range(9):
            alone = task.outputs(network, trained.store.batch(torch.tensor([index])).inputs)
            both = joined([outputs[index : index + 1], alone])  # what has no fixed size is padded with zeros
            torch.testing.assert_close(both[1], both[0], rtol=1e-4, atol=1e-5)


@every_task
def test_predict_gives_what_evaluate_scored(trained: Trained) -> None:
    stored = load_file(trained.model.path / "evaluation" / "test.safetensors")
    scored = trained.model.task.decode(stored["outputs"], trained.model.facts)
    raws = trained.data.of("test").raws
    answers = trained.model.predict(*([raws] if isinstance(raws, pl.DataFrame) or raws.dtype != object else raws))
    assert [answer["prediction"] for answer in answers] == [answer["prediction"] for answer in scored]
    assert len(answers) == trained.model.run.read("evaluation/test.json")["examples"]
    form = "Answers can be written as|writes these answers as a table"
    with pytest.raises(OptionError, match=rf'its name ends in "\.odd".*({form})'):
        trained.model.write(["nothing"], trained.model.path / "answers.odd")


@every_task
def test_what_training_knew_is_found_among_other_examples(trained: Trained) -> None:
    learned = trained.data.part != "test"
    known = np.isin(trained.data.digests, trained.data.digests[learned])
    result = trained.model.evaluate(trained.model.recipe.source)
    assert result["without_leaks"].get("left_out", known.sum()) == known.sum()
    assert f"{known.sum():,} " in result["verdict"]


@every_task
def test_every_example_is_evaluated_exactly_once(trained: Trained) -> None:
    model = trained.model
    rows = trained.store.rows_of(trained.data, "test")
    metrics = model.task.metrics(model.facts)
    for batch_size in (1, 7, len(rows), len(rows) + 5):
        found = evaluate(model.network, model.task, metrics, trained.store, rows, batch_size, model.recipe.execution)
        assert len(found.outputs) == len(rows)
        name = next(iter(metrics))
        stored = model.run.read("evaluation/test.json")["scores"][name]["value"]
        assert metrics[name].value(found.rows[name]) == pytest.approx(stored, rel=1e-5)


@every_task
def test_augmentation_follows_its_generator_and_keeps_the_shapes(trained: Trained) -> None:
    task, batch = trained.model.task, first(trained, 8)
    one, two = (task.augment(batch, trained.model.facts, torch.Generator().manual_seed(7)) for _ in range(2))
    for name, tensor in one.inputs.items():
        assert tensor.shape == batch.inputs[name].shape
        assert torch.equal(tensor, two.inputs[name])


@every_task
def test_gradient_does_not_depend_on_micro_batches(trained: Trained) -> None:
    from lamina.descent import descend

    task, execution = trained.model.task, trained.model.recipe.execution
    batch = first(trained, 24)
    moved = []
    for micro_batches in (1, 3):
        network = find_network(trained).eval()  # batch statistics would differ, rightly, between the cuts
        plan = Plan(optimizer="sgd", momentum=0.0, lr=1.0, weight_decay=0.0, batch_size=24, micro_batches=micro_batches)
        state = State(network, plan, trained.feed, execution)
        descend(state, task, batch, 0.1, True)
        moved.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-6)


@every_task
def test_nothing_of_training_is_left_on_the_cpu(trained: Trained, apart: None) -> None:
    model, execution = trained.model, Execution(kind="meta")  # type: ignore[arg-type]
    task, facts, rows = model.task, model.facts, trained.store.rows_of(trained.data, "valid")
    held = trained.store.to(DEVICE)
    asked = held.batch(rows[:16])
    assert all(tensor.device == DEVICE for tensor in asked.inputs.values())
    order = by_length(held.inputs, rows)
    assert order is None or torch.equal(rows[order].sort().values, rows)
    feeds = [trained.feed, task.feed(held, trained.store.rows_of(trained.data, "train"), model.network)]
    for name in find.names("networks"):
        family = find.network(name)
        if not isinstance(task.takes(facts), family.takes) or name == "pretrained":  # that is another's code
            continue
        network = move(build(replace(model.recipe, network=name, size=next(iter(family.SIZES))), facts)).train()
        for feed in feeds:
            state = State(network, replace(model.recipe.plan, batch_size=16), feed, execution)
            assert next(train_epoch(state, task, facts, held))
        with torch.no_grad():
            task.outputs(network.eval(), execution.move(asked).inputs).float().cpu()


@every_task
def test_decode_gives_json_and_baselines_give_outputs(trained: Trained) -> None:
    answers = trained.model.task.decode(
        load_file(trained.model.path / "evaluation/test.safetensors")["outputs"][:3], trained.model.facts
    )
    assert all("prediction" in json.loads(json.dumps(answer)) for answer in answers)
    assert trained.model.task.baselines(trained.model.facts), "a task names what its network must beat"


@every_task
def test_batches_hold_what_the_network_takes(trained: Trained) -> None:
    batch = first(trained, 4)
    assert isinstance(batch, Batch)
    assert len(batch) == 4
    assert set(batch.targets)
    assert all(len(tensor) == 4 for tensor in batch.targets.values())


@pytest.mark.parametrize(
    "name",
    [
        "image_classification",
        "image_generation",
        "language_modelling",
        "object_detection",
        "speech_recognition",
        "tabular_classification",
    ],
)
def test_a_run_killed_at_random_moments_ends_like_one_never_killed(name: str, tmp_path: Path) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    print(f"moments drawn with seed {seed}")
    random.seed(seed)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _train(name, tmp_path, whole).wait(300) == 0
    process = _train(name, tmp_path, killed)
    for _ in range(3):
        _wait_for_steps(process, killed)
        time.sleep(random.uniform(0.0, 0.8))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        process = _resume(killed)
    assert process.wait(300) == 0
    assert (whole / "best.safetensors").read_bytes() == (killed / "best.safetensors").read_bytes()
    ends = [load_file(max((run / "checkpoints").glob("*.safetensors"))) for run in (whole, killed)]
    assert ends[0].keys() == ends[1].keys()
    for key in ends[0]:
        assert torch.equal(ends[0][key], ends[1][key]), key
    first, second = (
        [_timeless(line) for line in (run / "log.jsonl").read_text().splitlines() if '"epoch"' in line]
        for run in (whole, killed)
    )
    assert first == second


def first(trained: Trained, count: int) -> Batch:
    """A training batch of so many examples."""
    batch = trained.feed.batch(trained.feed.batches(count, np.random.default_rng(0))[0])
    return batch if len(batch) == count else batch.pieces(len(batch))[0]


def find_network(trained: Trained) -> torch.nn.Module:
    """A fresh network of the run, always with the same weights."""
    return build(trained.model.recipe, trained.model.facts)


_SCRIPT = """
import sys, pathlib
import lamina.loop
lamina.loop.SAVE_EVERY, lamina.loop.LOG_EVERY = 0.1, 2
from lamina import find, training
what, name, folder, run = sys.argv[1:]
if what == "resume":
    training.resume(run)
else:
    task = find.task(name)()
    source = task.tiny(pathlib.Path(folder))
    plan = {"ema": 0.99, "optimizer": "muon" if name.startswith("image") else "adamw"}
    plan |= {"lr": 2e-3} if name.startswith("object") else {}  # fit for adamw, whose fused step depends on the layout
    network = {"network": task.default_network, "size": "tiny" if name.startswith(("language", "object", "image_g")) else None}
    fixed = {"layout": "channels-last", "convolutions": "direct"}  # measured on a busy machine, two runs may differ
    training.train(
        source, task=task, **network, epochs=6, dropout=0.2, plan=plan, threads=1, precision="float32", execution=fixed, out=run
    )
"""


def _train(name: str, folder: Path, run: Path) -> "subprocess.Popen[bytes]":
    return _python("train", name, str(folder), str(run))


def _resume(run: Path) -> "subprocess.Popen[bytes]":
    return _python("resume", "", "", str(run))


def _python(*arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-W", "error", "-c", _SCRIPT, *arguments], env=dict(os.environ))


def _wait_for_steps(process: "subprocess.Popen[bytes]", run: Path) -> None:
    """Until the process has logged steps of its own, or is done."""
    log = run / "log.jsonl"
    before = log.stat().st_mtime_ns if log.exists() else 0
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.stat().st_mtime_ns != before and '"step"' in log.read_text():
            return
        time.sleep(0.02)


def _timeless(line: str) -> dict[str, object]:
    record = json.loads(line)
    return {key: value for key, value in record.items() if key not in ("seconds", "examples_per_s", "spent")}
