"""Baselines: what a network must beat. Each learns from encoded training examples and answers for others at once.

Every function takes (training inputs, training targets, inputs, facts), all encoded by the task, and gives outputs in
the form of a network's: (examples, classes) log-probabilities, or (examples,) standardised values.

    majority, mean_value            know only the answers
    linear_on_pixels                pictures     inputs["image"] (examples, side, side, channels) uint8
    linear, gradient_boosting       tables       inputs["numbers"] (examples, columns) float32, standardised and filled;
                                                 inputs["categories"] (examples, columns) int64 codes;
                                                 optional inputs["missing"] (examples, number columns) bool
    mean_picture, normal_pixels     made pictures inputs["image"], inputs["wanted"] (examples,) classes; they give pictures,
                                                 (examples, side, side, channels) uint8, of which the task makes outputs
    usual_boxes, nearest_boxes      detection    inputs["image"], inputs["size"]; targets["boxes"], padded, and "boxes_lengths";
                                                 outputs are those of metrics/detection.py
    unigram, kneser_ney             texts        inputs["tokens"], inputs["before"] (passages,) objects, each the token
                                                 ids of one, or (passages, longest) padded ones; their lengths as
                                                 NAME_lengths; inputs["bytes"] where tokens do not tell them;
                                                 outputs are those of metrics/language.py
    targets["label"] (examples,) int64, with the class names in facts["classes"]; or targets["value"] (examples,)

Those of pictures and tables are scikit-learn's, with a fixed seed; how long each may take is bounded.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lamina.data.mapped import put_together
from lamina.metrics.language import with_bytes
from lamina.ngrams import NGrams

Arrays = dict[str, Any]
"""By name: arrays; those of more than two dimensions, such as pictures, may be ``Rows``, which are read as they are indexed."""
Baseline = Callable[[Arrays, Arrays, Arrays, dict[str, Any]], Tensor]

FLOOR: Final = 1e-7
"""Least probability: no baseline is sure that something cannot be, and its log-loss stays finite."""
SIDE: Final = 16
"""Pixels of a side to which pictures are shrunk."""
PIXEL_WORK: Final = 500_000
"""Most training examples times classes of ``linear_on_pixels``: some 10 seconds on one core, at 16 x 16 x 3 pixels."""
PENALTY_ROWS: Final = 5_000
"""Training examples on which ``linear_on_pixels`` chooses its penalty."""
PENALTIES: Final = (1e-1, 1e-2, 1e-3)
"""Candidates for it: the weight of the squared norm of the coefficients against the mean loss."""
BOOSTED_TREES: Final = 2_000
"""Most trees of ``gradient_boosting`` for classes: scikit-learn's 100 iterations up to 20 classes, then fewer."""
MOST_TOKENS: Final = 20_000_000
"""The last training tokens of which n-grams are counted: some seconds per million, and up to 112 bytes each."""
COMPONENTS: Final = 100
"""Directions along which ``normal_pixels`` varies."""
LEARNED_PICTURES: Final = 5_000
"""Training pictures of a class from which pictures are made, at most."""
USUAL: Final = 8
"""Boxes of each class that ``usual_boxes`` answers with."""
USUAL_ROWS: Final = 20_000
"""Boxes of a class of which it learns them, at most."""
MOST_BOXES: Final = 100
"""Boxes of an image that are answers, at most."""
MOST_CODES: Final = 255
"""Most codes of a column that scikit-learn's boosting can treat as a category."""


class Rows:
    """Some rows of an array that lies on disk, perhaps larger than memory: what is indexed is read, and no more."""

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: np.ndarray) -> np.ndarray:
        chosen: np.ndarray = self.array[self.rows[which]]
        return chosen


