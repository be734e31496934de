"""Where the time goes: every second is on some phase's account."""

import time

import pytest
import torch

from lamina.account import PHASES, Account


def test_laps_add_up_to_what_passed() -> None:
    began = time.perf_counter()
    account = Account(torch.device("cpu"))
    for _ in range(3):
        time.sleep(0.01)
        account.lap("forward")
        time.sleep(0.02)
        account.lap("backward")
    account.settle()
    time.sleep(0.01)
    account.lap("other")
    passed = time.perf_counter() - began
    spent = account.close()
    assert tuple(spent) == PHASES
    assert sum(spent.values()) == pytest.approx(passed, rel=0.05)
    assert spent["backward"] > 1.3 * spent["forward"] > 0
    assert sum(account.close().values()) < 0.005


def test_an_accelerator_is_waited_for_in_sampled_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    account = Account(torch.device("cuda"))
    for number in range(10):
        account.sample(number == 9)
        time.sleep(0.01)
        account.lap("forward")
        time.sleep(0.03)
        account.lap("backward")
    assert len(waits) == 3  # at the sample's begin, and at each of its laps
    spent = account.close()
    assert sum(spent.values()) == pytest.approx(0.4, rel=0.25)  # what was not waited for is divided alike
    assert spent["backward"] / spent["forward"] == pytest.approx(3, rel=0.3)


def test_what_came_between_steps_is_not_taken_for_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an accelerator only one step of many is read; a checkpoint after them is read whole."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    account = Account(torch.device("cuda"))

    def pass_by(seconds: float, phase: str) -> None:
        now[0] += seconds
        account.lap(phase)

    for _ in range(2):
        for number in range(20):
            account.sample(number == 19)
            pass_by(0.1, "forward")
            pass_by(0.4, "backward")
        account.settle()
        pass_by(0.5, "other")
        pass_by(1.0, "checkpoints")
    spent = account.close()
    assert {phase: seconds for phase, seconds in spent.items() if seconds} == pytest.approx(
        {"forward": 4.0, "backward": 16.0, "other": 1.0, "checkpoints": 2.0}
    )
