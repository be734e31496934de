"""The contract: what must hold for every family of networks, found by its file. A new one is tested without a line here."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lamina import find
from lamina.layers.log_mel import inside
from lamina.layers.shapes import Canvas, Image, Recording, Shape, Table, Tokens
from lamina.plan import Plan

NETWORKS = find.names("networks")
SHAPES: dict[type, list[Shape]] = {
    Image: [Image(3, 8), Image(1, 28), Image(3, 96)],
    Table: [Table(4, (3, 5)), Table(3, ()), Table(0, (4, 2))],
    Tokens: [Tokens(40), Tokens(2)],
    Recording: [Recording(40), Recording(24)],
    Canvas: [Canvas(3, 33, 4), Canvas(1, 8, 3), Canvas(1, 28, 0)],
}
EACH = [
    pytest.param(name, shape, id=f"{name}-{number}")
    for name in NETWORKS
    for number, shape in enumerate(SHAPES[find.network(name).takes])
]
SIZES = [pytest.param(name, size, id=f"{name}-{size}") for name in NETWORKS for size in find.network(name).SIZES]
each_shape = pytest.mark.parametrize(("name", "shape"), EACH)
each_size = pytest.mark.parametrize(("name", "size"), SIZES)
reads_recordings = pytest.mark.parametrize("name", [name for name in NETWORKS if find.network(name).takes is Recording])
makes_pictures = pytest.mark.parametrize("name", [name for name in NETWORKS if find.network(name).takes is Canvas])
reads_tokens = pytest.mark.parametrize("name", [name for name in NETWORKS if find.network(name).takes is Tokens])


def inputs(shape: Shape, count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    if isinstance(shape, Image):
        return {"image": torch.randn(count, shape.channels, shape.side, shape.side, generator=generator)}
    if isinstance(shape, Tokens):
        return {"tokens": torch.randint(0, shape.vocabulary, (count, 9), generator=generator)}
    if isinstance(shape, Recording):
        lengths = torch.tensor([15, 9, 4] * count)[:count]
        frames = torch.randn(count, 15, shape.bands, generator=generator)
        return {"features": frames * inside(lengths, 15)[..., None], "lengths": lengths}
    if isinstance(shape, Canvas):
        noise = torch.randn(count, shape.noise, generator=generator)
        return {"noise": noise, "label": torch.arange(count) % max(1, shape.classes)}
    codes = [torch.randint(0, most, (count, 1), generator=generator) for most in shape.cardinalities]
    return {
        "numbers": torch.randn(count, shape.numbers, generator=generator),
        "categories": torch.cat(codes, 1) if codes else torch.zeros(count, 0, dtype=torch.int64),
    }


def first_shape(name: str) -> Shape:
    return SHAPES[find.network(name).takes][0]


def built(name: str, shape: Shape, size: str = "tiny", dropout: float | None = 0.0) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = find.network(name).build(shape, size, dropout)
    return network


def said(network: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The features alone, of those networks, too, that carry something on or say lengths."""
    if "noise" in given:  # of a picture that was made, as the other player sees it
        made, critic = network.generator(**given), network.discriminator  # type: ignore[operator]
        return critic.features(made) + critic.of_each_class(made).sum(1, keepdim=True)  # type: ignore[operator, union-attr]
    found = network(**given)
    result: Tensor = found[0] if isinstance(found, tuple) else found
    return result


def features(network: nn.Module, shape: Shape, given: dict[str, Tensor]) -> Tensor:
    """(batch, width): whatever else the features have is averaged; of a sequence the last."""
    found = said(network, given)
    if isinstance(shape, Tokens):
        return found[:, -1]
    return (
        found.mean((2, 3)) if isinstance(shape, Image) else found.flatten(1, -2).mean(1) if found.ndim == 3 else found
    )


@each_size
def test_features_have_the_width_that_is_said_in_every_size(name: str, size: str) -> None:
    shape = first_shape(name)
    network = built(name, shape, size).eval()
    with torch.no_grad():
        found = said(network, inputs(shape, 2))
    assert found.dtype == torch.float32
    assert len(found) == 2
    if isinstance(shape, Image):
        assert found.ndim == 4
        assert found.shape[1] == network.width
    else:
        assert found.shape[-1] == network.width
        assert found.ndim == 2 or found.shape[1] == (
            9 if isinstance(shape, Tokens) else 8 if isinstance(shape, Recording) else network.members
        )
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_grow(name: str) -> None:
    assert "tiny" in find.network(name).SIZES
    counts = [
        sum(parameter.numel() for parameter in built(name, first_shape(name), size).parameters())
        for size in find.network(name).SIZES
    ]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)


@each_shape
def test_every_shape_goes_through_and_every_parameter_gets_a_gradient(name: str, shape: Shape) -> None:
    network = built(name, shape).train()
    said(network, inputs(shape, 16)).square().sum().backward()  # type: ignore[no-untyped-call]
    trained = [(key, parameter) for key, parameter in network.named_parameters() if parameter.requires_grad]
    without = [key for key, parameter in trained if parameter.grad is None]
    assert without == []
    assert all(
        bool(parameter.grad.isfinite().all()) for parameter in network.parameters() if parameter.grad is not None
    )


