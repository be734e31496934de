"""The verdict: the page's title, what was learned from what, whether it is proved, and the numbers looked for first."""

from pathlib import PurePath

from lamina.report import words
from lamina.report.material import Json, Material


def verdict(material: Material) -> Json:
    """The title, what was learned from what, and whether it is proved."""
    recipe = material.recipe
    data, task, network = (recipe.get(key) or {} for key in ("data", "task", "network"))
    source = PurePath(str(data.get("source") or "data"))
    target = f": {data['target']}" if data.get("target") else ""
    size = network.get("size")
    about = [
        words.title(str(task.get("name") or "unknown task")),
        " ".join(
            str(part) for part in (words.title(str(network.get("name") or "network")), size and f"({size})") if part
        ),
        str(material.environment.get("date") or material.environment.get("when") or "")[:10],
    ]
    return {
        "title": f"{source.name or source}{target}",
        "about": [part for part in about if part],
        "sentences": _learned(material) + _proved(material),
        "said": sentence(str(material.test.get("verdict") or "")),
        "wrong": _wrong(material),
        "alarms": _alarms(material),
        "tiles": _tiles(material),
    }


def sentence(text: str) -> str:
    """The text with a capital at its beginning, unless its first word has capitals of its own."""
    return text[:1].upper() + text[1:] if text.split(" ")[0].islower() else text


def _learned(material: Material) -> list[str]:
    data, task, network = (material.recipe.get(key) or {} for key in ("data", "task", "network"))
    counts = data.get("counts") or {}
    uses = {"train": "examples to learn from", "valid": "to choose the best epoch", "test": "to prove it"}
    sizes = ", ".join(
        f"{words.number(counts[part])} {use}" for part, use in uses.items() if counts.get(part) is not None
    )
    parameters = material.layers.get("parameters")
    name = " ".join(words.title(str(network[key])) for key in ("size", "name") if network.get(key)) or "neural network"
    weights = f" with {words.compact(parameters)} parameters" if parameters else ""
    source = f"“{PurePath(str(data['source'])).name}”" if data.get("source") else "data in memory"
    target = f"the column “{data['target']}” of " if data.get("target") else ""
    learned = "learned" if material.end else "is to learn"
    goal = words.title(str(task.get("name") or "an unknown task"))
    return [f"A {name}{weights} {learned} {goal} from {target}{source}" + (f": {sizes}." if sizes else ".")]


def _proved(material: Material) -> list[str]:
    metric = material.metric
    score = (material.test.get("scores") or {}).get(metric) if metric else None
    if metric is None:
        return ["There is no score: training was stopped before the first epoch was complete."]
    if score is None:
        best = (material.best or material.epochs[-1])["valid"].get(metric)
        return [
            f"The test part was not evaluated, so nothing is proved. On the validation part, which also chose the best "
            f"epoch and therefore flatters, {words.metric_name(metric)} is {words.number(best)}."
        ]
    if material.test.get("verdict"):
        return []  # it says all this, and by a paired test
    examples = material.test.get("examples")
    on = f"{words.number(examples)} test examples" if examples is not None else "test examples"
    sentences = [f"On {on}, {words.metric_name(metric)} is {with_interval(score)}"]
    baseline = material.best_baseline()
    if baseline is None:
        return [sentences[0] + ". There is no baseline to compare it with."]
    name, base = baseline
    sentences[0] += f"; the best baseline, {words.title(name)}, reaches {with_interval(base)}."
    return [*sentences, _STANDING[standing(score, base, material.lower(metric))][1]]


def _wrong(material: Material) -> list[str]:
    """What is wrong by the gravest findings, and what to do next."""
    if material.end is None:
        return []  # the alarm says what to do
    grave = sorted((found for found in material.findings if found.severity != "note"), key=lambda one: one.severity)
    if not grave:
        return ["No check before, during or after the training gave a warning."]
    count = words.count(len(grave), "check gave a warning", "checks gave a warning")
    first = f"{grave[0].what} What to do next: {grave[0].remedy}"
    return [f"{sentence(count)}{'; the first' if len(grave) > 1 else ''}: {first}"]


