"""Image classification: say which one of several classes an image shows.

On disk   one folder of images per class (flowers/rose/1.jpg), a table with a column of paths, or IDX files
Network   any image backbone (batch, width, height, width), averaged over its grid, then one linear layer
Answer    the name of the class, and the probability of each
"""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lamina import baselines
from lamina.batch import Batch, Loss, Tensors
from lamina.data import idx, images, pictures
from lamina.data.classes import class_answers, class_facts, class_targets
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.store import encode_each
from lamina.data.variation import mirror_trial, placing_trial
from lamina.exhibits import Exhibit
from lamina.layers import augmentation, losses
from lamina.layers.heads import ImageClassifier
from lamina.layers.shapes import Image
from lamina.metrics import classification
from lamina.metrics.metric import Metric
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Shown, Task

SAMPLE = 1000  # images from which side, channels, mean, deviation, mirroring and shifting are learned
PICTURE = 48  # side up to which images are small pictures; larger ones are photographs
SHIFT = 0.07  # of small pictures, where things do not all lie in the same place
LARGEST = 128  # side that is chosen without being asked for: larger costs more than it brings on a CPU


@dataclass(frozen=True)
class ImageClassification(Task):
    """Say which one of several classes an image shows."""

    default_network: ClassVar[str] = "cnn"

    side: int | None = None
    """Side of the square that the network sees, in pixels; chosen from the images otherwise (at most 128)."""
    flip: bool | None = None
    """Mirror half of the training images left to right; where it is not said, a trial on the training part decides."""
    shift: float | None = None
    """Farthest shift of a training image, as a share of its side; where it is not said, 0 for photographs, and a trial decides
    between 0 and 0.07 for small pictures."""
    crop: float | None = None
    """Smallest share of the area that a random crop keeps; 1 (no crop) for small pictures and 0.4 for photographs."""
    colour: float = 0.0
    """Strength of random brightness, contrast and saturation, 0 to 1."""
    erase: float = 0.0
    """Chance that a random rectangle of a training image is hidden."""
    mix: Literal["none", "mixup", "cutmix"] = "none"
    """How training images are mixed in pairs: blended (Zhang et al. 2018) or pasted (Yun et al. 2019)."""
    mix_strength: float = 0.5
    """Of mixup: twice the largest share of the other image; of cutmix: its chance."""
    label_smoothing: float = 0.1
    """Share of the target that is spread over all classes (Szegedy et al. 2016)."""
    class_weights: bool = False
    """Whether rare classes count as much as frequent ones in the loss."""

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """Class folders, IDX files, a table with image paths and classes, or an array of pixels."""
        reason = pictures.recognised(source)
        return None if reason is None else Claim(0.9, reason)

    def read(self, source: Source) -> Data:
        """Find the images and their classes."""
        if source.path is None:
            return images.image_arrays(source)
        if idx.is_idx(source.path):
            return idx.idx(source)
        return images.image_folders(source) if source.path.is_dir() else images.image_column(source)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Image files, folders of them (in alphabetical order), or arrays of pixels."""
        return pictures.gather(inputs)

    def facts(self, data: Data) -> Facts:
        """Classes, side, channels, and mean and deviation of the pixels."""
        chosen = np.linspace(0, len(data) - 1, min(SAMPLE, len(data))).astype(int)
        pixels, good = pictures.looked_at(data, chosen, self.side, LARGEST)
        side = pixels.shape[1]
        chosen_flip, why = (
            (self.flip, "as was said") if self.flip is not None else mirror_trial(pixels, data.answers[good])
        )
        notes = [f"Training images are {'' if chosen_flip else 'not '}mirrored: {why}."]
        small, shift = side <= PICTURE, self.shift
        if shift is None and small and (farthest := round(SHIFT * side)):
            shifted, why = placing_trial(pixels, farthest)
            shift = SHIFT * shifted
            notes.append(f"Training images are {'' if shifted else 'not '}shifted: {why}.")
        return class_facts(data.answers) | {
            "augmentation": {
                "flip": chosen_flip,
                "shift": shift or 0.0,
                "crop": self.crop if self.crop is not None else 1.0 if small else 0.4,
            },
            "notes": notes,
            "side": side,
            **pictures.pixel_facts(pixels),
        }

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``image``: (examples, side, side, channels) uint8."""
        return pictures.decoded(raws, facts["side"], facts["channels"])

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """``label``: (examples,) int64; and ``weight`` when rare classes count more."""
        return class_targets(answers, facts, self.class_weights)

    def takes(self, facts: Facts) -> Image:
        """Squares of the side and channels that the facts say."""
        return Image(facts["channels"], facts["side"])

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """Pixels → normalisation → backbone → mean over the grid → linear."""
        flip = facts["augmentation"]["flip"]
        return ImageClassifier(backbone, facts["mean"], facts["deviation"], len(facts["classes"]), flip)

    def augment(self, batch: Batch, facts: Facts, generator: torch.Generator) -> Batch:
        """Flip, shift, crop, colour, erase and mix, each image in its own way."""
        shown = batch.inputs["image"].permute(0, 3, 1, 2).float()  # (batch, channels, side, side), channels last
        chosen = facts["augmentation"]
        if chosen["crop"] < 1:
            shown = augmentation.crop(shown, generator, chosen["crop"])
        if pixels := round(chosen["shift"] * shown.shape[-1]):
            shown = augmentation.shift(shown, generator, pixels)
        if chosen["flip"]:
            shown = augmentation.flip(shown, generator)
        if self.colour:
            shown = augmentation.colour(shown, generator, self.colour)
        if self.erase:
            shown = augmentation.erase(shown, generator, self.erase)
        targets = dict(batch.targets)
        if self.mix != "none":
            blend = augmentation.mixup if self.mix == "mixup" else augmentation.cutmix
            shown, targets["share"] = blend(shown, generator, self.mix_strength)
            targets["other"] = batch.targets["label"].roll(1, 0)
        return Batch({"image": shown.permute(0, 2, 3, 1)}, targets)

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """Cross-entropy with label smoothing."""
        logits = network(**batch.inputs)
        total, count, each = losses.cross_entropy(logits, batch.targets, self.label_smoothing)
        yield Loss("network", total, count, each=each)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Accuracy first; then the rest of what a reviewer asks for."""
        return classification.classification(len(facts["classes"]))

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The likeliest class, its probability, and all probabilities."""
        return class_answers(outputs, facts["classes"])

    def settle(self, outputs: Tensor, targets: Tensors, facts: Facts) -> dict[str, Any]:
        """``temperature``: by which logits are divided, so that probabilities can be believed."""
        return {"temperature": classification.temperature(outputs, targets)}

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """The most frequent class, and logistic regression on small pixels."""
        return {"majority_class": baselines.majority, "linear_on_pixels": baselines.linear_on_pixels}

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """Confusion matrix, scores per class, and how far probabilities can be believed."""
        return classification.exhibits(outputs, targets, facts["classes"])

    def show(
        self, raws: Raws, facts: Facts, truths: np.ndarray | None = None, said: Sequence[Answer] | None = None
    ) -> list[Shown]:
        """The images, as small PNGs."""
        side = max(96, facts["side"])
        arrays, good, _ = encode_each(raws, lambda some: pictures.decoded(some, min(side, 192), facts["channels"]))
        readable = {} if arrays is None else dict(zip(good.tolist(), arrays["image"], strict=True))
        return [
            {"picture": base64.b64encode(pictures.png(readable[i])).decode()}
            if i in readable
            else {"text": str(raws[i])}
            for i in range(len(raws))
        ]

    def tiny(self, path: Path) -> Source:
        """The 1,797 handwritten digits of 8 × 8 pixels that scikit-learn ships (Alpaydin & Kaynak 1998), as PNG files."""
        return pictures.write_digits(path)
