"""One network, one folder of JPEGs, one number of epochs; a file per peer, each as its own documentation would have it.

The network is ResNet-18 (He et al. 2016) from random weights, the optimizer AdamW at 1e-3 (one-cycle where the peer's
documentation advises it), the augmentation a mirror. Images larger than the side are shrunk and cut to a square.
"""

from pathlib import Path
from typing import Any

from benchmarks.entrant import given

RATE = 1e-3
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def job() -> Any:
    """What each peer is told: a folder with train/ and valid/, and how to train on it."""
    return given(folder=Path, epochs=int, batch=int, side=int, seed=int)
