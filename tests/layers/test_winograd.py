"""Convolutions by tiles give what direct ones give, forward and backward, for any size of image."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina import native
from lamina.execution import Execution
from lamina.layers import winograd_bfloat16, winograd_compiled, winograd_fused
from lamina.layers.convolution import Convolution, eligible, gains, train_by_tiles, train_directly
from lamina.layers.winograd import Winograd
from lamina.layers.winograd_compiled import Kernels
from lamina.networks import cnn
from lamina.threads import threads

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.03}


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    if native.compiler() is None:
        pytest.skip("no C++ compiler is here")
    return native.winograd()  # where there is a compiler it has to work


def agrees(way: type[torch.autograd.Function], image: Tensor, weight: Tensor, *more: Kernels) -> None:
    """Output and gradients are those of a direct convolution in float64."""
    dtype, generator = image.dtype, torch.Generator().manual_seed(1)
    image, weight = image.detach().requires_grad_(), weight.detach().requires_grad_()
    out = way.apply(image, weight, *more)
    error = torch.randn(out.shape, generator=generator).to(dtype)
    found = out.detach(), *torch.autograd.grad(out, (image, weight), error)
    assert [tensor.dtype for tensor in found] == [dtype, dtype, torch.float32]
    exact = image.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    true = functional.conv2d(*exact, padding=1)
    for value, truth in zip(found, (true.detach(), *torch.autograd.grad(true, exact, error.double())), strict=True):
        assert float((value - truth).norm()) <= TOLERANCE[dtype] * float(truth.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(2, 3, 8, 8), (1, 5, 4, 12), (3, 4, 7, 9), (2, 2, 1, 3), (5, 1, 13, 2), (40, 64, 16, 16)]
)
def test_outputs_and_gradients_are_those_of_a_direct_convolution(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator).to(dtype, memory_format=torch.channels_last)
    weight = torch.randn(6, shape[1], 3, 3, generator=generator)
    agrees({torch.float32: Winograd, torch.bfloat16: winograd_bfloat16.Winograd}[dtype], image, weight)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [(2, 32, 8, 8), (1, 64, 4, 12), (3, 32, 7, 9), (2, 32, 1, 3), (5, 96, 13, 2), (40, 64, 32, 32), (130, 288, 7, 9)],
)
def test_so_they_are_where_transforms_are_compiled(
    shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format, kernels: Kernels
) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator).to(dtype, memory_format=layout)
    weight = torch.randn(32, shape[1], 3, 3, generator=generator).contiguous(memory_format=layout)
    agrees(winograd_compiled.Winograd, image, weight, kernels)


@pytest.mark.parametrize("channels", [(16, 48), (80, 64), (112, 16), (64, 128)])
def test_so_are_narrow_ones_in_float32_that_are_done_at_once(channels: tuple[int, int], kernels: Kernels) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(11, channels[0], 10, 13, generator=generator)
    weight = torch.randn(channels[1], channels[0], 3, 3, generator=generator)
    assert winograd_fused.narrow(weight)
    agrees(winograd_compiled.Winograd, image, weight, kernels)
    agrees(winograd_compiled.Winograd, image[:0], weight, kernels)


@pytest.mark.parametrize(
    ("dtype", "outputs"), [(torch.bfloat16, 64), (torch.float32, 64), (torch.float32, 288)]
)  # the last one is wide
def test_compiled_ones_give_the_same_bits_with_any_number_of_threads(
    dtype: torch.dtype, outputs: int, kernels: Kernels
) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(48, 32, 30, 30, generator=generator).to(dtype).requires_grad_()  # several pieces
    weight = torch.randn(outputs, 32, 3, 3, generator=generator).requires_grad_()
    found = []
    for count in (1, 2, 3):
        with threads(count):
            out = winograd_compiled.Winograd.apply(image, weight, kernels)
            found.append([out.detach(), *torch.autograd.grad(out.float().square().sum(), (image, weight))])
    assert all(torch.equal(one, other) for some in found[1:] for one, other in zip(found[0], some, strict=True))


def test_what_is_not_finite_stays_so(kernels: Kernels) -> None:
    image = torch.ones(4, 32, 8, 8)
    image[1, 3, 5, 5], image[2, 0, 0, 0] = float("nan"), float("inf")
    weight = torch.randn(32, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    for dtype in TOLERANCE:
        out = winograd_compiled.Winograd.apply(image.to(dtype), weight, kernels)
        assert out.isfinite().all((1, 2, 3)).tolist() == [True, False, False, True]
    weight[0] = torch.tensor(0x7FFFFFFF, dtype=torch.int32).view(torch.float32)  # as CUDA writes what is no number
    out = winograd_compiled.Winograd.apply(image.bfloat16(), weight, kernels)
    assert out[:, 0].isnan().all()


def pooled(image: Tensor, weight: Tensor, kernels: Kernels, at_once: bool) -> Tensor:
    """A convolution and a max pooling of 2x2."""
    out: Tensor = winograd_compiled.Winograd.apply(image, weight, kernels, at_once)
    return out if at_once else functional.max_pool2d(out, 2, ceil_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape", [(2, 32, 8, 8), (3, 32, 7, 9), (5, 64, 13, 6), (1, 32, 1, 2), (70, 32, 18, 17), (3, 160, 9, 6)]
)
def test_pooled_at_once_it_has_the_bits_of_one_after_the_other(
    shape: tuple[int, ...], dtype: torch.dtype, kernels: Kernels
) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator).to(dtype).relu_()  # many outputs are alike, and zero
    image[:, :, : shape[2] // 2] = 0
    weight, found = torch.randn(64, shape[1], 3, 3, generator=generator), []
    for at_once in (False, True):
        given = image.clone().requires_grad_(), weight.clone().requires_grad_()
        out = pooled(*given, kernels, at_once)
        error = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        found.append((out.detach(), *torch.autograd.grad(out, given, error)))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_pooled_at_once_what_is_not_finite_stays_so(kernels: Kernels) -> None:
    image = torch.ones(4, 32, 8, 8)
    image[1, 3, 4, 4], image[2, 0, 0, 0] = (
        float("nan"),
        float("inf"),
    )  # the first one is in the last row of a tile alone
    weight = torch.randn(32, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    one, other = (pooled(image, weight, kernels, at_once) for at_once in (False, True))
    assert one.isfinite().all((1, 2, 3)).tolist() == [True, False, False, True]
    assert torch.equal(one.isnan(), other.isnan())
    assert torch.equal(one.nan_to_num(), other.nan_to_num())


def test_pooled_at_once_a_gradient_of_gradients_is_as_it_was(kernels: Kernels) -> None:
    generator, found = torch.Generator().manual_seed(0), []
    image, weight = (torch.randn(shape, generator=generator) for shape in ((2, 32, 9, 7), (64, 32, 3, 3)))
    for at_once in (False, True):
        given, filters = (tensor.clone().requires_grad_() for tensor in (image, weight))
        loss = pooled(given, filters, kernels, at_once).square().sum()
        (steep,) = torch.autograd.grad(loss, given, create_graph=True)
        steep.square().sum().backward()
        found.append((steep.detach(), filters.grad))
    assert all(torch.allclose(one, other, rtol=1e-4, atol=1e-2) for one, other in zip(*found, strict=True))


def test_pooled_at_once_a_gradient_that_is_not_finite_stays_in_its_window(kernels: Kernels) -> None:
    generator, found = torch.Generator().manual_seed(0), []
    image, weight = (torch.randn(shape, generator=generator) for shape in ((1, 32, 16, 16), (32, 32, 3, 3)))
    for at_once in (False, True):
        given = image.clone().requires_grad_()
        out = pooled(given, weight, kernels, at_once)
        error = torch.zeros_like(out)
        error[0, 0, 0, 0] = float("inf")
        found.append(torch.autograd.grad(out, given, error, create_graph=True)[0].isfinite())
    assert torch.equal(*found)
    assert found[0][..., -4:, :].all()


def test_networks_pool_at_once_unless_someone_looks_between(kernels: Kernels, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[bool] = []
    apply = winograd_compiled.Winograd.apply
    monkeypatch.setattr(
        winograd_compiled.Winograd, "apply", lambda *given: (met.append(given[3:] == (True,)), apply(*given))[1]
    )
    torch.manual_seed(0)
    network = cnn.Convolution(32, 64, pool=True)
    images, found = torch.randn(4, 32, 12, 12, requires_grad=True), []
    odd = nn.MaxPool2d(2)  # leaves half windows out
    for change in (
        lambda network: None,
        lambda network: train_by_tiles(network, lambda: kernels),
        lambda network: train_directly(network),
        lambda network: train_by_tiles(network, lambda: kernels),
        lambda network: network.pool.register_forward_hook(lambda *_: None),
        lambda network: network.pool._forward_hooks.clear(),
        lambda network: network.convolution.register_full_backward_hook(lambda *_: None),
        lambda network: (network.convolution._backward_hooks.clear(), network._modules.update(pool=odd)),
    ):
        change(network)
        out = network(images)
        network.zero_grad()
        out.square().mean().backward()
        found.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    network.pool = nn.AvgPool2d(2, ceil_mode=True)  # someone's own
    assert network(images).shape == (4, 64, 6, 6)
    assert met == [True, True, False, True, False, False, False]
    assert all(torch.allclose(found[0], other, rtol=1e-3, atol=1e-5) for other in found)
    assert torch.equal(found[3], found[4])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("asked", [(True, False), (False, True)])
def test_only_the_gradients_that_are_asked_for_are_made(
    dtype: torch.dtype, asked: tuple[bool, bool], kernels: Kernels
) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 32, 8, 8, generator=generator).to(dtype)
    weight = torch.randn(32, 32, 3, 3, generator=generator)
    gradients = []
    for which in ((True, True), asked):
        given = [tensor.clone().requires_grad_(one) for tensor, one in zip((image, weight), which, strict=True)]
        winograd_compiled.Winograd.apply(*given, kernels).float().square().sum().backward()
        gradients.append([tensor.grad for tensor in given])
    for whole, part, one in zip(*gradients, asked, strict=True):
        assert torch.equal(whole, part) if one else part is None


def test_tensors_that_do_not_fit_are_refused_before_anything_is_written(kernels: Kernels) -> None:
    rows, points = torch.ones(2, 8, 8, 32), torch.empty(36, 8, 32)
    kernels.spread("pixels", rows, points)
    for wrong in (
        (rows, points[:, :7]), (rows, points.bfloat16()), (rows[..., :8].contiguous(), points[..., :8].contiguous()),
        (rows.transpose(1, 2), points), (torch.ones(2, 8, 8, 64), points),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"pixels torch\.float32"):
            kernels.spread("pixels", *wrong)
    rows, points, places = torch.empty(2, 4, 4, 32), torch.empty(36, 8, 32), torch.empty(2, 4, 4, 32, dtype=torch.uint8)
    image = torch.empty(2, 7, 8, 64)
    kernels.collect_pooled(points, rows, places, image)
    for misfit in (
        (points, rows, places, image[:1]), (points, rows, places[:1], image), (points, rows, places.int(), image),
        (points[:, :7].contiguous(), rows, places, image), (points, rows[:, :3].contiguous(), places[:, :3], image),
        (points, rows, places, image[:, :6]), (points, rows, places.mT.contiguous().mT, image),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"pooled torch\.float32"):
            kernels.collect_pooled(*misfit)
    fused, weight, error = kernels.fused, torch.ones(64, 32, 3, 3), torch.ones(2, 4, 4, 64)
    rows, places = torch.ones(2, 7, 8, 32), torch.zeros(2, 4, 4, 64, dtype=torch.uint8)
    assert fused.by_weight(error, places, rows).shape == weight.shape
    for which, given in (
        (fused.forward, (rows, weight.double())), (fused.forward, (rows, weight[..., :1])),
        (fused.forward, (rows.double(), weight)), (fused.forward, (rows[..., :16], weight)),
        (fused.forward, (rows, weight[:40])), (fused.forward, (rows.transpose(1, 2), weight)),
        (fused.by_image, (error, places, rows[:1], weight)), (fused.by_image, (error, places.int(), rows, weight)),
        (fused.by_image, (error, None, rows, weight)), (fused.by_image, (error, places, rows, weight[:32])),
        (fused.by_weight, (error, places, rows[:, :6].contiguous())), (fused.by_weight, (error.mT, places, rows)),
        (fused.by_weight, (error, places[:1], rows)), (fused.by_weight, (error, places, rows[..., :8].contiguous())),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"channels of \("):
            which(*given)
    convolution = Convolution(64, 64, 3, padding=1)
    convolution.kernels = lambda: kernels
    for channels in (32, 96):
        with pytest.raises(RuntimeError, match="64 channels"):
            convolution(torch.ones(8, channels, 32, 32))


@pytest.mark.parametrize("tiles", ["winograd", "winograd-compiled"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_comes_out_may_be_changed_in_place(tiles: str, precision: str, kernels: Kernels) -> None:
    gradients = []
    for convolutions in ("direct", tiles):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1, bias=False), nn.ReLU(inplace=True))
        way = Execution(precision=precision, convolutions=convolutions)  # type: ignore[arg-type]
        images = torch.randn(16, 128, 8, 8, generator=torch.Generator().manual_seed(1))
        with way.autocast():
            way.prepare(network)(images).sum().backward()
        gradients.append(network[0].weight.grad)
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 0.15  # some are rectified otherwise


def test_a_gradient_is_in_full_precision_though_it_is_asked_for_under_autocast(kernels: Kernels) -> None:
    image = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(32, 32, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    exact = torch.autograd.grad(functional.conv2d(image, weight, padding=1).square().sum(), (image, weight))
    for way, more in ((Winograd, ()), (winograd_compiled.Winograd, (kernels,))):
        loss = way.apply(image, weight, *more).square().sum()
        with torch.autocast("cpu", torch.bfloat16):
            found = torch.autograd.grad(loss, (image, weight))
        assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-2) for one, other in zip(found, exact, strict=True))


def test_what_was_trained_by_tiles_can_be_trained_directly(kernels: Kernels) -> None:
    one = Execution(convolutions="winograd-compiled").prepare(network())
    assert {type(module) for module in one.modules()} >= {Convolution}
    assert [type(module) for module in Execution().prepare(one)] == [type(module) for module in network()]


def test_widths_that_are_not_for_the_kernels_take_the_other_tiles(kernels: Kernels) -> None:
    network = nn.Sequential(nn.Conv2d(72, 72, 3, padding=1), nn.Conv2d(72, 32, 3, padding=1))
    train_by_tiles(network, lambda: pytest.fail("these widths are not divisible by 32"))
    assert [type(each) for each in network] == [Convolution, Convolution]
    assert "WinogradBackward" in str(network(torch.ones(8, 72, 8, 8)).grad_fn.next_functions)


def test_coefficients_for_images_are_exact_in_bfloat16() -> None:
    for row in (*winograd_bfloat16._CELLS, *winograd_bfloat16._OUTPUTS):
        assert torch.tensor(row).bfloat16().tolist() == row


def test_a_gradient_of_gradients_is_that_of_a_direct_convolution(kernels: Kernels) -> None:
    generator = torch.Generator().manual_seed(0)
    image, weight = (torch.randn(shape, generator=generator) for shape in ((2, 32, 9, 7), (64, 32, 3, 3)))
    weight /= 10
    found = []
    for convolve, digits in (
        (lambda *both: functional.conv2d(*both, padding=1), torch.float64),
        (Winograd.apply, torch.float32),
        (lambda *both: winograd_compiled.Winograd.apply(*both, kernels), torch.float32),
        (lambda image, weight: winograd_bfloat16.Winograd.apply(image.bfloat16(), weight).float(), torch.float32),
        (
            lambda image, weight: winograd_compiled.Winograd.apply(image.bfloat16(), weight, kernels).float(),
            torch.float32,
        ),
    ):
        given, filters = (tensor.clone().to(digits).requires_grad_() for tensor in (image, weight))
        (steep,) = torch.autograd.grad(convolve(given, filters).square().sum(), given, create_graph=True)
        steep.square().sum().backward()
        assert filters.grad is not None
        found.append(filters.grad.double())
    for value, most in zip(found[1:], (1e-5, 1e-5, 0.05, 0.05), strict=True):
        assert float((found[0] - value).norm() / found[0].norm()) < most


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(inplace=True),
        nn.Conv2d(64, 96, 3, padding=1, bias=False), nn.BatchNorm2d(96), nn.ReLU(inplace=True),
        nn.Conv2d(96, 64, 3, padding=1), nn.Conv2d(64, 64, 3, stride=2, padding=1), nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, padding=1, groups=2), nn.Conv2d(64, 64, 3),
    )  # fmt: skip


def test_only_wide_plain_convolutions_train_by_tiles_and_weights_stay_where_they_are() -> None:
    changed = network()
    assert len(eligible(changed)) == 2
    assert not eligible(changed, torch.bfloat16)  # direct ones are quicker at this width
    assert len(eligible(changed, torch.bfloat16, compiled=True)) == 2
    before = changed.state_dict()
    train_by_tiles(changed)
    assert [index for index, module in enumerate(changed) if type(module) is Convolution] == [3, 6]
    assert changed.state_dict().keys() == before.keys()
    assert isinstance(deepcopy(changed)[3], Convolution)


def order(tensor: Tensor) -> list[tuple[int, int]]:
    """How it lies in memory: sizes and strides, but of what has one place only."""
    return [place for place in zip(tensor.shape, tensor.stride(), strict=True) if place[0] > 1]


def test_only_images_whose_tiles_are_filled_gain_by_compiled_ones() -> None:
    convolution = nn.Conv2d(64, 64, 3, padding=1)
    sides = [side for side in range(1, 13) if gains(convolution, torch.float32, True, (64, side, side))]
    assert sides == [3, 4, 6, 7, 8, 9, 10, 11, 12]
    assert not gains(convolution, torch.float32, True, (3, 4, 4))  # as many tiles as make up for its filters
    for width, precisions in ((40, ()), (48, (torch.float32,)), (96, (torch.float32, torch.bfloat16))):
        found = [dtype for dtype in TOLERANCE if gains(nn.Conv2d(64, width, 3, padding=1), dtype, True)]
        assert found == list(precisions)
    assert not gains(nn.Conv2d(208, 48, 3, padding=1), torch.float32, True)  # too wide to be done at once
    assert not gains(convolution, torch.float16, True)


@pytest.mark.parametrize("layout", ["channels-last", "channels-first"])
@pytest.mark.parametrize("tiles", ["winograd", "winograd-compiled"])
def test_a_network_learns_the_same_step(layout: str, tiles: str, kernels: Kernels) -> None:
    images, steps = torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(1)), []
    for convolutions in ("direct", tiles):
        found = deepcopy(Execution(layout=layout, convolutions=convolutions).prepare(network()))  # type: ignore[arg-type]
        found(images).square().mean().backward()
        steps.append(torch.cat([p.grad.flatten() for p in found.parameters() if p.grad is not None]))
        assert all(order(p.grad) == order(p) for p in found.parameters() if p.grad is not None)
    assert float((steps[0] - steps[1]).norm() / steps[0].norm()) < 1e-4


def test_without_gradients_nothing_changes() -> None:
    changed = network().eval()
    images = torch.randn(2, 3, 12, 12)
    with torch.inference_mode():
        expected = changed(images)
        train_by_tiles(changed)
        assert torch.equal(changed(images), expected)


def test_wide_ones_train_by_tiles_under_autocast_and_their_weights_stay_precise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: list[tuple[int, ...]] = []
    apply = winograd_bfloat16.Winograd.apply
    monkeypatch.setattr(
        winograd_bfloat16.Winograd, "apply", lambda image, weight: (met.append(image.shape), apply(image, weight))[1]
    )
    images = torch.randn(16, 128, 8, 8, generator=torch.Generator().manual_seed(1))
    gradients = []
    for change in (lambda _: None, train_by_tiles):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(128, 64, 3, padding=1), nn.Conv2d(64, 8, 3, padding=1))
        change(network)
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(images).float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert met == [(16, 128, 8, 8)]  # the second one is narrow
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 0.03
    with torch.autocast("cpu", torch.bfloat16):
        network(images[:15])  # fewer tiles than make up for transforming the filters
    assert len(met) == 1
