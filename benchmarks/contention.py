"""What is left of the speed when a second process keeps one core busy: a training alone, or beside a process that spins.

The choice of threads is measured anew each time, under the load that is there.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import lamina
from benchmarks.entrant import given, say

IMAGES, SIDE = 2048, 48
SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(10**6))"  # never an orphan

if __name__ == "__main__":
    asked = given(busy=int)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, IMAGES)
    pixels = generator.integers(0, 128, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8) + 100 * labels[:, None, None, None]
    with tempfile.TemporaryDirectory() as place:
        os.environ["LAMINA_CACHE"] = str(Path(place) / "cache")  # so that nothing is remembered
        spinning = subprocess.Popen([sys.executable, "-c", SPIN]) if asked.busy else None
        with spinning or nullcontext():
            answers = np.where(labels, "light", "dark")
            model = lamina.train(
                (pixels.astype(np.uint8), answers), size="small", epochs=4, batch_size=64, out=Path(place) / "run"
            )
            if spinning:
                spinning.kill()
        speeds = [record["examples_per_s"] for record in model.run.records("epoch")][1:]
    threads = model.recipe.execution.threads
    say(("lamina", "torch"), images_per_s=round(sorted(speeds)[len(speeds) // 2], 1), threads=threads)
