"""Speed: where the time of a run went, what limits it, and what was measured to make it quick.

Material in, plain values for the page out. Runs of an older Lamina know less: what they did not record is left out or said
to be missing.
"""

import math
import statistics
from typing import Any

from lamina.report import charts, words
from lamina.report.charts import Line
from lamina.report.material import Json, Material

PARTS = {
    "prepare": ("preparing", "reading, encoding, measuring"),
    "audit": ("audit", "looking for illnesses of the data"),
    "preflight": ("pre-flight", "trying copies of the network"),
    "data": ("waiting for data", "fetching, augmenting"),
    "forward": ("forward pass", "answers, and their loss"),
    "backward": ("backward pass", "the gradient of the loss"),
    "optimizer": ("optimizer", "changing the weights"),
    "evaluation": ("evaluation", "scores after each epoch"),
    "checkpoints": ("checkpoints", "weights to disk"),
    "other": ("everything else", "between the steps"),
    "unknown": ("training, not divided", "not recorded by part"),
    "proof": ("proof", "test part, baselines"),
}
"""In the order of time: name and meaning of each part of a run."""
OUTSIDE = ("prepare", "audit", "preflight", "proof")
"""Parts that are not training."""

_LIMITS = {
    "data": ("waiting for data", "reading and augmenting is the limit, {device} waits for it"),
    "optimizer": ("the optimizer", "changing the weights is the limit; larger batches need fewer steps"),
    "evaluation": ("evaluation", "scoring after each epoch is the limit; fewer validation examples are scored sooner"),
    "checkpoints": ("checkpoints", "the disk is the limit"),
    "other": ("what happens between the steps", "another program may keep this machine busy"),
}
_DEVICES = {"cpu": "the processor", "cuda": "the graphics processor", "mps": "the graphics processor"}
WORTH_NAMING = 0.1
"""Share of the training time from which a second part is named beside the largest; of the run, from which the audit is."""
UNDIVIDED = 0.01
"""Share of the training time that may be missing from its parts without being shown."""


def speed(material: Material) -> Json:
    """Seconds by part, the sentence on what limits the run, examples and FLOPs per second, and the measured ways."""
    parts = _parts(material)
    return {
        "limit": _limit(material, parts),
        **_divided(parts),
        "tiles": _tiles(material, parts),
        "figure": _figure(material),
        "execution": _execution(material),
        **_measured(material),
    }


def _parts(material: Material) -> dict[str, float]:
    """Seconds by part of the run; only parts that took time."""
    spent = dict.fromkeys(PARTS, 0.0)
    for epoch in material.epochs:
        phases = epoch.get("spent")
        for phase, seconds in phases.items() if isinstance(phases, dict) else ():
            spent[phase if phase in PARTS else "other"] += _number(seconds) or 0.0
    recorded, training = sum(spent.values()), _number(material.seconds) or 0.0
    if training - recorded > UNDIVIDED * training:  # an older Lamina, an epoch under way, or one that was resumed
        spent["unknown"] = training - recorded
    spent["audit"], spent["preflight"] = material.audited or 0.0, material.flown or 0.0
    spent["prepare"] = max(0.0, (material.prepared or 0.0) - spent["audit"] - spent["preflight"])
    spent["proof"] = _number(material.test.get("seconds")) or 0.0
    return {part: seconds for part, seconds in spent.items() if seconds > 0}


def _training(parts: dict[str, float]) -> float:
    return sum(seconds for part, seconds in parts.items() if part not in OUTSIDE)


def _limit(material: Material, parts: dict[str, float]) -> str:
    """What takes most of the training, in one sentence; and first, where most of the run was not training at all."""
    training, known = _training(parts), {part: s for part, s in parts.items() if part in _LIMITS}
    computing = parts.get("forward", 0.0) + parts.get("backward", 0.0)
    if not training:
        return ""
    if not computing + sum(known.values()):
        if not material.epochs:
            return "How the time is divided is recorded at the end of each epoch; none is complete yet."
        return "How the time of training was divided was not recorded."
    device = _DEVICES.get(str((material.recipe.get("execution") or {}).get("kind")), "the processor")
    end = ", not the data" if parts.get("data", 0.0) < WORTH_NAMING * training else ""
    phrases = {"computing": ("the forward and backward pass", "{device} is the limit" + end), **_LIMITS}
    ranked = sorted([("computing", computing), *known.items()], key=lambda item: -item[1])
    (first, most), (second, next_most) = ranked[0], ranked[1] if len(ranked) > 1 else ("", 0.0)
    name, meaning = phrases[first]
    sentence = f"{_share(most, training)} of the training time goes into {name}: {meaning.format(device=device)}"
    if next_most >= WORTH_NAMING * training:
        sentence += f". Next is {phrases[second][0]} with {_share(next_most, training)}"
    outside = sum(parts.values()) - training
    if outside > training:
        longest = max(OUTSIDE, key=lambda part: parts.get(part, 0.0))
        shares = [_share(seconds, training + outside) for seconds in (training, parts[longest])]
        sentence += f". Training was only {shares[0]} of the whole run; {PARTS[longest][0]} took {shares[1]}"
    whole = sum(parts.values())
    if parts.get("audit", 0.0) > WORTH_NAMING * whole:
        sentence += (
            f". The audit took {_share(parts['audit'], whole)}: it grows with the examples, not with the training, which was "
            "short; of the same examples it is remembered"
        )
    return sentence + "."


