"""Metrics of object detection: boxes with scores and true boxes in, one value out; and the exhibits that go with them.

    outputs                   (images, most, 6) left, top, right, bottom, score, class; best score first, the first
                              100 of an image count; a score of 0 is padding
    targets["boxes"]          (images, longest, 6) left, top, right, bottom, class, ignored
    targets["boxes_lengths"]  (images,) int64, how many true boxes an image has; what comes behind is padding

Coordinates are pixels of the original image. Ignored boxes (a crowd in COCO, a difficult object in Pascal VOC) need not be
found, and a detection on them counts neither as right nor as wrong.

Average precision agrees with that of the COCO evaluator (a test holds this), but takes many sets of weights at once, for
the bootstrap: a detection is matched within its image, so the matching is done once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.exhibits import Exhibit, Matrix, Rows
from lamina.metrics.metric import Metric, Score, scores, wilson

MOST: Final = 100
"""Detections of an image that count."""
OVERLAPS: Final = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""The overlaps that COCO averages over: 0.50, 0.55, ... 0.95."""
SIZES: Final = (("small, up to 32 × 32", 0.0, 32.0**2), ("medium", 32.0**2, 96.0**2), ("large", 96.0**2, np.inf))
"""COCO's sizes of objects: name, area from, area up to, in square pixels."""
LARGEST_TABLE: Final = 30
"""Classes up to which each gets an interval, which takes a thousand resamples."""

_RECALLS: Final = torch.from_numpy(np.linspace(0, 1, 101))
_RIGHT, _IGNORED = 1, 2
_CHUNK = 2**22  # numbers held at once: 32 MiB of float64


def detection(classes: int, threshold: float) -> dict[str, Metric]:
    """The metrics of detection, the one that chooses the best epoch first.

    Args:
        classes: how many there are.
        threshold: score from which a detection counts in the metrics that need a decision.
    """
    return {
        "mAP50-95": MeanAveragePrecision(classes, OVERLAPS),
        "mAP50": MeanAveragePrecision(classes, [0.5]),
        "mAP75": MeanAveragePrecision(classes, [0.75]),
        "box_precision": AtThreshold("precision", threshold),
        "box_recall": AtThreshold("recall", threshold),
        "box_f1": AtThreshold("f1", threshold),
        "mistakes_per_image": AtThreshold("mistakes", threshold),
    }


class MeanAveragePrecision(Metric):
    """Area under the curve of precision over recall, mean over overlaps and classes (Everingham et al. 2010, Lin et al.
    2014): the COCO evaluator's, for boxes of all sizes. A class without a true box in the set is left out of the mean.
    """

    better = "higher"
    pools = True

    def __init__(self, classes: int, thresholds: Sequence[float], of: int | None = None) -> None:
        """Of all ``classes``, or of the one with index ``of``; ``thresholds``: overlaps (IoU) that make a match."""
        self.classes, self.thresholds, self.of = classes, tuple(thresholds), of
        self.share = of is None  # all or nothing in every image is no proof of perfection

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(images, 200 + classes): the score of each detection; its class and how it did; true boxes per class."""
        found, truths = _on_cpu(outputs, targets)
        partner = _match(found, truths, self.thresholds)  # (images, detections, thresholds)
        status = np.where(partner < 0, 0, np.where(_at(truths[..., 5] > 0, partner), _IGNORED, _RIGHT))
        code = found[..., 5].astype(np.int64)  # the class, then two bits for each overlap
        for one in np.moveaxis(status, 2, 0):
            code = code << 2 | one
        rows = np.zeros((len(found), 2 * MOST + self.classes))
        counts = found[..., 4] > 0
        rows[:, : found.shape[1]] = found[..., 4] * counts
        rows[:, MOST : MOST + found.shape[1]] = code * counts
        image, place = np.nonzero(_wanted(truths))
        np.add.at(rows, (image, 2 * MOST + truths[image, place, 4].astype(np.int64)), 1)
        return torch.from_numpy(rows)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): the mean over the classes; NaN without a true box."""
        score, code, truths = rows[:, :MOST], rows[:, MOST : 2 * MOST], rows[:, 2 * MOST :]
        image, place = np.nonzero(score.numpy() > 0)  # image by image, and in each from the best: the order of ties
        scored, codes = score.numpy()[image, place], code.numpy()[image, place].astype(np.int64)
        shifts = 2 * np.arange(len(self.thresholds) - 1, -1, -1)
        kinds, areas = codes >> 2 * len(self.thresholds), []
        for kind in range(self.classes) if self.of is None else [self.of]:
            if truths[:, kind].any():
                own = np.flatnonzero(kinds == kind)
                own = own[np.argsort(-scored[own], kind="stable")]
                status = codes[own] >> shifts[:, None] & 3  # (thresholds, detections)
                areas.append(_average_precision(status, image[own], truths[:, kind].contiguous(), weights))
        return torch.stack(areas, 1).nanmean(1) if areas else torch.full((len(weights),), torch.nan).double()


