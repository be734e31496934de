"""Scores of language models, against their definitions."""

import math

import pytest
import torch

from lamina.metrics.language import by_frequency, language
from lamina.metrics.metric import scores

OUTPUTS = torch.tensor(  # two blocks, two classes of tokens; nats, hits, tokens, bytes
    [[[2.0, 1, 4, 8], [6.0, 0, 2, 4]], [[1.0, 3, 3, 3], [0.0, 0, 0, 0]]], dtype=torch.float64
)


def test_values_are_ratios_of_sums_over_all_tokens() -> None:
    found = {name: metric.value(metric.observe(OUTPUTS, {})) for name, metric in language().items()}
    assert found["nats_per_token"] == pytest.approx(9 / 9)
    assert found["perplexity"] == pytest.approx(math.e)
    assert found["bits_per_byte"] == pytest.approx(9 / 15 / math.log(2))
    assert found["next_token_accuracy"] == pytest.approx(4 / 9)


def test_the_hardest_block_comes_first_in_what_is_kept() -> None:
    kept = language()["perplexity"].observe(OUTPUTS, {})
    assert kept[0, 0] > kept[1, 0]


def test_intervals_cover_the_truth_and_shrink_with_more_blocks() -> None:
    generator = torch.Generator().manual_seed(0)

    def blocks(count: int) -> torch.Tensor:
        nats = 100 * torch.rand(count, 1, 1, generator=generator, dtype=torch.float64) + 450  # mean 5 per token
        return torch.cat([nats, torch.full((count, 1, 3), 100.0, dtype=torch.float64)], 2)

    metric = {"nats_per_token": language()["nats_per_token"]}
    widths = []
    for count in (20, 320):
        score = scores(metric, {name: each.observe(blocks(count), {}) for name, each in metric.items()})[
            "nats_per_token"
        ]
        assert score.low <= 5 <= score.high
        widths.append(score.high - score.low)
    assert widths[1] < widths[0] / 2


def test_a_text_without_tokens_has_no_perplexity_and_spoils_none() -> None:
    empty = torch.zeros(1, 2, 4, dtype=torch.float64)
    metric = language()["perplexity"]
    assert math.isnan(metric.value(metric.observe(empty, {})))
    assert metric.value(metric.observe(torch.cat([OUTPUTS, empty]), {})) == pytest.approx(math.e)


def test_nats_count_where_no_byte_is_known() -> None:
    unknown = torch.tensor([[[5.0, 0, 2, 0], [0.0, 0, 0, 0]]], dtype=torch.float64)  # tokens that stand for no bytes
    metric = language()["bits_per_byte"]
    assert metric.value(metric.observe(torch.cat([OUTPUTS, unknown]), {})) == pytest.approx(14 / 15 / math.log(2))


def test_by_frequency_leaves_out_what_never_came() -> None:
    (exhibit,) = by_frequency(torch.cat([OUTPUTS, torch.zeros(2, 1, 4)], 1), ["frequent", "rare", "never"])
    assert [row[:2] for row in exhibit.rows] == [["frequent", 7], ["rare", 2]]  # type: ignore[union-attr]
    assert exhibit.rows[1][3] == pytest.approx(math.exp(3))  # type: ignore[union-attr]
    assert sum(row[-1] for row in exhibit.rows) == pytest.approx(1)  # type: ignore[union-attr]
