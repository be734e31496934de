"""Proof: what a trained network scores on examples that took no part in any choice, beside what simpler things score.

In go a network and labelled examples; out come scores with intervals, baselines, a verdict in words, exhibits and the worst
mistakes, all written into the run's ``evaluation/``.
"""

import time
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from lamina import slices
from lamina.by_class import never_said
from lamina.data.data import Data
from lamina.data.remembered import recall, remember
from lamina.data.store import Store
from lamina.evaluation import Evaluation, evaluate
from lamina.examples import contents
from lamina.execution import Execution
from lamina.exhibits import Exhibit, Gallery, to_json
from lamina.metrics.metric import Metric, Score, scores
from lamina.metrics.paired import LEVEL, paired
from lamina.rivals import known_to, observed
from lamina.run import LEARNED, Run
from lamina.tasks.task import Facts, Judged, Task
from lamina.writing import number

MISTAKES = 12


def prove(
    network: nn.Module,
    task: Task,
    facts: Facts,
    data: Data,
    store: Store,
    run: Run,
    execution: Execution,
    batch_size: int,
    name: str = "test",
    reads: int = 0,
) -> dict[str, Any]:
    """Evaluate the test part of ``data``, and write what was found as ``evaluation/NAME.json`` and ``.safetensors``.

    Args:
        network: with the weights to be judged.
        task: what was learned.
        facts: what the task learned from the training part.
        data: examples; those of the part "test" are judged.
        store: the same examples, encoded.
        run: where the result goes.
        execution: on which device, in which precision.
        batch_size: examples at a time.
        name: of the evaluation.
        reads: how often the run's test part has been read; 0 for data that are not the run's own.

    Returns:
        The content of the JSON file.
    """
    began = time.monotonic()
    metrics = task.metrics(facts)
    rows = store.rows_of(data, "test")
    examples = store.kept[rows.numpy()]
    groups = None if data.groups is None else data.groups[examples]
    found = evaluate(execution.prepare(network), task, metrics, store, rows, batch_size, execution)
    own = scores(metrics, found.rows, groups=groups)
    known = store.rows_of(data, "train")
    seen = known_to(store, known, task.continues)
    rivals = observed(task, facts, store, seen, rows, metrics) if len(seen) else {}
    part = ""
    if len(seen) < len(known):
        part = f" The baselines learned from {100 * len(seen) / len(known):.1f} % of the training examples."
    leaked = _learned_from(run, data.take(examples), facts) | (name == "test") * _leaked(run, examples)
    clean, in_words = without_leaks(metrics, found.rows, leaked, groups)
    judged_data = data.take(examples)
    by, cut = slices.sliced(metrics, found.rows, judged_data, found.targets, facts, groups)
    judged = Judged(network, store, known, rows)
    exhibits = [
        *task.exhibits(found.outputs, found.targets, facts, judged),
        *slices.exhibit(by, cut),
        *_mistakes(task, facts, data, examples, found),
    ]
    fingerprint = judged_data.fingerprint()
    others = _other_readers(run, fingerprint, name == "test")
    result = {
        "part": name,
        "examples": len(rows),
        "fingerprint": fingerprint,
        "scores": {key: {**value.to_json(), "better": metrics[key].better} for key, value in own.items()},
        "baselines": {
            rival: {key: value.to_json() for key, value in scores(metrics, observed, groups=groups).items()}
            for rival, observed in rivals.items()
        },
        "without_leaks": clean,
        "slices": slices.to_json(cut),
        "verdict": verdict(metrics, own, found.rows, rivals, groups) + in_words + slices.in_words(by, cut) + part,
        "exhibits": [to_json(exhibit) for exhibit in exhibits],
        "reads": reads,
        "other_readers": others,
        "seconds": time.monotonic() - began,
    }
    silent = never_said(found.outputs, found.targets, facts) if name == "test" else None
    if silent is not None and silent.kind not in {finding.kind for finding in run.findings()}:
        run.log(silent)
    run.write(f"evaluation/{name}.safetensors", _kept(found, groups))
    run.write(f"evaluation/{name}.json", result)
    return result


def verdict(
    metrics: dict[str, Metric],
    reached: dict[str, Score],
    rows: dict[str, Tensor],
    rivals: dict[str, dict[str, Tensor]],
    groups: np.ndarray | None = None,
) -> str:
    """In words: the first metric's score, and whether the network is better than the best baseline."""
    name, metric = next(iter(metrics.items()))
    own = reached[name]
    said = f"{name.replace('_', ' ')} {number(own.value)} (95 % interval {number(own.low)} to {number(own.high)})"
    if not rivals:
        return f"{said}."
    sign = 1 if metric.better == "higher" else -1
    best = max(rivals, key=lambda key: sign * metric.value(rivals[key][name]))
    other = metric.value(rivals[best][name])
    gap = paired(metric, rows[name], rivals[best][name], groups=groups)
    rival = best.replace("_", " ")
    interval = f"difference {number(gap.value)}, 95 % interval {number(gap.low)} to {number(gap.high)}, p = {gap.p:.2g}"
    if not gap.p < LEVEL:
        return (
            f"{said}. The best baseline, {rival}, has {number(other)}: the network is not proved to be "
            f"better ({interval}). Prefer the simple one, or gather more data."
        )
    if sign * gap.value > 0:
        return f"{said}: better than the best baseline, {rival}, with {number(other)} ({interval})."
    return f"{said}: worse than the baseline {rival}, with {number(other)} ({interval}). Use the simple one."


