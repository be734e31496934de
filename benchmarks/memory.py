"""What a training on ten times the images takes of memory: the same network, batches and steps, on made images.

Anonymous memory is what the process holds for itself; pages of the store, which the system may drop at any time, are not in it.
"""

import tempfile
import threading
from pathlib import Path

import numpy as np

import lamina
from benchmarks.entrant import given, say
from lamina.watch import Quiet

IMAGES, SIDE = 2000, 64


class Watched(threading.Thread):
    """The peak of ``RssAnon``, looked at twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0.0, threading.Event()

    def run(self) -> None:
        """Look until it is over."""
        while not self.over.wait(0.05):
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon"))
            self.peak = max(self.peak, kib / 1024)


def images(folder: Path, count: int) -> None:
    """Write images of noise around a grey that tells the class."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for label, grey in (("dark", 70), ("light", 180)):
        (folder / label).mkdir(parents=True)
        for number in range(count // 2):
            pixels = generator.integers(grey - 60, grey + 60, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.jpg")


class Trained(Quiet):
    """Notes the peak when training ends, before the proof, whose baselines learn from at most 50,000 examples."""

    def __init__(self, watched: Watched) -> None:
        self.watched, self.peak = watched, 0.0

    def see(self, record: lamina.Step | lamina.Epoch) -> None:
        """The last record is the one that counts."""
        self.peak = self.watched.peak


if __name__ == "__main__":
    asked = given(times=int)
    with tempfile.TemporaryDirectory() as place:
        images(Path(place) / "images", IMAGES * asked.times)
        watched = Watched()
        watched.start()
        plan = {"schedule": "constant"}
        watch = Trained(watched)
        lamina.train(
            Path(place) / "images",
            size="tiny",
            epochs=1,
            batch_size=64,
            plan=plan,
            out=Path(place) / "run",
            watch=watch,
        )
        watched.over.set()
        watched.join()
    say(
        ("lamina", "torch"),
        anonymous_mib=round(watch.peak, 1),
        with_proof_mib=round(watched.peak, 1),
        images=IMAGES * asked.times,
    )
