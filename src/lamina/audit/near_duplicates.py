"""Near-duplicates among pictures: saved anew, resized, brightened or slightly cropped copies, within and across parts.

How alike are two pictures that are copies? It depends on the set: two trousers of Fashion-MNIST correlate at 0.98, two
photographs hardly ever. So the rule is no fixed distance. Where n examples lie independently of each other in a space of
(local) dimension D, the distance to the nearest one over that to the k-th nearest, to the power D, is the least of k - 1
uniform numbers (Levina & Bickel 2004): P(ratio < t) = 1 - (1 - t^D)^(k-1). Copies are few, so the median of the ratios gives
D; and t is chosen so that in all of the data ``FALSE_PAIRS`` nearest neighbours are that near by chance. A pair below t is a
copy, if its edges agree as well: two smooth pictures can be near though nothing in them is the same. Brightness and contrast
do not count: thumbnails are brought to mean 0 and norm 1. Where pictures are small and alike, cutting off a twentieth moves
them as far apart as others lie; so across parts each is also compared with the others cut as much (``CUTS``).
"""

from collections.abc import Iterator

import numpy as np
import torch

from lamina.audit.duplicates import MOST_NAMED
from lamina.data.data import Data
from lamina.data.mapped import put_together
from lamina.data.thumbnails import pictured, thumbnails, zoomed
from lamina.findings import Finding

FALSE_PAIRS = 0.05
"""Pairs that may look like copies by chance, in all of the data, as they are and for each cut."""
LEAST_CORRELATION = 0.9
"""Of two thumbnails that are copies, whatever the others look like."""
LEAST_EDGES = 0.8
"""Correlation of the differences between neighbouring pixels of two copies: 0.84 and more where a twentieth was cropped."""
CUTS = (0.05, 0.1)
"""Shares of the width and height that may have been cut off."""
_NEIGHBOURS = 8  # the k above: a picture may have some copies, so the second nearest is no measure
_FEWEST = 50  # pictures below which the median ratio says nothing
_CELL = 512  # pictures that are compared with one another, about
_NEAREST_CELLS = 3  # that a picture belongs to
_TOGETHER = 2048  # that are compared at a time
_NOTABLE = 0.01  # share of a part from which near-duplicates weigh


def find(data: Data) -> Iterator[Finding]:
    """Find pictures that are nearly equal, in two parts or in one; equal files are another illness."""
    if not pictured(data) or len(data) < _FEWEST:
        return
    rows, small = different(data), thumbnails(data)
    seen = put_together(len(rows), lambda some: _contrast(small[rows[some]])) > 1e-3 * 255
    rows = rows[seen]  # not-a-number where a picture cannot be read, nearly 0 where it is blank
    if len(rows) < _FEWEST:
        return
    found = [_alike(small, small, rows[copies(_units(small, rows))])]
    trained = data.part[rows] == "train"
    known, held = rows[trained], rows[~trained]
    if min(len(known), len(held)) >= _FEWEST:
        for share in CUTS:
            cut = zoomed(data, share)
            for first, second in ((small, cut), (cut, small)):  # either may be the one that was cut
                pairs = copies(_units(first, held), _units(second, known))
                pairs = np.stack([held[pairs[:, 0]], known[pairs[:, 1]]], 1)
                found.append(_alike(first, second, pairs))
    yield from reported(data, np.unique(np.sort(np.concatenate(found), 1), axis=0))


def _contrast(small: np.ndarray) -> np.ndarray:
    """(examples,): how far thumbnails are from being blank."""
    return np.asarray(np.linalg.norm((small - small.mean((1, 2), keepdims=True)).reshape(len(small), -1), axis=1))


