"""Object detection: say which objects an image shows, and where.

On disk   COCO JSON, Pascal VOC, YOLO, or a table with a row per box
Network   any image backbone, a feature pyramid on it, and for each cell of its grids a box and a score per class
Answer    the boxes: class, score, and left, top, right, bottom in pixels of the image
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lamina import baselines
from lamina.batch import Batch, Loss, Tensors
from lamina.data import box_writing, detections, drawing, images, pictures, video
from lamina.data.box_targets import box_facts, box_targets
from lamina.data.boxes import Box
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.shapes_drawn import draw_shapes
from lamina.data.store import encode_each
from lamina.errors import DataError
from lamina.exhibits import Exhibit
from lamina.layers import augmentation, box_augmentation
from lamina.layers.assignment import assign
from lamina.layers.boxes import generalised_overlaps, select
from lamina.layers.detector import Detector
from lamina.layers.shapes import Image
from lamina.metrics import detection
from lamina.metrics.metric import Metric
from lamina.networks import pretrained
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Shown, Task

SAMPLE = 500  # images from which side, channels, mean and deviation are learned
SIDES = (224, 320, 416, 512)  # of the square that the network sees, in pixels
SEEN = 16  # pixels that the side of nearly every object should have in it
MOST = 100  # boxes per image, as in the COCO evaluation
CONSIDERED = 400  # pairs of a cell and a class that are looked at for them
LOWEST = 0.01  # score below which a box is never an answer
UNSETTLED = 0.3  # threshold of the metrics while training, before the validation part has chosen one
PLACE = 2.0  # weight of the boxes in the loss


@dataclass(frozen=True)
class ObjectDetection(Task):
    """Say which objects an image shows, and where."""

    default_network: ClassVar[str] = "cnn"
    forms: ClassVar[dict[str, str]] = {
        ".json": "COCO annotations with scores",
        "": "a folder with the images and videos, the boxes drawn on them",
    }

    side: int | None = None
    """Side of the square that the network sees, in pixels; chosen by the size of the objects otherwise."""
    flip: bool = True
    """Mirror half of the training images left to right."""
    scale: float = 1.5
    """How much smaller or larger a training image is shown at most; 1 for no change."""
    mosaic: float = 0.5
    """Chance that a training image is put together from parts of four."""
    colour: float = 0.2
    """Strength of random brightness, contrast and saturation, 0 to 1."""
    overlap: float = 0.6
    """Intersection over union from which two boxes of one class are taken for the same object."""

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """Annotations with boxes: COCO, Pascal VOC, YOLO, or a table of them."""
        known = detections.recognised(source)
        return None if known is None else Claim(*known)

    def read(self, source: Source) -> Data:
        """Find the images and their boxes."""
        return detections.read(source)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Image files, videos (each of their frames), folders of images, or arrays of pixels."""
        return pictures.gather(inputs, films=True)

    def facts(self, data: Data) -> Facts:
        """Classes, side, channels, and mean and deviation of the pixels."""
        raws = cast(np.ndarray, data.raws)
        chosen = np.linspace(0, len(data) - 1, min(SAMPLE, len(data))).astype(int)
        survey = images.survey(raws, SAMPLE)
        channels = 1 if survey and all(mode in pictures.GREY_MODES for _, _, mode in survey) else 3
        arrays, good, _ = encode_each(raws[chosen], lambda some: _encode(some, SIDES[0], channels))
        if arrays is None:
            raise DataError("none of its images can be read.", str(data.where[0]), "Check the files.")
        side, why = self._side(arrays["size"], data.answers[chosen[good]])
        return box_facts(data.answers) | {
            "notes": [f"The network sees squares of {side} pixels: {why}."],
            "side": side,
            **pictures.pixel_facts(arrays["image"]),
        }

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``image``: (examples, side, side, channels) uint8, grey where the image ends; ``size``: its width and height."""
        return _encode(raws, facts["side"], facts["channels"])

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """``boxes``: left, top, right, bottom in pixels of the image, class, and 1 for a box that does not count."""
        return box_targets(answers, facts)

    def takes(self, facts: Facts) -> Image:
        """Squares of the side and channels that the facts say."""
        return Image(facts["channels"], facts["side"])

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """Pixels → normalisation → backbone → pyramid → boxes and scores of all cells."""
        return Detector(backbone, facts["mean"], facts["deviation"], len(facts["classes"]))

    def usual_network(self) -> tuple[str, str]:
        """A pretrained one where an installed package ships its weights: nothing is downloaded unasked."""
        if pretrained.at_hand():
            return (
                "pretrained",
                "The network starts from weights learned on ImageNet, which an installed package ships.",
            )
        return self.default_network, (
            "The network starts from random weights, since none are at hand. It learns much more from few images with "
            f"--network pretrained: {pretrained.REMEDY}"
        )

    def augment(self, batch: Batch, facts: Facts, generator: torch.Generator) -> Batch:
        """Mirror, scale, move, mix as mosaics and colour, each image in its own way; the boxes go with it."""
        shown = batch.inputs["image"].permute(0, 3, 1, 2).float()  # (batch, channels, side, side), channels last
        size, side = batch.inputs["size"], facts["side"]
        factor = side / size.amax(1)  # pixels of the picture per pixel of the image
        boxes, lengths = batch.targets["boxes"].clone(), batch.targets["boxes_lengths"]
        boxes[..., :4] *= factor[:, None, None]
        extents = size * factor[:, None]
        if self.flip:
            shown, boxes = box_augmentation.mirror(shown, boxes, extents[:, 0], generator)
        if self.scale > 1 or self.mosaic:
            shown, boxes, lengths = box_augmentation.place(
                shown, boxes, lengths, extents, generator, self.scale, self.mosaic
            )
        if self.colour:
            shown = augmentation.colour(shown, generator, self.colour)
        inputs = {"image": shown.permute(0, 2, 3, 1), "size": torch.full_like(size, side)}
        return Batch(inputs, {"boxes": boxes, "boxes_lengths": lengths})

    def seen(self, batch: Batch, facts: Facts) -> np.ndarray:
        """The pictures, with the boxes that are to be found; dashed where an object does not count."""
        pixels = batch.inputs["image"].clamp(0, 255).byte().numpy()
        boxes, lengths = batch.targets["boxes"].numpy(), batch.targets["boxes_lengths"].tolist()
        return np.stack([
            drawing.draw(image, [
                drawing.Drawn(box[:4].tolist(), "", "missed" if box[5] else "right") for box in own[:length]
            ])
            for image, own, length in zip(pixels, boxes, lengths, strict=True)
        ])  # fmt: skip

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """Cross-entropy of the scores, and how far boxes are from the objects that their cells are for."""
        said = network(**batch.inputs)
        boxes, points, logits = said[..., :4], said[..., 4:6], said[..., 6:].float()
        truths, lengths = batch.targets["boxes"], batch.targets["boxes_lengths"]
        wanted = assign(boxes.detach(), logits.detach().sigmoid(), points, truths, lengths)
        scores = torch.zeros_like(logits).scatter(2, wanted.classes[..., None], wanted.scores[..., None])
        surprise = F.binary_cross_entropy_with_logits(logits, scores, reduction="none")
        what = (surprise * wanted.counts[..., None]).sum()
        where = ((1 - generalised_overlaps(boxes, wanted.boxes)) * wanted.scores).sum()
        objects = lengths.clamp(min=1).sum()  # an image without any has a say, too
        yield Loss("network", what + PLACE * where, objects, {"score": what.detach(), "box": where.detach()})

    def outputs(self, network: nn.Module, inputs: Tensors) -> Tensor:
        """The best boxes of each image, (batch, 100, 6): left, top, right, bottom, score, class; padded with zeros."""
        said = network(**inputs).float()
        limits = inputs["size"].repeat(1, 2)[:, None]  # (batch, 1, 4): width, height, width, height
        boxes = torch.minimum(said[..., :4].clamp(min=0), limits)
        return select(boxes, said[..., 6:].sigmoid(), MOST, CONSIDERED, LOWEST, self.overlap)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Mean average precision as COCO has it, first; then what the boxes above the threshold are worth."""
        return detection.detection(len(facts["classes"]), _threshold(facts))

    def settle(self, outputs: Tensor, targets: Tensors, facts: Facts) -> dict[str, Any]:
        """``threshold``: the score from which a box is shown, at which precision and recall together are best."""
        return {"threshold": detection.best_threshold(outputs, targets)}

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The boxes whose score reaches the threshold, by score."""
        classes, least = facts["classes"], _threshold(facts)
        return [
            {
                "prediction": [
                    {"class": classes[int(kind)], "score": round(score, 4), "box": [round(side, 1) for side in box]}
                    for *box, score, kind in image
                    if score >= least and score > 0
                ]
            }
            for image in outputs.tolist()
        ]

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """The boxes that are most usual, wherever an image is from; and those of the most similar training image."""
        return {"usual_boxes": baselines.usual_boxes, "boxes_of_the_nearest_image": baselines.nearest_boxes}

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """Scores per class, recall by size, and what is taken for what."""
        return detection.exhibits(outputs, targets, facts["classes"], _threshold(facts))

    def show(
        self, raws: Raws, facts: Facts, truths: np.ndarray | None = None, said: Sequence[Answer] | None = None
    ) -> list[Shown]:
        """The images, with the boxes that were right, the false alarms, and what was missed."""
        arrays, good, _ = encode_each(raws, lambda some: _encode(some, drawing.LARGEST, facts["channels"]))
        readable = {} if arrays is None else dict(zip(good.tolist(), zip(*arrays.values(), strict=True), strict=True))
        shown: list[Shown] = []
        for index in range(len(raws)):
            if index not in readable:
                shown.append({"text": str(raws[index])})
                continue
            pixels, size = readable[index]
            factor = drawing.LARGEST / size.max()
            pixels = pixels[: max(1, round(size[1] * factor)), : max(1, round(size[0] * factor))]
            drawn, caption = _judged(
                said[index]["prediction"] if said is not None else [], None if truths is None else truths[index], facts
            )
            scaled = [one._replace(box=[side * factor for side in one.box]) for one in drawn]
            picture = base64.b64encode(pictures.png(drawing.draw(pixels, scaled))).decode()
            shown.append({"picture": picture} | ({"caption": caption} if caption else {}))
        return shown

    def rows(self, answer: Answer) -> list[Answer]:
        """One row per box; an image without any has a row without a box, as a table of boxes that can be read again."""
        sides = ("left", "top", "right", "bottom")
        return [
            {"input": answer["input"], "class": one["class"], "score": one["score"]}
            | dict(zip(sides, one["box"], strict=True))
            for one in answer["prediction"]
        ] or [{"input": answer["input"], "class": "", "score": ""} | dict.fromkeys(sides, "")]

    def write(self, answered: Iterator[tuple[Any, Answer]], out: Path) -> tuple[int, int]:
        """A file of COCO annotations, or a folder of annotated pictures and videos."""
        return box_writing.coco(answered, out) if out.suffix == ".json" else box_writing.annotated(answered, out)

    def tiny(self, path: Path) -> Source:
        """Discs, squares and triangles of many colours on noise, with COCO annotations: 240 images of 64 x 64 pixels."""
        return Source(draw_shapes(path / "shapes", 240, 64))

    def _side(self, sizes: np.ndarray, answers: np.ndarray) -> tuple[int, str]:
        """The side of the network's squares, and why: small objects must be seen, and more pixels take longer."""
        if self.side is not None:
            return self.side, "as was said"
        longest = sizes.max(1)
        shares = np.array([
            ((box.right - box.left) * (box.bottom - box.top)) ** 0.5 / long
            for boxes, long in zip(answers, longest, strict=True)
            for box in cast(Sequence[Box], boxes)
        ])  # fmt: skip
        small = float(np.quantile(shares, 0.1)) if len(shares) else 1.0
        enough = [side for side in SIDES if side * small >= SEEN] or [SIDES[-1]]
        side = min(enough[0], max(32, -(-int(np.median(longest)) // 32) * 32))  # never larger than the images are
        return side, f"nine of ten objects have a side of {small * side:.0f} pixels there, or more"


def _encode(raws: Raws, side: int, channels: int) -> Arrays:
    frames = iter(video.read([raw for raw in raws if isinstance(raw, video.Frame)]))
    decoded = [
        images.decode_whole(next(frames) if isinstance(raw, video.Frame) else raw, side, channels)
        for raw in cast(np.ndarray, raws)
    ]
    return {
        "image": np.stack([pixels for pixels, _ in decoded]),
        "size": np.array([size for _, size in decoded], dtype=np.float32),
    }


def _threshold(facts: Facts) -> float:
    return float(facts.get("settled", {}).get("threshold", UNSETTLED))


def _judged(said: list[dict[str, Any]], truth: Sequence[Box] | None, facts: Facts) -> tuple[list[drawing.Drawn], str]:
    """What to draw on an image, and a caption: what was said, and how that compares with the truth, where it is known."""
    if truth is None:
        return [drawing.Drawn(one["box"], f"{one['class']} {one['score']:.2f}", "answer") for one in said], ""
    position = {name: index for index, name in enumerate(facts["classes"])}
    outputs = torch.tensor([[*one["box"], one["score"], position[one["class"]]] for one in said]).view(1, -1, 6)
    arrays = box_targets([truth], facts)["boxes"][0]
    targets = {"boxes": torch.from_numpy(arrays)[None], "boxes_lengths": torch.tensor([len(arrays)])}
    judged = detection.matched(outputs, targets, 0.0)
    drawn = [
        drawing.Drawn(one["box"], f"{one['class']} {one['score']:.2f}", "alarm" if alarm else "right")
        for one, alarm in zip(said, judged.alarms[0], strict=True)
    ]
    missed = [box for box, gone in zip(truth, judged.missed[0], strict=True) if gone]
    drawn += [drawing.Drawn(box[1:5], box.label, "missed") for box in missed]
    right, alarms = int(judged.right[0].sum()), int(judged.alarms[0].sum())
    return drawn, f"{right} right (green), {alarms} false alarms (orange), {len(missed)} missed (blue, dashed)"
