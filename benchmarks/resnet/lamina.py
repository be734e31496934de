"""ResNet-18 by Lamina: one call; the network is passed in, everything about the machine is left to be measured."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

import lamina
from benchmarks.entrant import Clock, images_in, say
from benchmarks.resnet import RATE, job
from lamina.watch import Quiet


class Body(nn.Module):
    """ResNet-18 without its mean and its last layer, which are the task's head."""

    width = 512

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*list(resnet18().children())[:-2])

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, side, side) -> (batch, 512, side / 32, side / 32)."""
        features: Tensor = self.layers(image)
        return features


class Timed(Quiet):
    """Reads the clock at each record, so that the time is measured as the peers' is: from outside."""

    def __init__(self) -> None:
        self.clock, self.last = Clock(), 0.0
        self.loss = 0.0

    def see(self, record: lamina.Step | lamina.Epoch) -> None:
        """The last step before an epoch's record ends its training part."""
        if isinstance(record, lamina.Step):
            self.last = time.perf_counter()
        else:
            self.clock.trained(self.last)
            self.clock.validated()
            self.loss = record.loss["network"]


def trained(asked: Any, watch: Timed, out: Path) -> lamina.Model:
    """The training that was asked for, with its run in ``out``."""
    torch.manual_seed(asked.seed)
    return lamina.train(
        asked.folder,
        network=Body(),
        options={"side": asked.side, "flip": True, "crop": 1.0, "label_smoothing": 0.0},
        epochs=asked.epochs,
        budget=600.0,  # never reached: of a usual training's length, a twentieth may go into measuring beforehand
        batch_size=asked.batch,
        lr=RATE,
        seed=asked.seed,
        out=out,
        watch=watch,
    )


if __name__ == "__main__":
    asked, watch = job(), Timed()
    with tempfile.TemporaryDirectory() as folder:
        model = trained(asked, watch, Path(folder) / "run")
    say(
        ("lamina", "torch", "torchvision"),
        **watch.clock.facts(images_in(asked.folder / "train")),
        loss=watch.loss,
        chosen={name: value for name, value in model.recipe.execution.to_json().items() if value is not None},
    )
