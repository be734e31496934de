"""Learning: the curves over epochs and steps, each with its title, its key, and a sentence for who cannot see it."""

from typing import Any

from lamina.report import charts, words
from lamina.report.charts import Line, Role
from lamina.report.material import Json, Material

_PLAYERS: tuple[Role, ...] = ("s1", "s2", "s3", "s4")


def learning(material: Material) -> Json:
    """Train and validation curves, the loss, the schedule, the gradient norm, and the epochs as a table."""
    metrics = _two_metrics(material)
    figures = [_scores_by_epoch(material, metric, f"epochs{place}") for place, metric in enumerate(metrics)]
    figures += [_loss_by_step(material), _learning_rate(material), _gradient_norm(material)]
    best = material.best
    return {
        "figures": [figure for figure in figures if figure],
        "table": _table(material, metrics),
        "metrics": [words.metric_name(metric) for metric in metrics],
        "best": best["epoch"] if best else None,
        "ended": _ended(material.end) if material.end else "",
    }


def _ended(end: Json) -> str:
    epochs = end.get("epochs")
    after = f" after {words.count(epochs, 'epoch')}" if isinstance(epochs, int) else ""
    return f"Training ended{after}" + (f": {end['reason']}." if end.get("reason") else ".")


def _two_metrics(material: Material) -> list[str]:
    """The first metric, and the first other one of which less is better."""
    first = material.metric
    if first is None or not material.epochs:
        return []
    names = list(material.epochs[-1].get("valid") or {})
    others = [name for name in names if name != first and material.lower(name)]
    return [name for name in [first, *others[:1]] if name in names]


def _scores_by_epoch(material: Material, metric: str, name: str) -> Json | None:
    epochs = material.epochs
    x = [epoch["epoch"] for epoch in epochs]
    best = material.best
    train, valid = ([(epoch.get(part) or {}).get(metric) for epoch in epochs] for part in ("train", "valid"))
    lines = [Line("train", x, train, "train"), Line("valid", x, valid, "valid")]
    last = ", ".join(f"{line.name} {words.number(line.y[-1])}" for line in lines)
    label = f"{words.metric_name(metric)} by epoch; in epoch {x[-1]}: {last}" + (
        f"; best epoch {best['epoch']}" if best else ""
    )
    svg = charts.curves(
        name, lines, label, "epoch", mark=best["epoch"] if best and len(x) > 1 else None, wide_as_log=True
    )
    keys = [("train", "training"), ("valid", "validation")]
    if best:
        keys.append(("mark", f"best epoch: {best['epoch']}"))
    direction = "lower" if material.lower(metric) else "higher"
    return _figure(f"{words.metric_name(metric)}, {direction} is better", svg, keys)


def _loss_by_step(material: Material) -> Json | None:
    steps = material.steps
    players = list(dict.fromkeys(player for step in steps for player in step.get("loss") or {}))[: len(_PLAYERS)]
    x = [step.get("step") for step in steps]
    lines = [
        Line(player, x, [(step.get("loss") or {}).get(player) for step in steps], role)
        for player, role in zip(players, _PLAYERS, strict=False)
    ]
    if not lines:
        return None
    ends = ", ".join(f"{line.name} from {words.number(line.y[0])} to {words.number(line.y[-1])}" for line in lines)
    svg = charts.curves("loss", lines, f"training loss by step: {ends}", "step", wide_as_log=True)
    keys: list[tuple[str, str]] = [(line.role, line.name) for line in lines] if len(lines) > 1 else []
    return _figure("Training loss", svg, keys)


def _learning_rate(material: Material) -> Json | None:
    steps = material.steps
    rates = [step.get("lr") for step in steps]
    known = [rate for rate in rates if rate is not None]
    line = Line("learning rate", [step.get("step") for step in steps], rates, "s1")
    peak = words.number(max(known)) if known else words.ABSENT
    schedule = (material.recipe.get("plan") or {}).get("schedule")
    svg = charts.curves("lr", [line], f"learning rate by step; its peak is {peak}", "step")
    return _figure("Learning rate" + (f", {schedule}" if schedule else ""), svg, [])


def _gradient_norm(material: Material) -> Json | None:
    steps = material.steps
    norms = [step.get("gradient_norm") for step in steps]
    known = [norm for norm in norms if norm is not None]
    clip = (material.recipe.get("plan") or {}).get("clip")
    highest = words.number(max(known)) if known else words.ABSENT
    svg = charts.curves(
        "gradient",
        [Line("gradient norm", [step.get("step") for step in steps], norms, "s1")],
        f"gradient norm by step; the highest is {highest}",
        "step",
        limit=clip,
        wide_as_log=True,
    )
    return _figure("Gradient norm", svg, [("limit", f"clipped above {words.number(clip)}")] if clip else [])


def _figure(title: str, svg: str | None, keys: list[tuple[str, str]]) -> Json | None:
    return {"title": title, "svg": svg, "keys": keys} if svg else None


def _table(material: Material, metrics: list[str]) -> list[list[Any]]:
    return [
        [
            words.number(epoch.get("epoch")) + (" ★" if epoch is material.best else ""),
            ", ".join(words.number(value) for value in (epoch.get("loss") or {}).values()) or words.ABSENT,
            *(words.number((epoch.get(part) or {}).get(metric)) for metric in metrics for part in ("train", "valid")),
            words.number(epoch.get("seconds")),
            words.compact(epoch.get("examples_per_s")),
        ]
        for epoch in material.epochs
    ]
