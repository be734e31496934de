"""Interrupt: the first Ctrl-C asks the loop to stop at the next record, the second stops at once.

Either way the caller gets InterruptError, which says how to go on.
"""

import shlex
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from lamina.errors import TrainingError


class InterruptError(TrainingError):
    """The user stopped the run; it can be continued."""

    exit_code = 130  # as shells report Ctrl-C

    def __init__(self, run: Path) -> None:
        super().__init__(
            "stopped by the user.", str(run), f"Continue it: lamina train --resume {shlex.quote(str(run))}"
        )


class Interrupt:
    """A context in which ``asked`` becomes true at the first SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
