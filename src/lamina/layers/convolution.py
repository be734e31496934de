"""Convolution: a 3x3 convolution that trains by tiles on the CPU, where that takes fewer multiplications and gains by it."""

from collections.abc import Callable
from math import gcd, inf
from typing import Literal

import torch
from torch import Tensor, nn

from lamina.layers import winograd, winograd_bfloat16, winograd_compiled, winograd_fused
from lamina.layers.winograd_compiled import Kernels

Convolutions = Literal["direct", "winograd", "winograd-compiled"]


class Convolution(nn.Conv2d):
    """A 3x3 convolution that trains by tiles, on the CPU, in float32 and bfloat16; otherwise it is ``nn.Conv2d``."""

    kernels: Callable[[], Kernels] | None
    """Gives the transforms, where these are compiled."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve as ``nn.Conv2d`` does."""
        dtype = _dtype(input)
        way = None if self._plain(input) else self._way(dtype, (len(input), *input.shape[-2:]))
        if way is None:
            return super().forward(input)
        out = way(input.to(dtype).contiguous(memory_format=torch.channels_last), self.weight)
        return out if self.bias is None else out + self.bias.to(dtype).view(-1, 1, 1)

    def pooled(self, image: Tensor) -> Tensor | None:
        """The convolution and a max pooling of 2x2 at once, which writes and keeps less, to the same bits; None where it
        has to be done one after the other."""
        dtype = _dtype(image)
        if self._plain(image) or self.kernels is None or self.bias is not None or _watched(self):
            return None
        if not gains(self, dtype, True, (len(image), *image.shape[-2:])):
            return None
        image = image.to(dtype).contiguous(memory_format=torch.channels_last)
        out: Tensor = winograd_compiled.Winograd.apply(image, self.weight, self.kernels(), True)
        return out

    def _plain(self, image: Tensor) -> bool:
        """Whether PyTorch does it: what is evaluated, traced or compiled, on accelerators, or wrong."""
        if not torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            return True
        fitting = image.ndim == 4 and image.shape[1] == self.in_channels
        return not fitting or image.device.type != "cpu" or self.weight.dtype != torch.float32

    def _way(self, dtype: torch.dtype, images: tuple[int, int, int]) -> Callable[[Tensor, Tensor], Tensor] | None:
        """The quickest way by tiles, where one gains."""
        if self.kernels is not None and gains(self, dtype, True, images):
            kernels = self.kernels()
            return lambda image, weight: winograd_compiled.Winograd.apply(image, weight, kernels)
        if not gains(self, dtype, False, images):
            return None
        way: Callable[[Tensor, Tensor], Tensor] = (
            winograd_bfloat16.Winograd.apply if dtype == torch.bfloat16 else winograd.Winograd.apply
        )
        return way


def convolve_and_pool(convolution: nn.Conv2d, pool: nn.MaxPool2d, image: Tensor) -> Tensor:
    """A convolution and a max pooling: (n, c, h, w) to (n, k, h', w'); at once where that is to be had."""
    out = None
    if type(convolution) is Convolution and type(pool) is nn.MaxPool2d and not _watched(pool):
        settings = (pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices)
        out = convolution.pooled(image) if settings == (2, 2, 0, 1, True, False) else None
    return pool(convolution(image)) if out is None else out


def _watched(module: nn.Module) -> bool:
    """Whether someone wants to see what goes in or comes out."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks)


def _dtype(image: Tensor) -> torch.dtype:
    """In which a convolution of an image is computed."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else image.dtype


def gains(
    convolution: nn.Conv2d, dtype: torch.dtype, compiled: bool, images: tuple[int, int, int] | None = None
) -> bool:
    """Whether a convolution gains by tiles in this precision: it is wide enough, and its images (number, height, width) have
    enough of them."""
    channels = convolution.in_channels
    tiles, filled = inf, inf
    if images is not None:
        number, height, width = images
        each = -(-height // 4) * -(-width // 4)
        tiles, filled = number * each, height * width / each
    if compiled:
        fused = dtype == torch.float32 and winograd_fused.narrow(convolution.weight)
        even = not gcd(channels, convolution.out_channels) % (winograd_fused if fused else winograd_compiled).EVEN
        enough = tiles >= winograd_compiled.FEW * channels and filled >= winograd_compiled.FILLED
        return even and enough and dtype in winograd_compiled.PIECE
    if dtype == torch.bfloat16:
        return channels >= winograd_bfloat16.WIDE and tiles >= winograd_bfloat16.FEW * channels
    return dtype == torch.float32 and channels >= winograd.WIDE


def eligible(network: nn.Module, dtype: torch.dtype = torch.float32, compiled: bool = False) -> list[nn.Conv2d]:
    """The convolutions that can train by tiles, and are wide enough to gain by it in this precision."""
    like = {
        "kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros",
    }  # fmt: skip
    return [
        module
        for module in network.modules()
        if type(module) is nn.Conv2d and gains(module, dtype, compiled) and vars(module).items() >= like.items()
    ]


def train_by_tiles(network: nn.Module, kernels: Callable[[], Kernels] | None = None) -> None:
    """Let a network's eligible convolutions train by tiles, in place. Names and weights stay as they are.

    Args:
        network: whose ``nn.Conv2d`` are looked at.
        kernels: gives compiled transforms when they are first needed; where these do not gain, and without them, PyTorch's
            operations do the work.
    """
    ways = [(dtype, compiled) for dtype in winograd_compiled.PIECE for compiled in {False, kernels is not None}]
    wide = {id(each): each for way in ways for each in eligible(network, *way)}
    for convolution in wide.values():
        convolution.__class__ = Convolution  # a confessed trick: only its forward differs
        convolution.kernels = kernels  # type: ignore[assignment]


def train_directly(network: nn.Module) -> None:
    """The contrary of ``train_by_tiles``."""
    for module in network.modules():
        if type(module) is Convolution:
            del module.kernels
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