def without_leaks(
    metrics: dict[str, Metric], rows: dict[str, Tensor], leaked: np.ndarray, groups: np.ndarray | None = None
) -> tuple[dict[str, Any], str]:
    """The scores of those examples that took no part in training, and a sentence; nothing where all are such.

    Args:
        metrics: by name.
        rows: per metric, (examples, k).
        leaked: (examples,) bool.
        groups: (examples,).
    """
    count = int(leaked.sum())
    if count == 0:
        return {}, ""
    if count > len(leaked) - 2:
        return {}, (
            f" But {count:,} of these {len(leaked):,} examples have a copy in the training or validation part: the score says "
            "little of new ones."
        )
    kept = {name: observed[torch.from_numpy(~leaked)] for name, observed in rows.items()}
    clean = scores(metrics, kept, groups=None if groups is None else groups[~leaked])
    name, score = next(iter(clean.items()))
    said = (
        f" Without the {count:,} examples that have a copy in the training or validation part, "
        f"{name.replace('_', ' ')} is {number(score.value)} ({number(score.low)} to {number(score.high)})."
    )
    return {"left_out": count, "scores": {key: value.to_json() for key, value in clean.items()}}, said


def _kept(found: Evaluation, groups: np.ndarray | None) -> bytes:
    """What was said of each example, as a safetensors file: a comparison needs it."""
    tensors = {"outputs": found.outputs} | {f"targets.{key}": tensor for key, tensor in found.targets.items()}
    tensors |= {f"rows.{key}": observed for key, observed in found.rows.items()}
    if groups is not None:  # so that a comparison resamples whole groups, too
        tensors["groups"] = torch.from_numpy(np.unique(groups.astype(str), return_inverse=True)[1])
    return save({key: tensor.contiguous() for key, tensor in tensors.items()})


def _other_readers(run: Run, fingerprint: str, reads: bool) -> int:
    """How many other runs on this machine are known to have read these examples as their test part; this one is noted, too."""
    own = str(run.path.resolve())
    known = {*(recall("readers", fingerprint) or {}).get("runs", [])}
    if reads:
        remember("readers", fingerprint, {"runs": sorted(known | {own})})
    return len(known - {own})


def _leaked(run: Run, examples: np.ndarray) -> np.ndarray:
    """(examples,) bool: which of these rows of the data the audit found in another part, too, equal or nearly so."""
    named = [
        finding.evidence.get("indices", [])
        for finding in run.findings()
        if finding.kind in ("leak.duplicate", "leak.near_duplicate") and finding.evidence.get("part") == "test"
    ]
    found: np.ndarray = np.isin(examples, np.array([row for rows in named for row in rows], dtype=np.int64))
    return found


def _learned_from(run: Run, data: Data, facts: Facts) -> np.ndarray:
    """(examples,) bool: which of these have a copy in the run's training or validation part."""
    known = (run.path / LEARNED).read_bytes() if run.has(LEARNED) else b""  # of an earlier version
    return np.isin(contents(data, facts), np.frombuffer(known, "<u8"))


def _mistakes(task: Task, facts: Facts, data: Data, examples: np.ndarray, found: Evaluation) -> list[Exhibit]:
    """The examples that the first lower-is-better metric ranks as the worst; where there are answers, the wrong ones."""
    metrics = task.metrics(facts).items()
    ranking = next(
        (found.rows[key][:, 0] for key, metric in metrics if metric.better == "lower" and metric.ranks), None
    )
    if ranking is None or not len(ranking):
        return []
    said = task.decode(found.outputs, facts)
    truth = data.answers[examples]
    order = torch.argsort(ranking, descending=True, stable=True).tolist()
    wrong = [i for i in order if not data.answered or (ranking[i] > 0 and said[i]["prediction"] != truth[i])]
    worst = np.array(wrong[:MISTAKES], dtype=int)
    if not len(worst):
        return []
    chosen = examples[worst]
    said_as = "" if data.answered else f"{next(iter(task.metrics(facts))).replace('_', ' ')} "
    pictured = task.show(data.raws[chosen], facts, truth[worst], [said[index] for index in worst])
    items = [
        {
            "where": str(data.where[example]),
            "caption": shown.get("caption")
            or f"{said_as}{_short(said[index]['prediction'])}"
            + (f"; the truth: {_short(truth[index])}" if data.answered else ""),
            "shown": shown,
        }
        for index, example, shown in zip(worst, chosen, pictured, strict=True)
    ]
    if not data.answered:
        return [
            Gallery(
                "Hardest examples", "The test examples that surprised the network most, each with its score.", items
            )
        ]
    explanation = (
        "The test examples on which the network was most wrong: look for wrong labels and for what they share."
    )
    return [Gallery("Worst mistakes", explanation, items)]


def _short(value: Any) -> str:
    return number(float(value)) if isinstance(value, float | np.floating) else str(value)
