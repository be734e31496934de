import dataclasses
import math

import pytest

from lamina.errors import OptionError
from lamina.plan import Plan

SCHEDULES = ("one-cycle", "warmup-cosine", "constant")


@pytest.mark.parametrize(
    ("schedule", "start", "end"),
    [("one-cycle", 0.04, 1e-4), ("warmup-cosine", 0.0, 1e-4), ("constant", 0.0, 1.0)],
)
def test_the_rate_at_the_start_the_peak_and_the_end(schedule: str, start: float, end: float) -> None:
    plan = Plan(lr=0.5, schedule=schedule, warmup=0.25)  # type: ignore[arg-type]
    assert plan.lr_at(0) == pytest.approx(0.5 * start)
    assert plan.lr_at(0.25) == pytest.approx(0.5)
    assert plan.lr_at(1) == pytest.approx(0.5 * end)
    assert plan.lr_at(1.5) == plan.lr_at(1)
    assert plan.lr_at(-1) == plan.lr_at(0)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2, 1.0])
def test_the_rate_rises_to_its_peak_then_falls(schedule: str, warmup: float) -> None:
    plan = Plan(lr=2.0, schedule=schedule, warmup=warmup)  # type: ignore[arg-type]
    ts = [index / 200 for index in range(201)]
    rates = [plan.lr_at(t) for t in ts]
    assert all(0 <= rate <= 2.0 and math.isfinite(rate) for rate in rates)
    rising = [rate for t, rate in zip(ts, rates, strict=True) if t < warmup]
    falling = [rate for t, rate in zip(ts, rates, strict=True) if t >= warmup]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert Plan(lr=1.0, schedule="warmup-cosine", warmup=0.0).lr_at(0.5) == pytest.approx(0.5)
    assert Plan(lr=1.0, schedule="one-cycle", warmup=0.0).lr_at(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0), ("budget", 0.0), ("batch_size", 0), ("micro_batches", 0), ("micro_batches", 129), ("lr", 0.0),
        ("lr", math.inf), ("lr", math.nan), ("weight_decay", -1.0), ("momentum", 1.0), ("warmup", 1.1), ("clip", 0.0),
        ("ema", 1.0), ("patience", 0), ("spare", 1.0), ("spare", -0.1),
        ("seed", -1), ("seed", 2**63), ("budget", math.inf),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(OptionError) as caught:
        Plan(**{field: value})
    assert caught.value.where == "--" + field.replace("_", "-")
    assert str(value) in caught.value.what


def test_every_field_is_described() -> None:
    from lamina.options import field_docs

    assert set(field_docs(Plan)) == {field.name for field in dataclasses.fields(Plan)}
