"""Threads: how many of them PyTorch computes with, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with that many threads inside.

    One suits what waits for its threads again and again, such as eigenvalues: beside another busy program two took eight
    times as long (docs/log.md).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