_STANDING = {
    "better": ("good", "The two intervals do not overlap: the network is proved better."),
    "worse": ("bad", "The two intervals do not overlap: the baseline is proved better. Use the baseline."),
    "open": ("open", "The two intervals overlap, so by them alone it is not proved that the network is better."),
    "unknown": ("", "Without both intervals nothing can be said about the difference."),
}


def standing(score: Json, base: Json, lower: bool) -> str:
    """How two intervals lie: the first is "better", "worse", they overlap ("open"), or one is "unknown"."""
    low, high, base_low, base_high = (of.get(end) for of in (score, base) for end in ("low", "high"))
    if low is None or high is None or base_low is None or base_high is None:
        return "unknown"
    if low <= base_high and base_low <= high:
        return "open"
    return "better" if (high < base_low) == lower else "worse"


def with_interval(score: Json) -> str:
    """ "0.931 (95 % confidence interval 0.926 to 0.936)"."""
    decimals = words.decimals_for(score.get("low"), score.get("high"))
    value, low, high = (words.number(score.get(key), decimals) for key in ("value", "low", "high"))
    if score.get("low") is None or score.get("high") is None:
        return value if score.get("value") is not None else "not defined"
    return f"{value} (95 % interval {low} to {high})"


def _alarms(material: Material) -> list[str]:
    alarms = list(material.problems)
    if material.end is None:
        done = (
            f"after epoch {material.epochs[-1]['epoch']}" if material.epochs else "before the first epoch was complete"
        )
        alarms.append(
            f"Training has not come to its end: this is the state {done}. Continue with lamina train --resume."
        )
    return alarms


def _tiles(material: Material) -> list[Json]:
    tiles = []
    metric = material.metric
    score = (material.test.get("scores") or {}).get(metric) if metric else None
    if metric and score:
        baseline = material.best_baseline()
        apart = standing(score, baseline[1], material.lower(metric)) if baseline else "unknown"
        if material.test.get("verdict") and apart == "open":
            apart = "unknown"  # a paired test can tell apart what intervals cannot: the colour must not contradict it
        tone = _STANDING[apart][0]
        tiles.append(_score_tile(f"{words.metric_name(metric)}, test", score, tone))
        if baseline:
            tiles.append(_score_tile(f"best baseline: {words.title(baseline[0])}", baseline[1], ""))
    elif metric and material.best:
        value = words.number(material.best["valid"].get(metric))
        tiles.append(
            {"label": f"{words.metric_name(metric)}, validation", "value": value, "detail": "not proved", "tone": ""}
        )
    time = words.duration(material.seconds)
    done = words.count(len(material.epochs), "epoch")
    tiles.append({"label": "training time", "value": time, "detail": done, "tone": ""})
    worst = [finding for finding in material.findings if finding.severity != "note"]
    tiles.append(
        {
            "label": "findings",
            "value": words.number(len(material.findings)),
            "detail": f"{words.count(len(worst), 'warning')}" if material.findings else "nothing found wrong",
            "tone": "bad" if any(finding.severity == "stop" for finding in worst) else "open" if worst else "",
        }
    )
    reads = len(material.reads)
    tiles.append({"label": "test part read", "value": words.times(reads), "detail": _reads(reads), "tone": ""})
    return tiles


def _reads(reads: int) -> str:
    return {0: "still unseen", 1: "as it should be"}.get(reads, "each look weakens the proof")


def _score_tile(label: str, score: Json, tone: str) -> Json:
    decimals = words.decimals_for(score.get("low"), score.get("high"))
    value, low, high = (words.number(score.get(key), decimals) for key in ("value", "low", "high"))
    detail = f"{low} to {high}" if score.get("low") is not None else "no interval"
    return {"label": label, "value": value, "detail": detail, "tone": tone}
