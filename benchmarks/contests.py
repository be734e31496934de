"""The benchmarks: which processes run against each other, and what is compared. Plain values; nothing is run here."""

import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Measure:
    """A figure that every entrant prints; the first of a contest is the one it is about."""

    name: str
    unit: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class Contest:
    """One benchmark. The first entrant is the subject: the others are what it is compared with."""

    name: str
    title: str
    how: str
    entrants: tuple[str, ...]
    measures: tuple[Measure, ...]
    peers: bool = True
    """Whether the others are peers, of which one can win; otherwise they are the subject under other conditions."""
    aims: dict[str, float] = field(default_factory=dict)
    """By other entrant, the ratio that is wanted; or by the subject itself, the value that is wanted."""


SPEED = Measure("images_per_s", "images/s")
BEST = Measure("best", "accuracy")
SIX = ("lamina", "fastai", "keras-tensorflow", "keras-torch", "lightning", "pytorch", "expert")
HOW = (
    "ResNet-18 from random weights, AdamW, mirrored images; each process trains on the same files with the same batch size "
    "and number of epochs, and decodes them as its documentation advises. Speed is that of the training parts from the "
    "second epoch on, validation not counted; memory is that of the main process, without its workers."
)
WAITS = (
    "Images are kept in memory and scored on the test images after every epoch by all in the same way; the seconds are those "
    "of the training parts until a score reaches the target. Each has its own schedule; the rounds are seeds."
)
CONTESTS = (
    Contest("resnet", "ResNet-18 on small JPEGs", HOW, SIX, (SPEED, Measure("peak_mib", "MiB", False)),
            aims=dict.fromkeys(SIX[1:-1], 2.5) | {"expert": 1.05}),
    Contest("photographs", "ResNet-18 on photographs of 1024 x 768", HOW, ("lamina", "fastai", "pytorch"), (SPEED,),
            aims={"fastai": 8.0, "pytorch": 8.0}),
    Contest("layers", "Where a step of ResNet-18 goes",
            "The training of the first benchmark; floating-point operations of its second epoch, as direct convolutions need "
            "them, over those of the quickest product of two matrices here, in the same precision: Winograd's need a quarter, "
            "so that the share can be above one. The third epoch is profiled: forward and backward together.",
            ("lamina",), (Measure("share_of_peak", ""), SPEED, Measure("peak", "GFLOP/s")), False,
            {"lamina": 0.3}),
    Contest("fashion", "Time to 90 % and 93 % on Fashion-MNIST", WAITS, ("lamina", "fastai", "keras"),
            (Measure("seconds_to_0.93", "s", False), Measure("seconds_to_0.9", "s", False), BEST),
            aims={"fastai": 5.0}),
    Contest("cifar10", "Time to 85 % and 90 % on CIFAR-10",
            WAITS + " All mirror images, and shift them by up to two pixels. On copies as JPEG files of about 0.9 kB, which "
            "lose detail, 90 % is far: there 85 % is what counts.",
            ("lamina", "fastai", "keras"),
            (Measure("seconds_to_0.85", "s", False), Measure("seconds_to_0.9", "s", False), BEST), aims={"fastai": 4.0}),
    Contest("cifar10-wide", "Time to 90 % on CIFAR-10, wider networks",
            WAITS + " Both mirror images, and shift them by up to two pixels; their networks are twice as wide as those above.",
            ("lamina", "fastai"), (Measure("seconds_to_0.9", "s", False), BEST), aims={"fastai": 4.0}),
    Contest("tables", "A table",
            "Reading, preparing and training with the same number of epochs, imports not counted; accuracy on the test rows.",
            ("lamina", "fastai", "keras"), (Measure("seconds", "s", False), Measure("accuracy", "accuracy"))),
    Contest("language", "A language model",
            "The same LSTM of two layers with tied weights and 10,000 words on made text, 32 lanes of 70 tokens, AdamW; "
            "training parts from the second epoch on.",
            ("lamina", "pytorch", "keras"), (Measure("tokens_per_s", "tokens/s"),), aims={"pytorch": 1.3, "keras": 2.0}),
    Contest("overhead", "What the loop costs",
            "Seconds of Lamina's loop over those of a bare PyTorch loop: two layers, batch 256, one thread.",
            ("lamina",), (Measure("median_ratio", "times", False),), False, {"lamina": 1.05}),
    Contest("memory", "Memory on ten times the images",
            "Peak of the anonymous memory up to the end of training on made images, 64 pixels a side, one epoch; 2,000 and "
            "20,000 of them. In the first round pictures are audited and encoded, in the others that is there. The proof comes "
            "after it: baselines learn from at most 50,000 examples, and scores are resampled.",
            ("ten-times", "once"),
            (Measure("anonymous_mib", "MiB", False), Measure("with_proof_mib", "MiB, with the proof", False)),
            False,
            {"once": 1.1}),
    Contest("help", "`lamina --help`", "From the command to its end; median of three.", ("lamina",),
            (Measure("seconds", "s", False),), False, {"lamina": 0.3}),
    Contest("first-step", "From the command to the first step",
            "`lamina train` on data that are in the store; median of three.", ("lamina",),
            (Measure("seconds", "s", False),), False, {"lamina": 6.0}),
    Contest("contention", "Beside a busy process",
            "Training on made images while a second process keeps one core busy, and alone; threads measured anew each time.",
            ("beside-a-busy-core", "alone"), (SPEED,), False, {"alone": 0.4}),
)  # fmt: skip


