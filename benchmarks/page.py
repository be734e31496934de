"""From the results of the benchmarks to ``docs/benchmarks.md`` and its picture. Nothing is run; all that it says follows from
the figures by rule, and what was not measured is said to be missing.

    python -m benchmarks.page
"""

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.contests import CONTESTS, ON_IMAGES, Contest, Measure

ROOT = Path(__file__).parents[1]
FEWEST = 3  # rounds, below which nothing is said to be ahead
Result = dict[str, Any]

HEAD = """# Benchmarks

Lamina beside what its users would pick instead. The entrants of a benchmark ran on one machine, in turn, so a busy machine
slows all alike, and ratios are formed within a round; date and commit stand below each. `make bench` repeats those that fit
into half an hour (`python -m benchmarks.run --help` says how to ask for more, or for other data). This page is generated from
`benchmarks/results/`, and its verdicts follow from the figures by rule. Each peer is used as its own documentation would have
it; the scripts are in `benchmarks/`. All runs are on the CPU. The lines below figures name what the processor can do: where it
has no bfloat16, networks of convolutions train in float32, and ratios are smaller (see "The machine" in [the log](log.md)).

An entrant is called *ahead* when it was ahead in every one of at least three rounds; otherwise no difference is shown.
"""


def write(results: Path, docs: Path) -> None:
    """Read the results, and write the page and its picture."""
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob("*.json"))}
    (docs / "benchmarks.md").write_text(text(found), encoding="utf-8")
    drawn = picture(found)
    if drawn:
        (docs / "benchmarks.svg").write_text(drawn, encoding="utf-8")


def text(results: dict[str, Result]) -> str:
    """The page, in Markdown."""
    there = [(contest, results[contest.name]) for contest in CONTESTS if contest.name in results]
    missing = [contest.title for contest in CONTESTS if contest.name not in results]
    parts = [HEAD]
    if missing:
        parts.append("Not measured yet: " + "; ".join(missing) + ".\n")
    if bars(results):
        parts.append("![How many times as fast Lamina is as each peer](benchmarks.svg)\n")
    if there:
        parts.append("## Where a peer wins\n\n" + "\n".join(f"- {line}" for line in lost(there)) + "\n")
    return "\n".join([*parts, *(section(contest, result) for contest, result in there)])


def ratios(contest: Contest, result: Result, other: str, measure: Measure) -> list[float]:
    """One a round: how many times as good the subject is as a peer, or its value over that under other conditions.

    For a target that the peer did not reach, the time that it trained is taken: the ratio is then at least that. A round in
    which either failed, or neither reached the target, has no ratio.
    """
    found = []
    for one in result["rounds"]:
        ours, theirs = (figure(one[name], measure) for name in (contest.entrants[0], other))
        if math.isnan(ours) or math.isnan(theirs) or (math.isinf(ours) and math.isinf(theirs)):
            continue
        if math.isinf(theirs):
            theirs = float(one[other].get("trained_seconds", math.inf))
        better = ours / theirs if measure.higher_is_better or not contest.peers else theirs / ours
        found.append(better)
    return found


def figure(said: Result, measure: Measure) -> float:
    """What an entrant printed; NaN when it failed, and infinity for a target that it did not reach."""
    if "error" in said or measure.name not in said:
        return math.nan
    return math.inf if said[measure.name] is None else float(said[measure.name])


def verdict(ratios: list[float]) -> str:
    """Who is ahead: "lamina", "peer", or nobody."""
    if len(ratios) < FEWEST:
        return ""
    return "lamina" if min(ratios) > 1 else "peer" if max(ratios) < 1 else ""


def lost(there: list[tuple[Contest, Result]]) -> Iterator[str]:
    """One sentence for each peer and measure where the peer is ahead; or that there is none."""
    any_lost = False
    for contest, result in there:
        for measure in contest.measures if contest.peers else ():
            for other in contest.entrants[1:]:
                each = ratios(contest, result, other, measure)
                if verdict(each) == "peer":
                    any_lost = True
                    yield (
                        f"**{contest.title}**: {other} is ahead in {named(measure)}, "
                        f"{middle(result, other, measure)} against {middle(result, contest.entrants[0], measure)}."
                    )
    if not any_lost:
        yield "In none of the benchmarks that were run."