@each_shape
def test_weights_follow_from_the_seed(name: str, shape: Shape) -> None:
    one, two = built(name, shape), built(name, shape)
    torch.manual_seed(1)
    other = find.network(name).build(shape, "tiny", 0.0)
    states = [network.state_dict() for network in (one, two, other)]
    assert all(torch.equal(tensor, states[1][key]) for key, tensor in states[0].items())
    assert any(not torch.equal(tensor, states[2][key]) for key, tensor in states[0].items())


@each_shape
def test_an_example_is_answered_alike_whatever_stands_beside_it(name: str, shape: Shape) -> None:
    network = built(name, shape, dropout=0.5).double().eval()  # what is left of a difference is no rounding of 32 bits
    given = {key: tensor.double() if tensor.is_floating_point() else tensor for key, tensor in inputs(shape, 5).items()}
    with torch.no_grad():
        together = said(network, given)
        for index in range(5):
            alone = said(network, {key: tensor[index : index + 1] for key, tensor in given.items()})
            torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_acts_only_while_training(name: str) -> None:
    shape = first_shape(name)
    given = inputs(shape, 4)
    network = built(name, shape, dropout=0.5).eval()
    assert torch.equal(said(network, given), said(network, given))
    network.train()
    assert not torch.equal(said(network, given), said(network, given))


