"""Charts: numbers in, inline SVG out.

Matplotlib draws with placeholder colours, which are then replaced by the page's CSS variables; so a chart follows light
and dark. Text stays text. Titles and keys are not in the picture but in the page, where they are never scaled down.
"""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lamina.report import words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Role = Literal["valid", "train", "baseline", "s1", "s2", "s3", "s4"]
"""Which of the page's colours a line has; "valid" is also the network's."""
Values = Sequence[float | None]

WIDTH, HEIGHT = 460, 280
MOST_POINTS = 400
"""Longer lines are drawn as the means of this many stretches."""
MOST_DOTS = 1200
"""A scatter of more points shows a random choice of this many."""

_COLOURS = {
    "ink": "#010203",
    "paper": "#0a0b0c",
    "grid": "#020304",
    "valid": "#030405",
    "train": "#040506",
    "baseline": "#050607",
    "s1": "#060708",
    "s2": "#070809",
    "s3": "#08090a",
    "s4": "#090a0b",
}


@dataclass(frozen=True)
class Line:
    """A curve."""

    name: str
    x: Values
    y: Values
    role: Role


@dataclass(frozen=True)
class Dot:
    """A value with its interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    text: str
    """The value as it is written beside the name."""
    role: Role


def curves(
    name: str,
    lines: Sequence[Line],
    label: str,
    x_title: str,
    *,
    mark: float | None = None,
    limit: float | None = None,
    wide_as_log: bool = False,
    x_as_log: bool = False,
    from_zero: bool = False,
) -> str | None:
    """Lines over epochs or steps.

    Args:
        name: unique in the page; identifiers in the picture begin with it.
        lines: what to draw; missing values leave gaps.
        label: what the chart says, for those who cannot see it.
        x_title: what x counts.
        mark: an x at which a vertical line stands, such as the best epoch.
        limit: a y at which a horizontal line stands, such as the clipping norm.
        wide_as_log: use a logarithmic scale when the values span more than a factor of 30.
        x_as_log: the same for what x counts, in any case.
        from_zero: let the scale begin at 0.

    Returns:
        An ``<svg>`` element; None when there is no finite value to draw.
    """
    drawn = [(line, *_thin(_numbers(line.x), _numbers(line.y))) for line in lines]
    finite = np.concatenate([y[np.isfinite(y)] for _, _, y in drawn] or [np.empty(0)])
    if len(finite) == 0:
        return None

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import LogLocator, NullLocator

        for line, x, y in drawn:
            few = len(x) <= 24
            axes.plot(
                x,
                y,
                color=_COLOURS[line.role],
                linestyle=(0, (4, 1.6)) if line.role == "train" else "-",
                linewidth=2,
                marker="o" if few else None,
                markersize=3.6 if len(x) > 1 else 7,
                zorder=3 if line.role == "valid" else 2,
            )
        if wide_as_log and finite.min() > 0 and finite.max() / finite.min() > 30:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if finite.max() / finite.min() < 1000 else (1,)))
            axes.yaxis.set_minor_locator(NullLocator())
        if from_zero:
            axes.set_ylim(0, 1.1 * finite.max())
        if mark is not None:
            axes.axvline(mark, color=_COLOURS["ink"], linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        if limit is not None and limit < 1.5 * finite.max():
            axes.axhline(limit, color=_COLOURS["train"], linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
        axes.set_xlabel(x_title)
        if x_as_log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            _whole_numbers(axes, np.concatenate([x for _, x, _ in drawn]))

    return _svg(name, label, draw, HEIGHT)


def dots(name: str, values: Sequence[Dot], label: str, x_title: str) -> str:
    """Values with their intervals, one under the other, the first on top."""

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        for row, dot in enumerate(reversed(values)):
            colour = _COLOURS[dot.role]
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [row, row], color=colour, linewidth=2.5)
                axes.plot([dot.low, dot.high], [row, row], color=colour, linestyle="", marker="|", markersize=12, mew=2)
            axes.plot([dot.value], [row], color=colour, marker="o", markersize=7)
            axes.text(
                0,
                row + 0.26,
                f"{_short(dot.name, 40)}: {dot.text}",
                color=_COLOURS["valid" if dot.role == "valid" else "ink"],
                transform=axes.get_yaxis_transform(),
                bbox={"facecolor": _COLOURS["paper"], "edgecolor": "none", "pad": 2},  # over the grid, not in it
            )
        axes.set_yticks([])
        axes.set_ylim(-0.45, len(values) - 0.3)
        axes.margins(x=0.04)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(x_title)

    return _svg(name, label, draw, 58 + 52 * len(values), y_numbers=False)


def scatter(
    name: str, x: Values, y: Values, label: str, x_title: str, y_title: str, diagonal: bool = False
) -> tuple[str, int] | None:
    """Points, at most ``MOST_DOTS`` of them.

    Returns:
        An ``<svg>`` element and the number of points in it; None when there is no point.
    """
    xs, ys = _numbers(x), _numbers(y)
    keep = np.flatnonzero(np.isfinite(xs[: len(ys)]) & np.isfinite(ys[: len(xs)]))
    if len(keep) == 0:
        return None
    if len(keep) > MOST_DOTS:
        keep = np.sort(np.random.default_rng(0).choice(keep, MOST_DOTS, replace=False))

    def draw(axes: "Axes") -> None:
        size, alpha = (7, 0.9) if len(keep) <= 60 else (4, 0.45)
        axes.plot(xs[keep], ys[keep], "o", markersize=size, mew=0, color=_COLOURS["valid"], alpha=alpha)
        if diagonal:
            both = [min(xs[keep].min(), ys[keep].min()), max(xs[keep].max(), ys[keep].max())]
            axes.plot(both, both, color=_COLOURS["ink"], linewidth=1.2, linestyle=(0, (4, 2)))
        axes.set_xlabel(_short(x_title, 48))
        axes.set_ylabel(_short(y_title, 34))

    return _svg(name, label, draw, 340), len(keep)


def _svg(name: str, label: str, draw: Callable[["Axes"], None], height: int, y_numbers: bool = True) -> str:
    """Draw on fresh axes, and make of matplotlib's file an element that can stand in a page beside others."""
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ink, grid = _COLOURS["ink"], _COLOURS["grid"]
    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,  # a dollar in a column's name is a dollar
        "font.size": 14,
        "axes.labelsize": 14,
        "text.color": ink,
        "axes.labelcolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.edgecolor": grid,
        "grid.color": grid,
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
        "axes.axisbelow": True,
    }
    file = io.StringIO()
    with matplotlib.style.context(settings, after_reset=True), warnings.catch_warnings():
        # The font that measures may lack a letter which the reader's browser has.
        warnings.filterwarnings("ignore", message="(?s).*[Gg]lyph.*")
        figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        axes.xaxis.set_major_formatter(_tick)
        if y_numbers:
            axes.yaxis.set_major_formatter(_tick)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _embed(file.getvalue(), name, label)


