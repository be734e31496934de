"""ResNet-18 by Lightning: a LightningModule, a Trainer, and DataLoaders with workers, as its introduction has it."""

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import resnet18

from benchmarks.entrant import Clock, images_in, say
from benchmarks.resnet import RATE, job
from benchmarks.resnet.loaders import loaders


class Classifier(lightning.LightningModule):
    """The network with its loss and optimizer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.network = resnet18(num_classes=classes)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """The loss of a batch."""
        images, labels = batch
        loss = F.cross_entropy(self.network(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """Log the share of right answers."""
        images, labels = batch
        self.log("right", (self.network(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), RATE)


class Timed(lightning.Callback):
    """Reads the clock where the steps of an epoch end, and where its validation does."""

    def __init__(self) -> None:
        self.clock = Clock()

    def on_validation_start(self, trainer: object, module: object) -> None:
        """All steps of the epoch are taken."""
        self.clock.trained()

    def on_validation_end(self, trainer: object, module: object) -> None:
        """The epoch is over."""
        self.clock.validated()


if __name__ == "__main__":
    asked, timed = job(), Timed()
    lightning.seed_everything(asked.seed, verbose=False)
    train, valid = loaders(asked)
    module = Classifier(len(train.dataset.classes))  # type: ignore[attr-defined]
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=asked.epochs,
        callbacks=[timed],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, train, valid)
    loss = float(trainer.callback_metrics["train_loss"])
    say(("lightning", "torch", "torchvision"), **timed.clock.facts(images_in(asked.folder / "train")), loss=loss)
