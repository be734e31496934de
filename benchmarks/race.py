"""Time to an accuracy: Lamina, fastai's one-cycle and Keras with a similar network, on Fashion-MNIST or CIFAR-10.

After each epoch the network is scored on the test images, by all three in the same way, so the times are comparable but the
scores are not proofs. What counts is the time of training alone; decoding, scoring and imports are left out. Whoever reaches
the last target stops; so does whoever has trained longer than the limit.
"""

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.entrant import Clock, given, say

WIDTHS = {"small": (16, 32, 64, 128), "medium": (32, 64, 128, 256)}  # of the peers' network: Lamina's has the same
BATCH, RATE = 128, 3e-3
OVER = "the race is over"  # fastai cannot pass on an exception without a message
LIBRARIES = {"lamina": ("lamina", "torch"), "fastai": ("fastai", "torch"), "keras": ("keras", "tensorflow-cpu")}


class OverError(Exception):
    """The last target is reached, or the limit passed."""


class Race:
    """When each target was first reached, in seconds of training."""

    def __init__(self, targets: list[float], limit: float) -> None:
        self.targets, self.limit = targets, limit
        self.reached: dict[float, float] = {}
        self.best, self.spent = 0.0, 0.0
        self.clock = Clock()

    def judge(self, accuracy: float) -> bool:
        """Note what an epoch reached, now that it is scored; True when the race is over."""
        spent = sum(self.clock.training)
        self.clock.validated()
        self.best = max(self.best, accuracy)
        for target in self.targets:
            if accuracy >= target:
                self.reached.setdefault(target, round(spent, 2))
        return self.targets[-1] in self.reached or spent > self.limit

    def late(self) -> bool:
        """Whether the limit has passed in the middle of an epoch."""
        self.spent = sum(self.clock.training) + self.clock.since()
        return self.spent > self.limit


def arrays(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """(images, side, side, channels) uint8 and (images,) labels of a part, as Lamina's own readers see them."""
    from lamina import Source
    from lamina.tasks.image_classification import ImageClassification

    task = ImageClassification()
    data = task.read(Source(folder))
    some = data.of("train" if part == "train" else "test")
    facts = task.facts(some)
    return task.encode(some.raws, facts)["image"], np.unique(some.answers, return_inverse=True)[1]


def by_lamina(asked: Any, race: Race) -> None:
    """``lamina.train`` with its own network and recipe; the test images stand where the validation part would."""
    import lamina
    from lamina.tasks.image_classification import ImageClassification
    from lamina.watch import Quiet

    @dataclass(frozen=True)
    class Judged(ImageClassification):
        """Whose validation part are the test images; a few training images are put aside as a test part in name."""

        def read(self, source: lamina.Source) -> lamina.Data:
            """The examples, with other names of their parts."""
            data = super().read(source)
            part = np.where(data.part == "test", "valid", data.part)
            part[np.flatnonzero(part == "train")[:100]] = "test"
            return replace(data, part=part)

    class Timed(Quiet):
        """Reads the clock at each record."""

        last = 0.0

        def see(self, record: lamina.Step | lamina.Epoch) -> None:
            """The last step before an epoch's record ends its training part."""
            if isinstance(record, lamina.Step):
                if self.last == 0.0:
                    race.clock.begin(record.seconds)
                self.last = time.perf_counter()
                over = race.late()
            else:
                race.clock.trained(self.last)
                over = race.judge(record.valid["accuracy"])
            if over:
                raise OverError(OVER)

    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        lamina.train(
            asked.folder, task=Judged(), size=asked.size, epochs=asked.epochs, seed=asked.seed, out=out, watch=Timed()
        )


def by_fastai(asked: Any, race: Race) -> None:
    """``Learner.fit_one_cycle`` on a network of fastai's own layers; images in memory, varied batch by batch."""
    import fastai.vision.all as fastai
    import torch
    from torch import nn
    from torch.nn.functional import pad
    from torch.utils.data import TensorDataset

    fastai.set_seed(asked.seed)

    class Judged(fastai.Callback):
        """Reads the clock, and stops when the race is over."""

        order = 60  # after the recorder

        def after_batch(self) -> None:
            """Stop when it is late."""
            if race.late():
                raise OverError(OVER)

        def after_train(self) -> None:
            """All steps of the epoch are taken."""
            race.clock.trained()

        def after_epoch(self) -> None:
            """The recorder has the score of the test images."""
            if race.judge(self.learn.recorder.values[-1][-1]):
                raise OverError(OVER)

    class Varied(fastai.Callback):
        """Training batches: half of the images mirrored, and each shifted by its own number of pixels."""

        def before_batch(self) -> None:
            """Vary the images of a batch."""
            if self.training:
                images = self.xb[0]
                images = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
                self.learn.xb = (moved(images) if asked.shift else images,)

    def moved(images: Any) -> Any:
        which, channel = torch.arange(len(images))[:, None, None, None], torch.arange(images.shape[1])[:, None, None]
        down, right = torch.randint(2 * asked.shift + 1, (2, len(images), 1))
        rows, columns = down + torch.arange(images.shape[2]), right + torch.arange(images.shape[3])
        padded = pad(images, [asked.shift] * 4, mode="reflect")
        return padded[which, channel, rows[:, None, :, None], columns[:, None, None]]

    datasets = []
    for part in ("train", "test"):
        pixels, labels = arrays(asked.folder, part)
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
        datasets.append(TensorDataset(scaled, torch.from_numpy(labels)))
    channels = datasets[0].tensors[0].shape[1]
    widths = WIDTHS[asked.size]
    stages = [fastai.ConvLayer(channels, widths[0])]
    for before, width in pairwise(widths):
        stages += [fastai.ConvLayer(before, width), nn.MaxPool2d(2)]
        stages += [fastai.ResBlock(1, width, width)] if width > widths[1] else []
    network = nn.Sequential(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))
    loaders = fastai.DataLoaders.from_dsets(*datasets, bs=BATCH, device=torch.device("cpu"), num_workers=0)
    learner = fastai.Learner(
        loaders, network, loss_func=fastai.CrossEntropyLossFlat(), metrics=fastai.accuracy, cbs=[Varied(), Judged()]
    )
    race.clock.begin()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(asked.epochs, RATE)


