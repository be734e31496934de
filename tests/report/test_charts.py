import re
import warnings
from xml.etree import ElementTree

import numpy as np

from lamina.report import charts
from lamina.report.charts import Dot, Line


def test_a_chart_is_a_drawing_in_the_page_s_colours() -> None:
    svg = charts.curves("c", [Line("valid", [1, 2, 3], [0.1, None, 0.3], "valid")], 'a <b> & "c"', "epoch", mark=2)
    assert svg is not None
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == 'a <b> & "c"'
    assert "var(--valid)" in svg
    assert "var(--ink)" in svg
    assert not re.search(r"#[0-9a-f]{6}|https?:|font-family|<style|<metadata|DOCTYPE", svg)
    ids = re.findall(r'id="([^"]+)"', svg)
    assert ids
    assert all(name.startswith("c-") for name in ids)
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg)) <= {(name, "") for name in ids} | {
        ("", name) for name in ids
    }


def test_nothing_finite_is_nothing_to_draw() -> None:
    assert charts.curves("c", [Line("a", [1, 2], [None, float("nan")], "valid")], "", "x") is None
    assert charts.curves("c", [], "", "x") is None
    assert charts.scatter("c", [1.0, None], [float("inf"), 2.0], "", "x", "y") is None


def test_long_curves_are_thinned_to_means() -> None:
    x, y = charts._thin(np.arange(10_000.0), np.where(np.arange(10_000) % 2, 1.0, 3.0))
    assert len(x) == len(y) == charts.MOST_POINTS
    assert np.allclose(y, 2.0, atol=0.05)
    assert x[-1] == 9999


def test_a_wide_range_is_drawn_logarithmically_only_where_asked() -> None:
    lines = [Line("a", [1, 2, 3], [0.001, 1.0, 1000.0], "valid")]
    plain, log = (charts.curves("c", lines, "", "step", wide_as_log=wide) for wide in (False, True))
    assert plain is not None
    assert log is not None
    assert ">0.001<" in log
    assert ">0.001<" not in plain


def test_a_scatter_of_many_points_shows_some_of_them() -> None:
    values = np.random.default_rng(0).normal(size=5000).tolist()
    drawn = charts.scatter("c", values, values, "", "truth", "prediction", diagonal=True)
    assert drawn is not None
    svg, points = drawn
    assert points == charts.MOST_DOTS
    assert svg.count("<use ") >= charts.MOST_DOTS


def test_names_are_text_and_never_mathematics() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = charts.dots("c", [Dot("$\\frac{1}{0}$ 精度", 0.5, None, None, "0.5", "baseline")], "", "price in $")
    assert "$\\frac{1}{0}$ 精度: 0.5" in svg
    assert "price in $" in svg