def _units(small: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(rows, numbers) of mean 0 and norm 1: some of the thumbnails."""

    def unit(some: slice) -> np.ndarray:
        seen = small[rows[some]]
        vectors = (seen - seen.mean((1, 2), keepdims=True)).reshape(len(seen), -1)
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-3))

    return put_together(len(rows), unit)


def _alike(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """The pairs, (pairs, 2) rows of the one and of the other thumbnails, whose edges agree, too."""

    def agreement(some: slice) -> np.ndarray:
        one, other = _edges(first[pairs[some, 0]]), _edges(second[pairs[some, 1]])
        return np.asarray(np.einsum("pi,pi->p", one, other))

    return np.asarray(pairs[put_together(len(pairs), agreement) >= LEAST_EDGES])


def _edges(small: np.ndarray) -> np.ndarray:
    """(examples, numbers) of norm 1: the differences between neighbouring pixels."""
    across = small.shape[1] * (small.shape[2] - 1)
    vectors = np.concatenate([np.diff(small, axis=axis).reshape(len(small), across) for axis in (1, 2)], 1)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def different(data: Data) -> np.ndarray:
    """Rows of the examples less exact copies, which others report; of equal ones that which is in the earliest part stays."""
    order = np.argsort(np.select([data.part == "train", data.part == "valid"], [0, 1], 2), kind="stable")
    _, first = np.unique(data.digests[order], return_index=True)
    return np.sort(order[first])


def copies(vectors: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Pairs that are nearer than chance allows.

    Args:
        vectors: (examples, numbers) float32 of norm 1.
        known: others, among which copies of these are looked for; among themselves where there are none.

    Returns:
        (pairs, 2) int64: rows of the first and of the others; among themselves each pair once, the lower row first.
    """
    nearest, which = _neighbours(vectors, known)
    ratio = nearest[:, 0] / np.maximum(nearest[:, -1], 1e-9)
    typical = float(np.median(ratio))
    if not 0 < typical < 1:
        return np.zeros((0, 2), np.int64)
    others = nearest.shape[1] - 1
    dimension = np.log(1 - 0.5 ** (1 / others)) / np.log(typical)
    limit = (FALSE_PAIRS / (len(vectors) * others)) ** (1 / dimension)
    farthest = np.minimum(limit * nearest[:, -1], (2 - 2 * LEAST_CORRELATION) ** 0.5)
    row, place = np.nonzero(nearest[:, :-1] < farthest[:, None])
    pairs = np.stack([row, which[row, place]], 1)
    return np.unique(np.sort(pairs, axis=1), axis=0) if known is None else pairs


def reported(data: Data, pairs: np.ndarray) -> Iterator[Finding]:
    """The findings that pairs of examples, (pairs, 2) rows of ``data``, are nearly equal."""
    first, second = (data.part[pairs[:, side]] for side in (0, 1))
    for part, others in (("test", ("train", "valid")), ("valid", ("train",))):
        ahead, behind = (first == part) & np.isin(second, others), (second == part) & np.isin(first, others)
        twins = np.concatenate([pairs[ahead], pairs[behind][:, ::-1]])  # (leaks, 2): of this part, of the other
        leaked, once = np.unique(twins[:, 0], return_index=True)
        if not len(leaked):
            continue
        of = int((data.part == part).sum())
        share = len(leaked) / of
        yield Finding(
            "leak.near_duplicate",
            "warning" if share >= _NOTABLE else "note",
            f"{len(leaked):,} of the {of:,} examples of the {part} part ({share:.1%}) are nearly equal to one of the "
            f"{' or '.join(others)} part.",
            f"Look at them; remove copies from one of the parts, they make the {part} score too good.",
            where=tuple(f"{data.where[twin]} ~ {data.where[row]}" for row, twin in twins[once[:20]]),
            count=len(leaked),
            evidence=_evidence(part, leaked, of, np.unique(twins[:, 1]), twins[once]),
        )
    for part in data.counts():
        inside = pairs[(first == part) & (second == part)]
        repeated = np.unique(inside[:, 1])
        if not len(repeated):
            continue
        of = int((data.part == part).sum())
        yield Finding(
            "duplicate.near",
            "warning" if len(repeated) >= _NOTABLE * of else "note",
            f"{len(repeated):,} of the {of:,} examples of the {part} part are nearly equal to another one of it "
            f"({len(repeated) / of:.1%}).",
            "Look at them; remove the copies, unless they are meant to weigh more.",
            where=tuple(f"{data.where[row]} ~ {data.where[twin]}" for row, twin in inside[:20]),
            count=len(repeated),
            evidence=_evidence(part, repeated, of, repeated, inside),
        )


def _evidence(part: str, rows: np.ndarray, of: int, copies: np.ndarray, pairs: np.ndarray) -> dict[str, object]:
    share = round(len(rows) / of, 4)
    named = {"indices": rows[:MOST_NAMED].tolist(), "removable": copies[:MOST_NAMED].tolist()}
    named["pairs"] = pairs[:20].tolist()
    return {"part": part, "near": len(rows), "examples": of, "share": share, **named}


def _neighbours(vectors: np.ndarray, others: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Distances (examples, k) to the nearest others, ascending, and which they are.

    Not all pairs are compared: some of the others drawn at random are the centres of cells, an example belongs to the cells
    of the centres nearest to it, and is compared with what else is in them. Copies share a cell all but always.
    """
    asked = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
    known = asked if others is None else torch.from_numpy(np.ascontiguousarray(others, dtype=np.float32))
    centres = max(1, len(known) // _CELL) if len(known) > 8 * _CELL else 1
    drawn = known[torch.from_numpy(np.random.default_rng(0).choice(len(known), centres, replace=False))]
    cells = _homes(asked, drawn)
    homes = cells if others is None else _homes(known, drawn)
    best = torch.full((len(asked), 0), -2.0)
    which = torch.zeros((len(asked), 0), dtype=torch.int64)
    for nearness in range(cells.shape[1]):
        own_best = torch.full((len(asked), _NEIGHBOURS), -2.0)
        own_which = torch.zeros((len(asked), _NEIGHBOURS), dtype=torch.int64)
        for cell in range(centres):
            here = (cells[:, nearness] == cell).nonzero()[:, 0]
            members = (homes == cell).any(1).nonzero()[:, 0]
            for some in torch.split(here, _TOGETHER):
                alike = asked[some] @ known[members].T
                if others is None:
                    alike[some[:, None] == members] = -2.0  # itself
                found = alike.topk(min(_NEIGHBOURS, len(members)), 1)
                own_best[some, : found.values.shape[1]] = found.values
                own_which[some, : found.values.shape[1]] = members[found.indices]
        if nearness:  # the same neighbour, met in another cell, counts once
            own_best[(own_which[:, :, None] == which[:, None]).any(2)] = -2.0
        best, place = torch.cat([best, own_best], 1).topk(_NEIGHBOURS, 1)
        which = torch.cat([which, own_which], 1).gather(1, place)
    pieces = zip(torch.split(asked, _TOGETHER), torch.split(which, _TOGETHER), strict=True)
    # Exact, where 2 - 2 cos would be a difference of nearly equal numbers; of all at once it would take 16 times their memory.
    distances = torch.cat([torch.linalg.vector_norm(known[near] - some[:, None], dim=2) for some, near in pieces])
    distances[best < -1.5] = 2.0
    order = distances.argsort(1)
    return distances.gather(1, order).numpy(), which.gather(1, order).numpy()


def _homes(vectors: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """(examples, cells) of the centres nearest to each of the vectors, the nearest first."""
    count = min(_NEAREST_CELLS, len(centres))
    return torch.cat([(some @ centres.T).topk(count, 1).indices for some in torch.split(vectors, _TOGETHER)])
