"""The training loop. It knows no task and no architecture, prints nothing and calls nobody back: it yields
what happened, and whoever iterates over it decides what to do about it."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lamina.batch import Batch
from lamina.by_class import by_class
from lamina.checkpoint import apart, restore_checkpoint, save_checkpoint
from lamina.data.ahead import ahead
from lamina.data.feed import Once
from lamina.data.store import Store
from lamina.descent import descend
from lamina.evaluation import evaluate
from lamina.execution import Execution
from lamina.metrics.metric import Metric
from lamina.plan import Plan
from lamina.records import Epoch, Step
from lamina.run import Run
from lamina.state import State, mean
from lamina.tasks.task import Facts, Task

LOG_EVERY = 20  # optimizer steps between two Step records, at most
SAVE_EVERY = 20.0  # seconds between two checkpoints
VARIED, MOST_VARIED = 0.01, 256
"""Share of an epoch's examples, and how many at most, of which it is asked at its end what augmentation does to them."""


@dataclass(frozen=True)
class Split:
    """Rows of a store: those that train, those that validate, and those of ``train`` that are scored as they are."""

    train: Tensor
    valid: Tensor
    sample: Tensor


def loop(
    network: nn.Module, task: Task, facts: Facts, store: Store, split: Split, plan: Plan, execution: Execution, run: Run
) -> Generator[Step | Epoch, None, None]:
    """Train, or continue where the run stopped; yield a Step every few steps and an Epoch after each pass.

    Whoever iterates logs each record before asking for the next. To stop, close the generator (``contextlib.closing``):
    it leaves a checkpoint from which training continues to the bit.

    Args:
        network: (inputs by name) -> outputs; trained in place, on the execution's device.
        task: what is learned; its ``augment``, ``losses``, ``outputs`` and ``metrics`` are used, nothing else.
        facts: what the task learned from the training part.
        store: the encoded examples.
        split: which of them train, which validate.
        plan: how to train.
        execution: on which device, in which precision.
        run: where checkpoints and the best weights go.
    """
    store = execution.hold(store)
    network = execution.prepare(network)
    feed = task.feed(store, split.train, network)
    state = State(network, plan, feed, execution)
    state.evaluated = (len(split.valid) + len(split.sample)) * len(feed) / len(split.train)
    if not restore_checkpoint(run, state):
        save_checkpoint(run, state)  # so that a run killed early is cut back to its start, its log too
    metrics = task.metrics(facts)
    saved = time.monotonic()
    try:
        while not state.finished():
            for record in train_epoch(state, task, facts, store):
                yield record
                state.account.lap("other")
                if time.monotonic() - saved > SAVE_EVERY:
                    save_checkpoint(run, state)
                    saved = time.monotonic()
                    state.account.lap("checkpoints")
            yield close_epoch(state, task, facts, metrics, store, split, run)
            state.account.lap("other")
            if state.feed.remembered() and not state.finished():  # by its choice the examples of a finding are known
                save_checkpoint(run, state)
                saved = time.monotonic()
                state.account.lap("checkpoints")
        save_checkpoint(run, state)
    except GeneratorExit:  # only at a yield, where the state is between two steps
        save_checkpoint(run, state)
        raise


