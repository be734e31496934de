"""ResNet-18 by fastai: ``ImageDataLoaders.from_folder`` and ``fit_one_cycle``, as its introduction has it."""

import torch
from fastai.vision.all import (
    Callback,
    CrossEntropyLossFlat,
    FlipItem,
    ImageDataLoaders,
    Learner,
    Normalize,
    Resize,
    accuracy,
    set_seed,
)
from torchvision.models import resnet18

from benchmarks.entrant import Clock, images_in, say
from benchmarks.resnet import DEVIATION, MEAN, RATE, job


class Timed(Callback):
    """Reads the clock where the steps of an epoch end, and where its validation does."""

    def __init__(self) -> None:
        self.clock = Clock()

    def after_train(self) -> None:
        """All steps of the epoch are taken."""
        self.clock.trained()

    def after_validate(self) -> None:
        """The epoch is over."""
        self.clock.validated()


if __name__ == "__main__":
    asked, timed = job(), Timed()
    set_seed(asked.seed)
    loaders = ImageDataLoaders.from_folder(
        asked.folder,
        train="train",
        valid="valid",
        bs=asked.batch,
        item_tfms=[Resize(asked.side), FlipItem()],
        batch_tfms=Normalize.from_stats(MEAN, DEVIATION),
        device=torch.device("cpu"),
    )
    network = resnet18(num_classes=loaders.c)
    learner = Learner(loaders, network, loss_func=CrossEntropyLossFlat(), metrics=accuracy, cbs=[timed])
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(asked.epochs, RATE)
    images = images_in(asked.folder / "train")
    loss = float(learner.recorder.values[-1][0])
    say(("fastai", "torch", "torchvision"), **timed.clock.facts(images), loss=loss)
