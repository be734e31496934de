"""Chapters: what the report says in words, tables and curves; material in, plain values for the page out.

The page lays out and escapes; every sentence that depends on the run is made here.
"""

import json
import shlex
from typing import Any

from lamina.findings import ROWS
from lamina.report import charts, words
from lamina.report.material import Json, Material
from lamina.report.verdict import sentence, with_interval

CONCEPTS = {
    "Conv": "convolution",
    "BatchNorm": "batch normalisation",
    "ReLU": "ReLU",
    "Sigmoid": "sigmoid",
    "Dropout": "dropout",
    "Embedding": "embedding",
}
"""By the beginning of a layer's type, the term that explains it."""


def scores(material: Material) -> Json:
    """Every metric of the network and of each baseline, and a picture of the first."""
    found, baselines = material.test.get("scores") or {}, material.test.get("baselines") or {}
    table = []
    for metric, score in found.items():
        decimals = words.decimals_for(score.get("low"), score.get("high"))
        table.append(
            {
                "metric": words.metric_name(metric),
                "term": words.term(metric),
                "better": "lower" if material.lower(metric) else "higher",
                "network": _cell(score, decimals),
                "baselines": [_cell((baseline.get(metric) or {}), decimals) for baseline in baselines.values()],
            }
        )
    return {
        "table": table,
        "baselines": [words.title(name) for name in baselines],
        "picture": _score_picture(material),
        "metric": words.metric_name(material.metric or ""),
        "better": "lower" if material.metric and material.lower(material.metric) else "higher",
        "examples": material.test.get("examples"),
        "reads": material.reads,
        "times": words.times(len(material.reads)),
        "others": material.test.get("other_readers") or 0,
        "sliced": bool(material.test.get("slices")),
        "seeds": sentence(str(material.seeds.get("verdict") or "")),
    }


def _cell(score: Json, decimals: int) -> Json:
    value, low, high = (words.number(score.get(key), decimals) for key in ("value", "low", "high"))
    known = score.get("low") is not None and score.get("high") is not None
    return {"value": value, "interval": f"{low} to {high}" if known else ""}


def _score_picture(material: Material) -> str | None:
    metric = material.metric
    rows = [("this network", material.test.get("scores") or {}), *(material.test.get("baselines") or {}).items()]
    values = [
        charts.Dot(
            words.title(name),
            score["value"],
            score.get("low"),
            score.get("high"),
            _written(score),
            "valid" if place == 0 else "baseline",
        )
        for place, (name, score) in enumerate((name, of.get(metric) or {}) for name, of in rows)
        if score.get("value") is not None
    ]
    if metric is None or not values:
        return None
    told = "; ".join(f"{dot.name} {with_interval(vars(dot))}" for dot in values)
    direction = "lower" if material.lower(metric) else "higher"
    return charts.dots(
        "scores",
        values,
        f"{words.metric_name(metric)} on the test part: {told}",
        f"{words.metric_name(metric)}, {direction} is better",
    )


def _written(score: Json) -> str:
    return words.number(score["value"], words.decimals_for(score.get("low"), score.get("high")))


def data(material: Material) -> Json:
    """Sizes of the parts, what was decided when reading, and how often each class occurs."""
    described = material.recipe.get("data") or {}
    counts = {part: size for part, size in (described.get("counts") or {}).items() if isinstance(size, int)}
    total = sum(counts.values())
    classes = material.facts.get("class_counts")
    if isinstance(classes, list):
        names = material.facts.get("classes") or range(len(classes))
        classes = dict(zip(map(str, names), classes, strict=False))
    known = {str(name): size for name, size in (classes or {}).items() if isinstance(size, int | float)}
    most = max(known.values(), default=0) or 1
    return {
        "source": described.get("source"),
        "target": described.get("target"),
        "fingerprint": described.get("fingerprint"),
        "parts": [
            {"name": part, "size": words.number(size), "share": size / total if total else 0}
            for part, size in counts.items()
        ],
        "total": words.number(total),
        "notes": material.notes,
        "classes": [{"name": name, "size": words.number(size), "share": size / most} for name, size in known.items()],
        "name_width": min(18, max(map(len, known), default=0) + 1),
        "fewest": words.number(min(known.values(), default=0)),
        "most": words.number(max(known.values(), default=0)),
    }


def network(material: Material) -> Json:
    """Layers with their shapes, parameters and cost."""
    rows = [
        {
            "name": str(row.get("name", "")),
            "type": str(row.get("type", "")),
            "shape": " × ".join(map(str, row.get("shape") or [])) or words.ABSENT,
            "parameters": words.number(row.get("parameters")),
            "flops": words.compact(row.get("flops")),
        }
        for row in material.layers.get("rows") or []
    ]
    return {
        "rows": rows,
        "parameters": words.number(material.layers.get("parameters")),
        "flops": words.compact(material.layers.get("flops")),
        "concepts": _concepts({row["type"] for row in rows}, material),
    }


def _concepts(types: set[str], material: Material) -> list[str]:
    """The terms that explain this network and how it was trained."""
    probable = any(words.term(metric) is words.TERMS["log loss"] for metric in material.test.get("scores") or {})
    said = {
        **{term: any(name.startswith(kind) for name in types) for kind, term in CONCEPTS.items()},
        "softmax": probable,
        "cross-entropy": probable,
        "weight decay": bool((material.recipe.get("plan") or {}).get("weight_decay")),
    }
    return [term for term, there in said.items() if there]


def findings(material: Material) -> list[Json]:
    """What was found, the gravest first."""
    grave = {"stop": 0, "warning": 1, "note": 2}
    return [
        {
            "severity": finding.severity,
            "kind": finding.kind,
            "what": sentence(finding.what),
            "remedy": finding.remedy,
            "where": list(finding.where[:5]),
            "more": max(0, finding.count - len(finding.where[:5])) if finding.where else 0,
            "evidence": [
                (words.title(str(key)), _told(value)) for key, value in finding.evidence.items() if key not in ROWS
            ],
        }
        for finding in sorted(material.findings, key=lambda finding: grave.get(finding.severity, 3))
    ]


def advice(material: Material) -> Json:
    """The remedies that were tried, the best first, and what that means."""
    tried = material.advice.get("tried") or []
    rows = [
        [
            words.title(str(row.get("remedy", ""))),
            str(row.get("change", "")),
            words.number(row.get("value")),
            f"{words.number(row.get('difference'))} ({words.number(row.get('low'))} to {words.number(row.get('high'))})",
            words.number(row.get("p")),
            "proved" if row.get("helps") else "",
        ]
        for row in tried
    ]
    return {
        "rows": rows,
        "metric": words.metric_name(str(material.advice.get("metric") or "")),
        "verdict": sentence(str(material.advice.get("verdict") or "")),
    }


def repeat(material: Material) -> Json:
    """The commands, the recipe and the environment."""
    run = shlex.quote(str(material.path))
    return {
        "commands": [
            ("Train again from the same recipe", f"lamina train --recipe {run}"),
            ("Predict", f"lamina predict {run} INPUT"),
            *(
                [("Generate", f"lamina generate {run}")]
                if any(epoch.get("samples") for epoch in material.epochs)
                else []
            ),
            ("Evaluate again, or on other data", f"lamina evaluate {run}"),
        ],
        "recipe": json.dumps(material.recipe, indent=2, ensure_ascii=False),
        "environment": [(words.title(str(key)), _told(value)) for key, value in material.environment.items()],
    }


def _told(value: Any) -> str:
    """A value from JSON in a cell: numbers short, structures as JSON."""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return words.number(value)