def train_epoch(state: State, task: Task, facts: Facts, store: Store) -> Iterator[Step]:
    """Take the steps that are left of this epoch; yield a Step every few of them and after the last."""
    execution, account = state.execution, state.account
    batches = state.batches()
    left = [] if state.position and state.t() >= 1 else batches[state.position :]
    state.worker.train()
    before, since, examples, steepness = dict(state.sums.settle()), time.perf_counter(), 0, math.nan
    account.sample(due := (state.step + 1) % LOG_EVERY == 0 or state.position + 1 == len(batches))
    for batch in ahead(
        state.feed, left, pinned=execution.kind == "cuda", apart=execution.kind != "cpu" or store.streamed
    ):
        state.inspected, state.norms = ({} if due else None), {}
        lr = state.plan.lr_at(state.t())
        norm = take(state, task, facts, batch, lr, due or math.isnan(steepness))
        steepness = steepness if norm is None else float(norm)
        account.lap("optimizer")
        examples += len(batch)
        over = state.position == len(batches) or state.t() >= 1
        if due or over:
            loss = {player: mean(sums, before.get(player)) for player, sums in state.sums.settle().items()}
            account.settle()
            seconds = time.perf_counter() - since
            state.train_seconds += seconds
            if state.epoch == 0:  # nothing was evaluated yet
                state.reserve = state.evaluated * account.seconds["forward"] / state.examples
            yield Step(
                state.step, state.epoch + 1, state.t(), loss, lr, steepness, examples / seconds, state.micro_batches,
                state.tick(), state.inspected or {}, state.sums.highest, state.norms,
            )  # fmt: skip
            state.sums.highest = None
            before, since, examples = dict(state.sums.values), time.perf_counter(), 0
        if over:
            return
        account.sample(due := (state.step + 1) % LOG_EVERY == 0 or state.position + 1 == len(batches))


def take(state: State, task: Task, facts: Facts, batch: Batch, lr: float, measured: bool) -> Tensor | None:
    """One step on a batch as the feed gives it; the gradient's norm, where it is measured."""
    execution = state.execution
    varied = task.augment(execution.move(batch), facts, state.generator(execution.device))
    if state.feed.carries:
        varied = replace(varied, carried=state.carried)
    state.account.lap("data")
    norm = descend(state, task, varied, lr, measured)
    if state.told is not None and "row" in batch.targets:
        state.feed.heed(batch.targets["row"], state.told)
    state.advance(len(batch))
    return norm


def close_epoch(
    state: State, task: Task, facts: Facts, metrics: dict[str, Metric], store: Store, split: Split, run: Run
) -> Epoch:
    """Score the averaged weights, keep them when they are the best so far, and go to the next epoch."""
    state.account.sample(True)
    found = [
        evaluate(state.judged, task, metrics, store, part, state.plan.batch_size, state.execution)
        for part in (split.sample, split.valid)
    ]
    train, valid = ({name: metrics[name].value(rows) for name, rows in part.rows.items()} for part in found)
    varied = losses_of_varied(state, task, facts, split.sample)
    samples = task.samples(state.judged.eval(), facts)
    state.account.lap("evaluation")
    first = next(iter(metrics))
    best = state.judge(valid[first], metrics[first].better)
    if best:
        weights = apart(state.judged.state_dict())
        run.write("best.safetensors", save(weights, {"epoch": str(state.epoch + 1)}))
    state.account.lap("checkpoints")
    loss = {player: mean(sums) for player, sums in state.sums.settle().items()}
    examples, seconds, training, spent = state.close()
    state.reserve = spent["evaluation"]
    return Epoch(
        state.epoch, state.step, state.t(), loss, train, valid, seconds, examples / max(training, 1e-9), spent, best, samples,
        by_class(found, metrics, facts), varied,
    )  # fmt: skip


@torch.inference_mode()
def losses_of_varied(state: State, task: Task, facts: Facts, rows: Tensor) -> list[float]:
    """What ``Epoch.varied`` holds, other examples of ``rows`` each epoch; nothing where none are varied, or several players
    have losses of their own."""
    if type(task).augment is Task.augment or not isinstance(state.feed, Once) or len(state.optimizers) > 1:
        return []
    execution, generator = state.execution, state.generator(state.execution.device)
    network = state.judged.eval()
    sums = [[0.0, 0.0], [0.0, 0.0]]
    count = min(MOST_VARIED, max(1, round(VARIED * state.examples)), len(rows))
    rows = rows[(torch.arange(count) + state.epoch * count) % len(rows)]
    for some in torch.split(rows, max(1, state.plan.batch_size // state.micro_batches)):
        batch = execution.move(state.feed.plain(some))
        for one, total in zip((batch, task.augment(batch, facts, generator)), sums, strict=True):
            with execution.autocast():
                for loss in task.losses(network, one):
                    total[0] += float(loss.total)
                    total[1] += float(loss.count)
    return [total / count for total, count in sums]
