"""Drawing tokens: what each option forbids never comes, what it allows comes as often as it should."""

import pytest
import torch

from lamina.errors import OptionError
from lamina.sampling import Sampling, draw, generators

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
NOTHING = torch.full((1, 1), -1)


def shares(wish: Sampling, said: torch.Tensor = NOTHING) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    drawn = draw(LOGITS.repeat(20_000, 1), said.expand(20_000, -1), wish, [generator] * 20_000)
    return (torch.bincount(drawn, minlength=4) / 20_000).tolist()


def test_tokens_come_as_often_as_the_network_says() -> None:
    assert shares(Sampling(temperature=1.0)) == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.015)


def test_a_low_temperature_favours_the_likely_and_zero_takes_the_likeliest() -> None:
    assert shares(Sampling(temperature=0.5))[0] == pytest.approx(0.25 / 0.365, abs=0.015)
    assert shares(Sampling(temperature=0.0)) == [1, 0, 0, 0]


def test_top_k_keeps_the_likeliest() -> None:
    assert shares(Sampling(temperature=1.0, top_k=2)) == pytest.approx([0.625, 0.375, 0, 0], abs=0.015)


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (1e-9, 1), (1.0, 4)])
def test_top_p_keeps_the_fewest_that_are_likely_enough(top_p: float, kept: int) -> None:
    assert sum(share > 0 for share in shares(Sampling(temperature=1.0, top_p=top_p))) == kept


def test_repetition_makes_what_came_less_likely() -> None:
    wish = Sampling(temperature=1.0, repetition=3.0)
    plain = shares(wish)
    assert shares(wish, torch.tensor([[0, -1]]))[0] < plain[0] / 2
    assert shares(wish, torch.tensor([[1, -1]]))[1] < plain[1] / 2
    assert shares(wish, torch.tensor([[1, -1]]))[0] >= plain[0]  # -1 is no token


def test_equal_generators_draw_equal_tokens() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(1))
    said = torch.full((5, 1), -1)
    one, two, other = (draw(logits, said, Sampling(), generators(seed, 5)) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_text_is_drawn_alike_however_many_there_are() -> None:
    logits = torch.randn(1, 5000, generator=torch.Generator().manual_seed(1)).expand(5, -1)
    said = torch.full((5, 1), -1)
    five = draw(logits, said, Sampling(), generators(3, 5))
    two = draw(logits[:2], said[:2], Sampling(), generators(3, 2))
    assert torch.equal(five[:2], two)
    assert len(set(five.tolist())) > 1


@pytest.mark.parametrize(
    "wrong", [{"tokens": 0}, {"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"top_k": -1},
              {"repetition": 0.5}]
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong)).replace("_", "-")):
        Sampling(**wrong)  # type: ignore[arg-type]