class AtThreshold(Metric):
    """What is counted once a score decides which detections are shown; at an overlap of 0.5, all classes together.

    Precision is the share of the shown detections that are right, recall the share of the true boxes that are found, F1
    their harmonic mean (NaN where there is nothing to share), mistakes the mean of an image's false alarms and misses.
    """

    def __init__(self, what: Literal["precision", "recall", "f1", "mistakes"], threshold: float) -> None:
        self.what, self.threshold = what, threshold
        self.better = "lower" if what == "mistakes" else "higher"
        self.share = what != "mistakes"  # when all resamples agree, each image counts as one trial

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(images, 4): mistakes, right detections, false alarms, missed boxes."""
        judged = matched(outputs, targets, self.threshold)
        right, alarms, missed = (part.sum(1) for part in (judged.right, judged.alarms, judged.missed))
        return torch.from_numpy(np.stack([alarms + missed, right, alarms, missed], 1).astype(np.float64))

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): right / (right + what is wrong), or the mean of the mistakes."""
        mistakes, right, alarms, missed = (weights @ rows).unbind(1)
        if self.what == "mistakes":
            return mistakes / weights.sum(1)
        return right / (right + {"precision": alarms, "recall": missed, "f1": mistakes / 2}[self.what])


def best_threshold(outputs: Tensor, targets: Tensors) -> float:
    """The score from which detections should count for the best F1 at an overlap of 0.5; 0.5 where nothing is right.

    Of equal ones the highest, halfway to the next score below, so that scores like the last one are on the same side.

    Args:
        outputs: (images, most, 6).
        targets: ``boxes`` and ``boxes_lengths``, of the validation part.
    """
    found, _ = _on_cpu(outputs, targets)
    judged = matched(outputs, targets, 0.0)
    counted = judged.right | judged.alarms
    order = np.argsort(-found[..., 4][counted], kind="stable")
    score, right = found[..., 4][counted][order], judged.right[counted][order].cumsum()
    if not len(right) or right[-1] == 0:
        return 0.5
    below = np.append(score[1:], 0.0)
    f1 = 2 * right / (np.arange(len(right)) + 1 + judged.wanted.sum())
    best = np.argmax(np.where(score > below, f1, -1.0))  # equal scores count together
    return float((score[best] + below[best]) / 2)


@dataclass(frozen=True)
class Matched:
    """How every detection and every true box did, at one score and an overlap of 0.5."""

    right: np.ndarray
    """(images, detections) bool."""
    alarms: np.ndarray
    """(images, detections) bool: the false ones. What is neither counts neither way."""
    partner: np.ndarray
    """(images, detections) int64, place of the true box that a detection found; -1 for none."""
    wanted: np.ndarray
    """(images, boxes) bool: true boxes that should be found, neither padding nor ignored."""
    missed: np.ndarray
    """(images, boxes) bool: those that no detection found."""


