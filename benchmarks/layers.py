"""Where a training step goes, layer by layer: Lamina's own loop on ResNet-18, seen by PyTorch's profiler.

The second epoch is timed as it is; in the third, the profiler notes each operation that the loop starts and each step of
backpropagation. What an operation does inside belongs to it; what no operation covers is "between operations". The work is
that of direct convolutions, however they are computed: two operations for a multiplication and addition; forward, for the
gradient of the weights and, but in the first layer, for that of the input.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

import lamina
from benchmarks.entrant import images_in, say
from benchmarks.resnet import job
from benchmarks.resnet.lamina import Timed, trained
from lamina.machine import gemm_peak

BACKWARD = "autograd::engine::evaluate_function: "
CONVOLUTIONS = ("aten::conv2d", "Winograd")
BETWEEN, OTHERS = "between operations", "other operations"
KINDS = {  # what the rest belongs to, by a part of its name
    "batch normalisation": ("atch_norm", "BatchNorm"),
    "ReLU": ("relu", "Relu", "hreshold"),
    "pooling": ("pool", "Pool", "mean", "Mean"),
    "optimizer, lengths of gradients and weights": ("Optimizer", "_foreach", "_fused", "norm"),
    "sums of branches, gradients put down": ("aten::add", "Add", "AccumulateGrad"),
    "changes of type and layout": ("aten::to", "ToCopy", "copy", "Copy", "clone", "contiguous"),
}


class Profiled(Timed):
    """Lets the profiler look at the third epoch, up to its first record."""

    def __init__(self) -> None:
        super().__init__()
        self.profiler = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
        self.began, self.seconds, self.before, self.steps = 0.0, 0.0, 0, 0

    def see(self, record: lamina.Step | lamina.Epoch) -> None:
        """Begin after the second epoch; end with the next step that is told."""
        super().see(record)
        if isinstance(record, lamina.Epoch) and record.epoch == 2:
            self.before = record.step
            self.profiler.start()
            self.began = time.perf_counter()
        elif isinstance(record, lamina.Step) and record.epoch == 3 and not self.steps:
            self.seconds = time.perf_counter() - self.began
            self.profiler.stop()
            self.steps = record.step - self.before


class Account:
    """Seconds and floating-point operations by row."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.operations: dict[str, float] = defaultdict(float)
        self._forward: dict[int, tuple[str, int]] = {}  # by the number that ties it to its step of backpropagation

    def add(self, event: Any) -> None:
        """Note an outermost operation; what goes backward comes after what went forward."""
        name = event.name.removeprefix(BACKWARD)
        row, taps = next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHERS), 0
        if event.name != name:
            row, taps = self._forward.get(event.sequence_nr, (row, 0))
        elif name in CONVOLUTIONS:
            image, weight = event.input_shapes[:2]
            row = f"convolution {weight[1]} to {weight[0]}, {weight[2]} x {weight[3]}, on {image[2]} x {image[3]}"
            taps = prod(weight[1:])
        if event.name == name:
            self._forward |= dict.fromkeys(sequences(event), (row, taps))
        elif taps and name in ("ConvolutionBackward0", "WinogradBackward"):
            output = event.cpu_children[0].input_shapes[0]
            passes = 2 if row.startswith("convolution 3 ") else 3  # nobody asks for the images' gradient
            self.operations[row] += 2 * prod(output) * taps * passes
        self.seconds[row] += event.time_range.elapsed_us() / 1e6

    def rows(self, whole: float, steps: int, peak: float) -> list[dict[str, Any]]:
        """The rows, longest first: their share of the time and of the work, and of the peak that they reach."""
        self.seconds[BETWEEN] = whole - sum(self.seconds.values())
        work = sum(self.operations.values())
        return [
            {
                "layers": row,
                "ms": round(1000 * seconds / steps, 2),
                "share": round(seconds / whole, 4),
                "share_of_work": round(self.operations[row] / work, 4),
                "share_of_peak": round(self.operations[row] / seconds / peak, 4),
            }
            for row, seconds in sorted(self.seconds.items(), key=lambda item: -item[1])
        ]


def outermost(events: list[Any]) -> list[Any]:
    """The operations that no other one started, of the thread that trains, in their order."""
    alone = [event for event in events if event.cpu_parent is None]
    busy: dict[int, float] = defaultdict(float)
    for event in alone:
        busy[event.thread] += event.time_range.elapsed_us()
    trains = max(busy, key=lambda thread: busy[thread])
    return sorted((event for event in alone if event.thread == trains), key=lambda event: event.time_range.start)


def sequences(event: Any) -> Iterator[int]:
    """The numbers that tie an operation, or what it does inside, to its step of backpropagation."""
    if event.sequence_nr >= 0:
        yield event.sequence_nr
    for child in event.cpu_children:
        yield from sequences(child)


if __name__ == "__main__":
    asked, watch = job(), Profiled()
    if asked.epochs < 3:
        sys.exit("the account takes three epochs: EPOCHS=3")
    with tempfile.TemporaryDirectory() as folder:
        model = trained(asked, watch, Path(folder) / "run")
        way = model.recipe.execution
        peak = gemm_peak(way)
    account = Account()
    for event in outermost(list(watch.profiler.events())):
        account.add(event)
    images_per_s = images_in(asked.folder / "train") / watch.clock.training[1]
    work = sum(account.operations.values()) / watch.steps / asked.batch
    say(
        ("lamina", "torch", "torchvision"),
        share_of_peak=round(images_per_s * work / peak, 4),
        images_per_s=round(images_per_s, 2),
        gflops_per_image=round(work / 1e9, 3),
        peak=round(peak / 1e9, 1),
        profiled_step_seconds=round(watch.seconds / watch.steps, 4),
        rows=account.rows(watch.seconds, watch.steps, peak),
        chosen={name: value for name, value in way.to_json().items() if value is not None},
    )
