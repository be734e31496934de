"""Numbers and terms as a person reads them: values in, short strings out; and what each technical term means."""

import math
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from lamina.writing import ABSENT as ABSENT
from lamina.writing import duration as duration
from lamina.writing import number as number

_METRICS = "Metrics"  # the chapter of terms.md that explains them


@dataclass(frozen=True)
class Term:
    """A technical term, from ``terms.md``."""

    name: str
    sentence: str
    """What it is, to be read after its name and a colon."""
    more: str
    """The rest, in Markdown."""
    metric: bool

    @property
    def anchor(self) -> str:
        """Where a page explains it."""
        return "term-" + re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-")

    @property
    def title(self) -> str:
        """Its name as a heading."""
        written = _WRITTEN.get(self.name, self.name) if self.metric else self.name
        return written[0].upper() + written[1:]


def read_terms(text: str) -> dict[str, Term]:
    """The terms of a page whose headings of the third level name them; the first paragraph below is the sentence."""
    found = {}
    for chapter in text.split("\n## ")[1:]:
        heading, *entries = chapter.split("\n### ")
        for entry in entries:
            name, sentence, more = entry.split("\n\n", 2)
            found[name] = Term(name, " ".join(sentence.split()), more.strip(), heading.startswith(_METRICS))
    return found


_OTHER_NAMES = {
    "f1": "macro f1",
    "roc auc": "auroc",
    "auc": "auroc",
    "logloss": "log loss",
    "cross entropy": "log loss",
    "ece": "calibration error",
    "expected calibration error": "calibration error",
    "mean squared error": "mse",
    "root mean squared error": "rmse",
    "mean absolute error": "mae",
    "r squared": "r2",
}
_WRITTEN = {
    "macro f1": "macro-F1",
    "auroc": "AUROC",
    "log loss": "log-loss",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "frechet distance": "Fréchet distance",
    "box f1": "box F1",
}
_LOWER = {"error", "log loss", "calibration error", "brier", "mse", "rmse", "mae", "loss"} | {
    "perplexity",
    "nats per token",
    "bits per byte",
    "mistakes per image",
    "word error rate",
    "character error rate",
    "frechet distance",
    "kernel distance",
    "told apart",
}


TERMS = read_terms(files("lamina.report").joinpath("terms.md").read_text(encoding="utf-8"))
"""By name; those of metrics are plain, as ``macro f1``."""


def metric_name(metric: str) -> str:
    """A metric's name as the field writes it: ``auroc`` is "AUROC", ``balanced_accuracy`` is "balanced accuracy"."""
    return _WRITTEN.get(metric.casefold().replace("_", " ").replace("-", " "), title(metric))


def meaning(metric: str) -> str:
    """What a metric measures, one phrase; empty for a metric that this page does not know."""
    known = term(metric)
    return "" if known is None else known.sentence


def term(metric: str) -> Term | None:
    """What explains a metric; None for one that this page does not know."""
    known = TERMS.get(_plain_name(metric))
    return known if known is not None and known.metric else None


def as_html(markdown: str) -> str:
    """A few sentences of Markdown; what they hold of HTML is escaped."""
    from markdown_it import MarkdownIt

    return str(MarkdownIt("commonmark", {"html": False}).render(markdown))


def usually_lower(metric: str) -> bool:
    """Whether less of the metric is better, by its name; only for runs whose evaluation did not say so."""
    return _plain_name(metric) in _LOWER


def _plain_name(metric: str) -> str:
    name = metric.casefold().replace("²", "2").replace("-", " ").replace("_", " ").strip()
    return _OTHER_NAMES.get(name, name)


def title(name: str) -> str:
    """An identifier as words: ``image_classification`` is "image classification"."""
    return name.replace("_", " ")


def decimals_for(low: float | None, high: float | None) -> int:
    """Digits after the point that an interval justifies: two significant ones of its width, 4 unless it is tiny."""
    if low is None or high is None or not math.isfinite(high - low) or high <= low:
        return 4
    digits = 1 - math.floor(math.log10(high - low))
    return max(0, min(digits, 4 if high - low >= 1e-4 else 6))


def compact(value: Any) -> str:
    """A large count with a letter: 12.3 k, 4.56 M, 7.89 G; a missing one as a dash."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return number(value)
    if abs(value) < 1e4:
        return number(value)
    text = ""
    for size, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        scaled = float(f"{value / size:.3g}")
        text = f"{number(scaled)} {letter}"
        if abs(scaled) < 1000:
            break
    return text


def count(amount: int, noun: str, plural: str = "") -> str:
    """ "1 finding", "2 findings", "no findings"."""
    return f"{number(amount) if amount else 'no'} {noun if amount == 1 else plural or noun + 's'}"


def times(amount: int) -> str:
    """How often: "never", "once", "twice", "3 times"."""
    return {0: "never", 1: "once", 2: "twice"}.get(amount, f"{amount:,} times")
