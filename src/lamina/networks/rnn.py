"""The recurrent network for language, with gated recurrent units (Cho et al. 2014, arXiv:1406.1078).

In:  tokens (rows, length), and the state ``hidden`` (rows, layers, width) that the text before left.
Out: features (rows, length, width), and the state after the last token.

A GRU has one state instead of the LSTM's two and three gates instead of four: a quarter fewer weights. All that stands
around the layers, from the shared embedding to the kinds of dropout, is as in ``lstm``.
"""

from torch import Tensor, nn

from lamina.batch import Tensors
from lamina.layers.recurrent import SIZES as SIZES
from lamina.layers.recurrent import Dropout, Recurrent, Size, dropout_of, window
from lamina.layers.recurrent import default_size as default_size
from lamina.layers.recurrent import plan as plan
from lamina.layers.shapes import Tokens

takes = Tokens


class Network(Recurrent):
    """The embedding, the GRU layers and their dropout."""

    def __init__(self, shape: Tokens, size: Size, dropout: Dropout) -> None:
        layers = [nn.GRU(size.width, size.width, batch_first=True) for _ in range(size.layers)]
        super().__init__(shape.vocabulary, size.width, layers, ("hidden",), dropout, window(shape))

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensors]:
        """Read tokens (rows, length) after the state (rows, layers, width), or from the beginning."""
        return self.read(tokens, self.start(len(tokens)) if hidden is None else {"hidden": hidden})


def build(shape: Tokens, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for this vocabulary; ``dropout`` is that of the features, and the others follow in proportion."""
    return Network(shape, SIZES[size], dropout_of(dropout))