@each_shape
def test_one_small_batch_is_learned_by_heart(name: str, shape: Shape) -> None:
    network = built(name, shape).train()
    head = nn.Linear(int(network.width), 2)  # type: ignore[arg-type]
    given, truth = inputs(shape, 8), torch.tensor([0, 1] * 4)
    if isinstance(shape, Table):  # few codes can coincide, and then nothing can tell two rows apart
        truth = torch.arange(8) % 2 if shape.numbers else given["categories"][:, 0] % 2
    if isinstance(shape, Tokens):  # to be told apart, the rows have to end differently
        given["tokens"][:, -1] = truth
    optimizer = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=3e-3)
    loss = torch.tensor(9.0)
    for _ in range(100):
        loss = nn.functional.cross_entropy(head(features(network, shape, given)), truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if float(loss.detach()) < 0.05:
            break
    assert float(loss.detach()) < 0.05


@each_shape
@pytest.mark.parametrize("examples", [10, 1000, 100_000])
def test_what_it_advises_is_valid(name: str, shape: Shape, examples: int) -> None:
    family = find.network(name)
    assert family.default_size(shape, examples) in family.SIZES
    assert isinstance(family.plan(shape, examples), Plan)


@pytest.mark.parametrize("name", NETWORKS)
def test_it_goes_through_onnx(name: str, tmp_path: Path) -> None:
    if any(importlib.util.find_spec(needed) is None for needed in ("onnx", "onnxscript")):
        pytest.skip("onnx is not installed")
    shape = first_shape(name)
    torch.onnx.export(built(name, shape).eval(), (), tmp_path / "network.onnx", kwargs=inputs(shape, 2), dynamo=True)
    assert (tmp_path / "network.onnx").stat().st_size > 1000


def shaken(name: str, dropout: float = 0.0) -> nn.Module:
    """Ready to be asked, with no weight left at zero: a layer that starts by adding nothing would hide what it does."""
    network = built(name, Tokens(40), dropout=dropout).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return network


def text(rows: int, length: int) -> Tensor:
    return torch.randint(0, 40, (rows, length), generator=torch.Generator().manual_seed(5))


@reads_tokens
def test_a_later_token_never_changes_earlier_features(name: str) -> None:
    network, tokens = shaken(name), text(2, 12)
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 40
    with torch.no_grad():
        before, after = network(tokens)[0], network(changed)[0]
    torch.testing.assert_close(before[:, :7], after[:, :7], rtol=0, atol=1e-6)
    assert bool(((before[:, 7:] - after[:, 7:]).abs().amax(2) > 1e-5).all())  # and every later one is changed


@reads_tokens
@pytest.mark.parametrize("cuts", [(6,), (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (4, 5, 9)], ids=["halves", "each", "some"])
def test_reading_in_pieces_gives_what_reading_at_once_gives(name: str, cuts: tuple[int, ...]) -> None:
    network, tokens = shaken(name), text(3, 12)
    with torch.no_grad():
        whole = network(tokens)[0]
        carried, found = network.start(3), []  # type: ignore[operator]
        for piece in tokens.tensor_split(cuts, 1):
            some, carried = network(piece, **carried)
            found.append(some)
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=1e-4, atol=1e-5)


@reads_tokens
def test_what_is_carried_has_one_part_per_row_and_does_not_grow_for_ever(name: str) -> None:
    network = shaken(name)
    window = int(network.window)  # type: ignore[arg-type]
    tokens = text(2, 3 * window + 1)
    with torch.no_grad():
        whole = network(tokens)[0]
        carried, found, sizes = network.start(2), [], []  # type: ignore[operator]
        for piece in [*torch.split(tokens[:, :-1], window // 2, 1), tokens[:, -1:]]:
            some, carried = network(piece, **carried)
            found.append(some)
            assert all(len(tensor) == 2 for tensor in carried.values())
            sizes.append(sum(tensor.numel() for tensor in carried.values()))
        one = network(tokens[1:, -1:], **{key: tensor[1:] for key, tensor in carried.items()})[0]
        both = network(tokens[:, -1:], **carried)[0]
    assert sizes[-1] == sizes[-2] == sizes[-3]
    torch.testing.assert_close(torch.cat(found, 1), whole, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(one[0], both[1], rtol=1e-4, atol=1e-5)


@reads_tokens
def test_training_carries_what_the_network_says_it_carries(name: str) -> None:
    network, tokens = shaken(name), text(2, 5)
    carried = network(tokens)[1]
    assert bool(carried) == network.carries
    assert set(carried) <= set(network.start(2))  # type: ignore[operator]
    assert all(tensor.requires_grad for tensor in carried.values() if tensor.is_floating_point())  # left to the task


@reads_tokens
def test_tokens_may_have_32_bits(name: str) -> None:
    network, tokens = shaken(name), text(2, 5)
    with torch.no_grad():
        assert torch.equal(network(tokens)[0], network(tokens.int())[0])


@reads_tokens
def test_the_embedding_can_be_the_output_matrix(name: str) -> None:
    network = built(name, Tokens(40))
    weight = network.get_parameter("embedding.weight")
    assert weight.shape == (40, network.width)
    assert isinstance(network.get_submodule("embedding"), nn.Embedding)
    tokens = text(4, 6)
    loss = nn.functional.cross_entropy((network(tokens)[0] @ weight.T).flatten(0, 1), tokens.flatten())
    assert float(loss.detach()) < 6  # log(40) is 3.7: nothing is sure before training
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bool((weight.grad.abs().sum(1) > 0).all())  # as output matrix every row has a gradient


@reads_recordings
def test_padding_changes_nothing_of_a_recording(name: str) -> None:
    shape = first_shape(name)
    network, given = built(name, shape).double().eval(), inputs(shape, 6)
    frames = given["features"].double()
    with torch.no_grad():
        together, lengths = network(frames, given["lengths"])
        for row, length in enumerate(given["lengths"].tolist()):
            alone, own = network(frames[row : row + 1, :length], torch.tensor([length]))
            assert own.item() == lengths[row] == (length + 1) // 2
            torch.testing.assert_close(alone[0], together[row, : alone.shape[1]])
            assert bool((together[row, alone.shape[1] :] == 0).all())


@reads_recordings
def test_every_frame_hears_what_stands_on_both_sides(name: str) -> None:
    network = built(name, first_shape(name)).eval()
    frames = torch.randn(1, 41, 40, generator=torch.Generator().manual_seed(0), requires_grad=True)
    network(frames, torch.tensor([41]))[0][0, 10, 0].backward()
    assert frames.grad is not None
    assert bool((frames.grad[0].abs().sum(1) > 0).all())


@makes_pictures
@pytest.mark.parametrize("side", [8, 28, 33, 64])
def test_a_picture_has_the_side_that_was_asked_for_and_stays_within_its_range(name: str, side: int) -> None:
    shape = Canvas(3, side, 4)
    network, given = built(name, shape), inputs(shape, 6)
    with torch.no_grad():
        made = network(**given)
        scores = network.discriminator(made, given["label"])  # type: ignore[operator]
    assert made.shape == (6, 3, side, side)
    assert float(made.abs().max()) <= 1
    assert scores.shape == (6,)


@makes_pictures
def test_noise_and_class_decide_on_a_picture_and_the_class_on_its_score(name: str) -> None:
    shape = Canvas(1, 28, 5)
    network, given = built(name, shape), inputs(shape, 1)
    with torch.no_grad():
        made = network(**given)
        assert not torch.equal(network(given["noise"] + 1, given["label"]), made)
        assert not torch.equal(network(given["noise"], given["label"] + 1), made)
        every = network.discriminator.of_each_class(made)[0]  # type: ignore[operator, union-attr]
        each = [network.discriminator(made, torch.tensor([kind])).item() for kind in range(5)]  # type: ignore[operator]
    assert every.tolist() == pytest.approx(each, abs=1e-5)
    assert len({round(score, 6) for score in each}) == 5


@makes_pictures
def test_every_pixel_counts_for_the_score_and_its_gradient_has_a_gradient(name: str) -> None:
    shape = Canvas(1, 33, 0)
    network = built(name, shape)
    for parameter in network.parameters():  # no weight left at zero
        nn.init.normal_(parameter, std=0.1)
    image = torch.randn(2, 1, 33, 33, generator=torch.Generator().manual_seed(0), requires_grad=True)
    score = network.discriminator(image, torch.zeros(2, dtype=torch.int64)).sum()  # type: ignore[operator]
    (gradient,) = torch.autograd.grad(score, image, create_graph=True)
    assert bool((gradient != 0).all())
    gradient.square().sum().backward()
    assert all(bool(part.weight.grad.any()) for part in network.discriminator.modules() if isinstance(part, nn.Conv2d))  # type: ignore[union-attr]
