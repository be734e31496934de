"""The training loop, and evaluation. It knows no task and no architecture, prints nothing and calls nobody back: it yields
what happened, and whoever iterates over it decides what to do about it."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor, nn

from lamina.batch import Batch, Loss, Tensors
from lamina.checkpoint import restore_checkpoint, save_checkpoint
from lamina.data.ahead import ahead
from lamina.data.store import Store
from lamina.execution import Execution
from lamina.memory import halved, in_pieces, keep_freed_memory, ran_out, release
from lamina.metrics.metric import Metric
from lamina.plan import Plan
from lamina.records import Epoch, Step
from lamina.run import Run
from lamina.state import State
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
    keep_freed_memory()
    store = execution.hold(store)
    state = State(execution.prepare(network), plan, split.train, execution)
    state.evaluated = len(split.valid) + len(split.sample)
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
            yield close_epoch(state, task, metrics, store, split, run)
            state.account.lap("other")
        save_checkpoint(run, state)
    except GeneratorExit:  # only at a yield, where the state is between two steps
        save_checkpoint(run, state)
        raise


def train_epoch(state: State, task: Task, facts: Facts, store: Store) -> Iterator[Step]:
    """Take the steps that are left of this epoch; yield a Step every few of them and after the last."""
    execution, account = state.execution, state.account
    batches = state.batches()
    left = batches[state.position :]
    state.worker.train()
    before, since, examples, steepness = dict(state.settle()), time.monotonic(), 0, math.nan
    for batch in ahead(
        store, left, pinned=execution.kind == "cuda", apart=execution.kind != "cpu" or getattr(store, "mapped", False)
    ):
        due = (state.step + 1) % LOG_EVERY == 0 or state.position + 1 == len(batches)
        account.sample(due)
        measured = due or math.isnan(steepness)
        lr = state.plan.lr_at(state.t())
        varied = task.augment(execution.move(batch), facts, state.generator(execution.device))
        account.lap("data")
        norm = descend(state, task, varied, lr, measured)
        steepness = steepness if norm is None else float(norm)
        state.advance(len(batch))
        account.lap("optimizer")
        examples += len(batch)
        over = state.position == len(batches) or state.t() >= 1
        if due or over:
            loss = {player: mean(sums, before.get(player)) for player, sums in state.settle().items()}
            account.settle()
            seconds = time.monotonic() - since
            state.train_seconds += seconds
            if state.epoch == 0:  # nothing was evaluated yet
                state.reserve = state.evaluated * account.seconds["forward"] / state.examples
            yield Step(
                state.step, state.epoch + 1, state.t(), loss, lr, steepness, examples / seconds, state.micro_batches,
                state.tick(),
            )  # fmt: skip
            before, since, examples = dict(state.sums), time.monotonic(), 0
        if over:
            return


def descend(state: State, task: Task, batch: Batch, lr: float, measured: bool) -> Tensor | None:
    """One step of every player; the norm of the last one's gradient, where it is measured.

    Where memory runs out the step is taken again with the batch cut into twice as many pieces, and so are those that follow:
    the gradient is the same, but for layers that normalise over the batch.
    """
    stepped: dict[str, Tensor | None] = {}
    while True:
        kept = [buffer.clone() for buffer in state.buffers]
        try:
            return attempt(state, task, batch, lr, measured, stepped)
        except RuntimeError as error:
            if not ran_out(error):
                raise
            size = halved(-(-len(batch) // state.micro_batches))
        state.micro_batches = -(-len(batch) // size)
        state.forget()
        release(state.execution.device)
        for buffer, before in zip(state.buffers, kept, strict=True):
            buffer.copy_(before)
        state.reseed()


def attempt(
    state: State, task: Task, batch: Batch, lr: float, measured: bool, stepped: dict[str, Tensor | None]
) -> Tensor | None:
    """What ``descend`` does as long as there is memory; ``stepped`` are the players that need no further step, and their norms.

    Micro-batches advance in lockstep: the first loss of each, one step of that player, the second loss of each, and so
    on; a player's gradient is the sum over all of them divided by the sum of their counts.
    """
    execution, account = state.execution, state.account
    pieces = [task.losses(state.worker, piece) for piece in batch.pieces(state.micro_batches)]
    whole = len(pieces) == 1
    while True:
        found: list[Loss] = []
        for piece in pieces:
            with execution.autocast():
                loss = next(piece, None)
            account.lap("forward")
            if loss is None:
                return next(reversed(stepped.values()), None)
            if loss.player not in stepped:
                share = state.scale / loss.count if whole else state.scale  # with one piece the count is known by now
                loss.total.backward(torch.as_tensor(share, dtype=loss.total.dtype, device=loss.total.device))  # type: ignore[no-untyped-call]
                account.lap("backward")
            found.append(Loss(loss.player, loss.total.detach(), loss.count))
        player = found[0].player
        if player not in stepped:
            count = 1.0 if whole else sum(loss.count for loss in found)
            stepped[player] = state.update(player, count, lr, measured)
            for loss in found:
                state.note(loss)
            account.lap("optimizer")


def close_epoch(state: State, task: Task, metrics: dict[str, Metric], store: Store, split: Split, run: Run) -> Epoch:
    """Score the averaged weights, keep them when they are the best so far, and go to the next epoch."""
    state.account.sample(True)
    train, valid = (
        {
            name: metrics[name].value(rows)
            for name, rows in evaluate(
                state.judged, task, metrics, store, part, state.plan.batch_size, state.execution
            ).rows.items()
        }
        for part in (split.sample, split.valid)
    )  # fmt: skip
    state.account.lap("evaluation")
    first = next(iter(metrics))
    best = state.judge(valid[first], metrics[first].better)
    if best:
        weights = {name: tensor.contiguous() for name, tensor in state.judged.state_dict().items()}
        run.write("best.safetensors", save(weights, {"epoch": str(state.epoch + 1)}))
    state.account.lap("checkpoints")
    loss = {player: mean(sums) for player, sums in state.settle().items()}
    examples, seconds, training, spent = state.close()
    state.reserve = spent["evaluation"]
    return Epoch(
        state.epoch, state.step, state.t(), loss, train, valid, seconds, examples / max(training, 1e-9), spent, best
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
    outputs, targets = [], []
    for said, asked in answered(network, task, store.batch, rows, batch_size, execution):
        outputs.append(said)
        targets.append({name: tensor.cpu() for name, tensor in asked.items()})
    together = {name: torch.cat([piece[name] for piece in targets]) for name in targets[0]}
    said = torch.cat(outputs)
    return Evaluation({name: metric.observe(said, together) for name, metric in metrics.items()}, said, together)


def answered(
    network: nn.Module,
    task: Task,
    gather: Callable[[Tensor], Batch],
    rows: Tensor,
    batch_size: int,
    execution: Execution,
) -> Iterator[tuple[Tensor, Tensors]]:
    """What the network says of the batches that ``gather`` makes of ``rows``, float32 on the CPU, and their targets."""
    network.eval()

    def outputs(piece: Tensor) -> tuple[Tensor, Tensors]:
        batch = execution.move(gather(piece))
        with torch.inference_mode(), execution.autocast():
            return task.outputs(network, batch.inputs).float().cpu(), batch.targets

    yield from in_pieces(rows, batch_size, outputs, execution.device)


def mean(sums: tuple[float, float], before: tuple[float, float] | None = None) -> float:
    """From (total, count) to the mean; of what was added since ``before``."""
    total, count = (new - old for new, old in zip(sums, before or (0.0, 0.0), strict=True))
    return total / count if count else math.nan
