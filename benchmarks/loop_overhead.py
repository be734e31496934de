"""What Lamina's loop costs beside a bare PyTorch loop: the same two-layer network, data, optimizer and steps.

    make bench        or        python benchmarks/loop_overhead.py [ROUNDS]

The two take turns, so that a busy machine slows both; what is printed is the median of the ratios of their times. Lamina's
time has all that its loop does and the bare one does not: records, averaged counts, gradient norms, seeding per step.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from lamina.data.data import Data
from lamina.data.feed import Shuffled
from lamina.examples import encoded
from lamina.execution import Execution
from lamina.loop import Split, train_epoch
from lamina.plan import Plan
from lamina.state import State
from lamina.tasks.tabular_classification import TabularClassification

ROWS, COLUMNS, WIDTH, BATCH = 25_600, 32, 256, 256


class Plain(nn.Module):
    """Two layers; numbers in, logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(COLUMNS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """(batch, COLUMNS) -> (batch, 2); there are no categories."""
        logits: torch.Tensor = self.layers(numbers)
        return logits


def bare(inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one epoch of the loop that everybody writes."""
    network = Plain()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    nothing = torch.zeros(BATCH, 0, dtype=torch.int64)
    began = time.perf_counter()
    for rows in torch.randperm(ROWS).split(BATCH):
        loss = F.cross_entropy(network(inputs[rows], nothing), labels[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def main(rounds: int = 15) -> None:
    """Take turns, and print the median ratio as JSON."""
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    inputs = generator.standard_normal((ROWS, COLUMNS)).astype(np.float32)
    answers = np.where(inputs[:, 0] > 0, "yes", "no").astype(object)
    names = np.array([f"row {row}" for row in range(ROWS)], dtype=object)
    data = Data(inputs, answers, names, np.full(ROWS, "train"), np.arange(ROWS, dtype=np.uint64))
    facts = {"classes": ["no", "yes"], "class_counts": {}}

    class Task(TabularClassification):
        """The rows are encoded already."""

        def encode(self, raws: np.ndarray, facts: dict[str, object]) -> dict[str, np.ndarray]:  # type: ignore[override]
            return {"numbers": raws, "categories": np.zeros((len(raws), 0), dtype=np.int64)}

    with tempfile.TemporaryDirectory() as folder:
        import os

        os.environ["LAMINA_CACHE"] = str(Path(folder))
        store = encoded(Task(), facts, data)
        split = Split(torch.arange(ROWS), torch.arange(256), torch.arange(256))
        ratios, seconds = [], []
        for _ in range(rounds + 1):
            theirs = bare(store.inputs["numbers"], store.targets["label"])
            state = State(
                Plain(),
                Plan(epochs=1, batch_size=BATCH, schedule="constant", warmup=0.0),
                Shuffled(split.train, store.batch),
                Execution(threads=1),
            )
            began = time.perf_counter()
            for _record in train_epoch(state, Task(), facts, store):
                pass
            ours = time.perf_counter() - began
            ratios.append(ours / theirs)
            seconds.append((ours, theirs))
    kept = ratios[1:]  # the first round warms up
    print(
        json.dumps(
            {
                "what": "seconds of Lamina's loop over seconds of a bare loop, two layers, batch 256, 1 thread",
                "median_ratio": round(statistics.median(kept), 3),
                "lowest": round(min(kept), 3),
                "highest": round(max(kept), 3),
                "rounds": rounds,
                "median_seconds": [round(statistics.median(s[i] for s in seconds[1:]), 4) for i in (0, 1)],
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
