"""Worth: what made pictures are good for, and whether they are new. A run's generator and judge in, exhibits out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lamina import judge
from lamina.baselines import Arrays
from lamina.data import making
from lamina.data.store import Store
from lamina.exhibits import Exhibit, Gallery, Rows
from lamina.layers import players
from lamina.layers.players import Players
from lamina.metrics.generation import drawn, nearest
from lamina.metrics.metric import wilson
from lamina.writing import number

MOST = 60_000  # made pictures from which a classifier learns, at most
PIXELS = 48_000_000  # of these in all: larger pictures are fewer
KNOWN = 20_000  # training pictures among which the nearest are looked for, at most
NEW = 12  # made pictures that are shown beside the nearest training picture
WAYS, STEPS, ROW = 4, 8, 3  # from one made picture to another, and how many of them stand in a row
SEED = 2**32  # of what is made here: no picture that a user gets by a usual seed

Make = Callable[[Sequence[str], int, int], Iterator[np.ndarray]]
"""(classes, seed, pictures between two that are drawn) → (some, side, side, channels) uint8, in the order of the classes."""


def exhibits(
    network: Players, store: Store, train: Tensor, rows: Tensor, facts: dict[str, Any], make: Make
) -> list[Exhibit]:
    """What a person or a program gets from what was made.

    Args:
        network: generator, discriminator and judge.
        store: the encoded examples.
        train: rows that trained; empty where they are not at hand.
        rows: real pictures that took no part in training.
        facts: of the task.
        make: lets the generator make pictures.
    """
    found: list[Exhibit] = []
    if facts["classes"] and len(rows):
        found.append(_taught(network, store, train, rows, facts, make))
    if len(train):
        found.append(_nearest(network, store, train, rows, facts, make))
    return [*found, _ways(facts, make)]


def of_baseline(
    maker: Callable[[Arrays, Arrays, Arrays, dict[str, Any]], np.ndarray], known: nn.Module,
    train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any],
) -> Tensor:  # fmt: skip
    """Outputs, as ``metrics/generation.py`` reads them, for pictures that a baseline makes; it has no discriminator."""
    made = maker(train_inputs, train_targets, inputs, facts)
    wanted = torch.from_numpy(np.asarray(inputs["wanted"]))
    pieces = []
    with torch.inference_mode():
        for chosen in torch.split(torch.arange(len(made)), 4 * judge.BATCH):
            own, image = (torch.from_numpy(some[chosen.numpy()]) for some in (made, inputs["image"]))
            unknown = torch.full((len(chosen), 1 + max(1, len(facts["classes"]))), torch.nan)
            pieces.append(torch.cat([players.judged(known, own, image, wanted[chosen]), unknown], 1))
    return torch.cat(pieces)


def _taught(network: Players, store: Store, train: Tensor, rows: Tensor, facts: dict[str, Any], make: Make) -> Exhibit:
    """What a classifier that saw made pictures only is right on (Ravuri & Vinyals 2019, arXiv:1905.10887); beside one that
    learned from real ones."""
    counts = np.array(list(facts["class_counts"].values()))
    most = min(MOST, PIXELS // facts["side"] ** 2)
    amount = min(most, 2 * int(counts.sum()))
    labels = np.sort(np.random.default_rng(0).choice(len(counts), amount, p=counts / counts.sum()))
    wished = [facts["classes"][label] for label in labels]
    made = torch.from_numpy(np.concatenate(list(make(wished, SEED, 0))))
    device = next(network.parameters()).device
    own = _of(made, torch.from_numpy(labels))
    lines = [("made pictures", amount, _hits(facts, own, torch.arange(amount), store, rows, device))]
    if len(train):
        real = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:most]]
        lines.append(("training pictures", len(real), _hits(facts, _stored(store), real, store, rows, device)))
    explanation = (
        f"A small convolutional network learns to tell the {len(counts)} classes from made pictures alone, and is asked about "
        f"{len(rows):,} real test pictures: what is missing among the made ones it cannot know. 95 % intervals are Wilson's."
    )
    table = []
    for learned_from, pictures, hits in lines:
        low, high = wilson(float(hits.mean()), len(hits))
        table.append([learned_from, pictures, number(float(hits.mean())), f"{number(low)} to {number(high)}"])
    columns = ["learned from", "pictures", "accuracy on real test pictures", "interval"]
    return Rows("What made pictures teach", explanation, columns, table)


def _hits(
    facts: dict[str, Any], draw: judge.Draw, rows: Tensor, store: Store, asked: Tensor, device: torch.device
) -> Tensor:
    """(asked,) 1 where a classifier that learned from ``rows`` of ``draw`` is right on real pictures."""
    classifier = judge.fresh(facts).to(device)
    judge.teach(classifier, draw, rows, 0)
    return judge.hits(classifier, _stored(store), asked)


def _nearest(network: Players, store: Store, train: Tensor, rows: Tensor, facts: dict[str, Any], make: Make) -> Exhibit:
    """Made pictures, each beside the training picture that the judge finds most alike."""
    known = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:KNOWN].sort().values]
    classes = facts["classes"] or [""]
    made = np.concatenate(list(make([classes[index % len(classes)] for index in range(NEW)], SEED, 0)))
    features = torch.cat(
        [_seen(network, store.batch(some).inputs["image"]) for some in torch.split(known, 4 * judge.BATCH)]
    )
    own = _seen(network, torch.from_numpy(made))
    places = nearest(own, features)
    apart = (own - features[places]).norm(dim=1)
    real = _seen(network, store.batch(rows[drawn(len(rows), 200)]).inputs["image"]) if len(rows) else own
    usual = float((real - features[nearest(real, features)]).norm(dim=1).median())
    copies = store.batch(known[torch.from_numpy(places)]).inputs["image"].cpu().numpy()
    items = [
        {
            "where": "",
            "caption": f"distance {number(float(apart[index]))}",
            "shown": making.shown(np.stack([made[index], copies[index]]), 2),
        }
        for index in range(NEW)
    ]
    explanation = (
        "Left what was made, right the training picture that is most like it to the judge. A generator that copies shows the "
        f"same picture twice: then the distance is near 0. Real test pictures are {number(usual)} away (median)."
    )
    return Gallery("Made pictures, and the nearest that trained", explanation, items)


def _ways(facts: dict[str, Any], make: Make) -> Exhibit:
    """Made pictures, and those between them."""
    classes = facts["classes"] or [""]
    items = []
    for way in range(WAYS):
        name = classes[way % len(classes)]
        made = np.concatenate(list(make([name] * (STEPS + 1), SEED + way, STEPS - 1)))
        items.append({"where": "", "caption": name or f"way {way + 1}", "shown": making.shown(made, ROW)})
    explanation = (
        "From one made picture to another, row by row: when each step is a picture of its kind, the generator has learned "
        "what pictures have in common, and no list of pictures."
    )
    return Gallery("From one to another", explanation, items)


@torch.inference_mode()
def _seen(network: Players, image: Tensor) -> Tensor:
    """The judge's features, float32 on the CPU."""
    device = next(network.parameters()).device
    features, _ = network.judge(image.to(device))
    found: Tensor = features.float().cpu()
    return found


def _of(pictures: Tensor, labels: Tensor) -> judge.Draw:
    return lambda rows: (pictures[rows], labels[rows])


def _stored(store: Store) -> judge.Draw:
    def draw(rows: Tensor) -> tuple[Tensor, Tensor]:
        batch = store.batch(rows)
        return batch.inputs["image"], batch.targets["label"]

    return draw
