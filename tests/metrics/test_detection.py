"""Average precision is the COCO evaluator's, with ties, crowds and empty images; counts and exhibits are true."""

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from lamina.batch import Tensors
from lamina.exhibits import Matrix, Rows
from lamina.metrics import detection as ours
from lamina.metrics.metric import score

CLASSES = 4  # the last one has no true boxes

Case = tuple[Tensor, Tensors]


def case(seed: int, images: int = 12, most: int = 30, ties: bool = True) -> Case:
    """Clusters of true boxes, some ignored; detections near them or anywhere; empty images; classes that are confused."""
    random = np.random.default_rng(seed)
    outputs, boxes = np.zeros((images, most, 6), np.float32), np.zeros((images, 9, 6), np.float32)
    lengths = random.integers(0, 10, images)
    lengths[0] = 0
    for image in range(images):
        corner, extent = random.integers(0, 60, (9, 2)), random.integers(4, 50, (9, 2))
        truths = np.concatenate([corner, corner + extent, random.integers(0, CLASSES - 1, (9, 1))], 1)
        boxes[image, :, :5] = truths
        boxes[image, :, 5] = random.random(9) < 0.2
        boxes[image, lengths[image] :] = 0
        count = 0 if image == 1 else int(random.integers(0, most + 1))
        near = truths[random.integers(0, max(1, lengths[image]), count)]
        outputs[image, :count, :4] = near[:, :4] + random.integers(-4, 5, (count, 4)) * (
            random.random((count, 1)) < 0.8
        )
        outputs[image, :count, 2:4] = np.maximum(outputs[image, :count, 2:4], outputs[image, :count, :2])
        scores = np.sort(random.random(count))[::-1]
        outputs[image, :count, 4] = np.ceil(scores * 8) / 8 if ties else scores
        outputs[image, :count, 5] = np.where(random.random(count) < 0.8, near[:, 4], random.integers(0, CLASSES, count))
    return torch.from_numpy(outputs), {"boxes": torch.from_numpy(boxes), "boxes_lengths": torch.from_numpy(lengths)}


def empty(images: int = 3) -> Case:
    """Neither detections nor true boxes."""
    return torch.zeros(images, 5, 6), {"boxes": torch.zeros(images, 0, 6), "boxes_lengths": torch.zeros(images).long()}


def boxes_of(*boxes: list[float]) -> Tensors:
    """The true boxes of one image: left, top, right, bottom, class, ignored."""
    return {"boxes": torch.tensor([boxes]), "boxes_lengths": torch.tensor([len(boxes)])}


def coco(outputs: Tensor, targets: Tensors) -> np.ndarray:
    """The COCO evaluator's average precision, (overlaps, classes); -1 where there is no true box."""
    truths, found = [], []
    for image, (boxes, length) in enumerate(zip(targets["boxes"].tolist(), targets["boxes_lengths"], strict=True)):
        for left, top, right, bottom, kind, ignored in boxes[:length]:
            box = [left, top, right - left, bottom - top]
            truths.append({"image_id": image, "category_id": int(kind), "bbox": box, "iscrowd": int(ignored)})
    for image, detections in enumerate(outputs.tolist()):
        for left, top, right, bottom, certain, kind in detections:
            if certain > 0:
                box = [left, top, right - left, bottom - top]
                found.append({"image_id": image, "category_id": int(kind), "bbox": box, "score": certain})
    for annotations in (truths, found):
        for place, annotation in enumerate(annotations):
            annotation |= {"id": place + 1, "area": annotation["bbox"][2] * annotation["bbox"][3]}
    categories = [{"id": kind} for kind in range(CLASSES)]
    sides = [COCO(), COCO()]
    with contextlib.redirect_stdout(io.StringIO()):
        for side, annotations in zip(sides, (truths, found), strict=True):
            images = [{"id": image} for image in range(len(outputs))]
            side.dataset = {"images": images, "annotations": annotations, "categories": categories}
            side.createIndex()
        evaluator = COCOeval(*sides, "bbox")
        evaluator.params.maxDets = [100]
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"].mean(1)[:, :, 0, 0]


def mean(precisions: np.ndarray) -> float:
    """Over what is defined."""
    return float(precisions[precisions > -1].mean()) if (precisions > -1).any() else float("nan")


