"""Likely label errors: examples whose class the other examples contradict (confident learning, Northcutt et al. 2021).

Each training example is judged by a classifier that has not seen it: ridge regression of the classes on random Fourier
features (Rahimi & Recht 2007), whose leave-one-out answers follow from one fit. A class's threshold is the mean answer that
examples labelled with it get; an example is suspected when it is below its own class's level by far (``GIVEN``), above another
one's threshold, and clearly so (``MARGIN``). A classifier of thumbnails is wrong at times, so a clean set has suspects too:
they are reported where they are more than ``LEAST_SHARE`` of the examples. Then the ranking is worth a look, not a proof. In
a table an example that others contradict may be an exception (of Titanic's passengers 7 % are) rather than an error: a note.

Where a table's texts tell the classes better than its other columns do, they are the judge: ridge regression on the words and
pairs of words, fitted without the fold that it judges. Of sentences a fifth is judged wrongly, and some of these surely: so
more, ``LEAST_TEXTS`` of the examples, must be suspected.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl
import torch
from torch import Tensor

from lamina.audit.duplicates import MOST_NAMED
from lamina.data.columns import apply, learn
from lamina.data.data import Data
from lamina.data.mapped import put_together
from lamina.data.tables import columns_of
from lamina.data.thumbnails import pictured, thumbnails
from lamina.findings import Finding
from lamina.threads import threads

GIVEN, MARGIN = 0.25, 0.5
"""Most that the given class may get, and least by which another one must exceed it; answers are about shares."""
LEAST_SHARE, _NOTABLE = 0.015, 0.03
"""Share of suspects from which they are reported, and from which they weigh."""
LEAST_TEXTS = 0.025
"""Share of suspects from which they are reported where texts are the judge."""
LEAST_AGREEMENT = 0.7
_FEWEST, _MOST = 60, 20_000  # rows
_MOST_CLASSES = 100
_FEATURES = 1024  # random Fourier features, at most
FOLDS = 5
_TOGETHER = 2048  # examples that are described at a time
_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # candidates, as shares of the mean squared length of a feature


def find(data: Data) -> Iterator[Finding]:
    """Find training examples that are likely to have a wrong class."""
    rows = np.flatnonzero(data.part == "train")
    if not data.classified or len(rows) < _FEWEST:
        return
    if len(rows) > _MOST:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST, replace=False))
    features = described(data, rows)
    if features is None:
        return
    readable = np.isfinite(features).all(1)
    if not readable.all():
        rows, features = rows[readable], features[readable]
    classes, label = np.unique(data.answers[rows].astype(str), return_inverse=True)
    if not 2 <= len(classes) <= _MOST_CLASSES or len(rows) < _FEWEST:
        return
    said, least = left_out(features, label, len(classes)), LEAST_SHARE
    texts = sentences(data)
    if texts and np.bincount(label).min() >= FOLDS:
        read = read_elsewhere([texts[row] for row in rows], label)
        if _error(read, label) < _error(said, label):
            said, least = read, LEAST_TEXTS
    suspects, suggested, margin = suspected(said, label)
    share, agreement = len(suspects) / len(rows), _agreement(said, label)
    if share < least or len(suspects) < 3 or agreement < LEAST_AGREEMENT:
        return
    yield Finding(
        "label.suspect",
        "warning" if share >= _NOTABLE and pictured(data) else "note",
        f"{len(suspects):,} of {len(rows):,} training examples ({share:.1%}) look like another class than the one given.",
        "Look at them, the most suspicious first, and correct those that are wrong.",
        where=tuple(
            f"{data.where[rows[row]]}: {classes[label[row]]}, looks like {classes[other]}"
            for row, other in zip(suspects[:20], suggested, strict=False)
        ),
        count=len(suspects),
        evidence={
            "suspects": len(suspects),
            "examples": len(rows),
            "share": round(share, 4),
            "agreement": round(agreement, 4),
            "indices": rows[suspects[:1000]].tolist(),
            "removable": rows[suspects[:MOST_NAMED]].tolist(),
            "margins": margin[:20].round(3).tolist(),
            "suggested": [str(classes[other]) for other in suggested[:20]],
        },
    )


def described(data: Data, rows: np.ndarray) -> np.ndarray | None:
    """(rows, numbers) float32 that a quick classifier learns from; None for what is neither picture nor table."""
    if pictured(data):
        small = thumbnails(data)
        return put_together(len(rows), lambda some: _outlined(small[rows[some]]), _TOGETHER)
    if not isinstance(data.raws, pl.DataFrame):
        return None
    encoded = apply(data.raws[rows], learn(data.raws[np.flatnonzero(data.part == "train")], columns_of(data)))
    numbers = encoded["numbers"].astype(np.float32)
    codes = [column[:, None] == np.unique(column)[:50] for column in encoded["categories"].T]
    return np.concatenate([numbers, *[code.astype(np.float32) for code in codes]], 1)


def left_out(features: np.ndarray, label: np.ndarray, classes: int) -> np.ndarray:
    """(examples, classes) float32: what ridge regression fitted to all others says of each example; sums to about 1."""
    generator = torch.Generator().manual_seed(0)
    known = torch.from_numpy(features)
    some = known[torch.randperm(len(known), generator=generator)[:500]]
    distances = torch.pdist(some)
    width = float(distances.median()) or 1.0
    count = min(_FEATURES, 2 * (len(known) // 3))
    waves = torch.randn(known.shape[1], count // 2, generator=generator) / (0.6 * width)
    targets = torch.nn.functional.one_hot(torch.from_numpy(label), classes).float()
    numbers = 1 + 2 * waves.shape[1]
    gram, aims = torch.zeros(numbers, numbers), torch.zeros(numbers, classes)
    for rows, wanted in zip(torch.split(known, _TOGETHER), torch.split(targets, _TOGETHER), strict=True):
        inputs = _random_features(rows, waves)
        gram.addmm_(inputs.T, inputs)
        aims.addmm_(inputs.T, wanted)
    with threads(1):
        values, axes = torch.linalg.eigh(gram.double())
    turning = axes.float()
    aims = turning.T @ aims
    shrinkings = [(1 / (values + penalty * float(values.sum()) / count)).float()[:, None] for penalty in _PENALTIES]
    answers: list[list[Tensor]] = [[] for _ in _PENALTIES]
    for rows, wanted in zip(torch.split(known, _TOGETHER), torch.split(targets, _TOGETHER), strict=True):
        turned = _random_features(rows, waves) @ turning
        squares = turned.square()
        for said, shrinking in zip(answers, shrinkings, strict=True):
            leverage = (squares @ shrinking).clamp(max=0.999)
            said.append(wanted - (wanted - turned @ (shrinking * aims)) / (1 - leverage))
    best = min(map(torch.cat, answers), key=lambda said: float(((said - targets) ** 2).mean()))  # on what was left out
    return np.asarray(best.numpy())


def _random_features(rows: Tensor, waves: Tensor) -> Tensor:
    """(examples, 1 + 2 waves): a constant, cosines and sines; those of all examples would take many times their own memory."""
    angles, count = rows @ waves, waves.shape[1]
    features = torch.ones(len(rows), 1 + 2 * count)
    torch.cos(angles, out=features[:, 1 : 1 + count])
    torch.sin(angles, out=features[:, 1 + count :])
    features[:, 1:] *= count**-0.5
    return features


def sentences(data: Data) -> list[str]:
    """The texts of each row of a table, together; nothing where it has none."""
    if not isinstance(data.raws, pl.DataFrame):
        return []
    names = [column.name for column in columns_of(data) if column.kind == "text"]
    together = (
        pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in names], separator=" ") if names else None
    )
    return [] if together is None else [str(text) for text in data.raws.select(together).to_series()]


def read_elsewhere(texts: list[str], label: np.ndarray) -> np.ndarray:
    """(examples, classes): what ridge regression on words and pairs of words, fitted to the other folds, says of each text."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import StratifiedKFold

    targets = np.eye(label.max() + 1)[label]
    try:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+", min_df=2).fit_transform(
            texts
        )
    except ValueError:  # no word stands in two of them: nothing is known but how frequent the classes are
        return np.asarray(np.broadcast_to(targets.mean(0), targets.shape))
    said: np.ndarray = np.zeros_like(targets)
    for known, asked in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(words, label):
        judge = Ridge(alpha=1.0, solver="sparse_cg", max_iter=100).fit(words[known], targets[known])
        said[asked] = judge.predict(words[asked]).reshape(len(asked), -1)
    return said


