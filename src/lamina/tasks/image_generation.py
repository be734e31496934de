"""Image generation: make up pictures like those that are there, of a class that is named or of any.

On disk   a folder of images; class folders, a table or IDX files, where a class shall be named
Network   two players: a generator that makes pictures of noise, a discriminator that tells them from real ones
Answer    how real the discriminator finds a picture; `lamina generate` makes new ones
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina import baselines, judge, worth
from lamina.batch import Batch, Loss, Tensors
from lamina.data import idx, images, making, pictures, unlabelled
from lamina.data.classes import class_facts, class_targets
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.store import encode_each
from lamina.data.variation import symmetry_trial
from lamina.errors import DataError, OptionError, unknown
from lamina.exhibits import Exhibit
from lamina.layers import augmentation, differentiable
from lamina.layers.differentiable import PENALTY
from lamina.layers.players import Players, as_pixels, signed
from lamina.layers.shapes import Canvas
from lamina.metrics import generation
from lamina.metrics.metric import Metric
from lamina.sampling import Sampling
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Picture, Piece, Shown, Task

LARGEST = 128  # side that is chosen without being asked for: larger takes hours on a CPU
SAMPLE = 10_000  # pictures from which the judge, and all else that is known before training, is learned
LARGE = 48  # pixels a side from which pictures are large
PENALTIES = (1.0, 4.0)  # weights of the gradient penalties: of small pictures, and of large ones
ENOUGH = 20_000  # pictures that a discriminator does not learn by heart in the usual time
PENALISED = 0.25  # share of the pictures on which gradients are penalised; they count as much as all would
GRID = 6  # pictures a side of what is made after each epoch
AT_ONCE = 64  # that are made together, always: the last digits of sums depend on how many there are
QUANTILES = 101


@dataclass(frozen=True)
class ImageGeneration(Task):
    """Make up pictures like those that are there."""

    default_network: ClassVar[str] = "gan"

    side: int | None = None
    """Side of the square pictures that are made, in pixels; chosen from the images otherwise (at most 128)."""
    classes: bool | None = None
    """Whether a class can be wished for; where it is not said, if the images have two classes or more."""
    flip: bool | None = None
    """Mirror half of the training images left to right; where it is not said, a trial on the training part decides."""
    vary: float | None = None
    """How much all that the discriminator sees is varied, 0 to 1; 0 from 20,000 images on, and 1 below."""
    penalty: float | None = None
    """Weight of the gradient penalties (gamma of R3GAN): higher is more stable, and slower; 1 for pictures below 48 pixels a
    side, 4 for larger ones."""
    inception: str | None = None
    """File of torchvision's weights of Inception v3, by whose features pictures are judged; a classifier trained on the same
    images otherwise."""

    def __post_init__(self) -> None:
        rules = {
            "side": (self.side is None or self.side >= pictures.SMALLEST, f"at least {pictures.SMALLEST}"),
            "vary": (self.vary is None or 0 <= self.vary <= 1, "from 0 to 1"),
            "penalty": (self.penalty is None or self.penalty > 0, "above 0"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise OptionError(f"{getattr(self, name)} was given; it must be {rule}.", f"--set {name}", "Change it.")

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """A folder of images and nothing else: no classes, no boxes. Other images are learned from when the task is named."""
        if source.path is None or not unlabelled.is_collection(source.path):
            return None
        return Claim(0.95, "the folder holds images and nothing that says what is on them")

    def read(self, source: Source) -> Data:
        """Find the images, and their classes where these are wanted."""
        path = source.path
        if path is None:
            known = isinstance(source.where, tuple | list) and len(source.where) == 2
            found = images.image_arrays(source) if known else unlabelled.collection(source)
        elif idx.is_idx(path):
            found = idx.idx(source)
        elif not path.is_dir():
            found = images.image_column(source)
        elif unlabelled.has_classes(path) and self.classes is not False:
            found = images.image_folders(source)
        else:
            found = unlabelled.collection(source)
        several = found.classified and len(set(found.answers.tolist())) > 1
        if self.classes and not several:
            what = "a class shall be wished for, but the images have fewer than two."
            raise DataError(what, str(source.where)[:200], "Put them into class folders, or leave out --set classes.")
        return found if several and self.classes is not False else unlabelled.without_classes(found)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Image files, folders of them (in alphabetical order), or arrays of pixels."""
        return pictures.gather(inputs)

    def facts(self, data: Data) -> Facts:
        """Side, channels, classes and how frequent they are; and a judge that has learned from the training part."""
        chosen = np.random.default_rng(0).permutation(len(data))[:SAMPLE]
        pixels, good = pictures.looked_at(data, chosen, self.side, LARGEST)
        side = pixels.shape[1]
        known = class_facts(data.answers) if data.classified else {"classes": [], "class_counts": {}}
        flip, why = (self.flip, "as was said") if self.flip is not None else symmetry_trial(pixels)
        found = known | {"side": side, "flip": flip} | pictures.pixel_facts(pixels)
        if self.inception is not None:
            judging = judge.inception(self.inception)
        else:
            labels = class_targets(data.answers[good], found)["label"] if data.classified else None
            judging = judge.learned(pixels, labels, found)
        vary = self.vary if self.vary is not None else float(len(data) < ENOUGH)
        varied = f"varied (strength {vary:g}), since there are {len(data):,} images" if vary else "not varied"
        kinds = f"of {len(found['classes'])} classes" if found["classes"] else "without classes"
        return found | {
            "judge": judging,
            "vary": vary,
            "penalty": self.penalty or PENALTIES[side >= LARGE],
            "notes": [
                f"Pictures of {side} x {side} pixels are made, {kinds}.",
                f"Training images are {'' if flip else 'not '}mirrored: {why}. What the discriminator sees is {varied}.",
                f"Pictures are judged by {judging['said']}.",
            ],
        }

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``image``: (examples, side, side, channels) uint8. And what is made beside each when it is judged, which follows from
        its pixels: ``noise``, (examples, 64) float32, and the class that is ``wanted``; ``variation``, see layers."""
        image = pictures.decoded(raws, facts["side"], facts["channels"])["image"]
        return {"image": image} | making.beside(image, list(facts["class_counts"].values()), Canvas.noise, PENALISED)

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """``label``: (examples,) int64; 0 without classes."""
        return class_targets(answers, facts) if facts["classes"] else {"label": np.zeros(len(answers), dtype=np.int64)}

    def takes(self, facts: Facts) -> Canvas:
        """Pictures of the side, channels and classes that the facts say."""
        return Canvas(facts["channels"], facts["side"], len(facts["classes"]))

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """Both players, and the judge."""
        return Players(backbone, judge.restored(facts["judge"], facts), facts["penalty"])

    def augment(self, batch: Batch, facts: Facts, generator: torch.Generator) -> Batch:
        """Other noise, mirrored images, and how each is varied before the discriminator sees it."""
        inputs = dict(batch.inputs)
        device = inputs["noise"].device
        inputs["noise"] = torch.randn(inputs["noise"].shape, generator=generator, device=device)
        inputs["variation"] = differentiable.drawn(len(batch), facts["vary"], generator, device)
        chosen = torch.rand(len(batch), generator=generator, device=device) < PENALISED
        inputs["variation"][:, PENALTY] = chosen / PENALISED
        if facts["flip"]:
            inputs["image"] = augmentation.flip(inputs["image"].permute(0, 3, 1, 2), generator).permute(0, 2, 3, 1)
        return replace(batch, inputs=inputs)

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """First the discriminator's, then the generator's, who wants the opposite.

        Of each real picture beside a made one of its class, the real one should have the higher score (Jolicoeur-Martineau
        2019, arXiv:1807.00734); and the squared gradients of both scores by their pixels should be small, as in R3GAN (Huang
        et al. 2024, arXiv:2501.05441).
        """
        players, label = cast(Players, network), batch.targets["label"]
        noise, variation = batch.inputs["noise"], batch.inputs["variation"]
        real = differentiable.varied(signed(batch.inputs["image"]), variation)
        with torch.no_grad():
            made = differentiable.varied(players.generator(noise, label), variation)
        scores = players.discriminator(torch.cat([real, made]), label.repeat(2))
        gaps = functional.softplus(scores[len(batch) :] - scores[: len(batch)]).sum()
        steepness = players.penalty / 2 * _steepness(players, real, made, label, variation[:, PENALTY])
        yield Loss("discriminator", gaps + steepness, len(batch), {"told_apart": gaps, "penalty": steepness})
        players.discriminator.requires_grad_(False)  # its weights do not move now: half of the work
        made = differentiable.varied(players.generator(noise, label), variation)
        scores = players.discriminator(torch.cat([real, made]), label.repeat(2))
        players.discriminator.requires_grad_(True)
        yield Loss("generator", functional.softplus(scores[: len(batch)] - scores[len(batch) :]).sum(), len(batch))

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Fréchet distance first."""
        known = len(facts["classes"]) if judge.knows_classes(facts["judge"]) else 0
        return generation.generation(facts["judge"]["width"], known)

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The share of made pictures that the discriminator finds less real than this one, from 0 to 1; and the class that the
        judge takes it for, among whose made pictures it is placed. Where the judge knows none, it is placed among those of the
        class where it stands highest."""
        found = generation.parts(outputs, facts["judge"]["width"])
        made = facts.get("settled", {}).get("made", {})
        knows = judge.knows_classes(facts["judge"])
        answers: list[Answer] = []
        for kind, scores in zip(found.real_class.tolist(), found.scores.tolist(), strict=True):
            asked = [kind] if knows else range(len(scores))
            place, score = max((_place(made.get(str(one), [scores[one]]), scores[one]), scores[one]) for one in asked)
            answers.append({"prediction": place, "score": score} | ({"class": facts["classes"][kind]} if knows else {}))
        return answers

    def settle(self, outputs: Tensor, targets: Tensors, facts: Facts) -> dict[str, Any]:
        """``made``: by class, quantiles of the scores of made pictures, beside which a picture is placed."""
        found = generation.parts(outputs, facts["judge"]["width"])
        levels = np.linspace(0, 1, QUANTILES)
        of_class = {kind: found.score[found.wanted == kind].numpy() for kind in torch.unique(found.wanted).tolist()}
        return {"made": {str(kind): np.quantile(scores, levels).tolist() for kind, scores in of_class.items()}}

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """The mean picture of a class, and pixels drawn from a normal distribution."""
        known = judge.restored(facts["judge"], facts)
        makers = {"mean_picture": baselines.mean_picture, "normal_pixels": baselines.normal_pixels}
        return {name: partial(worth.of_baseline, maker, known) for name, maker in makers.items()}

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """What a classifier learns from made pictures; made pictures beside the nearest that trained; pictures between two."""
        network = cast(Players, judged.network)

        def make(names: Sequence[str], seed: int, between: int) -> Iterator[np.ndarray]:
            for pieces in self.generate(network, facts, names, Sampling(seed=seed, between=between)):
                yield np.stack([cast(Picture, piece).pixels for piece in pieces.values()])

        return worth.exhibits(network, judged.store, judged.train, judged.rows, facts, make)

    def show(
        self, raws: Raws, facts: Facts, truths: np.ndarray | None = None, said: Sequence[Answer] | None = None
    ) -> list[Shown]:
        """The images, as small PNGs."""
        arrays, good, _ = encode_each(raws, partial(pictures.decoded, side=facts["side"], channels=facts["channels"]))
        readable = {} if arrays is None else dict(zip(good.tolist(), arrays["image"], strict=True))
        return [making.shown(readable[i][None]) if i in readable else {"text": str(raws[i])} for i in range(len(raws))]

    def samples(self, network: nn.Module, facts: Facts) -> list[Shown]:
        """A grid of pictures, of all classes in turn."""
        made = [
            piece for pieces in self.generate(network, facts, [""] * GRID**2, Sampling()) for piece in pieces.values()
        ]
        return [making.shown(np.stack([cast(Picture, piece).pixels for piece in made]), GRID)]

    def generate(
        self, network: nn.Module, facts: Facts, prompts: Sequence[str], wish: Sampling
    ) -> Iterator[dict[int, Piece]]:
        """A picture for each prompt, which names its class; all classes in turn where it is empty.

        Raises:
            OptionError: a prompt names no class, or something is wished for that only texts have.
        """
        classes = facts["classes"]
        for name in prompts:
            if name and name not in classes:
                if not classes:
                    what = "the run makes pictures without classes."
                    raise OptionError(what, f"--prompt {name}", "Leave it out.")
                raise unknown("class", name, classes)
        usual = Sampling()
        for option in ("tokens", "top_k", "top_p", "repetition"):
            if getattr(wish, option) != getattr(usual, option):
                what = "pictures have no tokens."
                raise OptionError(
                    what, f"--{option.replace('_', '-')}", "Leave it out; --temperature and --between can be."
                )
        step = wish.between + 1
        names = [
            name or (classes[index // step % len(classes)] if classes else "") for index, name in enumerate(prompts)
        ]
        return _made(cast(Players, network), facts, names, wish)

    def tiny(self, path: Path) -> Source:
        """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships (Alpaydin & Kaynak 1998), as PNG files."""
        return pictures.write_digits(path)


def _place(known: list[float], score: float) -> float:
    """Which share of some scores is lower."""
    return round(float(np.searchsorted(known, score)) / len(known), 4)


@torch.inference_mode()
def _made(network: Players, facts: Facts, names: list[str], wish: Sampling) -> Iterator[dict[int, Piece]]:
    """Pictures of classes, some at a time; the noise is made longer or shorter by the temperature."""
    device = next(network.generator.parameters()).device
    numbers = {name: index for index, name in enumerate(facts["classes"])}
    heat = 1.0 if wish.temperature is None else wish.temperature
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        noise = torch.from_numpy(making.noises(wish.seed, start, AT_ONCE, Canvas.noise, wish.between)) * heat
        label = torch.zeros(AT_ONCE, dtype=torch.int64)
        label[: len(some)] = torch.tensor([numbers.get(name, 0) for name in some])
        made = as_pixels(network.generator(noise.to(device), label.to(device))).cpu().numpy()
        yield {start + index: Picture(made[index], name) for index, name in enumerate(some)}


def _steepness(players: Players, real: Tensor, made: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """The sum of squared gradients of both players' pictures' scores by their pixels, of those pictures that have a weight."""
    chosen = weight.nonzero()[:, 0]
    if not len(chosen):
        return weight.sum()
    pictures = torch.cat([real[chosen], made[chosen]]).detach().requires_grad_(True)
    scores = players.discriminator(pictures, label[chosen].repeat(2))
    (gradient,) = torch.autograd.grad(scores.sum(), pictures, create_graph=True)
    return (gradient.float().square().flatten(1).sum(1) * weight[chosen].repeat(2)).sum()
