"""A table: Lamina, Keras and fastai on the adult census (is the income above 50,000?), or on a table that is made.

Each as its own documentation has it, with the same number of epochs: Lamina's one call, Keras's ``FeatureSpace``, fastai's
``tabular_learner``. The seconds are those of reading, preparing and training, without imports and without the test; the
accuracy is on the test rows, which are read once.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.entrant import given, say

Result = tuple[float, float, tuple[str, ...]]
"""Seconds, accuracy, and the libraries whose versions matter."""


def parts(asked: Any) -> Any:
    """The training and the test rows as pandas DataFrames, and the names of the columns of words and of numbers."""
    import pandas

    train, test = (
        pandas.read_csv(next(asked.folder.glob(f"*{part}.csv*")), na_values="?") for part in ("train", "test")
    )
    columns = [name for name in train if name != asked.target]
    numbers = [name for name in columns if pandas.api.types.is_numeric_dtype(train[name])]
    return train, test, [name for name in columns if name not in numbers], numbers


def by_lamina(asked: Any) -> Result:
    """``lamina.train`` with the target's name."""
    import torch  # noqa: F401 -- imports are not counted

    import lamina
    from lamina import training
    from lamina.watch import Quiet

    class Timed(Quiet):
        """Notes when training ended; the proof comes after."""

        ended = 0.0

        def see(self, record: lamina.Step | lamina.Epoch) -> None:
            """Training is not over before this."""
            self.ended = time.perf_counter()

    watch, began = Timed(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        model = training.train(
            asked.folder, target=asked.target, epochs=asked.epochs, seed=asked.seed, out=out, watch=watch
        )
        return watch.ended - began, model.scores["accuracy"]["value"], ("lamina", "torch")


def by_fastai(asked: Any) -> Result:
    """``TabularDataLoaders`` with the usual three procs, and ``fit_one_cycle``."""
    import fastai.tabular.all as fastai

    began = time.perf_counter()
    fastai.set_seed(asked.seed)
    train, test, words, numbers = parts(asked)
    loaders = fastai.TabularDataLoaders.from_df(
        train,
        procs=[fastai.Categorify, fastai.FillMissing, fastai.Normalize],
        cat_names=words,
        cont_names=numbers,
        y_names=asked.target,
        y_block=fastai.CategoryBlock(),
        valid_idx=list(range(0, len(train), 7)),
        bs=128,
    )
    learner = fastai.tabular_learner(loaders, metrics=fastai.accuracy)
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(asked.epochs)
        seconds = time.perf_counter() - began
        said = learner.get_preds(dl=loaders.test_dl(test))[0].argmax(1).numpy()
    right = np.array(list(loaders.vocab))[said] == test[asked.target].to_numpy()
    return seconds, float(right.mean()), ("fastai", "torch")


def by_keras(asked: Any) -> Result:
    """``FeatureSpace``: words one-hot, numbers normalised; two layers with dropout, as its example has it."""
    import keras
    import tensorflow as tf

    began = time.perf_counter()
    keras.utils.set_random_seed(asked.seed)
    train, test, words, numbers = parts(asked)
    yes = sorted(train[asked.target].unique())[-1]

    def dataset(frame: Any) -> Any:
        columns = {name: frame[name].fillna("missing").to_numpy(dtype=str) for name in words}
        columns |= {name: frame[name].fillna(frame[name].median()).to_numpy(np.float32) for name in numbers}
        return tf.data.Dataset.from_tensor_slices((columns, (frame[asked.target] == yes).to_numpy(np.float32)))

    kinds = dict.fromkeys(words, "string_categorical") | dict.fromkeys(numbers, "float_normalized")
    space = keras.utils.FeatureSpace(features=kinds, output_mode="concat")
    rows = dataset(train)
    space.adapt(rows.batch(1024).map(lambda columns, _: columns))

    def encoded(these: Any) -> Any:
        batches = these.batch(128).map(lambda columns, label: (space(columns), label), tf.data.AUTOTUNE)
        return batches.prefetch(tf.data.AUTOTUNE)

    inputs = space.get_encoded_features()
    hidden = keras.layers.Dropout(0.5)(keras.layers.Dense(32, activation="relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(encoded(rows.shuffle(len(train))), epochs=asked.epochs, verbose=0)
    seconds = time.perf_counter() - began
    return seconds, float(model.evaluate(encoded(dataset(test)), verbose=0)[1]), ("keras", "tensorflow-cpu")


def make(folder: Path, rows: int = 20_000) -> None:
    """Write a table of numbers and words of which the answer ``income`` is a noisy function."""
    import polars

    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for part, count in (("train", rows), ("test", rows // 4)):
        numbers = generator.standard_normal((count, 6)).round(3)
        trades = generator.choice(["baker", "carter", "draper", "mason"], count)
        score = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + 0.8 * (trades == "mason")
        answers = np.where(score + 0.5 * generator.standard_normal(count) > 0.5, "more", "less")
        columns = {f"number{i}": numbers[:, i] for i in range(6)} | {"trade": trades, "income": answers}
        polars.DataFrame(columns).write_csv(folder / f"made_{part}.csv")


if __name__ == "__main__":
    asked = given(by=str, folder=Path, target=str, epochs=int, seed=int)
    seconds, accuracy, libraries = {"lamina": by_lamina, "fastai": by_fastai, "keras": by_keras}[asked.by](asked)
    say(libraries, seconds=round(seconds, 2), accuracy=round(accuracy, 4))
