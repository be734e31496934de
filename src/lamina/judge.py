"""Judge: what made pictures are measured by, since no person can look at thousands: the features of a classifier.

In go pictures of the training part, with their classes where there are any; out comes JSON that holds a small network which
has learned to tell them apart (or, without classes, to tell how far a picture was turned: Gidaris et al. 2018,
arXiv:1803.07728). It depends on the training part alone, so all runs on the same data have the same judge, and their scores can
be compared. Inception v3 serves instead where a file of its weights is named.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from lamina.errors import DataError, OptionError
from lamina.layers.heads import ImageClassifier
from lamina.layers.shapes import Image
from lamina.networks import cnn

SIZE = "tiny"  # of the convolutional network
BATCH = 64
RATE = 3e-3
SHOWN = 60_000  # pictures that it is shown while it learns, if the passes allow
PASSES = (2, 25)  # over the pictures, at least and at most
HELD_OUT = 0.1  # of the pictures, by which its own accuracy is told
TURNS = 4  # quarter turns that are told apart where there are no classes
INCEPTION = 299  # pixels of a side that it takes

Draw = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Numbers of examples → their pictures, (batch, side, side, channels) from 0 to 255, and their (batch,) labels."""


class Judge(nn.Module):
    """A classifier that also says what it saw."""

    def __init__(self, classifier: ImageClassifier, knows: bool) -> None:
        super().__init__()
        self.classifier = classifier
        self.knows = knows
        self.width = classifier.head.in_features

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """(batch, side, side, channels) from 0 to 255 → (batch, width) features, and logits if it knows classes."""
        features = self.classifier.features(image)
        return features, self.classifier.head(features) if self.knows else None


class Inception(nn.Module):
    """Inception v3 up to its last pooling (Szegedy et al. 2016, arXiv:1512.00567), with torchvision's weights."""

    width = 2048

    def __init__(self) -> None:
        super().__init__()
        try:
            from torchvision.models import inception_v3  # type: ignore[import-untyped]
        except ImportError:
            remedy = "pip install 'lamina[vision]', or leave the option out."
            raise OptionError("Inception v3 is torchvision's, which is not installed.", "inception", remedy) from None
        self.body = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
        self.body.fc = nn.Identity()

    def forward(self, image: Tensor) -> tuple[Tensor, None]:
        """(batch, side, side, 1 or 3) from 0 to 255 → (batch, 2048) features."""
        pixels = image.permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)
        large = functional.interpolate(pixels, size=(INCEPTION, INCEPTION), mode="bilinear", antialias=True)
        features: Tensor = self.body(large / 127.5 - 1)
        return features, None


def learned(pixels: np.ndarray, labels: np.ndarray | None, facts: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """Teach a judge; JSON from which ``restored`` makes it again.

    Args:
        pixels: (pictures, side, side, channels) uint8.
        labels: (pictures,) from 0, or None without classes.
        facts: ``mean`` and ``deviation`` of the pixels.
        seed: of its first weights and of the order.
    """
    classes = TURNS if labels is None else int(labels.max()) + 1
    judge = _empty(pixels.shape[3], pixels.shape[1], classes, facts, seed)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pixels)))
    held = order[: round(HELD_OUT * len(order))]
    teach(judge, _drawer(pixels, labels, seed), order[len(held) :], seed)
    known = ["classes", "how far a picture was turned"][labels is None]
    said = f"a convolutional network of size {SIZE} that learned {known} from {len(pixels) - len(held):,} training pictures"
    if len(held):
        said += f" (right on {accuracy(judge, _drawer(pixels, labels, seed + 1), held):.0%} of {len(held):,} others)"
    weights = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in judge.state_dict().items()
    }
    return {
        "channels": pixels.shape[3],
        "side": pixels.shape[1],
        "classes": classes,
        "knows": labels is not None,
        "width": judge.head.in_features,
        "said": said,
        "weights": base64.b64encode(save(weights)).decode(),
    }


def inception(path: str) -> dict[str, Any]:
    """The judge that a file of weights makes: JSON. Raises DataError when they are not those of Inception v3."""
    _filled(Path(path))
    return {"inception": str(Path(path).absolute()), "width": Inception.width, "said": f"Inception v3, weights {path}"}


