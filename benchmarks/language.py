"""A language model: the same LSTM in Lamina, in a plain PyTorch loop and in Keras, on words that are made.

Two layers of 256 units, an embedding that also gives the logits of 10,000 words, dropout, AdamW with a clipped gradient, 32
lanes of 70 tokens. Speed is that of the training parts from the second epoch on.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.entrant import given, say

WORDS, WIDTH, LAYERS, LANES, WINDOW, DROPOUT = 10_000, 256, 2, 32, 70, 0.3
Result = tuple[int, list[float], tuple[str, ...]]
"""Tokens of an epoch, seconds of each, and the libraries whose versions matter."""


def made(tokens: int) -> np.ndarray:
    """Word numbers, (tokens,): frequencies as those of a language (Zipf), each word depending a little on the one before."""
    generator = np.random.default_rng(0)
    chances = 1 / np.arange(1, WORDS + 1)
    drawn = generator.choice(WORDS, tokens, p=chances / chances.sum())
    drawn[:WORDS] = generator.permutation(WORDS)  # each word is there
    again = generator.random(tokens) < 0.3
    drawn[1:][again[1:]] = (drawn[:-1][again[1:]] * 7 + 1) % WORDS
    return drawn


def by_lamina(asked: Any) -> Result:
    """``lamina.train`` on the words as a text."""
    import lamina
    from lamina import training
    from lamina.watch import Quiet

    class Noted(Quiet):
        """Notes the epochs."""

        def __init__(self) -> None:
            self.epochs: list[lamina.Epoch] = []

        def see(self, record: lamina.Step | lamina.Epoch) -> None:
            """Keep it."""
            if isinstance(record, lamina.Epoch):
                self.epochs.append(record)

    watch = Noted()
    with tempfile.TemporaryDirectory() as place:
        lines = made(asked.tokens).reshape(-1, 20)
        text = "".join(" ".join(f"w{word}" for word in line) + " . \n" for line in lines)
        for part, share in (("train", text), ("valid", text[:20_000]), ("test", text[-20_000:])):
            (Path(place) / f"words.{part}.txt").write_text("<unk> " + share, encoding="utf-8")
        training.train(
            Path(place), network="lstm", size="small", dropout=DROPOUT, epochs=asked.epochs, batch_size=LANES,
            options={"tokens": "words", "window": WINDOW, "negatives": 0},
            plan={"optimizer": "adamw", "clip": 1.0, "ema": None},
            seed=asked.seed, out=Path(place) / "run", watch=watch, accept=("leak.duplicate",),
        )  # fmt: skip
        tokens = lamina.load(Path(place) / "run").facts["tokens"]
    aside = ("evaluation", "checkpoints")  # the others do neither
    seconds = [epoch.seconds - sum(epoch.spent[phase] for phase in aside) for epoch in watch.epochs]
    return tokens, seconds, ("lamina", "torch")


def by_pytorch(asked: Any) -> Result:
    """The loop of PyTorch's own word language model example, with AdamW."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.manual_seed(asked.seed)

    class Model(nn.Module):
        """Embedding, LSTM, the embedding again."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(WORDS, WIDTH)
            self.lstm = nn.LSTM(WIDTH, WIDTH, LAYERS, dropout=DROPOUT)
            self.dropout = nn.Dropout(DROPOUT)
            self.decoder = nn.Linear(WIDTH, WORDS)
            self.decoder.weight = self.embedding.weight

        def forward(self, tokens: Any, state: Any) -> Any:
            """Logits of the next words, and the state."""
            features, state = self.lstm(self.dropout(self.embedding(tokens)), state)
            return self.decoder(self.dropout(features)), state

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    stretch = asked.tokens // LANES
    stream = torch.from_numpy(made(asked.tokens)[: stretch * LANES]).view(LANES, stretch).t().contiguous()
    seconds = []
    for _ in range(asked.epochs):
        began = time.perf_counter()
        state = tuple(torch.zeros(LAYERS, LANES, WIDTH) for _ in range(2))
        for start in range(0, stretch - 1, WINDOW):
            tokens = stream[start : start + WINDOW]
            following = stream[start + 1 : start + WINDOW + 1]
            state = tuple(tensor.detach() for tensor in state)
            logits, state = model(tokens[: len(following)], state)
            loss = functional.cross_entropy(logits.view(-1, WORDS), following.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()
        seconds.append(time.perf_counter() - began)
    return stretch * LANES, seconds, ("torch",)


def by_keras(asked: Any) -> Result:
    """``fit`` on a functional model of ``ReversibleEmbedding`` and LSTM layers."""
    import keras

    keras.utils.set_random_seed(asked.seed)
    stretch = asked.tokens // LANES // WINDOW * WINDOW
    stream = made(asked.tokens)[: stretch * LANES].reshape(LANES, -1, WINDOW).transpose(1, 0, 2).reshape(-1, WINDOW)
    inputs = keras.Input((WINDOW,), dtype="int32")
    embedding = keras.layers.ReversibleEmbedding(WORDS, WIDTH, tie_weights=True)
    hidden = keras.layers.Dropout(DROPOUT)(embedding(inputs))
    for _ in range(LAYERS):
        hidden = keras.layers.Dropout(DROPOUT)(keras.layers.LSTM(WIDTH, return_sequences=True)(hidden))
    model = keras.Model(inputs, embedding(hidden, reverse=True))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=1.0), loss)

    class Laps(keras.callbacks.Callback):
        """Seconds of each epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.seconds: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            """Start the clock."""
            self.began = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            """Stop it."""
            self.seconds.append(time.perf_counter() - self.began)

    laps = Laps()
    model.fit(
        stream,
        np.roll(stream, -1, 1),
        batch_size=LANES,
        epochs=asked.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[laps],
    )
    return stream.size, laps.seconds, ("keras", "tensorflow-cpu")


if __name__ == "__main__":
    asked = given(by=str, tokens=int, epochs=int, seed=int)
    by = {"lamina": by_lamina, "pytorch": by_pytorch, "keras": by_keras}[asked.by]
    tokens, seconds, libraries = by(asked)
    steady = seconds[1:]
    say(
        libraries,
        tokens_per_s=round(tokens * len(steady) / sum(steady), 1),
        epoch_seconds=[round(s, 2) for s in seconds],
    )
