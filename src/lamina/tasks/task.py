"""Task: what is learned. One file per task in this folder; the file's name is the task's name.

A task is a frozen dataclass of a few options, and methods in the order in which data meets them. It holds no weights and
no state: what must be known about the training part is in its Facts, what is learned is in the network.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lamina.batch import Batch, Loss, Tensors
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.feed import Feed, Shuffled
from lamina.data.rows import shown
from lamina.data.store import Store
from lamina.errors import OptionError
from lamina.exhibits import Exhibit
from lamina.layers.shapes import Shape
from lamina.metrics.metric import Metric
from lamina.sampling import Sampling

Facts = dict[str, Any]
"""What the training part alone teaches (classes, column kinds, means): JSON, stored in the run, needed to predict.
``notes``, a list of sentences, is said aloud: what was decided by looking at the data."""
Answer = dict[str, Any]
"""One prediction: JSON; ``prediction`` is the answer itself, the rest (probabilities) depends on the task."""
Shown = dict[str, Any]
"""What a person looks at: ``{"picture": base64 of a PNG}``, ``{"text": ...}`` or ``{"row": {column: value}}``; JSON.
Where truth and answer are shown, too, ``caption`` says what is to be seen."""
Baseline = Callable[[Arrays, Arrays, Arrays, Facts], Tensor]
"""(training inputs, training targets, inputs, facts) -> outputs for ``inputs``, in the form of the network's."""


class Picture(NamedTuple):
    """A picture that was made."""

    pixels: np.ndarray
    """(height, width, 1 or 3) uint8."""
    kind: str
    """Its class; "" where there are none."""


Piece = str | Picture
"""What a network makes up at a time: some letters of a text, or a picture."""


@dataclass(frozen=True)
class Judged:
    """What an evaluation was of, for exhibits that ask more than its outputs."""

    network: nn.Module
    store: Store
    train: Tensor
    """Rows of the store that trained; none where other data than the run's own are judged."""
    rows: Tensor
    """Rows that were judged, in the order of the outputs."""


@dataclass(frozen=True)
class Claim:
    """A task says that it can learn from a source."""

    strength: float
    """0 to 1; the strongest claim wins."""
    reason: str
    """What was seen, said to the user: "12 folders of images, named after classes"."""


@dataclass(frozen=True)
class Task(ABC):
    """What is learned."""

    default_network: ClassVar[str]
    """Name of a file in networks/ that serves anywhere."""
    continues: ClassVar[bool] = False
    """Whether examples continue one another, so that a part of them is taken as it stands and not drawn."""
    forms: ClassVar[dict[str, str]] = {}
    """In what other form than tables answers can be written: by the ending of a file, or "" for a folder, what it is."""

    # --- what every task writes, in the order in which data meets it ---

    @classmethod
    @abstractmethod
    def claim(cls, source: Source) -> Claim | None:
        """Say whether this task fits the source; cheap, reads names and first rows at most."""

    @abstractmethod
    def read(self, source: Source) -> Data:
        """Find the examples, without decoding them. Raises DataError naming file and row."""

    @abstractmethod
    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Find what is to be answered, in the order given: files, folders, tables, arrays; no answers are known.

        Returns:
            The raws, and for each of them where it came from (for people: a path, a line of a file, a number).
        """

    @abstractmethod
    def facts(self, data: Data) -> Facts:
        """Learn from the training part what encoding, network and decoding need."""

    @abstractmethod
    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """Turn examples into what the network takes. Raises DataError when one of them cannot be read."""

    @abstractmethod
    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """Turn answers into what the losses take. Raises DataError for an answer that training never saw."""

    @abstractmethod
    def takes(self, facts: Facts) -> Shape:
        """What a backbone for this task must take."""

    @abstractmethod
    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """Put the head on a backbone. The network's ``forward`` takes the encoded inputs by name."""

    @abstractmethod
    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """Yield one Loss per player; what stands after a yield sees that player's step already taken."""

    @abstractmethod
    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """How good outputs are. The first one chooses the best epoch."""

    @abstractmethod
    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """Turn outputs into answers for people and programs."""

    @abstractmethod
    def tiny(self, path: Path) -> Source:
        """Write a data set that trains in seconds below ``path``, and say how to read it."""

    # --- what has a default that few replace ---

    def usual_network(self) -> tuple[str, str]:
        """The family that serves when the user names none; and a sentence to say aloud, where it is not always the same."""
        return self.default_network, ""

    def feed(self, store: Store, rows: Tensor, network: nn.Module) -> Feed:
        """How an epoch of training goes through these rows of the store: shuffled, where nothing else is said."""
        return Shuffled(rows, store.batch)

    def augment(self, batch: Batch, facts: Facts, generator: torch.Generator) -> Batch:
        """Vary a training batch, whole, on its device; different for each example, reproducible by the generator."""
        return batch

    def seen(self, batch: Batch, facts: Facts) -> np.ndarray | None:
        """A batch as the network is given it, for people: (examples, height, width, 1 or 3) uint8; None without pictures."""
        images = [tensor for tensor in batch.inputs.values() if tensor.ndim == 4 and tensor.shape[3] in (1, 3)]
        return images[0].clamp(0, 255).byte().numpy() if images else None

    def outputs(self, network: nn.Module, inputs: Tensors) -> Tensor:
        """What the network says about inputs."""
        result: Tensor = network(**inputs)
        return result

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """What the network must beat: a trivial one first, then strong simple ones."""
        return {}

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """What an evaluation shows beside its scores, such as a confusion matrix."""
        return []

    def show(
        self, raws: Raws, facts: Facts, truths: np.ndarray | None = None, said: Sequence[Answer] | None = None
    ) -> list[Shown]:
        """What a person looks at, for each of these examples; with their true answers and what was said, where given."""
        return shown(raws)

    def settle(self, outputs: Tensor, targets: Tensors, facts: Facts) -> dict[str, Any]:
        """What the validation part decides after training, such as the score from which an answer is given: JSON, which
        ``decode``, ``metrics`` and ``exhibits`` find in their facts as ``settled``. Before that it is not there."""
        return {}

    def rows(self, answer: Answer) -> list[Answer]:
        """An answer as rows of a table: one, where nothing else is said."""
        return [answer]

    def write(self, answered: Iterator[tuple[Any, Answer]], out: Path) -> tuple[int, int]:
        """Write examples and their answers in one of ``forms``: how many there were, and how many of them were errors."""
        raise NotImplementedError

    def samples(self, network: nn.Module, facts: Facts) -> list[Shown]:
        """What the network makes up after an epoch, where the task is to generate: the same request each time."""
        return []

    def generate(
        self, network: nn.Module, facts: Facts, prompts: Sequence[str], wish: Sampling
    ) -> Iterator[dict[int, Piece]]:
        """Make something up for each prompt, piece by piece: by the prompt's number what is added. Raises OptionError."""
        raise OptionError(
            "a run of this task says what examples are; it makes none up.", "generate", "Use `lamina predict`."
        )
