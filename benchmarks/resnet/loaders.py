"""The images for those who use PyTorch's own tools: ``ImageFolder`` read by a ``DataLoader``, as its tutorials have it."""

import os
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.resnet import DEVIATION, MEAN

Loader = DataLoader[Any]


def dataset(asked: Any, part: str, flip: bool, dtype: torch.dtype = torch.float32) -> ImageFolder:
    """The images of a part, decoded when they are asked for; uint8 ones are not normalised."""
    steps: list[Any] = [v2.Resize(asked.side), v2.CenterCrop(asked.side)]
    steps += [v2.RandomHorizontalFlip()] if flip else []
    steps += [v2.ToImage(), v2.ToDtype(dtype, scale=True)]
    steps += [v2.Normalize(MEAN, DEVIATION)] if dtype.is_floating_point else []
    return ImageFolder(str(asked.folder / part), v2.Compose(steps))


def loaders(asked: Any) -> tuple[Loader, Loader]:
    """Batches for training and for validation, with as many workers as there are cores."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def loader(part: str, train: bool) -> Loader:
        return DataLoader(
            dataset(asked, part, flip=train),
            batch_size=asked.batch,
            shuffle=train,
            num_workers=workers,
            persistent_workers=True,
        )

    return loader("train", True), loader("valid", False)
