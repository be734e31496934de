"""ResNet-18 by Keras 3 on TensorFlow or torch: ``image_dataset_from_directory``, cached and prefetched, and ``fit``.

``keras.applications`` has no ResNet-18, so it is written here in Keras's layers. Its guides keep decoded images in memory
(``cache``), vary them in the pipeline where there is no GPU, and let the pipeline run ahead (``prefetch``). XLA compilation,
which Keras turns on by itself, gained nothing here and took a minute, so it is off.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = sys.argv[sys.argv.index("--backend") + 1]  # Keras reads it when it is imported

import keras
from keras import layers

from benchmarks.entrant import Clock, given, images_in, say
from benchmarks.resnet import DEVIATION, MEAN, RATE


def convolution(inputs: Any, width: int, side: int, stride: int = 1) -> Any:
    """A convolution without bias, and batch normalisation."""
    outputs = layers.Conv2D(width, side, stride, padding="same", use_bias=False)(inputs)
    return layers.BatchNormalization()(outputs)


def block(inputs: Any, width: int, stride: int) -> Any:
    """Two convolutions, added to their input."""
    branch = layers.ReLU()(convolution(inputs, width, 3, stride))
    branch = convolution(branch, width, 3)
    path = inputs if stride == 1 else convolution(inputs, width, 1, stride)
    return layers.ReLU()(layers.Add()([path, branch]))


def resnet18(side: int, classes: int) -> Any:
    """The network of He et al. 2016, with a normalisation of its inputs."""
    inputs = keras.Input((side, side, 3))
    scaled = layers.Normalization(mean=[255 * mean for mean in MEAN], variance=[(255 * d) ** 2 for d in DEVIATION])(
        inputs
    )
    features = layers.ReLU()(convolution(scaled, 64, 7, 2))
    features = layers.MaxPooling2D(3, 2, padding="same")(features)
    for width in (64, 128, 256, 512):
        features = block(features, width, 1 if width == 64 else 2)
        features = block(features, width, 1)
    return keras.Model(inputs, layers.Dense(classes)(layers.GlobalAveragePooling2D()(features)))


class Timed(keras.callbacks.Callback):
    """Reads the clock where the steps of an epoch end, and where its validation does."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()

    def on_test_begin(self, logs: object = None) -> None:
        """All steps of the epoch are taken."""
        self.clock.trained()

    def on_test_end(self, logs: object = None) -> None:
        """The epoch is over."""
        self.clock.validated()


def images(folder: Path, side: int, batch: int, train: bool) -> Any:
    """Batches from a folder, decoded in the first epoch and kept in memory."""
    import tensorflow as tf

    found = keras.utils.image_dataset_from_directory(
        folder, image_size=(side, side), batch_size=None, crop_to_aspect_ratio=True, shuffle=train, verbose=False
    )
    kept = found.cache()
    if not train:
        return kept.batch(batch).prefetch(tf.data.AUTOTUNE)
    flipped = kept.shuffle(1000).batch(batch).map(lambda pixels, labels: (mirror(pixels), labels), tf.data.AUTOTUNE)
    return flipped.prefetch(tf.data.AUTOTUNE)


if __name__ == "__main__":
    asked, timed = given(folder=Path, epochs=int, batch=int, side=int, seed=int, backend=str), Timed()
    keras.utils.set_random_seed(asked.seed)
    mirror = layers.RandomFlip("horizontal")
    train, valid = (
        images(asked.folder / part, asked.side, asked.batch, part == "train") for part in ("train", "valid")
    )
    model = resnet18(asked.side, len(list((asked.folder / "train").iterdir())))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(RATE), loss, metrics=["accuracy"], jit_compile=False)
    history = model.fit(train, validation_data=valid, epochs=asked.epochs, callbacks=[timed], verbose=0).history
    library = {"tensorflow": "tensorflow-cpu", "torch": "torch"}[asked.backend]
    say(("keras", library), **timed.clock.facts(images_in(asked.folder / "train")), loss=history["loss"][-1])