def value(metric: ours.MeanAveragePrecision, outputs: Tensor, targets: Tensors) -> float:
    return metric.value(metric.observe(outputs, targets))


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_is_the_coco_evaluators(seed: int, ties: bool) -> None:
    outputs, targets = case(seed, ties=ties)
    expected, metrics = coco(outputs, targets), ours.detection(CLASSES, 0.5)
    for name, of in (("mAP50-95", slice(None)), ("mAP50", slice(0, 1)), ("mAP75", slice(5, 6))):
        rows = metrics[name].observe(outputs, targets)
        assert metrics[name].value(rows) == pytest.approx(mean(expected[of]), abs=1e-9)
    for kind in range(CLASSES):
        for overlaps, of in ((ours.OVERLAPS, slice(None)), ([0.5], slice(0, 1))):
            own = value(ours.MeanAveragePrecision(CLASSES, overlaps, kind), outputs, targets)
            assert own == pytest.approx(mean(expected[of, kind : kind + 1]), abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("what", ["nothing", "no truths", "no detections", "ignored only", "perfect", "flat boxes"])
def test_average_precision_at_the_edges_is_the_coco_evaluators(what: str) -> None:
    outputs, targets = empty() if what == "nothing" else case(3)
    if what == "no truths":
        targets["boxes_lengths"] = torch.zeros_like(targets["boxes_lengths"])
    elif what == "no detections":
        outputs = torch.zeros_like(outputs)
    elif what == "ignored only":
        targets["boxes"][..., 5] = 1
    elif what == "perfect":
        outputs = torch.cat([targets["boxes"][..., :4], torch.ones(12, 9, 1), targets["boxes"][..., 4:5]], 2)
        outputs[torch.arange(9) >= targets["boxes_lengths"][:, None]] = 0
    elif what == "flat boxes":
        outputs[..., 2], targets["boxes"][:, ::2, 3] = outputs[..., 0], targets["boxes"][:, ::2, 1]
    own = value(ours.MeanAveragePrecision(CLASSES, ours.OVERLAPS), outputs, targets)
    assert own == pytest.approx(mean(coco(outputs, targets)), abs=1e-9, nan_ok=True)


def test_a_detection_takes_the_best_free_box_and_an_ignored_one_only_if_there_is_no_other() -> None:
    targets = boxes_of([0, 0, 10, 10, 0, 0], [0, 0, 10, 8, 0, 0], [0, 0, 100, 100, 0, 1])
    box = [0.0, 0, 10, 10]
    outputs = torch.tensor([[[*box, certain, 0] for certain in (0.9, 0.8, 0.7, 0.6)] + [[50.0, 50, 150, 60, 0.5, 0]]])
    judged = ours.matched(outputs, targets, 0.1)
    assert judged.partner.tolist() == [[0, 1, -1, -1, -1]]
    assert judged.right.tolist() == [[True, True, False, False, False]]
    assert judged.alarms.tolist() == [[False] * 5]  # even the last lies half upon the ignored one
    assert judged.missed.tolist() == [[False, False, False]]
    assert judged.wanted.tolist() == [[True, True, False]]
    assert ours.matched(outputs, targets, 0.85).missed.tolist() == [[False, True, False]]


def test_of_two_boxes_that_fit_equally_the_last_is_taken_as_by_the_coco_evaluator() -> None:
    targets = boxes_of([0, 0, 10, 10, 0, 0], [4, 0, 14, 10, 0, 0])
    outputs = torch.tensor([[[2.0, 0, 12, 10, 0.9, 0], [0, 0, 9, 10, 0.8, 0]]])
    assert ours.matched(outputs, targets, 0.5).partner.tolist() == [[1, 0]]
    own = value(ours.MeanAveragePrecision(CLASSES, [0.5]), outputs, targets)
    assert own == pytest.approx(coco(outputs, targets)[0, 0], abs=1e-9)


@pytest.mark.parametrize("name", ours.detection(CLASSES, 0.4))
def test_weights_repeat_images(name: str) -> None:
    metric = ours.detection(CLASSES, 0.4)[name]
    outputs, targets = case(5, ties=False)
    weights = np.random.default_rng(1).integers(0, 4, (6, 12))
    weights[0] = 1
    values = metric.values(metric.observe(outputs, targets), torch.from_numpy(weights).double())
    for weight, got in zip(weights, values.tolist(), strict=True):
        often = torch.from_numpy(weight)
        repeated = {key: tensor.repeat_interleave(often, 0) for key, tensor in targets.items()}
        rows = metric.observe(outputs.repeat_interleave(often, 0), repeated)
        assert got == pytest.approx(metric.value(rows), abs=1e-9)
    assert len(set(values.tolist())) > 3


def test_a_set_without_a_true_box_has_no_average_precision() -> None:
    outputs, targets = case(5)
    metric = ours.MeanAveragePrecision(CLASSES, ours.OVERLAPS)
    weights = torch.eye(12).double()
    undefined = metric.values(metric.observe(outputs, targets), weights).isnan()
    wanted = [(row[:n, 5] == 0).any() for row, n in zip(targets["boxes"], targets["boxes_lengths"], strict=True)]
    assert undefined.tolist() == [not some for some in wanted]
    assert undefined[0]
    assert not undefined.all()


@pytest.mark.parametrize("name", ours.detection(CLASSES, 0.4))
def test_rows_do_not_depend_on_the_batch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = ours.detection(CLASSES, 0.4)[name]
    outputs, targets = case(6)
    rows = metric.observe(outputs, targets)
    assert rows.dtype == torch.float64
    alone = []
    for image in range(len(outputs)):
        length = int(targets["boxes_lengths"][image])
        own = {"boxes": targets["boxes"][image : image + 1, :length], "boxes_lengths": torch.tensor([length])}
        alone.append(metric.observe(outputs[image : image + 1, : max(1, int((outputs[image, :, 4] > 0).sum()))], own))
    assert torch.equal(rows, torch.cat(alone))
    weights = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (7, 12))).double()
    values = metric.values(rows, weights)
    monkeypatch.setattr(ours, "_CHUNK", 50)  # many small pieces
    assert torch.equal(metric.observe(outputs, targets), rows)
    torch.testing.assert_close(metric.values(rows, weights), values, rtol=0, atol=1e-12)