def majority(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """The same answer for every example: each class has the probability that it has in the training part."""
    classes = len(facts["classes"])
    shares = np.bincount(train_targets["label"], minlength=classes) / max(1, len(train_targets["label"]))
    return _log_probabilities(np.tile(shares, (_length(inputs), 1)), np.arange(classes), classes)


def mean_value(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """The same answer for every example: the mean of the training part."""
    return torch.full((_length(inputs),), float(train_targets["value"].mean(dtype=np.float64)))


def linear_on_pixels(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """Multinomial logistic regression on pictures shrunk to at most 16 x 16 pixels.

    It learns from as many examples, drawn at random, as ``PIXEL_WORK`` allows: 50,000 with ten classes, 5,000 with a
    hundred; with this few coefficients more examples hardly help. The penalty is chosen on a held-out fifth of 5,000 of
    them, since what suits 500 pictures is far too weak for the others.
    """
    classes = len(facts["classes"])
    label = train_targets["label"]
    order = np.random.default_rng(0).permutation(len(label))[: max(1000, PIXEL_WORK // classes)]
    known, asked = _pixels(train_inputs["image"], order), _pixels(inputs["image"], np.arange(len(inputs["image"])))
    mean = known.mean(0)
    known -= mean
    asked -= mean
    scale = np.sqrt(np.einsum("ep,ep->p", known, known) / len(known)) + 1e-3  # a pixel that is always black stays 0
    known /= scale
    asked /= scale
    label = label[order]
    penalty, fold = PENALTIES[0], min(len(label), PENALTY_ROWS) // 5
    if fold:
        judged, taught = slice(0, fold), slice(fold, 5 * fold)
        losses = []
        for candidate in PENALTIES:
            guess = _logistic(known[taught], label[taught], known[judged], classes, candidate)
            losses.append(-float(guess.gather(1, torch.from_numpy(label[judged])[:, None]).mean()))
        penalty = PENALTIES[int(np.argmin(losses))]
    return _logistic(known, label, asked, classes, penalty)


def mean_picture(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> np.ndarray:
    """The mean of the training pictures of the class that is wanted."""
    made = np.empty((_length(inputs), *train_inputs["image"][:1].shape[1:]), dtype=np.uint8)
    for known, asked in _by_class(train_targets, inputs):
        if len(asked) and len(known):
            made[asked] = train_inputs["image"][known].mean(0).round()
    return made


def normal_pixels(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> np.ndarray:
    """Pictures drawn from the normal distribution that has the mean and, along its ``COMPONENTS`` widest directions, the
    variance of the training pictures of the class that is wanted."""
    made = np.empty((_length(inputs), *train_inputs["image"][:1].shape[1:]), dtype=np.uint8)
    generator = np.random.default_rng(0)
    for known, asked in _by_class(train_targets, inputs):
        if not len(asked) or not len(known):
            continue
        pixels = train_inputs["image"][known].reshape(len(known), -1).astype(np.float32)
        mean = pixels.mean(0)
        draws = torch.from_numpy((pixels - mean) / max(1.0, len(known) - 1) ** 0.5)
        directions = min(COMPONENTS, *draws.shape)
        torch.manual_seed(0)
        _, widths, vectors = torch.svd_lowrank(draws, q=directions)
        numbers = generator.standard_normal((len(asked), directions)).astype(np.float32)
        drawn = mean + (numbers * widths.numpy()) @ vectors.numpy().T
        made[asked] = drawn.round().clip(0, 255).reshape(-1, *made.shape[1:])
    return made


def _by_class(train_targets: Arrays, inputs: Arrays) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each class, training examples, some thousands at most, and the examples for which it is wanted."""
    label, wanted = train_targets["label"], np.asarray(inputs["wanted"])
    for kind in range(int(max(label.max(), wanted.max(initial=0))) + 1):
        yield np.flatnonzero(label == kind)[:LEARNED_PICTURES], np.flatnonzero(wanted == kind)


def linear(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """Logistic or ridge regression on the numbers and on one indicator per code of each category."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import OneHotEncoder

    numbers, columns = train_inputs["numbers"].shape[1], _columns(train_inputs, filled=True).shape[1]
    kinds = [("passthrough", slice(0, numbers)), (OneHotEncoder(handle_unknown="ignore"), slice(numbers, columns))]
    # sparse when there are many codes; a code never seen has no indicator; scikit-learn refuses a kind without columns
    indicators = make_column_transformer(*(kind for kind in kinds if kind[1].start < kind[1].stop))
    known = indicators.fit_transform(_columns(train_inputs, filled=True))
    asked = indicators.transform(_columns(inputs, filled=True))
    if "label" in train_targets:
        rows = len(train_targets["label"])
        return _logistic(known, train_targets["label"], asked, len(facts["classes"]), penalty=1 / max(1, rows))
    return torch.from_numpy(Ridge().fit(known, train_targets["value"]).predict(asked)).float()


def gradient_boosting(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """Scikit-learn's histogram gradient boosting as it comes; missing numbers stay missing, categories are categories.

    A column with more codes than it can take (255) is taken as a number.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    known, asked = _columns(train_inputs), _columns(inputs)
    numbers = train_inputs["numbers"].shape[1]
    empty = np.isnan(known).all(0)  # scikit-learn refuses a column that is missing throughout
    known, asked = np.where(empty, 0, known), np.where(empty, 0, asked)
    categorical = np.array(
        [i >= numbers and len(np.unique(known[:, i])) <= MOST_CODES for i in range(known.shape[1])], dtype=bool
    )
    if "label" not in train_targets:
        regressor = HistGradientBoostingRegressor(categorical_features=categorical, random_state=0)
        return torch.from_numpy(regressor.fit(known, train_targets["value"]).predict(asked)).float()
    label, classes = train_targets["label"], len(facts["classes"])
    if len(np.unique(label)) < 2:  # scikit-learn refuses a single class
        return majority(train_inputs, train_targets, inputs, facts)
    model = HistGradientBoostingClassifier(
        max_iter=max(10, min(100, BOOSTED_TREES // classes)),  # it grows one tree per class in each iteration
        categorical_features=categorical,
        # holding out a share of every class, to stop early by, is refused when a class has a single example
        early_stopping=False if (np.bincount(label) == 1).any() else "auto",
        random_state=0,
    )
    model.fit(known, label)
    return _log_probabilities(model.predict_proba(asked), model.classes_, classes)


def usual_boxes(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """The same boxes for every image, relative to its size: where boxes of a class usually are, by k-means; a score says
    how many of the training images have one there."""
    from sklearn.cluster import KMeans

    boxes, lengths = train_targets["boxes"], train_targets["boxes_lengths"]
    image, place = np.nonzero(np.arange(boxes.shape[1]) < lengths[:, None])
    known = boxes[image, place]  # (boxes, 6)
    relative = known[:, :4] / np.tile(train_inputs["size"][image], 2)
    usual = []
    for kind in range(len(facts["classes"])):
        own = relative[(known[:, 4] == kind) & (known[:, 5] == 0)]
        if len(own):
            own = own[np.random.default_rng(0).permutation(len(own))[:USUAL_ROWS]]
            different = len(np.unique(own, axis=0))  # a camera that does not move sees the same boxes again and again
            found = KMeans(min(USUAL, different), n_init=1, random_state=0).fit(own)
            met, times = np.unique(found.labels_, return_counts=True)
            share = times / len(found.labels_) * (known[:, 4] == kind).sum() / len(lengths)
            scores = np.minimum(share, 1.0)[:, None]
            usual.append(np.concatenate([found.cluster_centers_[met], scores, np.full_like(scores, kind)], 1))
    rows = np.concatenate(usual)
    rows = rows[np.argsort(-rows[:, 4], kind="stable")][:MOST_BOXES]
    outputs = np.repeat(rows[None], len(inputs["size"]), 0)
    outputs[..., :4] *= np.tile(inputs["size"], 2)[:, None]
    return torch.from_numpy(outputs).float()


def nearest_boxes(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """The boxes of the training image that looks most alike, in its 16 x 16 pixels."""
    known = _pixels(train_inputs["image"], np.arange(len(train_inputs["image"])))
    asked = _pixels(inputs["image"], np.arange(len(inputs["image"])))
    boxes, lengths = train_targets["boxes"], train_targets["boxes_lengths"]
    outputs = np.zeros((len(asked), MOST_BOXES, 6), np.float32)
    for index, pixels in enumerate(asked):
        nearest = int(((known - pixels) ** 2).sum(1).argmin())
        own = boxes[nearest, : lengths[nearest]]
        own = own[own[:, 5] == 0][:MOST_BOXES]
        scale = np.tile(inputs["size"][index] / train_inputs["size"][nearest], 2)
        outputs[index, : len(own), :4], outputs[index, : len(own), 4] = own[:, :4] * scale, 1.0
        outputs[index, : len(own), 5] = own[:, 4]
    return torch.from_numpy(outputs)


def unigram(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
    """Each token has the probability that it has in the training part."""
    return _by_ngrams(train_inputs, inputs, facts, 1)


def kneser_ney(order: int) -> Baseline:
    """An n-gram model with interpolated modified Kneser-Ney smoothing (Chen & Goodman 1999), see ngrams.py.

    Args:
        order: tokens of the longest n-gram; 5 serves words, 7 characters.
    """

    def baseline(train_inputs: Arrays, train_targets: Arrays, inputs: Arrays, facts: dict[str, Any]) -> Tensor:
        return _by_ngrams(train_inputs, inputs, facts, order)

    return baseline


def _by_ngrams(train_inputs: Arrays, inputs: Arrays, facts: dict[str, Any], order: int) -> Tensor:
    """(passages, classes of tokens, 4): nats, hits, tokens and bytes, as metrics/language.py takes them."""
    known = [row[:length] for row, length in zip(train_inputs["tokens"], train_inputs["tokens_lengths"], strict=True)]
    begun = train_inputs["before"][0][: train_inputs["before_lengths"][0]]
    model = NGrams.fit([np.concatenate([begun, *known])[-MOST_TOKENS:]], order, len(facts["bytes"]))
    classes, sizes = np.array(facts["classes"]), np.array(facts["bytes"], dtype=float)
    kinds = len(facts["class_names"])
    outputs = np.zeros((len(inputs["tokens"]), kinds, 4))
    for index, found in enumerate(outputs):
        before = inputs["before"][index][: inputs["before_lengths"][index]]
        tokens = inputs["tokens"][index][: inputs["tokens_lengths"][index]]
        whole = np.concatenate([before, tokens])
        nats, best = (found_of[len(before) - 1 :] for found_of in model.foresee(whole))
        for place, values in enumerate((nats, best == tokens, np.ones(len(tokens)), sizes[tokens])):
            found[:, place] = np.bincount(classes[tokens], values, minlength=kinds)
    own = torch.from_numpy(inputs["bytes"]) if "bytes" in inputs else None
    return with_bytes(torch.from_numpy(outputs), own)


def _logistic(known: Any, label: np.ndarray, asked: Any, classes: int, penalty: float) -> Tensor:
    """Multinomial logistic regression with a penalty per mean loss: log-probabilities for ``asked``."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(label)) < 2:  # scikit-learn refuses a single class
        return _log_probabilities(np.ones((asked.shape[0], 1)), label[:1], classes)
    model = LogisticRegression(C=1 / (penalty * len(label)), max_iter=200, tol=1e-3)
    with _unfinished_is_fine():
        model.fit(known, label)
    return _log_probabilities(model.predict_proba(asked), model.classes_, classes)


@contextmanager
def _unfinished_is_fine() -> Iterator[None]:
    """Keep scikit-learn quiet about reaching the iteration limit, which is there to bound the time."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _log_probabilities(probabilities: np.ndarray, present: np.ndarray, classes: int) -> Tensor:
    """(examples, present classes) probabilities as (examples, classes) logarithms, floored for classes never seen."""
    spread = np.zeros((len(probabilities), classes))
    spread[:, present] = probabilities
    return torch.from_numpy(np.log(np.maximum(spread, FLOOR))).float()


def _pixels(images: np.ndarray | Rows, which: np.ndarray) -> np.ndarray:
    """Some of (examples, side, side, channels) uint8 as (which, pixels) float32 from 0 to 1, shrunk by area averaging."""

    def shrunk(some: slice) -> np.ndarray:
        piece = torch.from_numpy(np.array(images[which[some]])).permute(0, 3, 1, 2).float() / 255
        return adaptive_avg_pool2d(piece, (min(SIDE, piece.shape[2]), min(SIDE, piece.shape[3]))).flatten(1).numpy()

    # A few at a time, so that neither large pictures nor their float copy must fit in memory.
    return put_together(len(which), shrunk, 512)


def _columns(inputs: Arrays, filled: bool = False) -> np.ndarray:
    """Numbers, NaN where they are missing unless ``filled``, then category codes: (examples, columns) float64."""
    numbers = inputs["numbers"].astype(np.float64)
    if "missing" in inputs and not filled:
        numbers[inputs["missing"]] = np.nan
    return np.concatenate([numbers, inputs["categories"].astype(np.float64)], 1)


def _length(inputs: Arrays) -> int:
    return len(next(iter(inputs.values())))