def section(contest: Contest, result: Result) -> str:
    """One benchmark: how it was measured, on what, and its table."""
    machine = result["machine"]
    skills = ", ".join(machine.get("skills", [])) or "no vector arithmetic told"
    settings = result["settings"]
    how = f" {settings['images']} images, batch {settings['batch']}, {settings['epochs']} epochs."
    how *= contest.name in ON_IMAGES
    data = f" Data: {result['data']}." if result["data"] else ""
    rounds = f"{len(result['rounds'])} round{'s' * (len(result['rounds']) > 1)}"
    loads = [said["load_before"] for one in result["rounds"] for said in one.values() if "load_before" in said]
    lines = [
        f"## {contest.title}\n",
        f"{contest.how}{how}{data}\n",
        *table(contest, result),
        *rows(contest, result),
        "",
        f"{result['date'][:10]}, {machine['processor']} ({skills}), {machine['cores']} cores, "
        f"{machine.get('memory_gib', '?')} GiB, commit {result['commit'] or 'unknown'}; {rounds}; "
        + (f"load before an entrant at most {max(loads):.1f}. " if loads else "")
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + ".",
    ]
    failures = {
        f"{name} failed: {said['error']}" for one in result["rounds"] for name, said in one.items() if "error" in said
    }
    return "\n".join([*lines, *(f"\n{failure}" for failure in sorted(failures))]) + "\n"


def table(contest: Contest, result: Result) -> Iterator[str]:
    """A row for each entrant: medians, the ratio with its lowest and highest, the aim."""
    main, subject = contest.measures[0], contest.entrants[0]
    ratio = "Lamina is … times as fast" if contest.peers else f"{subject} / alone" if len(contest.entrants) > 1 else ""
    ratio = ratio.replace("/ alone", f"/ {contest.entrants[-1]}")
    head = ["", *map(named, contest.measures), *([ratio] if ratio else []), "Aim", ""]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for entrant in contest.entrants:
        cells = [entrant, *(middle(result, entrant, measure) for measure in contest.measures)]
        if ratio:
            each = [] if entrant == subject else ratios(contest, result, entrant, main)
            least = unreached(result, entrant, main)
            cells += ["at least " * bool(least and each) + spread(each), *judged(contest, entrant, each, least)]
        else:
            values = [figure(one[entrant], main) for one in result["rounds"]]
            cells += judged(contest, entrant, [value for value in values if not math.isnan(value)])
        yield "| " + " | ".join(cells) + " |"


