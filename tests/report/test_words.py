import math
from typing import Any

import pytest

from lamina.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (-0.5, "−0.5"),
        (1.5e-7, "1.5 × 10⁻⁷"),
        (2.304e9, "2.304 × 10⁹"),
        (0.0, "0"),
        ("<b>", "<b>"),
    ],
)
def test_number(value: Any, text: str) -> None:
    assert words.number(value) == text


def test_an_interval_decides_how_many_digits_are_written() -> None:
    assert words.number(0.97461, words.decimals_for(0.9642, 0.9850)) == "0.975"
    assert words.number(0.00004, words.decimals_for(0.00001, 0.00009)) == "0.000040"
    assert words.number(49812.3, words.decimals_for(48900.0, 50700.0)) == "49,812"
    assert words.decimals_for(None, 1.0) == words.decimals_for(0.5, 0.5) == 4


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (950, "950"),
        (12_345, "12.3 k"),
        (999_999, "1 M"),
        (56_600_000, "56.6 M"),
        (7.89e9, "7.89 G"),
        (None, "–"),
        ("x", "x"),
    ],
)
def test_compact(amount: Any, text: str) -> None:
    assert words.compact(amount) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.42, "0.42 s"), (12.4, "12 s"), (68.4, "1 min 08 s"), (7412, "2 h 03 min"), (3599.7, "1 h 00 min"), (None, "–")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


def test_metrics_are_known_by_their_usual_spellings() -> None:
    assert words.meaning("log_loss") == words.meaning("log-loss") == words.TERMS["log loss"].sentence
    assert words.meaning("R²") == words.meaning("r2") != ""
    assert words.meaning("something else") == ""
    assert words.usually_lower("RMSE")
    assert not words.usually_lower("accuracy")


def test_terms_are_whole_and_hold_no_markup_of_a_page() -> None:
    assert len(words.TERMS) >= 59
    assert len({term.anchor for term in words.TERMS.values()}) == len(words.TERMS)
    for term in words.TERMS.values():
        assert term.sentence.endswith((".", "?"))
        assert term.more
        assert "#" not in term.sentence + term.more
    assert words.TERMS["auroc"].title == "AUROC"
    assert words.as_html("*a* <b>") == "<p><em>a</em> &lt;b&gt;</p>\n"


def test_names_are_written_as_the_field_writes_them() -> None:
    names = ["auroc", "macro_f1", "log-loss", "balanced_accuracy", "mAP", "r2", "R²"]
    written = ["AUROC", "macro-F1", "log-loss", "balanced accuracy", "mAP", "R²", "R²"]
    assert [words.metric_name(name) for name in names] == written


def test_counts_agree_with_their_nouns() -> None:
    assert [words.count(n, "epoch") for n in (0, 1, 2)] == ["no epochs", "1 epoch", "2 epochs"]
    assert [words.times(n) for n in (0, 1, 2, 3)] == ["never", "once", "twice", "3 times"]
