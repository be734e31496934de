"""The report: a run directory in, one self-contained HTML page out.

The page loads nothing, runs no script (its own policy forbids both), follows light and dark, and fits a phone. It is
made from the run's files alone, so it can be made again at any time, of a run that is still training too.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lamina.report import chapters, gallery, learning, words
from lamina.report.before import before
from lamina.report.card import card
from lamina.report.material import gather
from lamina.report.speed import speed
from lamina.report.verdict import verdict
from lamina.run import Run

if TYPE_CHECKING:
    from jinja2 import Template


def write_report(run: Run) -> Path:
    """Write ``report/index.html`` of a run, and beside it ``card.md``, a model card.

    Args:
        run: any run with a recipe; chapters for which files are absent say what is missing.

    Returns:
        The page's path.

    Raises:
        RunError: the recipe is absent or damaged.
        TrainingError: the page cannot be written.
    """
    run.write("report/card.md", card(gather(run)).encode("utf-8", "replace"))
    return run.write("report/index.html", render(run).encode("utf-8", "replace"))


def render(run: Run) -> str:
    """The page as text.

    Args:
        run: as for ``write_report``.
    """
    material = gather(run)
    return template("page.html.jinja").render(
        terms=words.TERMS,
        as_html=words.as_html,
        verdict=verdict(material),
        scores=chapters.scores(material),
        data=chapters.data(material),
        audited=gallery.audited(material),
        before=before(material),
        learning=learning.learning(material),
        augmented=gallery.augmented(material),
        exhibits=gallery.exhibits(material),
        network=chapters.network(material),
        speed=speed(material),
        findings=chapters.findings(material),
        advice=chapters.advice(material),
        repeat=chapters.repeat(material),
        lamina=str(material.recipe.get("lamina") or ""),
    )


def template(name: str) -> "Template":
    """A template of this folder; what it is given is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("lamina.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(name)