def restored(judge: dict[str, Any], facts: dict[str, Any]) -> nn.Module:
    """The judge that ``learned`` or ``inception`` told of, ready to judge."""
    if "inception" in judge:
        return _filled(Path(judge["inception"])).eval()
    classifier = _empty(judge["channels"], judge["side"], judge["classes"], facts, 0)
    kept = load(base64.b64decode(judge["weights"]))
    classifier.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in kept.items()})
    return Judge(classifier, judge["knows"]).eval()


def knows_classes(judge: dict[str, Any]) -> bool:
    """Whether the judge that ``learned`` or ``inception`` told of takes pictures for classes."""
    return bool(judge.get("knows"))


def fresh(facts: dict[str, Any], seed: int = 0) -> ImageClassifier:
    """A classifier of the judge's kind for the classes of the facts, which has learned nothing yet."""
    return _empty(facts["channels"], facts["side"], len(facts["classes"]), facts, seed)


def teach(classifier: nn.Module, draw: Draw, rows: Tensor, seed: int) -> None:
    """Let a classifier learn by AdamW at a rate that rises and falls (Smith 2018), on the device where it is.

    Args:
        classifier: pictures → logits.
        draw: the pictures and labels of some rows.
        rows: which ones are learned from.
        seed: of their order.
    """
    passes = min(PASSES[1], max(PASSES[0], round(SHOWN / len(rows))))
    steps = max(1, -(-len(rows) // BATCH))
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=passes * steps)
    generator = torch.Generator().manual_seed(seed)
    device = next(classifier.parameters()).device
    classifier.train()
    for _ in range(passes):
        order = rows[torch.randperm(len(rows), generator=generator)]
        for chosen in order.tensor_split(steps):
            pictures, labels = (tensor.to(device) for tensor in draw(chosen))
            loss = functional.cross_entropy(classifier(pictures), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    classifier.eval()


@torch.inference_mode()
def accuracy(classifier: nn.Module, draw: Draw, rows: Tensor) -> float:
    """The share of rows whose label the classifier finds."""
    return float(hits(classifier, draw, rows).mean())


@torch.inference_mode()
def hits(classifier: nn.Module, draw: Draw, rows: Tensor) -> Tensor:
    """(rows,) 1 where the classifier finds the label, float64 on the CPU."""
    device = next(classifier.parameters()).device
    found = []
    for chosen in torch.split(rows, 4 * BATCH):
        pictures, labels = (tensor.to(device) for tensor in draw(chosen))
        found.append((classifier(pictures).argmax(1) == labels).cpu().double())
    return torch.cat(found)


def _empty(channels: int, side: int, classes: int, facts: dict[str, Any], seed: int) -> ImageClassifier:
    with torch.random.fork_rng(devices=[]):  # what the run draws does not depend on whether a judge was made
        torch.manual_seed(seed)
        backbone = cnn.build(Image(channels, side), SIZE)
        return ImageClassifier(backbone, facts["mean"], facts["deviation"], classes)


def _drawer(pixels: np.ndarray, labels: np.ndarray | None, seed: int) -> Draw:
    """Pictures with their labels, or each turned at random, with the number of quarter turns."""
    known = torch.from_numpy(pixels)
    generator = torch.Generator().manual_seed(seed)

    def labelled(rows: Tensor) -> tuple[Tensor, Tensor]:
        return known[rows], torch.from_numpy(np.asarray(labels))[rows]

    def turned(rows: Tensor) -> tuple[Tensor, Tensor]:
        turns = torch.randint(0, TURNS, (len(rows),), generator=generator)
        pictures = known[rows]
        every = torch.stack([torch.rot90(pictures, turn, (1, 2)) for turn in range(TURNS)])
        return every[turns, torch.arange(len(rows))], turns

    return turned if labels is None else labelled


def _filled(path: Path) -> Inception:
    network = Inception()
    try:
        if path.suffix == ".safetensors":
            weights = load(path.read_bytes())
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        kept = {name: tensor for name, tensor in weights.items() if not name.startswith(("fc.", "AuxLogits."))}
        network.body.load_state_dict(kept)
    except Exception as error:  # whatever is wrong with a file of weights
        what = f"these are not the weights of torchvision's Inception v3 ({type(error).__name__}: {str(error)[:200]})."
        raise DataError(what, str(path), "Name the file that torchvision gives, or leave it out.") from None
    return network
