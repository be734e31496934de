"""Account: where the time of a training goes, phase by phase."""

import time

import torch

PHASES = ("data", "forward", "backward", "optimizer", "evaluation", "checkpoints", "other")
"""data: waiting for a batch, moving and augmenting it; forward: the network and its losses; optimizer: the step and the
averages; checkpoints: writing them and the best weights; other: all between, such as what the caller does with a record."""
BETWEEN = ("evaluation", "checkpoints", "other")
"""Those that come between steps, and are read in any case."""


class Account:
    """Seconds by phase.

    On the CPU each lap is read from the clock. An accelerator works behind the program's back, so there only sampled steps are
    waited for, and the rest of their stretch is divided as they were.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._stretch = dict.fromkeys(PHASES, 0.0)
        self._waits = device.type == "cpu"  # whether what was started is known to be done when a lap is read
        self._last = time.perf_counter()
        self._began = self._last

    def sample(self, wanted: bool) -> None:
        """Say whether the laps from now on are to be exact."""
        if self.device.type != "cpu":
            self._waits = wanted
            if wanted:
                self._synchronise()
            self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """What passed since the last lap was spent on ``phase``."""
        if not self._waits:
            return
        if self.device.type != "cpu":
            self._synchronise()
        now = time.perf_counter()
        self._stretch[phase] += now - self._last
        self._last = now

    def settle(self) -> None:
        """End a stretch: what no lap covered was steps, and is divided in the proportion of those that were read."""
        now = time.perf_counter()
        between = sum(self._stretch[phase] for phase in BETWEEN)
        read = sum(self._stretch.values()) - between
        factor = (now - self._began - between) / read if read else 0.0
        for phase, seconds in self._stretch.items():
            self.seconds[phase] += seconds * (1.0 if phase in BETWEEN else max(1.0, factor))
            self._stretch[phase] = 0.0
        self._last = self._began = now

    def close(self) -> dict[str, float]:
        """The seconds of what ends here, and begin anew."""
        self.settle()
        closed = dict(self.seconds)
        self.seconds = dict.fromkeys(PHASES, 0.0)
        return closed

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
