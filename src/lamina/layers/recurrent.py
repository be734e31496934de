"""What recurrent language models share: the network from token ids to features, three kinds of dropout for it, and advice.

In:  tokens (rows, length), and per name in ``cells`` the state (rows, layers, width) that the text before left.
Out: features (rows, length, width), and the state after the last token.

Dropout in a recurrent network must not draw a new mask at each token: what is hidden once stays hidden for the whole
sequence, or the noise drowns what the state remembers (Gal & Ghahramani 2016, arXiv:1512.05287).

    words       whole words are hidden from the embedding             (Gal & Ghahramani 2016)
    vectors     between layers, one mask per sequence ("locked")      (Gal & Ghahramani 2016)
    weights     of the recurrent matrices, one mask per sequence      (Wan et al. 2013; Merity et al. 2018, arXiv:1708.02182)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from lamina.batch import Tensors
from lamina.layers.shapes import Tokens
from lamina.plan import Plan

SPREAD = 0.3
"""Of the embedding's first numbers. The matrix also predicts: from 0.02 nothing is learned in an epoch, from 0.06 on the Penn
Treebank a perplexity of 245 is reached, from 0.3 one of 168 (docs/log.md)."""
WINDOW = 35  # tokens through which a gradient flows back
LONG_WINDOW = 100  # where tokens are characters, or nearly
CHARACTERS = 1000  # a vocabulary below this is one of characters, or nearly


@dataclass(frozen=True)
class Size:
    """How wide, how many layers deep."""

    width: int
    layers: int


SIZES = {
    "tiny": Size(width=128, layers=1),
    "small": Size(width=256, layers=2),
    "medium": Size(width=512, layers=2),
    "large": Size(width=1024, layers=3),
}


@dataclass(frozen=True)
class Dropout:
    """With which probability what is hidden while training."""

    words: float
    """A word's vector, wherever the word stands in the batch."""
    inputs: float
    """A number of the embedded tokens."""
    between: float
    """A number of what one layer hands to the next."""
    outputs: float
    """A number of the features."""
    weights: float
    """A weight between the state before and the state after a token."""

    def scaled(self, factor: float) -> "Dropout":
        """All of them stronger or weaker; none above 0.9."""
        values = (self.words, self.inputs, self.between, self.outputs, self.weights)
        return Dropout(*[min(0.9, value * factor) for value in values])


DROPOUT = Dropout(words=0.075, inputs=0.225, between=0.15, outputs=0.3, weights=0.225)


def dropout_of(outputs: float | None) -> Dropout:
    """The usual dropout; or where that of the features is given, the others in proportion."""
    return DROPOUT if outputs is None else DROPOUT.scaled(outputs / DROPOUT.outputs)


def window(shape: Tokens) -> int:
    """How many tokens a training window has: a word says more than a character."""
    return LONG_WINDOW if shape.vocabulary < CHARACTERS else WINDOW


def default_size(shape: Tokens, examples: int) -> str:
    """Small up to some million tokens, as much as two CPU cores read ten times in half an hour; medium from there on.

    ``examples`` are tokens.
    """
    return "small" if examples < 5_000_000 else "medium"


def plan(shape: Tokens, examples: int) -> Plan:
    """How recurrent networks train best: many small steps of AdamW, at a rate that only a tight clip and a fall to zero allow.

    On the Penn Treebank 0.008 reached in an epoch what 0.003 did not reach in more steps; at 0.015 learning stalled, and with
    batches of 64 it diverged (docs/log.md).
    """
    return Plan(30, None, 32, lr=8e-3, weight_decay=1e-2, clip=0.5, warmup=0.1)


class Recurrent(nn.Module):
    """Embedding, recurrent layers and dropout.

    Args:
        vocabulary: how many tokens there are.
        width: of the embedding, of each layer's state, and of the features: so one matrix can embed and predict.
        layers: one after the other; each an ``nn.LSTM`` or ``nn.GRU`` of one layer, rows first.
        cells: the names of a layer's state, in the layer's own order.
        dropout: how much of it, and where.
        window: tokens of a training window that suits the network.
    """

    carries = True

    def __init__(
        self,
        vocabulary: int,
        width: int,
        layers: Sequence[nn.RNNBase],
        cells: Sequence[str],
        dropout: Dropout,
        window: int,
    ) -> None:
        super().__init__()
        self.width = width
        self.window = window
        self.cells = tuple(cells)
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=SPREAD)
        self.words = WordDropout(dropout.words)
        self.inputs = LockedDropout(dropout.inputs)
        self.between = LockedDropout(dropout.between)
        self.outputs = LockedDropout(dropout.outputs)
        self.weights = nn.Dropout(dropout.weights)
        self.layers = nn.ModuleList(layers)

    def start(self, rows: int) -> Tensors:
        """The state before anything was read: zeros, (rows, layers, width) each."""
        weight = self.embedding.weight
        return {cell: weight.new_zeros(rows, len(self.layers), self.width) for cell in self.cells}

    def read(self, tokens: Tensor, before: Tensors) -> tuple[Tensor, Tensors]:
        """Features (rows, length, width) of tokens (rows, length), and the state after them."""
        hidden = self.inputs(self.words(self.embedding(tokens), tokens, self.embedding.num_embeddings))
        after: dict[str, list[Tensor]] = {cell: [] for cell in self.cells}
        for index, layer in enumerate(self.layers):
            if index:
                hidden = self.between(hidden)
            state = [before[cell][:, index].unsqueeze(0).contiguous() for cell in self.cells]  # (1, rows, width) each
            hidden, found = self._through(layer, hidden, state)
            for cell, tensor in zip(self.cells, found, strict=True):
                after[cell].append(tensor[0])
        return self.outputs(hidden), {cell: torch.stack(tensors, 1) for cell, tensors in after.items()}

    def _through(self, layer: nn.Module, hidden: Tensor, state: list[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        given = (hidden, state[0] if len(state) == 1 else tuple(state))
        if self.training and self.weights.p > 0:
            recurrent = self.weights(layer.get_parameter("weight_hh_l0"))
            out, found = functional_call(layer, {"weight_hh_l0": recurrent}, given)
        else:
            out, found = layer(*given)
        return out, [found] if isinstance(found, Tensor) else found


class WordDropout(nn.Module):
    """Hide whole words: a word that is hidden is hidden wherever it stands in the batch."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, vectors: Tensor, tokens: Tensor, vocabulary: int) -> Tensor:
        """Vectors (rows, length, width) of tokens (rows, length), some of them zero, the others scaled up."""
        if not self.training or self.probability == 0:
            return vectors
        kept = functional.dropout(vectors.new_ones(vocabulary), self.probability)
        return vectors * kept[tokens][..., None]


class LockedDropout(nn.Module):
    """Hide the same numbers of a vector at every token of a sequence."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (rows, length, width) with one mask per row."""
        if not self.training or self.probability == 0:
            return vectors
        return vectors * functional.dropout(torch.ones_like(vectors[:, :1]), self.probability)
