"""Rivals: what the baselines say of examples, after learning from as much of the training part as bounds their time."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lamina.baselines import Arrays, Rows
from lamina.data.ragged import Ragged, ragged
from lamina.data.store import Columns, Store, gathered
from lamina.metrics.metric import Metric
from lamina.tasks.task import Facts, Task

MOST_ROWS = 50_000  # training examples that a baseline sees at most; more would take longer than the network
MOST_VALUES = 20_000_000  # of ragged examples, such as tokens; an n-gram model holds about 100 bytes each


def known_to(store: Store, train: Tensor, continues: bool) -> Tensor:
    """The training rows from which baselines learn: all, or as many as bound their time and memory, drawn at random.

    Where examples continue one another, the last ones, in their order.
    """
    drawn = torch.from_numpy(np.random.default_rng(0).permutation(len(train)))
    order = torch.arange(len(train)).flip(0) if continues else drawn
    lengths = [column.lengths[train] for column in store.inputs.values() if isinstance(column, Ragged)]
    fit = int((torch.stack(lengths).amax(0)[order].cumsum(0) <= MOST_VALUES).sum()) if lengths else MOST_ROWS
    return train if fit >= len(train) else train[order[: max(1, fit)].sort().values]


def observed(
    task: Task,
    facts: Facts,
    store: Store,
    train: Tensor,
    rows: Tensor,
    metrics: dict[str, Metric],
    names: Sequence[str] | None = None,
) -> dict[str, dict[str, Tensor]]:
    """Let each baseline, or those of some names, learn from the rows ``train``; what the metrics keep of its outputs for
    ``rows``."""
    targets = gathered(store.targets, rows)
    known = {name: tensor.numpy() for name, tensor in gathered(store.targets, train).items()}
    kept = {}
    for name, baseline in task.baselines(facts).items():
        if names is None or name in names:
            outputs = baseline(_arrays(store.inputs, train), known, _arrays(store.inputs, rows), facts)
            kept[name] = {key: metric.observe(outputs, targets) for key, metric in metrics.items()}
    return kept


def _arrays(columns: Columns, rows: Tensor) -> Arrays:
    """Rows of a store's columns for a baseline. Large examples, of several dimensions, stay on disk until asked for; ragged
    ones come unpadded, as objects, and their lengths as NAME_lengths."""
    arrays: Arrays = {}
    for name, column in columns.items():
        if isinstance(column, Ragged):
            values, begins = column.values.numpy(), column.offsets[rows]
            lengths = column.lengths[rows]
            arrays[name] = ragged(
                [values[a:b] for a, b in zip(begins.tolist(), (begins + lengths).tolist(), strict=True)]
            )
            arrays[f"{name}_lengths"] = lengths.numpy()
        else:
            large = column.ndim > 2
            arrays[name] = Rows(column.numpy(), rows.numpy()) if large else column.index_select(0, rows).numpy()
    return arrays