def test_a_hundred_detections_count() -> None:
    outputs, targets = case(7, images=4, most=140, ties=False)
    metric = ours.MeanAveragePrecision(CLASSES, ours.OVERLAPS)
    assert (outputs[:, 100:, 4] > 0).any()
    assert torch.equal(metric.observe(outputs, targets), metric.observe(outputs[:, :100], targets))
    assert not torch.equal(metric.observe(outputs, targets), metric.observe(outputs[:, :99], targets))


def test_counts_at_a_threshold() -> None:
    outputs, targets = case(8)
    judged = ours.matched(outputs, targets, 0.5)
    right, alarms, missed = int(judged.right.sum()), int(judged.alarms.sum()), int(judged.missed.sum())
    assert min(right, alarms, missed) > 5
    assert right + missed == int(judged.wanted.sum())
    assert judged.right.sum() < (outputs[..., 4] >= 0.5).sum() - alarms  # some lie on ignored boxes
    metrics = ours.detection(CLASSES, 0.5)
    got = {name: metric.value(metric.observe(outputs, targets)) for name, metric in metrics.items()}
    assert got["box_precision"] == pytest.approx(right / (right + alarms))
    assert got["box_recall"] == pytest.approx(right / (right + missed))
    assert got["box_f1"] == pytest.approx(2 * right / (2 * right + alarms + missed))
    assert got["mistakes_per_image"] == pytest.approx((alarms + missed) / 12)
    worst = metrics["mistakes_per_image"].observe(outputs, targets)[:, 0]
    assert worst.tolist() == (judged.alarms.sum(1) + judged.missed.sum(1)).tolist()
    assert metrics["mistakes_per_image"].better == "lower"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("ties", [False, True])
def test_the_best_threshold_is_the_best(seed: int, ties: bool) -> None:
    outputs, targets = case(seed, ties=ties)

    def f1(threshold: float) -> float:
        metric = ours.AtThreshold("f1", threshold)
        return metric.value(metric.observe(outputs, targets))

    best = ours.best_threshold(outputs, targets)
    tried = [f1(certain) for certain in outputs[..., 4].unique().tolist()]
    assert f1(best) == pytest.approx(max(tried), abs=1e-12)
    assert not (outputs[..., 4] == best).any()


def test_without_anything_right_the_threshold_is_a_half() -> None:
    assert ours.best_threshold(*empty()) == 0.5
    outputs, targets = case(2)
    targets["boxes_lengths"] = torch.zeros_like(targets["boxes_lengths"])
    assert ours.best_threshold(outputs, targets) == 0.5


