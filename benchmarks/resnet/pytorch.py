"""ResNet-18 by the loop of PyTorch's own tutorials: a DataLoader with workers, float32."""

import torch
import torch.nn.functional as F
from torchvision.models import resnet18

from benchmarks.entrant import Clock, images_in, say
from benchmarks.resnet import RATE, job
from benchmarks.resnet.loaders import loaders

if __name__ == "__main__":
    asked, clock = job(), Clock()
    torch.manual_seed(asked.seed)
    train, valid = loaders(asked)
    network = resnet18(num_classes=len(train.dataset.classes))  # type: ignore[attr-defined]
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    for _ in range(asked.epochs):
        network.train()
        total = 0.0
        for images, labels in train:
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
        clock.trained()
        network.eval()
        with torch.inference_mode():
            right = sum(int((network(images).argmax(1) == labels).sum()) for images, labels in valid)
        clock.validated()
    images = images_in(asked.folder / "train")
    say(("torch", "torchvision"), **clock.facts(images), loss=total / images, right=right)
