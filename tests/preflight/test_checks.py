"""Pre-flight checks: faults that are planted in a network are found, and a sound network passes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lamina.data.data import Data
from lamina.data.store import Store
from lamina.examples import encoded, learned, read_data
from lamina.execution import Execution
from lamina.model import build
from lamina.plan import Plan
from lamina.preflight import answers, gradients, independence, memorising, rates
from lamina.preflight.preflight import checked
from lamina.preflight.trial import Chooser, Trial
from lamina.recipe import Recipe
from lamina.tasks.image_classification import ImageClassification
from lamina.tasks.task import Facts

_KNOWN: list[tuple[Recipe, Data, Facts, Store]] = []


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Data, Facts, Store]:
    task = ImageClassification()
    source = task.tiny(tmp_path_factory.mktemp("digits"))
    recipe = Recipe(source, task, "own", "", None, Plan(batch_size=64, lr=3e-3), Execution(threads=1))
    data = read_data(recipe)
    facts = learned(task, data)
    return recipe, data, facts, encoded(task, facts, data)


class Sound(nn.Module):
    """Two convolutions and a head, as a person would write them."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 32
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1, stride=2)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, channels, side, side) → (batch, width, side, side)."""
        return self.second(self.first(image).relu()).relu()


class Mixing(Sound):
    """A softmax over the batch."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image).softmax(0)


class Cut(Sound):
    """The first layer's part is detached."""

    def forward(self, image: Tensor) -> Tensor:
        return self.second(self.first(image).relu().detach()).relu()


class Blind(Sound):
    """Its input is multiplied away."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image * 0)


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # type: ignore[override]
        return gradients[0] * 2


class Doubled(Sound):
    """Its backward pass is twice what it should be."""

    def forward(self, image: Tensor) -> Tensor:
        doubled: Tensor = _Doubled.apply(super().forward(image))  # type: ignore[no-untyped-call]
        return doubled


class Sure(Sound):
    """Its features are a thousand times too large."""

    def forward(self, image: Tensor) -> Tensor:
        return 1000 * super().forward(image) + 300 * torch.arange(32)[:, None, None]


def trial(
    digits: tuple[Recipe, Data, Facts, Store],
    backbone: type[Sound] | Sound,
    chooser: Chooser = "nobody",
    lr: float = 3e-3,
) -> Trial:
    recipe, data, facts, store = digits
    torch.manual_seed(1)
    plan = Plan(batch_size=64, lr=lr)
    train, valid = (store.rows_of(data, part) for part in ("train", "valid"))
    network = build(recipe, facts, backbone if isinstance(backbone, nn.Module) else backbone())
    feed = recipe.task.feed(store, train, network)
    made = Trial(network, recipe.task, facts, store, feed, train, valid, plan, recipe.execution, chooser)
    made.allow(60.0)
    return made


def test_a_sound_network_passes_and_is_left_as_it_was(digits: Any) -> None:
    made = trial(digits, Sound)
    before = {name: tensor.clone() for name, tensor in made.network.state_dict().items()}
    state = torch.get_rng_state()
    checks = checked(made)
    assert [check.finding for check in checks if check.finding] == []
    assert len(checks) == 5
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("backbone", "check", "kind", "severity"),
    [
        (Mixing, independence.check, "leak.batch", "stop"),
        (Cut, gradients.check, "gradient.unreached", "warning"),
        (Blind, memorising.check, "input.ignored", "warning"),
        (Doubled, gradients.check, "gradient.wrong", "warning"),
        (Sure, answers.check, "start.sure", "warning"),
    ],
)
def test_a_planted_fault_is_found(
    digits: Any, backbone: type[Sound], check: Callable[[Trial], Any], kind: str, severity: str
) -> None:
    finding = check(trial(digits, backbone)).finding
    assert (finding.kind, finding.severity) == (kind, severity)
    assert check(trial(digits, Sound)).finding is None


def test_weights_that_no_gradient_reaches_are_named(digits: Any) -> None:
    finding = gradients.check(trial(digits, Cut)).finding
    assert finding is not None
    assert finding.where == ("backbone.first.weight", "backbone.first.bias")


def test_numbers_that_are_not_finite_stop_everything(digits: Any) -> None:
    backbone = Sound()
    with torch.no_grad():
        backbone.first.weight[0] = torch.nan
    (check,) = checked(trial(digits, backbone))
    assert check.finding is not None
    assert (check.finding.kind, check.finding.severity) == ("start.not_finite", "stop")


def test_a_network_that_cannot_learn_is_found(digits: Any) -> None:
    finding = memorising.check(trial(digits, Sound, lr=1e-9)).finding
    assert finding is not None
    assert finding.kind == "memory.none"


def test_without_time_only_the_cheap_checks_are_made(digits: Any) -> None:
    made = trial(digits, Sound)
    made.allow(0.0)
    assert len(checked(made)) == 3


def test_a_rate_beyond_the_limit_is_lowered_or_told(digits: Any) -> None:
    """Who chose the rate decides what becomes of it."""
    beyond = 3.0
    known = rates.check(trial(digits, Sound, "user", beyond))
    assert known is not None
    assert known.finding is not None
    assert known.finding.kind == "rate.beyond"
    assert known.lr is None
    limit = known.evidence["limit"]
    assert 1e-3 < limit < beyond
    lowered = rates.check(trial(digits, Sound, "family", beyond))
    assert lowered is not None
    assert lowered.finding is None
    assert lowered.lr == pytest.approx(limit / rates.MARGIN, rel=0.05)
    fitting = rates.check(trial(digits, Sound, "family", 3e-3))
    assert fitting is not None
    assert fitting.lr is None
    found = rates.check(trial(digits, Sound, "nobody", 3e-3))
    assert found is not None
    assert found.lr is not None
    assert 3e-4 < found.lr < 1.0


def test_a_loss_that_holds_a_part_of_itself_constant_is_not_wrong(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets may follow the network's own answers: then the outputs' slopes decide."""
    loss_of = gradients._mean_loss

    def held(made: Trial, network: nn.Module) -> gradients.Measured:
        value, level = loss_of(made, network)
        return value * value.detach(), level * level

    monkeypatch.setattr(gradients, "_mean_loss", held)
    made = trial(digits, Sound)
    check = gradients.check(made)
    assert check is not None
    assert check.finding is None
    network = made.copy()
    assert max(gradients._errors(network, lambda: held(made, network)).values()) > 0.2  # the loss alone would mislead
    wrong = gradients.check(trial(digits, Doubled))
    assert wrong is not None
    assert wrong.finding is not None
