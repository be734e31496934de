"""The LSTM for language: long short-term memory (Hochreiter & Schmidhuber 1997), regularised as AWD-LSTM is.

In:  tokens (rows, length), and the state ``hidden`` and ``cell`` (rows, layers, width) that the text before left.
Out: features (rows, length, width), and the state after the last token.

    embedding   shared with the output matrix                 (Press & Wolf 2017, arXiv:1608.05859)
    layers      with a gate that forgets                      (Gers et al. 2000), which starts open (Jozefowicz et al. 2015)
    dropout     of words, vectors and recurrent weights       (Gal & Ghahramani 2016; Merity et al. 2018, arXiv:1708.02182)
    the state   is carried across the windows of the stream   (Mikolov et al. 2010)
"""

import torch
from torch import Tensor, nn

from lamina.batch import Tensors
from lamina.layers.recurrent import SIZES as SIZES
from lamina.layers.recurrent import Dropout, Recurrent, Size, dropout_of, window
from lamina.layers.recurrent import default_size as default_size
from lamina.layers.recurrent import plan as plan
from lamina.layers.shapes import Tokens

takes = Tokens


class Network(Recurrent):
    """The embedding, the LSTM layers and their dropout."""

    def __init__(self, shape: Tokens, size: Size, dropout: Dropout) -> None:
        layers = [nn.LSTM(size.width, size.width, batch_first=True) for _ in range(size.layers)]
        super().__init__(shape.vocabulary, size.width, layers, ("hidden", "cell"), dropout, window(shape))
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


def build(shape: Tokens, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for this vocabulary; ``dropout`` is that of the features, and the others follow in proportion."""
    return Network(shape, SIZES[size], dropout_of(dropout))