@dataclass(frozen=True)
class Race:
    """A race to an accuracy."""

    data: str
    """The setting that says where the images lie."""
    targets: str
    epochs: dict[str, int]
    """How long the schedule of each entrant is."""
    shift: int = 0
    """By how many pixels peers shift images, which Lamina decides itself."""
    size: str = "small"
    """Of Lamina's network; the peers' is as wide."""


RACES = {
    "fashion": Race("fashion", "0.9,0.93", {"lamina": 2, "fastai": 6, "keras": 6}),
    "cifar10": Race("cifar10", "0.85,0.9", {"lamina": 6, "fastai": 14, "keras": 14}, 2),
    "cifar10-wide": Race("cifar10", "0.9", {"lamina": 14, "fastai": 24}, 2, "medium"),
}
"""Chosen on training images, some of which were put aside for that (docs/log.md). The lengths are the shortest of those tried
that reach what is aimed at, for the peers those that fastai needs; one more on Fashion-MNIST and two on CIFAR-10, since it
missed 93 and 85 % of the test images. Of the wide networks Lamina's was tried with 20 epochs. fastai's, an hour or more each,
were not: of the test images it had 87.7 % after 16 epochs, so it has half as many more."""
ON_IMAGES = ("resnet", "photographs", "layers")  # that train the same network


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    images: int
    epochs: int
    batch: int
    side: int
    limit: float
    """Seconds of training after which a race to an accuracy is given up."""
    fashion: Path | None
    cifar10: Path | None


def command(contest: str, entrant: str, seed: int, settings: Settings, place: Path) -> list[str]:
    """The process of an entrant.

    Args:
        contest: its name.
        entrant: its name.
        seed: of this round.
        settings: what the user chose.
        place: where the data of the benchmarks were prepared.
    """
    module, options = contest, {}
    if contest in ON_IMAGES:
        peer, _, backend = entrant.partition("-")
        module = "layers" if contest == "layers" else f"resnet.{peer}"
        options = {
            "folder": place / contest,
            "epochs": max(3, settings.epochs) if contest == "layers" else settings.epochs,
        }
        options |= {"batch": settings.batch, "side": settings.side}
        options |= {"seed": seed} | ({"backend": backend} if backend else {})
    elif contest in RACES:
        module, race = "race", RACES[contest]
        options = {"by": entrant, "folder": getattr(settings, race.data)}
        options |= {"targets": race.targets, "epochs": race.epochs[entrant]}
        options |= {"limit": settings.limit, "seed": seed, "shift": race.shift, "size": race.size}
    elif contest == "tables":
        options = {"by": entrant, "folder": place / "table", "target": "income", "epochs": 5, "seed": seed}
    elif contest == "language":
        options = {"by": entrant, "tokens": 200_000, "epochs": 3, "seed": seed}
    elif contest == "overhead":
        module = "loop_overhead"
    elif contest == "memory":
        options = {"times": {"once": 1, "ten-times": 10}[entrant]}
    elif contest in ("help", "first-step"):
        module, options = "startup", {"until": contest}
    elif contest == "contention":
        options = {"busy": int(entrant != "alone")}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-m", f"benchmarks.{module}", *words]
