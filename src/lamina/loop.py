"""The training loop, and evaluation. It knows no task and no architecture, prints nothing and calls nobody back: it yields
what happened, and whoever iterates over it decides what to do about it."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lamina.batch import Batch, Tensors
from lamina.data.store import Store
from lamina.execution import Execution
from lamina.metrics.metric import Metric
from lamina.plan import Plan
from lamina.records import Epoch, Step
from lamina.run import Run
from lamina.state import State, restore_checkpoint, save_checkpoint
from lamina.tasks.task import Facts, Task

LOG_EVERY = 20  # optimizer steps between two Step records, at most
SAVE_EVERY = 20.0  # seconds between two checkpoints


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
    state = State(execution.prepare(network), plan, split.train)
    if not restore_checkpoint(run, state):
        save_checkpoint(run, state)  # so that a run killed early is cut back to its start, its log too
    metrics = task.metrics(facts)
    saved = time.monotonic()
    try:
        while not state.finished():
            for record in train_epoch(state, task, facts, store, execution):
                yield record
                if time.monotonic() - saved > SAVE_EVERY:
                    save_checkpoint(run, state)
                    saved = time.monotonic()
            yield close_epoch(state, task, metrics, store, split, execution, run)
        save_checkpoint(run, state)
    except GeneratorExit:  # only at a yield, where the state is between two steps
        save_checkpoint(run, state)
        raise


def train_epoch(state: State, task: Task, facts: Facts, store: Store, execution: Execution) -> Iterator[Step]:
    """Take the steps that are left of this epoch; yield a Step every few of them and after the last."""
    batches = state.batches()
    state.network.train()
    before, since, examples = dict(state.sums), time.monotonic(), 0
    for rows in batches[state.position :]:
        lr = state.plan.lr_at(state.t())
        batch = task.augment(execution.move(store.batch(rows)), facts, state.generator(execution.device))
        norm = descend(state, task, batch, execution, lr)
        state.advance(len(rows))
        examples += len(rows)
        over = state.position == len(batches) or state.t() >= 1
        if state.step % LOG_EVERY == 0 or over:
            seconds = time.monotonic() - since
            state.train_seconds += seconds
            loss = {player: float(mean(sums - before.get(player, 0))) for player, sums in state.sums.items()}
            yield Step(
                state.step, state.epoch + 1, state.t(), loss, lr, float(norm), examples / seconds, state.tick()
            )  # fmt: skip
            before, since, examples = dict(state.sums), time.monotonic(), 0
        if over:
            return


def descend(state: State, task: Task, batch: Batch, execution: Execution, lr: float) -> Tensor:
    """One step of every player; the norm of the last one's gradient.

    Micro-batches advance in lockstep: the first loss of each, one step of that player, the second loss of each, and so
    on; a player's gradient is the sum over all of them divided by the sum of their counts.
    """
    norm = torch.zeros(())
    pieces = [task.losses(state.network, piece) for piece in batch.pieces(state.plan.micro_batches)]
    while True:
        player, sums = "", torch.zeros(2, dtype=torch.float64, device=execution.device)
        for piece in pieces:
            with execution.autocast():
                loss = next(piece, None)
            if loss is None:
                return norm
            loss.total.backward()  # type: ignore[no-untyped-call]
            player = loss.player
            sums += torch.stack([loss.total.detach().double(), torch.as_tensor(loss.count).double().to(sums.device)])
        norm = state.update(player, sums[1], lr)
        state.sums[player] = state.sums.get(player, 0) + sums


def close_epoch(
    state: State, task: Task, metrics: dict[str, Metric], store: Store, split: Split, execution: Execution, run: Run
) -> Epoch:
    """Score the averaged weights, keep them when they are the best so far, and go to the next epoch."""
    train, valid = (
        {
            name: metrics[name].value(rows)
            for name, rows in evaluate(state.judged, task, metrics, store, part, state.plan.batch_size, execution).rows.items()
        }
        for part in (split.sample, split.valid)
    )  # fmt: skip
    first = next(iter(metrics))
    best = state.judge(valid[first], metrics[first].better)
    if best:
        weights = {name: tensor.contiguous() for name, tensor in state.judged.state_dict().items()}
        run.write("best.safetensors", save(weights, {"epoch": str(state.epoch + 1)}))
    loss = {player: float(mean(sums)) for player, sums in state.sums.items()}
    examples, seconds, training = state.close()
    return Epoch(
        state.epoch, state.step, state.t(), loss, train, valid, seconds, examples / max(training, 1e-9), best
    )  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """What a network said about examples, and what the metrics keep of it."""

    rows: dict[str, Tensor]
    """Per metric, (examples, k)."""
    outputs: Tensor
    """(examples, ...), float32 on the CPU."""
    targets: Tensors
    """(examples, ...) each, on the CPU."""


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    task: Task,
    metrics: dict[str, Metric],
    store: Store,
    rows: Tensor,
    batch_size: int,
    execution: Execution,
) -> Evaluation:
    """Run the network over ``rows``, each example exactly once, none dropped, without augmentation or dropout."""
    network.eval()
    outputs, targets = [], []
    for piece in torch.split(rows, batch_size):
        batch = execution.move(store.batch(piece))
        with execution.autocast():
            outputs.append(task.outputs(network, batch.inputs).float().cpu())
        targets.append({name: tensor.cpu() for name, tensor in batch.targets.items()})
    together = {name: torch.cat([piece[name] for piece in targets]) for name in targets[0]}
    said = torch.cat(outputs)
    return Evaluation({name: metric.observe(said, together) for name, metric in metrics.items()}, said, together)


def mean(sums: Tensor) -> float:
    """From (total, count) to the mean."""
    total, count = sums.tolist()
    return total / count if count else math.nan
