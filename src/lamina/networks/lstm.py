"""The LSTM for language: long short-term memory (Hochreiter & Schmidhuber 1997), regularised as AWD-LSTM is.

In:  tokens (rows, length), and the state ``hidden`` and ``cell`` (rows, layers, width) that the text before left.
Out: features (rows, length, width), and the state after the last token.

    embedding   shared with the output matrix                 (Press & Wolf 2017, arXiv:1608.05859)
    layers      with a gate that forgets                      (Gers et al. 2000), which starts open (Jozefowicz et al. 2015)
    dropout     of words, vectors and recurrent weights       (Gal & Ghahramani 2016; Merity et al. 2018, arXiv:1708.02182)
    the state   is carried across the windows of the stream   (Mikolov et al. 2010)
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lamina.batch import Tensors
from lamina.layers.recurrent import Dropout, Recurrent
from lamina.layers.shapes import Tokens
from lamina.plan import Plan


@dataclass(frozen=True)
class Size:
    """How wide, how many layers deep."""

    width: int
    layers: int


takes = Tokens
SIZES = {
    "tiny": Size(width=128, layers=1),
    "small": Size(width=256, layers=2),
    "medium": Size(width=512, layers=2),
    "large": Size(width=1024, layers=3),
}
DROPOUT = Dropout(words=0.1, inputs=0.3, between=0.2, outputs=0.4, weights=0.3)
WINDOW = 70  # tokens through which a gradient flows back


class Network(Recurrent):
    """The embedding, the LSTM layers and their dropout."""

    def __init__(self, shape: Tokens, size: Size, dropout: Dropout) -> None:
        layers = [nn.LSTM(size.width, size.width, batch_first=True) for _ in range(size.layers)]
        super().__init__(shape.vocabulary, size.width, layers, ("hidden", "cell"), dropout, WINDOW)
        for layer in layers:
            forget = slice(size.width, 2 * size.width)
            with torch.no_grad():
                layer.get_parameter("bias_ih_l0")[forget] = 1.0  # at first, remember
                layer.get_parameter("bias_hh_l0")[forget] = 0.0

    def forward(
        self, tokens: Tensor, hidden: Tensor | None = None, cell: Tensor | None = None
    ) -> tuple[Tensor, Tensors]:
        """Read tokens (rows, length) after the state (rows, layers, width), or from the beginning."""
        before = self.start(len(tokens)) if hidden is None or cell is None else {"hidden": hidden, "cell": cell}
        return self.read(tokens, before)


def default_size(shape: Tokens, examples: int) -> str:
    """Small for a corpus that is read in minutes, medium from a million tokens on."""
    return "small" if examples * WINDOW < 500_000 else "medium"


def plan(shape: Tokens, examples: int) -> Plan:
    """How this family trains best."""
    return Plan(30, None, 32, lr=3e-3, weight_decay=1e-2, clip=0.5, warmup=0.1)


def build(shape: Tokens, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for this vocabulary; ``dropout`` is that of the features, and the others follow in proportion."""
    scaled = DROPOUT if dropout is None else DROPOUT.scaled(dropout / DROPOUT.outputs)
    return Network(shape, SIZES[size], scaled)