def rows(contest: Contest, result: Result) -> Iterator[str]:
    """The rows that an entrant printed beside its figures, as a table: those of the round in the middle."""
    main = contest.measures[0]
    told = [said for one in result["rounds"] for said in one.values() if "rows" in said]
    if told:
        middle_one = sorted(told, key=lambda said: figure(said, main))[len(told) // 2]
        heads = list(middle_one["rows"][0])
        yield ""
        yield "| " + " | ".join(head.replace("_", " ") for head in heads) + " |"
        yield "|" + "---|" * len(heads)
        for row in middle_one["rows"]:
            yield "| " + " | ".join(cell(name, row[name]) for name in heads) + " |"


def cell(name: str, value: str | float) -> str:
    """A share as a percentage, another number with three digits; nothing for none."""
    if isinstance(value, str):
        return value
    return "" if not value else f"{value:.0%}" if name.startswith("share") else written(value)


def judged(contest: Contest, entrant: str, values: list[float], least: bool = False) -> list[str]:
    """The aim, and in words how the values, which may be the least that they can be, stand to it and who is ahead."""
    aim, words = contest.aims.get(entrant), []
    if contest.peers and values:
        words.append(
            {"lamina": "Lamina is ahead", "peer": f"{entrant} is ahead", "": "no difference shown"}[verdict(values)]
        )
    if aim is None or not values:
        return ["", "; ".join(words)]
    at_most = not contest.peers and not contest.measures[0].higher_is_better
    typical = statistics.median(values)
    met = typical <= aim if at_most else typical >= aim
    said = "aim met" if met else "aim not decided" if least else "aim missed"
    return [f"{'≤' if at_most else '≥'} {aim:g}", "; ".join([*words, said])]


def named(measure: Measure) -> str:
    """A measure as a table's head says it."""
    words = measure.name.replace("_mib", " memory").replace("_", " ")
    if measure.unit in ("accuracy", "images/s"):
        return measure.unit
    return words if words.startswith("seconds") or not measure.unit else f"{words}, {measure.unit}"


def middle(result: Result, entrant: str, measure: Measure) -> str:
    """The median of a measure over the rounds."""
    values = [figure(one[entrant], measure) for one in result["rounds"]]
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "failed"
    typical = statistics.median(values)
    if math.isinf(typical):
        trained = statistics.median(one[entrant].get("trained_seconds", math.nan) for one in result["rounds"])
        return f"not reached in {written(trained)}"
    return f"{typical:.4f}" if measure.unit == "accuracy" else written(typical)


def spread(values: list[float]) -> str:
    """The median, and the lowest and highest."""
    if not values:
        return ""
    return f"**{written(statistics.median(values))}** ({written(min(values))} – {written(max(values))})"


def written(value: float) -> str:
    """Three digits that count."""
    return "∞" if math.isinf(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def unreached(result: Result, entrant: str, measure: Measure) -> bool:
    """Whether an entrant did not reach a target in some round: then its ratios are the least that they can be."""
    return any(math.isinf(figure(one[entrant], measure)) for one in result["rounds"])


def bars(results: dict[str, Result]) -> list[tuple[str, str, str, list[float]]]:
    """(benchmark, peer, "≥" where ratios are the least that they can be, ratios) of the first measure, where there are finite
    ones."""
    found = []
    for contest in CONTESTS:
        for other in contest.entrants[1:] if contest.peers and contest.name in results else ():
            each = [
                ratio
                for ratio in ratios(contest, results[contest.name], other, contest.measures[0])
                if 0 < ratio < math.inf
            ]
            if each:
                least = unreached(results[contest.name], other, contest.measures[0])
                found.append((contest.title, other, "≥ " * least, each))
    return found


def picture(results: dict[str, Result]) -> str:
    """An SVG: for each peer a dot at the median ratio and a line from the lowest to the highest, on a logarithmic scale."""
    rows = bars(results)
    if not rows:
        return ""
    left, width, step = 330, 420, 24
    most = max(2.0, *(max(each) for *_, each in rows))
    least = min(0.5, *(min(each) for *_, each in rows))

    def x(ratio: float) -> float:
        return left + width * math.log(ratio / least) / math.log(most / least)

    height = step * (len(rows) + 2)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 90} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for tick in (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32):
        if least <= tick <= most:
            colour = "#444" if tick == 1 else "#ddd"
            drawn.append(f'<path d="M{x(tick):.1f} 8V{height - step}" stroke="{colour}"/>')
            drawn.append(f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle" fill="#444">{tick:g}×</text>')
    for number, (title, other, bound, each) in enumerate(rows):
        y, typical = step * (number + 1), statistics.median(each)
        fill = "#0b6e4f" if typical >= 1 else "#b3471d"
        drawn += [
            f'<text x="{left - 12}" y="{y + 4}" text-anchor="end" fill="#222">{escape(title)}: {escape(other)}</text>',
            f'<path d="M{x(min(each)):.1f} {y}H{x(max(each)):.1f}" stroke="{fill}" stroke-width="3"/>',
            f'<circle cx="{x(typical):.1f}" cy="{y}" r="5" fill="{fill}"/>',
            f'<text x="{x(max(each)) + 10:.1f}" y="{y + 4}" fill="{fill}">{bound}{written(typical)}</text>',
        ]
    return "\n".join([*drawn, "</svg>"]) + "\n"


if __name__ == "__main__":
    write(ROOT / "benchmarks" / "results", ROOT / "docs")