def _error(said: np.ndarray, label: np.ndarray) -> float:
    """The mean squared distance from the classes that are given."""
    return float(((said - np.eye(said.shape[1])[label]) ** 2).mean())


def suspected(said: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Suspects, the most suspicious first: their rows, the classes suggested, and by how much these exceed the given ones."""
    rows = np.arange(len(label))
    thresholds = np.array([said[label == kind, kind].mean() for kind in range(said.shape[1])])
    given = said[rows, label]
    others = np.where(said >= np.minimum(thresholds, 0.9), said, -np.inf)
    others[rows, label] = -np.inf
    margin = others.max(1) - given
    found = np.flatnonzero((margin >= MARGIN) & (given <= GIVEN))
    found = found[np.argsort(-margin[found], kind="stable")]
    return found, others[found].argmax(1), margin[found]


def _agreement(said: np.ndarray, label: np.ndarray) -> float:
    """The share of the examples of a class that are said to be of it, averaged over the classes."""
    right = said.argmax(1) == label
    return float(np.mean([right[label == kind].mean() for kind in range(said.shape[1])]))


def _outlined(small: np.ndarray) -> np.ndarray:
    """(examples, numbers) float32: the greys of thumbnails, about their mean and of norm 1, and their edges."""
    plain = small.reshape(len(small), -1)
    centred = plain - plain.mean(1, keepdims=True)
    plain = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1.0)
    return np.asarray(np.concatenate([plain, 0.7 * _edges(small)], 1), dtype=np.float32)


def _edges(small: np.ndarray) -> np.ndarray:
    """(examples, at most 4 x 4 x 8) of norm 1: how strong edges of 8 directions are in each place (as Dalal & Triggs 2005)."""
    down, right = np.gradient(small, axis=(1, 2))
    strength = np.hypot(down, right)
    direction = ((np.arctan2(down, right) + np.pi) * (8 / (2 * np.pi))).clip(0, 7.99)
    cell = max(1, small.shape[1] // 4)
    places = small.shape[1] // cell * cell
    found = []
    for one in range(8):
        inside = np.where(np.floor(direction) == one, strength, 0)[:, :places, :places]
        found.append(inside.reshape(len(small), places // cell, cell, places // cell, cell).sum((2, 4)))
    stacked = np.sqrt(np.stack(found, 1).reshape(len(small), -1))
    return np.asarray(stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-6), dtype=np.float32)