def matched(outputs: Tensor, targets: Tensors, threshold: float) -> Matched:
    """Say which detections are right at an overlap of 0.5, which are false alarms, and what is missed.

    Args:
        outputs: (images, most, 6).
        targets: ``boxes`` and ``boxes_lengths``.
        threshold: score from which a detection counts.
    """
    found, truths = _on_cpu(outputs, targets)
    partner = _match(found, truths, [0.5])[..., 0]
    shown = (found[..., 4] > 0) & (found[..., 4] >= threshold)
    right = shown & (partner >= 0) & ~_at(truths[..., 5] > 0, partner)
    wanted = _wanted(truths)
    missed = wanted & ~_reached(np.where(right, partner, -1), wanted)
    return Matched(right, shown & (partner < 0), np.where(right, partner, -1), wanted, missed)


def exhibits(outputs: Tensor, targets: Tensors, class_names: list[str], threshold: float) -> list[Exhibit]:
    """What an evaluation of detection shows: scores per class, recall by size, and confusions.

    Args:
        outputs: (images, most, 6).
        targets: ``boxes`` and ``boxes_lengths``.
        class_names: in the order of the class indices.
        threshold: score from which a detection counts.
    """
    judged = matched(outputs, targets, threshold)
    return [
        _per_class(outputs, targets, judged, class_names, threshold),
        _by_size(targets, judged),
        _confusion(outputs, targets, judged, class_names),
    ]


def _per_class(outputs: Tensor, targets: Tensors, judged: Matched, names: list[str], threshold: float) -> Rows:
    """How well each class is found, the worst first."""
    found, truths = _on_cpu(outputs, targets)
    classes, intervals = len(names), len(names) <= LARGEST_TABLE
    metrics: dict[str, Metric] = {}
    rows: dict[str, Tensor] = {}
    for title, overlaps in (("AP50", [0.5]), ("AP50-95", OVERLAPS)):
        observed = MeanAveragePrecision(classes, overlaps).observe(outputs, targets)
        for of in range(classes):
            metrics[f"{title} {of}"], rows[f"{title} {of}"] = MeanAveragePrecision(classes, overlaps, of), observed
    reached = scores(metrics, rows) if intervals else {name: metrics[name].value(rows[name]) for name in metrics}
    table: list[list[str | float | None]] = []
    for of, name in enumerate(names):
        own = judged.wanted & (truths[..., 4] == of)
        boxes, images = int(own.sum()), int(own.any(1).sum())
        right, alarms = (int((part & (found[..., 5] == of)).sum()) for part in (judged.right, judged.alarms))
        cells = [cell for title in ("AP50", "AP50-95") for cell in _cells(reached[f"{title} {of}"], images)]
        table.append([name, boxes, images, *cells, _ratio(right, right + alarms), _ratio(right, boxes)])
    chosen = 5 if intervals else 4  # the column of AP50-95
    between = ["95 % interval"] if intervals else []
    return Rows(
        "Class by class",
        "AP50: how well the boxes of a class are found, from 0 to 1, whatever score one would ask of a detection (the area "
        "under precision over recall), where a box is right that covers the object by half (IoU 0.5). AP50-95: the same "
        "where boxes must fit better and better, up to 0.95. Precision: how much of what was called this class is of it. "
        f"Recall: how much of the class was found; both count detections with a score of {threshold:.2g} or more. The "
        "worst class stands first.",
        ["class", "boxes", "images", "AP50", *between, "AP50-95", *between, "precision", "recall"],
        sorted(table, key=lambda row: (row[chosen] is None, row[chosen])),
    )


def _cells(score: Score | float, images: int) -> list[float | str | None]:
    """A class's score and, where there is one, its interval; the class is in ``images``."""
    if isinstance(score, float):
        return [None if np.isnan(score) else score]
    if np.isnan(score.value):
        return [None, None]
    agree = score.low == score.high or np.isnan(score.low)  # all images do, or there is only one
    low, high = wilson(score.value, images) if agree else (score.low, score.high)
    return [score.value, f"{low:.3f} to {high:.3f}"]