def _divided(parts: dict[str, float]) -> Json:
    """The bar, and the table below it."""
    whole, training = sum(parts.values()), _training(parts)
    rows = [
        {
            "part": part,
            "name": PARTS[part][0],
            "meaning": PARTS[part][1],
            "time": _time(seconds),
            "of_run": _share(seconds, whole),
            "of_training": "" if part in OUTSIDE else _share(seconds, training),
            "width": f"{seconds / whole:.5f}",
        }
        for part, seconds in sorted(parts.items(), key=lambda item: list(PARTS).index(item[0]))
    ]
    label = "Where the time went: " + ", ".join(f"{row['name']} {row['time']} ({row['of_run']})" for row in rows)
    totals = [("training", training), ("the whole run", whole)]
    return {
        "parts": rows,
        "label": label,
        "totals": [
            {
                "name": name,
                "time": _time(seconds),
                "of_run": _share(seconds, whole),
                "of_training": _share(seconds, training) if name == "training" else "",
            }
            for name, seconds in totals
            if seconds
        ],
    }


def _tiles(material: Material, parts: dict[str, float]) -> list[Json]:
    """Examples per second, the network's FLOP/s while it computes, and its share of the GEMM peak."""
    median = _median_speed(material)
    if median is None:
        return []
    tiles = [{"label": "training examples per second", "value": words.compact(median), "detail": "median"}]
    operations = _number(material.layers.get("flops"))
    computing = sum(parts.get(part, 0.0) for part in ("forward", "backward", "optimizer"))
    if not operations or not computing:
        return tiles
    share = computing / (computing + parts.get("data", 0.0))  # examples per second count the waiting, too
    flops = 3 * operations * median / share
    detail = f"3 × {words.compact(int(operations))} for each example"
    tiles.append({"label": "FLOP/s of the network", "value": words.compact(flops), "detail": detail})
    measured = material.recipe.get("measured")
    peak = _number(measured.get("gemm_flops")) if isinstance(measured, dict) else None
    if peak:
        execution = material.recipe.get("execution") or {}
        precision, tiled = execution.get("precision"), execution.get("convolutions", "direct") != "direct"
        detail = f"of {words.compact(peak)} FLOP/s" + (f" in {precision}" if precision else "")
        if flops > peak:
            fewer, busy = (
                "Winograd’s convolutions need fewer operations than are counted",
                "the machine was busy when the peak was measured",
            )
            detail += f"; more than all: {fewer if tiled else busy}"
        tiles.append({"label": "share of the GEMM peak", "value": _share(flops, peak), "detail": detail})
    return tiles


def _median_speed(material: Material) -> float | None:
    known = [speed for speed in (_number(step.get("examples_per_s")) for step in material.steps) if speed is not None]
    return statistics.median(known) if known else None


def _figure(material: Material) -> Json | None:
    """Examples per second over the steps."""
    speeds = [_number(step.get("examples_per_s")) for step in material.steps]
    median = words.compact(_median_speed(material))
    line = Line("examples per second", [step.get("step") for step in material.steps], speeds, "s1")
    label = f"training examples per second by step; the median is {median}"
    svg = charts.curves("speed", [line], label, "step", from_zero=True)
    return {"title": "Training examples per second", "svg": svg, "keys": []} if svg else None


def _execution(material: Material) -> list[tuple[str, str]]:
    execution = material.recipe.get("execution") or {}
    return [
        ("device" if key == "kind" else words.title(str(key)), _setting(key, value))
        for key, value in execution.items()
        if key != "table"  # where an older Lamina kept the measured ways
    ]


def _setting(key: str, value: Any) -> str:
    return "PyTorch’s choice" if key == "threads" and value == 0 else words.number(value)


def _measured(material: Material) -> Json:
    """The ways that were tried, and where their figures are from."""
    measured = material.recipe.get("measured")
    held = measured if isinstance(measured, dict) else material.recipe.get("execution") or {}
    table = [row for row in held.get("table") or [] if isinstance(row, dict)]
    if table:
        said = "Measured with this run’s network on some of its examples"
        if held.get("remembered"):
            said = "Measured in an earlier run with this network on this machine, and remembered"
        said += (
            ": forward and backward pass, each way in turn. The quickest that computes the same as float32 was chosen. "
            "The figures rank the ways; few examples at a time may be slower than whole batches are in training."
        )
    else:
        said = "The recipe that was repeated says so: nothing was measured." if isinstance(measured, dict) else ""
    return {
        "measured": said,
        "candidates": [
            {
                "name": words.number(row.get("candidate")),
                "speed": words.compact(row.get("examples_per_s") or None),  # 0: it was only compared with
                "error": _difference(row.get("error")),
                "note": str(row.get("note") or ""),
                "chosen": bool(row.get("chosen")),
            }
            for row in table
        ],
    }


def _difference(error: Any) -> str:
    """An error relative to float32; older runs have a sentence in its place."""
    if error is None:
        return words.ABSENT
    known = _number(error)
    if known is None:
        return str(error)
    return "0" if known == 0 else "< 0.01 %" if known < 1e-4 else f"{100 * known:.2f} %"


def _share(part: float, whole: float) -> str:
    percent = 100 * part / whole if whole else 0.0
    return "< 0.1 %" if percent < 0.05 else f"{percent:.1f} %" if percent < 9.95 else f"{percent:.0f} %"


def _time(seconds: float) -> str:
    return words.duration(seconds) if seconds >= 0.01 else "< 0.01 s"


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None
