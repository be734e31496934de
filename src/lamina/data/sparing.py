"""Sparing: what is learned already is shown less often, and counts for more where it is shown.

Of an epoch's showings, most would go to examples that the network has long been sure of. Those whose last loss lay below the
median are shown less often than the others, and every showing counts the more, the rarer its example comes: so the expected
gradient is that of all examples, with less noise in it for the same number of steps. An epoch that begins in the last eighth
of the budget spares none. (InfoBatch, Qin et al. 2024, arXiv:2303.04947. There an epoch grows shorter; here it keeps its
length, the hard examples come more often, and systematic sampling lets each come as often as it should, rounded up or down.)
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lamina.batch import Batch, Tensors, beside
from lamina.data.feed import Feed, Shuffled

LAST = 0.875  # share of the budget after which none is spared, as published


class Sparing(Shuffled):
    """In an order of its own each epoch, easy examples less often."""

    def __init__(self, rows: Tensor, gather: Callable[[Tensor], Batch], share: float) -> None:
        """Show an easy example 1 - ``share`` times as often as another."""
        super().__init__(rows, gather)
        self.share = share
        self._losses = torch.full((int(rows.max()) + 1,), torch.nan)  # by row of the store, when last shown
        self._showings = torch.ones(len(self._losses))  # in this epoch, on average
        self._spares = False  # whether in this epoch some come more often than others
        self._heard: list[tuple[Tensor, Tensor]] = []  # rows, and their losses on the device: read late

    def batches(self, batch_size: int, generator: np.random.Generator) -> list[Tensor]:
        """The rows of each batch; what is heeded changes nothing about them before the next epoch."""
        showings = self._showings[self.rows].double()
        if not self._spares:
            return super().batches(batch_size, generator)
        order = torch.from_numpy(generator.permutation(len(self)))
        ends = showings[order].cumsum(0)
        points = torch.arange(len(self)) + generator.random()
        picked = order[torch.searchsorted(ends, points, right=True).clamp(max=len(self) - 1)]
        picked = picked[torch.from_numpy(generator.permutation(len(self)))]
        return list(self.rows[picked].tensor_split(self.steps(batch_size)))

    def batch(self, picked: Tensor) -> Batch:
        """The examples at these rows of the store, which stand in ``row``; and their ``weight``, where any are spared."""
        batch = self.plain(picked)
        targets = batch.targets | {"row": picked}
        if self._spares:
            own, showings = batch.targets.get("weight"), self._showings[picked]
            targets["weight"] = 1 / showings if own is None else own / beside(showings, own)
        return Batch(batch.inputs, targets)

    def plain(self, picked: Tensor) -> Batch:
        """The examples at these rows of the store, without both."""
        return super().batch(picked)

    def heed(self, rows: Tensor, losses: Tensor) -> None:
        """Remember losses, without reading them yet."""
        self._heard.append((rows, losses))

    def turn(self, t: float) -> None:
        """Choose how often each example comes in the epoch that begins."""
        self._settle()
        losses = self._losses[self.rows]
        self._showings.fill_(1.0)
        easy = losses < losses.median()  # none, where half of them are alike
        self._spares = t < LAST and bool(losses.isfinite().all()) and bool(easy.any())
        if self._spares:
            showings = torch.where(easy, 1 - self.share, 1.0).double()
            self._showings[self.rows] = (showings * (len(self) / showings.sum())).float()

    def remembered(self) -> Tensors:
        """Losses and how often each example comes in this epoch, in the order of the rows."""
        self._settle()
        return {"losses": self._losses[self.rows], "showings": self._showings[self.rows]}

    def recall(self, remembered: Tensors) -> None:
        """Know this."""
        if not remembered:  # by a run that began before it could spare
            return
        self._losses[self.rows], self._showings[self.rows] = remembered["losses"], remembered["showings"]
        self._spares = bool((remembered["showings"] != 1).any())
        self._heard.clear()

    def _settle(self) -> None:
        """Read what was heard, in the order in which it was."""
        for rows, losses in self._heard:
            self._losses[rows] = losses.float().cpu()
        self._heard.clear()


def sparing(feed: Feed, share: float) -> Feed:
    """The feed itself, or in place of a shuffled one a feed that shows easy examples 1 - ``share`` times as often as others."""
    return Sparing(feed.rows, feed.gather, share) if share and type(feed) is Shuffled else feed
