"""The recurrent network for language, with gated recurrent units (Cho et al. 2014, arXiv:1406.1078).

In:  tokens (rows, length), and the state ``hidden`` (rows, layers, width) that the text before left.
Out: features (rows, length, width), and the state after the last token.

A GRU has one state instead of the LSTM's two and three gates instead of four: a quarter fewer weights. All that stands
around the layers, from the shared embedding to the kinds of dropout, is as in ``lstm``.
"""

from dataclasses import dataclass

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
    """The embedding, the GRU layers and their dropout."""

    def __init__(self, shape: Tokens, size: Size, dropout: Dropout) -> None:
        layers = [nn.GRU(size.width, size.width, batch_first=True) for _ in range(size.layers)]
        super().__init__(shape.vocabulary, size.width, layers, ("hidden",), dropout, WINDOW)

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensors]:
        """Read tokens (rows, length) after the state (rows, layers, width), or from the beginning."""
        return self.read(tokens, self.start(len(tokens)) if hidden is None else {"hidden": hidden})


def default_size(shape: Tokens, examples: int) -> str:
    """Small for a corpus that is read in minutes, medium from half a million tokens on."""
    return "small" if examples * WINDOW < 500_000 else "medium"


def plan(shape: Tokens, examples: int) -> Plan:
    """How this family trains best."""
    return Plan(30, None, 32, lr=3e-3, weight_decay=1e-2, clip=0.5, warmup=0.1)


def build(shape: Tokens, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for this vocabulary; ``dropout`` is that of the features, and the others follow in proportion."""
    scaled = DROPOUT if dropout is None else DROPOUT.scaled(dropout / DROPOUT.outputs)
    return Network(shape, SIZES[size], scaled)