def _by_size(targets: Tensors, judged: Matched) -> Rows:
    """Which share of the true boxes is found, by their area."""
    truths = targets["boxes"].cpu().double().numpy()
    area = (truths[..., 2] - truths[..., 0]) * (truths[..., 3] - truths[..., 1])
    table: list[list[str | int | float | None]] = []
    for name, least, most in SIZES:
        own = judged.wanted & (area >= least) & (area < most)
        boxes, found = int(own.sum()), int((own & ~judged.missed).sum())
        table.append([name, boxes, found, _ratio(found, boxes)])
    return Rows(
        "Small and large objects",
        "Which share of the objects is found (recall), by the area of their boxes in pixels of the original image.",
        ["size", "boxes", "found", "recall"],
        table,
    )


def _confusion(outputs: Tensor, targets: Tensors, judged: Matched, names: list[str]) -> Matrix:
    """Which classes are taken for which: first what is right, as the metrics have it; then the rest, whatever the class."""
    found, truths = _on_cpu(outputs, targets)
    shown, lost = found.copy(), truths.copy()
    shown[..., 4] *= judged.alarms
    shown[..., 5] = 0
    lost[..., 4] = np.where(judged.missed, 0, -1)
    taken = _match(shown, lost, [0.5])[..., 0]  # (images, detections) place of a true box of another class
    partner, nothing = np.where(judged.right, judged.partner, taken), len(names)
    true = np.where(partner < 0, nothing, _at(truths[..., 4], partner)).astype(np.int64)
    counts = np.zeros((nothing + 1, nothing + 1))
    one = judged.right | judged.alarms
    np.add.at(counts, (true[one], found[..., 5][one].astype(np.int64)), 1)
    missed = truths[..., 4][judged.missed & ~_reached(taken, judged.missed)].astype(np.int64)
    np.add.at(counts, (missed, nothing), 1)
    return Matrix(
        "Confusion between classes",
        "Each row is a true class; the columns say what its objects were taken for. The diagonal is right. Last column: "
        "missed, nothing was found there. Last row: false alarms, where nothing is.",
        [*names, "missed or false alarm"],
        [*names, "missed or false alarm"],
        counts.tolist(),
    )


def _wanted(truths: np.ndarray) -> np.ndarray:
    """(images, boxes) bool: true boxes, neither padding nor ignored."""
    wanted: np.ndarray = (truths[..., 4] >= 0) & (truths[..., 5] == 0)
    return wanted


