"""Evaluation: what a network says of examples, each exactly once, and what the metrics keep of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamina.batch import Batch, Tensors
from lamina.data.ragged import joined
from lamina.data.store import Store, by_length
from lamina.execution import Execution
from lamina.memory import in_pieces
from lamina.metrics.metric import Metric
from lamina.tasks.task import Task


@dataclass(frozen=True)
class Evaluation:
    """What a network said about examples, and what the metrics keep of it."""

    rows: dict[str, Tensor]
    """Per metric, (examples, k)."""
    outputs: Tensor
    """(examples, ...), float32 on the CPU; what is shorter than the longest example is padded with zeros."""
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
    order = by_length(store.inputs, rows)  # so that little of a batch is padding
    for said, asked in answered(
        network, task, store.batch, rows if order is None else rows[order], batch_size, execution
    ):
        outputs.append(said)
        targets.append({name: tensor.cpu() for name, tensor in asked.items()})
    together = {name: joined([piece[name] for piece in targets]) for name in targets[0]}
    said = joined(outputs)
    if order is not None:
        back = order.argsort()
        said, together = said[back], {name: tensor[back] for name, tensor in together.items()}
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
