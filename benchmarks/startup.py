"""How long a user waits: for ``lamina --help``, and from the command to the first training step when the data are in the store.

The store is filled by a run of the same command before the one that is measured.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.entrant import given, say
from lamina.tasks.image_classification import ImageClassification

TIMES = 3  # of each, for the median
COMMAND = [sys.executable, "-c", "from lamina.cli import main; main()"]  # what the installed script does


def first_step(source: Path, out: Path) -> float:
    """Seconds from the command to the end of its first stretch of steps, less the seconds of that stretch."""
    began = time.time()
    command = [*COMMAND, "train", str(source), "--size", "tiny", "--epochs", "1", "--out", str(out), "--json"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            log = out / "log.jsonl"
            for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
                if line.endswith("}") and (record := json.loads(line))["kind"] == "step":
                    waited = time.time() - began
                    process.wait()
                    return waited - record["seconds"]
            time.sleep(0.01)
    raise RuntimeError(f"`lamina train` ended with {process.returncode} and no step")


def help_page() -> float:
    """Seconds of ``lamina --help``."""
    began = time.time()
    subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.time() - began


if __name__ == "__main__":
    asked = given(until=str)
    with tempfile.TemporaryDirectory() as place:
        if asked.until == "help":
            seconds = [help_page() for _ in range(TIMES + 1)]
        else:
            path = ImageClassification().tiny(Path(place)).path
            assert path is not None
            seconds = [first_step(path, Path(place) / f"run{number}") for number in range(TIMES + 1)]
    say(("lamina", "torch"), seconds=round(statistics.median(seconds[1:]), 3), first=round(seconds[0], 3))
