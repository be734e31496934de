"""Where a training step goes, layer by layer: ResNet-18 as the benchmark trains it, beside the machine's own GEMM peak.

    python -m benchmarks.layers [--batch 64] [--side 128] [--precision bfloat16] [--convolutions direct] [--rounds 7]

Each layer is run forward and backward by itself, on inputs of the shapes that it gets; then whole steps are taken. What the
layers do not account for is what lies between them: sums of branches, the loss, layouts that change, the optimizer. Medians,
and a table in Markdown.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.resnet.lamina import Body
from lamina.execution import Execution
from lamina.layers.summary import summarise
from lamina.machine import gemm_peak

KINDS = {
    nn.Conv2d: "convolutions",
    nn.BatchNorm2d: "batch normalisation",
    nn.ReLU: "ReLU",
    nn.MaxPool2d: "pooling",
    nn.AdaptiveAvgPool2d: "pooling",
    nn.Linear: "last layer",
}


class Whole(nn.Module):
    """The body with the classifier's head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool, self.head = Body(), nn.AdaptiveAvgPool2d(1), nn.Linear(512, 5)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, side, side) -> (batch, 5)."""
        logits: Tensor = self.head(self.pool(self.body(image)).flatten(1))
        return logits


def median(run: Callable[[], Any], rounds: int) -> float:
    """Seconds of a call, after two that are not counted."""
    seconds = []
    for count in range(rounds + 2):
        began = time.perf_counter()
        run()
        if count > 1:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def shapes(network: nn.Module, image: Tensor, way: Execution) -> dict[str, Tensor]:
    """What goes into each layer that has no layers inside, by name."""
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(
            lambda _module, given, _output, name=name: seen.setdefault(name, given[0].detach())
        )
        for name, module in network.named_modules()
        if type(module) in KINDS
    ]
    with way.autocast():
        network(image)
    for hook in hooks:
        hook.remove()
    return seen


def both_ways(module: nn.Module, given: Tensor, way: Execution, first: bool) -> Callable[[], None]:
    """A layer forward and backward; the first one needs no gradient of its input."""

    def run() -> None:
        inputs = given.clone(memory_format=torch.preserve_format).requires_grad_(not first)
        with way.autocast():
            output = module(inputs)
        output.backward(torch.ones_like(output))
        module.zero_grad(set_to_none=True)

    return run


def main() -> None:
    """Print the account."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--convolutions", default="direct", choices=["direct", "winograd"])
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    way = Execution(precision=asked.precision, convolutions=asked.convolutions, threads=torch.get_num_threads())
    torch.manual_seed(0)
    network = way.prepare(Whole().train())
    order = torch.channels_last
    image = torch.randn(asked.batch, 3, asked.side, asked.side).to(memory_format=order)
    label = torch.randint(5, (asked.batch,))
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    peak = gemm_peak(way)
    flops = {row["name"]: row["flops"] for row in summarise(network, {"image": image})["rows"]}

    def step() -> None:
        with way.autocast():
            loss = F.cross_entropy(network(image).float(), label)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    whole, moving = median(step, asked.rounds), 0.0
    groups: dict[str, tuple[float, float]] = {}
    for place, (name, given) in enumerate(shapes(network, image, way).items()):
        module = network.get_submodule(name)
        seconds = median(both_ways(module, given, way, place == 0), asked.rounds)
        moving += median(lambda given=given: given.clone(memory_format=torch.preserve_format), asked.rounds)
        title = KINDS[type(module)]
        if isinstance(module, nn.Conv2d):
            title += (
                f", {module.in_channels} to {module.out_channels}, {module.kernel_size[0]} × {module.kernel_size[0]}"
            )
            title += f", stride {module.stride[0]}, on {given.shape[2]} × {given.shape[3]}"
        work = flops.get(name, 0) * asked.batch * (2 if place == 0 else 3)
        known = groups.get(title, (0.0, 0.0))
        groups[title] = known[0] + seconds, known[1] + work
    accounted = sum(seconds for seconds, _ in groups.values()) - moving
    groups["between the layers: sums of branches, loss, optimizer"] = whole - accounted, 0.0
    total = sum(work for _, work in groups.values())
    print(
        f"{asked.precision}, {asked.convolutions}, batch {asked.batch}, {asked.side} pixels, {way.threads} threads: ",
        end="",
    )
    print(f"{asked.batch / whole:.1f} images/s, {total / whole / peak:.0%} of the peak of {peak / 1e9:.0f} GFLOP/s\n")
    print("| layers | ms of a step | share | of its arithmetic | of the peak |\n|---|---|---|---|---|")
    for title, (seconds, work) in sorted(groups.items(), key=lambda item: -item[1][0]):
        reached = f"{work / seconds / peak:.0%}" if work else ""
        print(f"| {title} | {1000 * seconds:.1f} | {seconds / whole:.0%} | {work / total:.0%} | {reached} |")


if __name__ == "__main__":
    main()
