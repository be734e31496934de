"""Ahead: the next batch is gathered while the present one is computed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from lamina.batch import Batch
from lamina.data.feed import Feed

WORTH = 1 << 20  # bytes of a batch: handing over a smaller one takes longer than gathering it


def ahead(feed: Feed, batches: Sequence[Tensor], pinned: bool, apart: bool) -> Iterator[Batch]:
    """The batches that were picked, in order.

    Args:
        feed: gathers what is picked.
        batches: what is picked, as the feed's ``batches`` says it.
        pinned: put them into memory from which an accelerator copies while it computes.
        apart: whether whoever takes the batches leaves a core free, or gathering may wait for a disk: then a thread gathers.
    """

    def gather(picked: Tensor) -> Batch:
        batch = feed.batch(picked)
        return batch.pinned() if pinned else batch

    if not batches:
        return
    first = gather(batches[0])
    yield first
    if not apart or first.bytes < WORTH:
        yield from map(gather, batches[1:])
        return
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = [thread.submit(gather, picked) for picked in batches[1:2]]
        for following in batches[2:]:
            present = coming.pop().result()
            coming.append(thread.submit(gather, following))
            yield present
        yield from (batch.result() for batch in coming)