def _at(values: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """The value of each detection's true box, zero without one: (images, boxes) at (images, ...)."""
    image = np.arange(len(values)).reshape(-1, *[1] * (partner.ndim - 1))
    chosen: np.ndarray = np.pad(values, ((0, 0), (0, 1)))[image, partner]  # -1, the last one, is the padding
    return chosen


def _reached(partner: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """(images, boxes) bool, shaped like ``truths``: whether a detection has this partner."""
    reached = np.zeros((len(truths), truths.shape[1] + 1), bool)
    reached[np.arange(len(truths))[:, None], partner] = True
    return reached[:, :-1]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _on_cpu(outputs: Tensor, targets: Tensors) -> tuple[np.ndarray, np.ndarray]:
    """Detections (images, at most 100, 6) and true boxes (images, longest, 6), float64; the class of padding is -1."""
    truths = targets["boxes"].detach().cpu().double().numpy().copy()
    padding = np.arange(truths.shape[1]) >= targets["boxes_lengths"].cpu().numpy()[:, None]
    truths[..., 4][padding] = -1
    return outputs[:, :MOST].detach().cpu().double().numpy(), truths


def _match(found: np.ndarray, truths: np.ndarray, overlaps: Sequence[float]) -> np.ndarray:
    """Give each detection a true box of its class, the best detection choosing first, as the COCO evaluator does.

    It takes the free box that it overlaps most, the last of equal ones; an ignored box, which stays free, only if there
    is no other.

    Args:
        found: (images, detections, 6).
        truths: (images, boxes, 6).
        overlaps: the least intersection over union of a match, one or several.

    Returns:
        (images, detections, overlaps) int64: place of the true box, -1 for none.
    """
    least = np.minimum(overlaps, 1 - 1e-10)
    partner = np.full((*found.shape[:2], len(least)), -1)
    at_once = max(1, _CHUNK // max(1, 4 * found.shape[1] * truths.shape[1]))
    for start in range(0, len(found), at_once):
        piece = slice(start, start + at_once)
        union = _overlap(found[piece], truths[piece])  # (images, detections, boxes)
        ignored = truths[piece, :, 5] > 0
        free = np.ones((len(union), len(least), truths.shape[1]), bool)
        for rank in np.flatnonzero((union >= least.min()).any((0, 2))):
            image = np.flatnonzero((union[:, rank] >= least.min()).any(1))
            offered = union[image, rank][:, None]  # (some images, 1, boxes)
            open_ = (offered >= least[:, None]) & free[image]
            wish = np.where(open_, offered - 2 * ignored[image][:, None], -3)  # ignored: from -2 to -1
            chosen = wish.shape[2] - 1 - wish[..., ::-1].argmax(2)  # (some images, overlaps)
            matches = open_.any(2)
            partner[start + image, rank] = np.where(matches, chosen, -1)
            which, at = np.nonzero(matches & ~_at(ignored[image], chosen))
            free[image[which], at, chosen[which, at]] = False
    return partner


def _overlap(found: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Intersection over union, (images, detections, boxes); of an ignored box, over the detection; -1 between classes."""
    one, other = torch.from_numpy(found)[:, :, None], torch.from_numpy(truths)[:, None]  # torch: NaN without a warning
    size = torch.minimum(one[..., 2:4], other[..., 2:4]) - torch.maximum(one[..., :2], other[..., :2])
    common = size.clamp(min=0).prod(-1)
    area, true = ((box[..., 2:4] - box[..., :2]).prod(-1) for box in (one, other))
    share = common / torch.where(other[..., 5] > 0, area, area + true - common)
    same = (one[..., 5] == other[..., 4]) & (one[..., 4] > 0) & (common > 0)
    return torch.where(same, share, -1.0).numpy()


def _average_precision(status: np.ndarray, image: np.ndarray, truths: Tensor, weights: Tensor) -> Tensor:
    """Of one class: precision at 101 recalls, each the best that is reached there or beyond; the mean of that.

    Only right detections are looked at: between them precision falls and recall rests.

    Args:
        status: (thresholds, detections), how each did; best score first.
        image: (detections,) the image of each.
        truths: (images,) its true boxes.
        weights: (sets, images).

    Returns:
        (sets,); NaN in a set without a true box.
    """
    last = 1 + int(np.flatnonzero((status == _RIGHT).any(0)).max(initial=-1))
    status, image = status[:, :last], image[:last]
    areas = torch.zeros(len(weights), dtype=torch.float64)
    at_once = max(1, _CHUNK // max(1, last))
    for piece in (slice(start, start + at_once) for start in range(0, len(weights), at_once)):
        own = weights[piece].numpy().take(image, 1)  # (sets, detections)
        boxes = (weights[piece] @ truths)[:, None]
        seen = own.cumsum(1)
        for row in status:
            right = np.flatnonzero(row == _RIGHT)
            if not len(right):
                continue
            counted = (own * (row != _IGNORED)).cumsum(1) if (row == _IGNORED).any() else seen
            hits = own.take(right, 1).cumsum(1)  # (sets, right)
            precision = hits / counted.take(right, 1).clip(1)
            best = np.zeros((len(hits), len(right) + 1))  # the last one: recalls that are not reached
            best[:, :-1] = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
            place = torch.searchsorted(torch.from_numpy(hits) / boxes, _RECALLS.expand(len(hits), -1).contiguous())
            areas[piece] += torch.from_numpy(best).gather(1, place).mean(1)
    return torch.where(weights @ truths > 0, areas / len(status), torch.nan)
