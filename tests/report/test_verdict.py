import pytest

from lamina.report.verdict import sentence, standing


@pytest.mark.parametrize(
    ("own", "base", "lower", "stands"),
    [
        ((0.9, 0.95), (0.7, 0.8), False, "better"),
        ((0.9, 0.95), (0.7, 0.8), True, "worse"),
        ((0.7, 0.8), (0.9, 0.95), False, "worse"),
        ((0.7, 0.8), (0.9, 0.95), True, "better"),
        ((0.7, 0.9), (0.85, 0.95), False, "open"),
        ((0.7, 0.9), (0.9, 0.95), False, "open"),
        ((None, 0.9), (0.1, 0.2), False, "unknown"),
    ],
)
def test_how_two_intervals_lie(
    own: tuple[float | None, float], base: tuple[float, float], lower: bool, stands: str
) -> None:
    assert standing(dict(zip(("low", "high"), own)), dict(zip(("low", "high"), base)), lower) == stands  # noqa: B905


def test_a_sentence_begins_with_a_capital_unless_its_word_has_its_own() -> None:
    assert sentence("accuracy is 1") == "Accuracy is 1"
    assert sentence("mAP is 1") == "mAP is 1"
    assert sentence("") == ""
