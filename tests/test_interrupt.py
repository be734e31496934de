import os
import signal
import threading
from pathlib import Path

import pytest

from lamina.interrupt import Interrupt, InterruptError


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_asks_and_the_second_stops(number: int) -> None:
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt.asked
        os.kill(os.getpid(), number)
        assert interrupt.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_in_another_thread_it_leaves_signals_alone() -> None:
    found = []

    def work() -> None:
        with Interrupt() as interrupt:
            found.append((interrupt.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, signal.getsignal(signal.SIGINT))]


def test_the_error_says_how_to_go_on() -> None:
    error = InterruptError(Path("runs/a b"))
    assert error.exit_code == 130
    assert "lamina train --resume 'runs/a b'" in error.remedy
