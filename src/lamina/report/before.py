"""Before the first epoch: the pre-flight checks, their curves, and the forecast beside what happened."""

from lamina.report import charts, words
from lamina.report.charts import Line
from lamina.report.material import Json, Material


def before(material: Material) -> Json:
    """Each check with what it saw, the range test and the memorised examples as curves, and the forecast."""
    checks = material.preflight.get("checks") or []
    evidence = {name: value for check in checks for name, value in (check.get("evidence") or {}).items()}
    return {
        "checks": [
            {"name": check.get("name", ""), "seen": check.get("seen", ""), "passed": bool(check.get("passed"))}
            for check in checks
        ],
        "seconds": words.duration(material.preflight.get("seconds")),
        "figures": [figure for figure in (_rates(evidence), _memory(evidence)) if figure],
        "forecast": _forecast(material),
    }


def _rates(evidence: Json) -> Json | None:
    """The loss while the rate grows; what lies far above the first loss is cut off."""
    rates, losses, smooth = (evidence.get(name) or [] for name in ("rates", "losses", "smooth"))
    if not rates:
        return None
    most = 2 * max(smooth[0], min(loss for loss in smooth if loss is not None))
    cut = [[value if value is not None and value <= most else None for value in values] for values in (losses, smooth)]
    lines = [Line("loss of each batch", rates, cut[0], "train"), Line("smoothed", rates, cut[1], "valid")]
    limit, planned = evidence.get("limit"), evidence.get("planned")
    rises = f"it rises from {words.number(limit)} on" if limit else "it does not rise"
    label = f"loss while the learning rate grows from {words.number(rates[0])} to {words.number(rates[-1])}: {rises}"
    keys = [("train", "each batch"), ("valid", "smoothed"), ("mark", f"planned: {words.number(planned)}")]
    svg = charts.curves("range", lines, label, "learning rate", mark=planned, x_as_log=True)
    return {"title": "Learning rate range test: loss", "svg": svg, "keys": keys} if svg else None


def _memory(evidence: Json) -> Json | None:
    """The loss on a few examples that are learned by heart, and of a copy that does not see them."""
    seeing, blind = (evidence.get(name) for name in ("seeing", "blind"))
    if not isinstance(seeing, list):
        return None
    lines = [Line("seeing", list(range(1, len(seeing) + 1)), seeing, "s1")]
    keys: list[tuple[str, str]] = [("s1", "with its inputs")]
    if isinstance(blind, list):
        lines.append(Line("blind", list(range(1, len(blind) + 1)), blind, "s2"))
        keys.append(("s2", "the same input for all"))
    ends = ", ".join(f"{line.name} from {words.number(line.y[0])} to {words.number(line.y[-1])}" for line in lines)
    svg = charts.curves("memory", lines, f"loss on a few examples by step: {ends}", "step", wide_as_log=True)
    return {"title": "A few examples learned by heart: loss", "svg": svg, "keys": keys} if svg else None


def _forecast(material: Material) -> list[tuple[str, str, str]]:
    """Time, memory and disk: as foreseen, and as it was."""
    foreseen, end = material.preflight.get("forecast") or {}, material.end or {}
    if not foreseen:
        return []
    took = words.duration(end.get("seconds")) if end else words.ABSENT
    return [
        ("time of training", words.duration(foreseen.get("seconds")), took),
        *(
            (name, _megabytes(foreseen.get(key)), _megabytes(end.get(key)))
            for name, key in (("memory", "memory_bytes"), ("disk", "disk_bytes"))
        ),
    ]


def _megabytes(count: int | None) -> str:
    return f"{count / 1e6:,.0f} MB" if count else words.ABSENT