def test_exhibits_tell_the_truth() -> None:
    outputs, targets = case(13)  # the order by AP50 is another than by AP50-95
    names = ["cat", "dog", "owl", "eel"]
    table, sizes, confusion = ours.exhibits(outputs, targets, names, 0.5)
    judged, expected = ours.matched(outputs, targets, 0.5), coco(outputs, targets)
    assert isinstance(table, Rows)
    assert [len(row) for row in table.rows] == [len(table.columns)] * 4
    assert table.rows[-1] == ["eel", 0, 0, None, None, None, None, 0.0, None]
    worst = [row[5] for row in table.rows[:3]]
    assert worst == sorted(worst)
    for name, boxes, images, ap50, _, ap, interval, precision, recall in table.rows[:3]:
        kind = names.index(name)
        own = judged.wanted & (targets["boxes"][..., 4] == kind).numpy()
        said = (outputs[..., 5] == kind).numpy()
        assert (boxes, images) == (own.sum(), own.any(1).sum())
        assert (ap50, ap) == pytest.approx((expected[0, kind], expected[:, kind].mean()), abs=1e-9)
        metric = ours.MeanAveragePrecision(CLASSES, ours.OVERLAPS, kind)
        reached = score(metric, metric.observe(outputs, targets))
        assert interval == f"{reached.low:.3f} to {reached.high:.3f}"
        assert precision == (judged.right & said).sum() / ((judged.right | judged.alarms) & said).sum()
        assert recall == (judged.right & said).sum() / own.sum()
    assert isinstance(sizes, Rows)
    assert sum(row[1] for row in sizes.rows) == judged.wanted.sum()
    assert sum(row[2] for row in sizes.rows) == judged.right.sum()
    assert isinstance(confusion, Matrix)
    counts = np.array(confusion.values)
    assert counts[-1, -1] == 0
    assert np.trace(counts) == judged.right.sum()
    assert counts[:-1].sum() == judged.wanted.sum()
    assert counts[:, :-1].sum() == judged.right.sum() + judged.alarms.sum()


def test_a_mistaken_class_is_a_confusion_and_sizes_are_told_apart() -> None:
    targets = boxes_of([0, 0, 31, 33, 0, 0], [0, 0, 32, 32, 1, 0], [200, 0, 296, 96, 1, 0], [0, 200, 9, 209, 0, 1])
    detections = [
        [0.0, 0, 31, 33, 0.9, 0],
        [200, 0, 296, 96, 0.8, 0],
        [400, 0, 410, 10, 0.7, 1],
        [0, 200, 9, 209, 0.6, 1],
    ]
    _, sizes, confusion = ours.exhibits(torch.tensor([detections]), targets, ["cat", "dog"], 0.5)
    assert isinstance(confusion, Matrix)
    assert confusion.values == [[1, 0, 0], [1, 0, 1], [0, 2, 0]]
    assert isinstance(sizes, Rows)
    assert [row[1:] for row in sizes.rows] == [[1, 1, 1.0], [1, 0, 0.0], [1, 0, 0.0]]


def test_many_classes_get_no_intervals() -> None:
    outputs, targets = case(9)
    table = ours.exhibits(outputs, targets, [str(kind) for kind in range(31)], 0.5)[0]
    assert isinstance(table, Rows)
    assert len(table.columns) == len(table.rows[0]) == 7
    worst = [row[4] for row in table.rows if row[4] is not None]
    assert worst == sorted(worst)


def test_perfection_in_few_images_is_no_proof() -> None:
    targets = boxes_of([0, 0, 9, 9, 0, 0])
    outputs = torch.tensor([[[0.0, 0, 9, 9, 0.9, 0]]])
    table = ours.exhibits(outputs, targets, ["cat"], 0.5)[0]
    assert isinstance(table, Rows)
    assert table.rows == [["cat", 1, 1, 1.0, "0.207 to 1.000", 1.0, "0.207 to 1.000", 1.0, 1.0]]


def test_broken_numbers_are_false_alarms_without_a_warning() -> None:
    outputs, targets = case(4)
    outputs[:, 0, :4], outputs[:, 1, :4] = torch.nan, torch.inf
    outputs[:, 2, 4] = torch.nan
    judged = ours.matched(outputs, targets, 0.0)
    assert not judged.right[:, :2].any()
    assert not (judged.right | judged.alarms)[:, 2].any()
    assert np.isfinite(value(ours.MeanAveragePrecision(CLASSES, ours.OVERLAPS), outputs, targets))
