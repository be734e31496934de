"""The planted faults: what is planted is there, and the audit of it is counted."""

from pathlib import Path

import pytest


def test_a_planted_fault_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    from benchmarks import faults

    name, unsplit = next(faults.clean(None))
    data = faults.complete(unsplit, 0)
    seen = {fault.name: faults._once(fault, data, 0) for fault in faults.FAULTS if fault.of == "tables"}
    assert name == "iris"
    assert seen == {
        "a column gives the answer away": (True, None),
        "an identifier": (True, None),
        "groups on both sides": (True, None),
    }
