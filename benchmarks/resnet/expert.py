"""ResNet-18 by hand, as an expert would who knows the machine.

Everything is decoded once into memory, channels last; the mirror is applied to whole batches; the optimizer is fused. The
expert has measured which of float32 and bfloat16 is quicker on this machine, and takes that one: where the processor has no
bfloat16 arithmetic, it is about 100 times slower.
"""

import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.entrant import Clock, say
from benchmarks.resnet import DEVIATION, MEAN, RATE, job
from benchmarks.resnet.loaders import dataset

SCALE = 255 * torch.tensor(DEVIATION).view(1, 3, 1, 1)
SHIFT = torch.tensor(MEAN).view(1, 3, 1, 1) * 255


def decoded(asked: object, part: str) -> tuple[Tensor, Tensor, int]:
    """(images, 3, side, side) uint8 and channels last, (images,) labels, and how many classes."""
    images = dataset(asked, part, flip=False, dtype=torch.uint8)
    pixels = torch.stack([image for image, _ in images]).contiguous(memory_format=torch.channels_last)
    return pixels, torch.tensor(images.targets), len(images.classes)


def logits(network: nn.Module, pixels: Tensor, bfloat16: bool) -> Tensor:
    """(batch, classes), float32, of uint8 pixels."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        said: Tensor = network((pixels.float() - SHIFT) / SCALE)
    return said.float()


def bfloat16_is_quicker(network: nn.Module, pixels: Tensor, labels: Tensor) -> bool:
    """Time a step of each, on one image first: there it is seen whether the machine can do it at all."""
    for count, margin in ((1, 5.0), (len(pixels), 1.0)):
        seconds = {}
        for bfloat16 in (False, True, False, True):  # the first of each warms up
            began = time.perf_counter()
            F.cross_entropy(logits(network.train(count > 1), pixels[:count], bfloat16), labels[:count]).backward()  # type: ignore[no-untyped-call]
            seconds[bfloat16] = time.perf_counter() - began
            network.zero_grad(set_to_none=True)
        if seconds[True] > margin * seconds[False]:
            return False
    return True


if __name__ == "__main__":
    asked = job()
    torch.manual_seed(asked.seed)
    pixels, labels, classes = decoded(asked, "train")
    unseen, truth, _ = decoded(asked, "valid")
    network = resnet18(num_classes=classes).to(memory_format=torch.channels_last)
    bfloat16 = bfloat16_is_quicker(network, pixels[: asked.batch], labels[: asked.batch])
    optimizer = torch.optim.AdamW(network.parameters(), RATE, fused=True)
    clock = Clock()
    for _ in range(asked.epochs):
        network.train()
        total = torch.zeros(())
        for rows in torch.randperm(len(pixels)).split(asked.batch):
            batch = pixels[rows]
            batch = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, batch.flip(3), batch)
            loss = F.cross_entropy(logits(network, batch, bfloat16), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach() * len(rows)
        clock.trained()
        network.eval()
        with torch.inference_mode():
            right = int((logits(network, unseen, bfloat16).argmax(1) == truth).sum())
        clock.validated()
    how = "bfloat16" if bfloat16 else "float32"
    say(
        ("torch", "torchvision"),
        **clock.facts(len(pixels)),
        loss=float(total) / len(pixels),
        right=right,
        precision=how,
    )