def _embed(svg: str, name: str, label: str) -> str:
    """Only the drawing: no prolog, metadata or styles; own identifiers; the page's colours and font."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'xlink:href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(r" font-family: [^;\"]*;", "", body)
    body = re.sub(r' transform="rotate\(-0 [^"]*"', "", body)
    for role, placeholder in _COLOURS.items():
        body = body.replace(placeholder, f"var(--{role})")
    body = re.sub(r"\s*\n\s*", "\n", body)
    view = re.search(r'viewBox="([^"]*)"', svg)
    box = view[1] if view else f"0 0 {WIDTH} {HEIGHT}"
    return f'<svg class="chart" role="img" aria-label="{escape(label)}" viewBox="{box}">{body}'


def _tick(value: float, _position: float) -> str:
    return words.compact(value) if abs(value) >= 1e4 else words.number(float(value))


def _whole_numbers(axes: "Axes", x: np.ndarray) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if len(np.unique(x)) == 1:
        axes.set_xlim(float(x[0]) - 1, float(x[0]) + 1)


def _numbers(values: Values) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values])


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of stretches of equal length; a value that is not finite is left out of its mean."""
    if len(x) <= MOST_POINTS:
        return x, y
    stretches = np.array_split(np.arange(len(x)), MOST_POINTS)
    kept = [stretch[np.isfinite(y[stretch])] for stretch in stretches]
    means = [float(y[stretch].mean()) if len(stretch) else np.nan for stretch in kept]
    return np.array([x[stretch[-1]] for stretch in stretches]), np.array(means)


def _short(text: str, most: int = 22) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
