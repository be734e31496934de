"""Descent: one step of training, in as many pieces as memory wants."""

from dataclasses import replace

import torch
from torch import Tensor

from lamina.batch import Batch, Loss
from lamina.inspection import drifts
from lamina.memory import halved, ran_out, release
from lamina.state import State
from lamina.tasks.task import Task

FEWEST = 16
"""Examples of a batch, below which chance alone puts it far from what a layer normalises with in evaluation."""


def descend(state: State, task: Task, batch: Batch, lr: float, measured: bool) -> Tensor | None:
    """One step of every player; the norm of the last one's gradient, where it is measured.

    Where memory runs out the step is taken again with the batch cut into twice as many pieces, and so are those that follow:
    the gradient is the same, but for layers that normalise over the batch.
    """
    stepped: dict[str, Tensor | None] = {}
    while True:
        kept = _copies(state.buffers)
        try:
            norm = attempt(state, task, batch, lr, measured, stepped)
            if state.inspected is not None:
                whole = state.micro_batches == 1 and len(batch) >= FEWEST
                state.norms = drifts(state.worker, kept) if whole else {}
            return norm
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
                loss.total.backward(_weight(loss, state.scale.value, whole))  # type: ignore[no-untyped-call]
                account.lap("backward")
            found.append(replace(loss, total=loss.total.detach()))
        player = found[0].player
        if player not in stepped:
            count = 1.0 if whole else sum(loss.count for loss in found)
            stepped[player] = state.update(player, count, lr, measured)
            for loss in found:
                state.sums.note(loss, state.step + 1)
            told = [loss.each for loss in found if loss.each is not None]
            state.told = torch.cat(told) if len(told) == len(found) else None
            state.carried |= {name: torch.cat([loss.carried[name] for loss in found]) for name in found[0].carried}
            account.lap("optimizer")


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    """Copies of tensors, made at once: one by one an accelerator would take longer to start than to make them."""
    copies = [torch.empty_like(tensor) for tensor in tensors]
    if copies:
        torch._foreach_copy_(copies, tensors)
    return copies


def _weight(loss: Loss, scale: float, whole: bool) -> Tensor:
    """What the gradient of a sum is multiplied with; of a batch in one piece the count is known by now."""
    weight = scale / loss.count if whole else scale
    if isinstance(weight, Tensor):
        return weight.to(loss.total.device, loss.total.dtype)
    # Filled where it is wanted: an accelerator would have to be waited for until it has taken a number.
    return torch.full((), weight, dtype=loss.total.dtype, device=loss.total.device)