def by_keras(asked: Any, race: Race) -> None:
    """``fit`` with a warmed-up cosine decay of Adam's rate; images in memory, varied in the pipeline."""
    import keras
    import tensorflow as tf
    from keras import layers

    keras.utils.set_random_seed(asked.seed)
    mirror = layers.RandomFlip("horizontal")

    class Judged(keras.callbacks.Callback):
        """Reads the clock, and stops when the race is over."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """Stop when it is late."""
            if race.late():
                raise OverError(OVER)

        def on_test_begin(self, logs: Any = None) -> None:
            """All steps of the epoch are taken."""
            race.clock.trained()

        def on_test_end(self, logs: Any = None) -> None:
            """The score of the test images is known."""
            if race.judge(logs["accuracy"]):
                raise OverError(OVER)

    def varied(images: Any, answers: Any) -> tuple[Any, Any]:
        """Half of the images mirrored, and each shifted by its own number of pixels."""
        side, images = images.shape[1], mirror(images)
        if asked.shift:
            images = tf.pad(images, [[0, 0], [asked.shift] * 2, [asked.shift] * 2, [0, 0]], "REFLECT")
            for axis in (1, 2):
                begins = tf.random.uniform([tf.shape(images)[0], 1], 0, 2 * asked.shift + 1, tf.int32)
                images = tf.gather(images, begins + tf.range(side), axis=axis, batch_dims=1)
        return images, answers

    def convolution(hidden: Any, width: int) -> Any:
        return layers.ReLU()(
            layers.BatchNormalization()(layers.Conv2D(width, 3, padding="same", use_bias=False)(hidden))
        )

    pixels, labels = arrays(asked.folder, "train")
    inputs = keras.Input(pixels.shape[1:])
    widths = WIDTHS[asked.size]
    hidden = convolution(layers.Rescaling(1 / 127.5, -1)(inputs), widths[0])
    for width in widths[1:]:
        hidden = layers.MaxPooling2D(2)(convolution(hidden, width))
        if width > widths[1]:
            hidden = layers.Add()([hidden, convolution(convolution(hidden, width), width)])
    model = keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(hidden)))
    steps = asked.epochs * -(-len(pixels) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(RATE / 10, steps, warmup_target=RATE, warmup_steps=steps // 5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(rate), loss, metrics=["accuracy"], jit_compile=False)
    train = tf.data.Dataset.from_tensor_slices((pixels, labels)).shuffle(len(pixels)).batch(BATCH)
    train = train.map(varied, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    test = tf.data.Dataset.from_tensor_slices(arrays(asked.folder, "test")).batch(500).prefetch(tf.data.AUTOTUNE)
    race.clock.begin()
    model.fit(train, validation_data=test, epochs=asked.epochs, callbacks=[Judged()], verbose=0)


if __name__ == "__main__":
    asked = given(by=str, folder=Path, targets=str, epochs=int, limit=float, seed=int, shift=int, size=str)
    race = Race([float(target) for target in asked.targets.split(",")], asked.limit)
    with suppress(OverError):
        {"lamina": by_lamina, "fastai": by_fastai, "keras": by_keras}[asked.by](asked, race)
    times = {f"seconds_to_{target:g}": race.reached.get(target) for target in race.targets}
    spent = round(max(sum(race.clock.training), race.spent), 2)
    say(
        LIBRARIES[asked.by], **times, best=round(race.best, 4), trained_seconds=spent, epochs=len(race.clock.validating)
    )
