"""What every entrant of a benchmark shares: named arguments in, a clock of its epochs, and one line of JSON out.

An entrant is a process of its own, since some peers cannot live in one process with others.
"""

import argparse
import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def given(**kinds: Any) -> Any:
    """The command line's ``--name value``, each of its type; all of them are needed."""
    parser = argparse.ArgumentParser()
    for name, kind in kinds.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    return parser.parse_args()


class Clock:
    """Seconds of each epoch, read from outside: a training part reaches from the last validation to its last step."""

    def __init__(self) -> None:
        self.training: list[float] = []
        self.validating: list[float] = []
        self._last = time.perf_counter()

    def begin(self, ago: float = 0.0) -> None:
        """Training began now, or some seconds ago; what was before is not counted."""
        self._last = time.perf_counter() - ago

    def since(self) -> float:
        """Seconds since the last reading."""
        return time.perf_counter() - self._last

    def trained(self, at: float | None = None) -> None:
        """The steps of an epoch are taken, now or at a moment that is past."""
        self.training.append(self._lap(at))

    def validated(self) -> None:
        """The epoch is validated, and over."""
        self.validating.append(self._lap())

    def facts(self, images: int) -> dict[str, Any]:
        """What the line of JSON says of time; the first epoch is left out of the speed, since it warms up."""
        steady = self.training[1:]
        return {
            "training_seconds": [round(seconds, 3) for seconds in self.training],
            "validation_seconds": [round(seconds, 3) for seconds in self.validating],
            "images_per_s": round(images * len(steady) / sum(steady), 2),
        }

    def _lap(self, at: float | None = None) -> float:
        now = time.perf_counter() if at is None else at
        seconds, self._last = now - self._last, now
        return seconds


def images_in(folder: Path) -> int:
    """How many images a folder of class folders holds."""
    return sum(1 for _ in folder.glob("*/*.jpg"))


def say(libraries: tuple[str, ...], **facts: Any) -> None:
    """Print what was measured, with the peak of this process's memory and the versions of the libraries."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    versions = {library: version(library) for library in libraries}
    print(json.dumps(facts | {"peak_mib": peak, "versions": versions}), flush=True)
