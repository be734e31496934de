"""What a recipe brings: the accuracy that Lamina's small network reaches in one and in two passes, with it and without.

    python -m benchmarks.recipes --folder folder-of-idx-files --seeds 3 --only default,adamw

A sixth of the training images are put aside and judge; the test images are not touched. Every training is made of Lamina's
own parts, on one thread, and each line printed is one of them; ``--table`` makes the cards of ``docs/log.md`` from those lines.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.race import arrays
from lamina import optimizers
from lamina.batch import Batch
from lamina.data.sparing import Sparing
from lamina.layers import augmentation, losses
from lamina.layers.heads import ImageClassifier
from lamina.layers.shapes import Image
from lamina.memory import keep_freed_memory
from lamina.networks import cnn
from lamina.plan import Plan
from lamina.state import average

TARGET = 0.93  # accuracy to which the seconds are counted
ASIDE = 6  # one image in so many judges
AT_ONCE = 500  # images that are judged at a time
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}  # 97.5 % points of Student's distribution, by the number of seeds


@dataclass(frozen=True)
class Recipe:
    """How to train, beside the network and the number of passes."""

    plan: Plan
    smoothing: float = 0.1
    shift: int = 0
    """Pixels that images are moved by, at most."""
    flip: str = "random"
    """"random", "alternating" (Jordan 2024) or "no"."""
    twice: bool = True
    """Whether images are judged mirrored, too."""
    averaged: float = 0.0
    """Decay of the average of the weights."""
    last: float = 0.0
    """Share of the steps at the end whose weights are averaged evenly (Izmailov et al. 2018)."""
    small: int = 0
    """Side in pixels for the first half of the steps."""
    whitened: bool = False
    """Whether the first filters turn pixels into uncorrelated ones (Jordan 2024)."""
    precise: bool = False
    """Whether products are made in float32, instead of bfloat16."""


PLAN = cnn.plan(Image(1, 28), 50_000)
DEFAULT = Recipe(PLAN)
RECIPES = {
    "default": DEFAULT,
    "adamw": replace(DEFAULT, plan=replace(PLAN, optimizer="adamw", lr=3e-3, weight_decay=0.02, momentum=0.9)),
    "sgd": replace(DEFAULT, plan=replace(PLAN, optimizer="sgd", lr=0.1, weight_decay=5e-4, momentum=0.9)),
    "constant": replace(DEFAULT, plan=replace(PLAN, schedule="constant")),
    "cosine": replace(DEFAULT, plan=replace(PLAN, schedule="warmup-cosine")),
    "no label smoothing": replace(DEFAULT, smoothing=0.0),
    "moving average": replace(DEFAULT, averaged=0.99),
    "average of the last fifth": replace(DEFAULT, last=0.2),
    "shifted by 2 pixels": replace(DEFAULT, shift=2),
    "not mirrored": replace(DEFAULT, flip="no", twice=False),
    "alternating mirror": replace(DEFAULT, flip="alternating"),
    "judged once": replace(DEFAULT, twice=False),
    "small at first": replace(DEFAULT, small=20),
    "whitened first layer": replace(DEFAULT, whitened=True),
    "float32": replace(DEFAULT, precise=True),
    "none spared": replace(DEFAULT, plan=replace(PLAN, spare=0.0)),
    "easy ones spared more": replace(DEFAULT, plan=replace(PLAN, spare=0.75)),
}


class Pixels:
    """Images and labels, those that train and those that judge."""

    def __init__(self, folder: Path) -> None:
        pixels, labels = (torch.from_numpy(array) for array in arrays(folder, "train"))
        order = torch.from_numpy(np.random.default_rng(12345).permutation(len(pixels)))
        aside = len(order) // ASIDE
        self.unseen, self.truth = pixels[order[:aside]], labels[order[:aside]]
        self.seen, self.labels = pixels[order[aside:]], labels[order[aside:]]

    def at(self, rows: Tensor) -> Batch:
        """Some of those that train."""
        return Batch({"image": self.seen[rows]}, {"label": self.labels[rows]})


def train(recipe: Recipe, pixels: Pixels, passes: int, seed: int) -> dict[str, float]:
    """Accuracy on the images put aside, and CPU seconds of the training."""
    torch.manual_seed(seed)
    network = built(pixels, recipe)
    optimizer = optimizers.build(network, recipe.plan)
    averaged = deepcopy(network)
    draws, generator = np.random.default_rng(seed), torch.Generator()
    feed = Sparing(torch.arange(len(pixels.seen)), pixels.at, recipe.plan.spare)
    steps, step = passes * feed.steps(recipe.plan.batch_size), 0
    began = time.process_time()
    for past in range(passes):
        feed.turn(past / passes)
        for rows in feed.batches(recipe.plan.batch_size, draws):
            t = step / steps
            batch = feed.batch(rows)
            images = varied(recipe, batch.inputs["image"], rows, past, t, generator.manual_seed(seed * 100_003 + step))
            with torch.autocast("cpu", torch.bfloat16, enabled=not recipe.precise):
                logits = network(images)
            total, count, each = losses.cross_entropy(logits, batch.targets, recipe.smoothing)
            (total / count).backward()  # type: ignore[no-untyped-call]
            if each is not None:
                feed.heed(rows, each)
            for group in optimizer.param_groups:
                group["lr"] = recipe.plan.lr_at(t) * group.get("lr_factor", 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if recipe.averaged:
                average(averaged, network, min(recipe.averaged, step / (10 + step)))
            elif t >= 1 - recipe.last:
                average(averaged, network, 1 - 1 / (1 + step - (1 - recipe.last) * steps))
    spent = time.process_time() - began
    judged = averaged if recipe.averaged or recipe.last else network
    return {"accuracy": accuracy(judged.eval(), pixels, recipe.precise), "cpu_seconds": round(spent, 1)}


def built(pixels: Pixels, recipe: Recipe) -> nn.Module:
    """The small network for these images, its first layer whitened where that is asked for."""
    side, channels = pixels.seen.shape[2:]
    some = pixels.seen[:5000].float()
    backbone = cnn.build(Image(channels, side), "small")
    mean, deviation = some.mean((0, 1, 2)), some.std((0, 1, 2))
    network = ImageClassifier(backbone, mean.tolist(), deviation.tolist(), int(pixels.labels.max()) + 1, recipe.twice)
    if recipe.whitened:
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        patches = functional.unfold(((some - mean) / deviation).permute(0, 3, 1, 2), 3).transpose(1, 2).flatten(0, 1)
        spread, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (axes / (spread + 5e-4).sqrt()).T.flip(0)[: len(first.weight) // 2]  # the widest directions first
        both = torch.cat((filters, -filters)).view(-1, channels, 3, 3)
        first.weight.data[: len(both)] = both
    return network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def varied(recipe: Recipe, images: Tensor, rows: Tensor, past: int, t: float, generator: torch.Generator) -> Tensor:
    """A batch as the network sees it, (batch, side, side, channels)."""
    shown = images.permute(0, 3, 1, 2).float()
    if recipe.shift:
        shown = augmentation.shift(shown, generator, recipe.shift)
    if recipe.flip == "random":
        shown = augmentation.flip(shown, generator)
    elif recipe.flip == "alternating":
        mirrored = ((rows * 2_654_435_761 >> 16) + past) % 2 == 0  # half of the images, then the others
        shown = torch.where(mirrored.view(-1, 1, 1, 1), shown.flip(3), shown)
    if recipe.small and t < 0.5:
        shown = functional.interpolate(shown, size=(recipe.small,) * 2, mode="bilinear", antialias=True)
    return shown.permute(0, 2, 3, 1)


@torch.inference_mode()
def accuracy(network: nn.Module, pixels: Pixels, precise: bool) -> float:
    """Share of the images put aside that the network knows."""
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        said = [network(some).argmax(1) for some in pixels.unseen.split(AT_ONCE)]
    return float((torch.cat(said) == pixels.truth).float().mean())


def cards(lines: list[dict[str, Any]]) -> Iterator[str]:
    """A row for each recipe: accuracies, what it differs by from the default, and CPU seconds to the target."""
    found: dict[str, dict[int, dict[int, dict[str, Any]]]] = {}
    for line in lines:
        found.setdefault(line["recipe"], {}).setdefault(line["passes"], {})[line["seed"]] = line
    lengths = sorted(found["default"])
    yield (
        "| recipe | "
        + " | ".join(f"{n} pass{'es' * (n > 1)}, difference" for n in lengths)
        + f" | CPU s to {TARGET:.0%} |"
    )
    yield "|" + "---|" * (len(lengths) + 2)
    for name, by_length in found.items():
        cells = []
        for length in lengths:
            runs, usual = by_length[length], found["default"][length]
            mean = statistics.mean(run["accuracy"] for run in runs.values())
            each = [100 * (runs[seed]["accuracy"] - usual[seed]["accuracy"]) for seed in runs]
            off = STUDENT[len(each)] * statistics.stdev(each) / len(each) ** 0.5
            difference = "" if name == "default" else f", {statistics.mean(each):+.2f} ± {off:.2f}"
            cells.append(f"{mean:.2%}{difference}")
        yield f"| {name} | " + " | ".join(cells) + f" | {seconds_to_target(by_length)} |"


def seconds_to_target(by_length: dict[int, dict[int, dict[str, Any]]]) -> str:
    """CPU seconds of the training that just suffices, between the lengths that were tried, on the scale of logarithms."""
    points = [
        (
            statistics.mean(run["accuracy"] for run in runs.values()),
            statistics.mean(run["cpu_seconds"] for run in runs.values()),
        )
        for _, runs in sorted(by_length.items())
    ]
    if points[0][0] >= TARGET:
        return f"below {points[0][1]:.0f}"
    for (low, quick), (high, slow) in pairwise(points):
        if high >= TARGET:
            return f"{quick * (slow / quick) ** ((TARGET - low) / (high - low)):.0f}"
    return f"above {points[-1][1]:.0f}"


def main() -> None:
    """Train what is asked for and print a line for each, or make the table from such lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--passes", default="1,2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default=",".join(RECIPES), help="names of recipes, with commas between them")
    parser.add_argument("--table", type=Path, help="file of such lines: print the cards, train nothing")
    asked = parser.parse_args()
    if asked.table:
        print("\n".join(cards([json.loads(line) for line in asked.table.read_text(encoding="utf-8").splitlines()])))
        return
    if unknown := set(asked.only.split(",")) - set(RECIPES):
        sys.exit(f"There is no recipe {', '.join(unknown)}; there are {', '.join(RECIPES)}.")
    torch.set_num_threads(1)
    keep_freed_memory()
    pixels = Pixels(asked.folder)
    for seed in range(asked.seeds):
        for name in asked.only.split(","):
            for passes in map(int, asked.passes.split(",")):
                said = train(RECIPES[name], pixels, passes, seed)
                print(json.dumps({"recipe": name, "passes": passes, "seed": seed} | said), flush=True)


if __name__ == "__main__":
    main()
