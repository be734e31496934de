"""Card: the model in Markdown, with the front matter that hubs of models read (a YAML header with ``model-index``)."""

from pathlib import PurePath
from typing import Any

from lamina.report import words
from lamina.report.material import Json, Material
from lamina.report.verdict import verdict


def card(material: Material) -> str:
    """A model card (Mitchell et al. 2019, arXiv:1810.03993) of what a run's files say.

    What nobody but the user can know (for what it is meant, by whose leave the data are used) is asked for, not made up.
    """
    import yaml  # type: ignore[import-untyped]

    said = verdict(material)
    header = yaml.safe_dump(_front_matter(material), sort_keys=False, allow_unicode=True)
    chapters = [
        f"# {_plain(said['title'])}",
        *(_plain(" ".join(part)) for part in (said["alarms"], said["sentences"], [said["said"]], said["wrong"])),
        _scores(material),
        _worse(material),
        _findings(material),
        _use(material),
        "## Intended use\n\n*To be written: what it is for, what it must not be used for, by whose leave the data are used.*",
    ]
    return f"---\n{header}---\n\n" + "\n\n".join(chapter for chapter in chapters if chapter) + "\n"


def _front_matter(material: Material) -> dict[str, Any]:
    """The header: library, task, metrics, and the scores on the test part."""
    task = str((material.recipe.get("task") or {}).get("name") or "").replace("_", "-")
    source = PurePath(str((material.recipe.get("data") or {}).get("source") or "data in memory")).name
    scores = material.test.get("scores") or {}
    results = [
        {
            "task": {"type": task, "name": task.replace("-", " ")},
            "dataset": {"type": source, "name": source, "split": "test"},
            "metrics": [
                {"type": metric, "name": words.metric_name(metric), "value": score["value"]}
                for metric, score in scores.items()
                if score.get("value") is not None
            ],
        }
    ]
    return {
        "library_name": "lamina",
        "pipeline_tag": task,
        "tags": ["lamina", str((material.recipe.get("network") or {}).get("name") or "")],
        "metrics": list(scores),
        "model-index": [{"name": material.path.name, "results": results}],
    }


def _scores(material: Material) -> str:
    """Every metric with its interval, beside the baselines."""
    scores, baselines = material.test.get("scores") or {}, material.test.get("baselines") or {}
    if not scores:
        return "## Scores\n\nThe test part was not evaluated."
    heads = ["metric", "this network", "95 % interval", *map(words.title, baselines)]
    rows = [
        [
            f"{words.metric_name(metric)} ({'lower' if material.lower(metric) else 'higher'} is better)",
            words.number(score.get("value")),
            f"{words.number(score.get('low'))} to {words.number(score.get('high'))}",
            *(words.number((baseline.get(metric) or {}).get("value")) for baseline in baselines.values()),
        ]
        for metric, score in scores.items()
    ]
    examples = words.number(material.test.get("examples"))
    reads = f"The test part was read {words.times(len(material.reads))}." if material.reads else ""
    spread = str(material.seeds.get("verdict") or "")
    return "\n\n".join(
        filter(None, [f"## Scores\n\nOn {examples} test examples. {reads}", _table(heads, rows), spread])
    )


def _worse(material: Material) -> str:
    """The kinds of examples on which it is provably worse."""
    worse = [one for one in material.test.get("slices") or [] if one.get("worse")]
    if not worse or material.metric is None:
        return ""
    heads = ["examples with", "count", words.metric_name(material.metric), "others"]
    rows = [
        [one["name"], words.number(one["examples"]), words.number(one["value"]), words.number(one["others"])]
        for one in worse
    ]
    return "## Where it is worse\n\nProved, corrected for how many kinds were compared.\n\n" + _table(heads, rows)


def _findings(material: Material) -> str:
    """What was found that may mislead."""
    grave = [found for found in material.findings if found.severity != "note"]
    if not grave:
        return "## Limits\n\nNo check gave a warning."
    return "## Limits\n\n" + "\n".join(
        f"- **{_plain(found.kind)}**: {_plain(found.what)} {_plain(found.remedy)}" for found in grave
    )


def _use(material: Material) -> str:
    data: Json = material.recipe.get("data") or {}
    learned = f"{words.number((data.get('counts') or {}).get('train'))} training examples"
    version = material.recipe.get("lamina") or ""
    return (
        f"## Use\n\nTrained with Lamina {version} on {learned}, seed {(material.recipe.get('plan') or {}).get('seed')}.\n\n"
        f"```console\n$ lamina predict {material.path.name} INPUT\n```"
    )


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(_plain, line)) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text that names of classes or columns are part of: no bars, tags or line breaks, which Markdown would take as its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
