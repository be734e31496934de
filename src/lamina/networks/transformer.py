"""The transformer for language: a decoder (Vaswani et al. 2017, arXiv:1706.03762) that sees the last ``window`` tokens.

In:  tokens (rows, length); when text is continued, also the keys and values of the tokens before.
Out: features (rows, length, width), and the keys and values with those of these tokens.

    blocks      x + Attention(norm(x)), then x + MLP(norm(x))        (pre-norm: Xiong et al. 2020, arXiv:2002.04745)
    norm        root mean square                                     (Zhang & Sennrich 2019, arXiv:1910.07467)
    positions   rotate queries and keys                              (Su et al. 2021, arXiv:2104.09864)
    attention   of normalised queries and keys                       (Henry et al. 2020, arXiv:2010.04245), in tiles that
                stay in the cache                                    (Dao et al. 2022, arXiv:2205.14135)
    MLP         gated by a SiLU ("SwiGLU")                           (Shazeer 2020, arXiv:2002.05202)
    embedding   shared with the output matrix                        (Press & Wolf 2017, arXiv:1608.05859)

Each token attends to itself and to the window - 1 tokens before it (Child et al. 2019, arXiv:1904.10509): so a text may be
of any length, and reading it in pieces, with the keys and values kept, gives what reading it whole gives.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.batch import Tensors
from lamina.layers.shapes import Tokens
from lamina.plan import Plan


@dataclass(frozen=True)
class Size:
    """How wide, how many blocks deep, how many attention heads; and the tokens that one of them sees."""

    width: int
    layers: int
    heads: int
    window: int = 256


takes = Tokens
SIZES = {
    "tiny": Size(width=64, layers=2, heads=2, window=128),
    "small": Size(width=192, layers=4, heads=3),
    "medium": Size(width=384, layers=6, heads=6),
    "large": Size(width=768, layers=12, heads=12, window=512),
}
DROPOUT = 0.1
SLOWEST = 10_000.0  # tokens after which the slowest rotation has turned by one radian


class Network(nn.Module):
    """The embedding, the blocks and the last norm; see ``lamina.layers.shapes.Tokens`` for what it has."""

    carries = False

    def __init__(self, shape: Tokens, size: Size, dropout: float) -> None:
        super().__init__()
        self.width = size.width
        self.window = size.window
        self.heads = size.heads
        self.embedding = nn.Embedding(shape.vocabulary, size.width)
        nn.init.normal_(self.embedding.weight, std=size.width**-0.5)  # logits of unit variance from normed features
        self.first_norm = nn.RMSNorm(size.width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(size, dropout) for _ in range(size.layers))
        self.norm = nn.RMSNorm(size.width)

    def start(self, rows: int) -> Tensors:
        """What is carried before anything was read: keys and values of no token."""
        shape = (rows, len(self.blocks), self.heads, 0, self.width // self.heads)
        weight = self.embedding.weight
        return {"keys": weight.new_zeros(shape), "values": weight.new_zeros(shape)}

    def forward(
        self, tokens: Tensor, keys: Tensor | None = None, values: Tensor | None = None
    ) -> tuple[Tensor, Tensors]:
        """Read tokens (rows, length).

        Args:
            tokens: ids.
            keys: (rows, blocks, heads, past, head width) of the last tokens, not yet rotated, for only distances count: so
                places are counted from the first of these, and stay small however long the text is. Without them, a
                text begins here and nothing is carried on, as in training.
            values: of the same shape.
        """
        past = 0 if keys is None else keys.shape[3]
        turns = rotations(torch.arange(past + tokens.shape[1], device=tokens.device), self.width // self.heads)
        mask = visible(tokens.shape[1], past, self.window, tokens.device)
        hidden = self.dropout(self.first_norm(self.embedding(tokens)))  # (rows, length, width)
        kept: list[tuple[Tensor, Tensor]] = []
        for index, block in enumerate(self.blocks):
            before = None if keys is None or values is None else (keys[:, index], values[:, index])
            hidden, cache = block(hidden, turns, mask, before)
            kept.append(cache)
        features: Tensor = self.norm(hidden)
        if keys is None:
            return features, {}
        last = 1 - self.window  # the token that comes next is the window's last
        all_keys, all_values = (torch.stack([pair[i][:, :, last:] for pair in kept], 1) for i in (0, 1))
        return features, {"keys": all_keys, "values": all_values}


class Block(nn.Module):
    """Attention and an MLP, each added to what comes in."""

    def __init__(self, size: Size, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(size.width)
        self.attention = Attention(size)
        self.mlp_norm = nn.RMSNorm(size.width)
        self.mlp = MLP(size.width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Tensor, turns: Tensor, mask: Tensor | None, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """From (rows, length, width) to the same, and the keys and values up to here."""
        attended, cache = self.attention(self.attention_norm(hidden), turns, mask, before)
        hidden = hidden + self.dropout(attended)
        return hidden + self.dropout(self.mlp(self.mlp_norm(hidden))), cache


class Attention(nn.Module):
    """Each token asks those before it, and itself."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.query = nn.Linear(size.width, size.width, bias=False)
        self.key = nn.Linear(size.width, size.width, bias=False)
        self.value = nn.Linear(size.width, size.width, bias=False)
        self.out = nn.Linear(size.width, size.width, bias=False)
        self.query_norm = nn.RMSNorm(size.width // size.heads)
        self.key_norm = nn.RMSNorm(size.width // size.heads)
        nn.init.zeros_(self.out.weight)  # a block adds nothing at first, so the depth does not matter

    def forward(
        self, hidden: Tensor, turns: Tensor, mask: Tensor | None, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """From (rows, length, width) to the same, and the keys and values (rows, heads, past + length, head width)."""
        query, key, value = (
            linear(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (rows, heads, length, head width)
            for linear in (self.query, self.key, self.value)
        )
        query, key = self.query_norm(query), self.key_norm(key)
        if before is not None:
            key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
        plain = mask is None and query.shape[2] == key.shape[2]
        turned = rotated(query, turns[:, -query.shape[2] :]), rotated(key, turns)
        found = functional.scaled_dot_product_attention(*turned, value, mask, is_causal=plain)
        return self.out(found.transpose(1, 2).flatten(2)), (key, value)


class MLP(nn.Module):
    """Two linear maps, one of which opens gates for the other, and one back; as many weights as the usual four-fold MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = 8 * width // 3 // 16 * 16
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        nn.init.zeros_(self.down.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        """From (rows, length, width) to the same."""
        result: Tensor = self.down(functional.silu(self.gate(hidden)) * self.up(hidden))
        return result


def rotations(places: Tensor, width: int) -> Tensor:
    """The angles by which pairs of numbers are turned: cosines and sines, (2, length, width // 2)."""
    speeds = SLOWEST ** -(torch.arange(0, width, 2, device=places.device) / width)  # (width // 2,)
    angles = places[..., None] * speeds
    return torch.stack([angles.cos(), angles.sin()])


def rotated(vectors: Tensor, turns: Tensor) -> Tensor:
    """Vectors (rows, heads, length, width) with each pair of numbers turned by its place's angle."""
    (cosine, sine), (one, two) = turns.to(vectors.dtype), vectors.chunk(2, -1)
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], -1)


def visible(length: int, past: int, window: int, device: torch.device) -> Tensor | None:
    """Which tokens (length, past + length) each of the last ones sees; None where all those before it are seen."""
    if past + length <= window and (past == 0 or length == 1):
        return None
    behind = torch.arange(past, past + length, device=device)[:, None] - torch.arange(past + length, device=device)
    return (behind >= 0) & (behind < window)


def default_size(shape: Tokens, examples: int) -> str:
    """Small for a corpus that is read in minutes, medium from ten million tokens on.

    ``examples`` are tokens.
    """
    return "small" if examples < 10_000_000 else "medium"


def plan(shape: Tokens, examples: int) -> Plan:
    """How this family trains best."""
    return Plan(20, None, 32, optimizer="muon", lr=1e-2, weight_decay=0.1, momentum=0.95, clip=1.0, warmup=0.1)


def build(shape: Tokens, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network for this vocabulary."""
    return Network(shape, SIZES[size], DROPOUT if dropout is None else dropout)
