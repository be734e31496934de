"""Paths: integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365), from a reference to the input that is asked about.

In go a network, a number that it answers with, and an input; out comes what each place of the input added to that number on a
straight path from the reference. What is moved along the path:

    pictures    their pixels, from the training part's mean colour
    sound       its log-mel features, from each band's own mean: a single sample of a wave means nothing
    tokens      cannot be moved; the vectors into which an embedding turns them are, from the mean of all its vectors
    the rest    floats, from zero
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lamina.batch import Tensors
from lamina.errors import OptionError
from lamina.layers.log_mel import LogMel

Number = Callable[[nn.Module, Tensors], Tensor]
"""(network, inputs) -> (batch,): the number that is explained."""
Kind = Literal["picture", "sound", "tokens", "numbers"]
Pairs = list[tuple[Tensor, Tensor]]
"""Where each of some tensors begins and ends, (1, ...) both."""

STEPS = (32, 64, 128, 256)
"""Points of the path: more of them until the attributions add up."""
CLOSE = 0.01  # share of the difference that may be missing then
AT_ONCE = 2_000_000  # values of what is moved that go through the network together
REFERENCES: dict[Kind, str] = {
    "picture": "a picture of the training part's mean colour",
    "sound": "a recording whose bands all stay at their mean",
    "tokens": "a text of tokens that mean nothing: the mean of all their vectors",
    "numbers": "zeros",
}


@dataclass(frozen=True)
class Path:
    """What is moved for one input of one network."""

    kind: Kind
    inputs: dict[str, Pairs] = field(default_factory=dict)
    """By the name of an input; one pair each."""
    modules: dict[str, Pairs] = field(default_factory=dict)
    """By the name of a module whose outputs are moved, call by call."""


@dataclass(frozen=True)
class Walked:
    """What each place added to the number."""

    kind: Kind
    shares: np.ndarray
    """float64: (height, width) of a picture, (frames, bands) of sound, (length,) of tokens, (numbers,) of the rest."""
    value: float
    """The number for the input."""
    reference: float
    """The number for the reference."""
    steps: int
    """Points of the path."""
    seen: np.ndarray
    """What was moved, as it is for the input: (height, width, channels) or (frames, bands); empty of tokens and numbers."""

    @property
    def missing(self) -> float:
        """By how much the shares miss the difference."""
        return self.value - self.reference - float(self.shares.sum())


def walk(
    network: nn.Module, number: Number, inputs: Tensors, mean: Sequence[float] | None, steps: Sequence[int] = STEPS
) -> Walked:
    """Walk the path, in more and more steps until the shares add up.

    Args:
        network: in evaluation; its weights get no gradients.
        number: what is explained.
        inputs: of one example, (1, ...) each.
        mean: colour of the training part, per channel, from 0 to 255; that of the picture otherwise.
        steps: how many points, in turn.

    Raises:
        OptionError: nothing of the input can be moved.
    """
    path = path_of(network, number, inputs, mean)
    with torch.no_grad():
        value = float(number(network, inputs))
        begin = {name: pairs[0][0] for name, pairs in path.inputs.items()}
        with _moving(network, {name: [start for start, _ in pairs] for name, pairs in path.modules.items()}):
            reference = float(number(network, inputs | begin))
    ends = [end for pairs in (path.inputs | path.modules).values() for _, end in pairs]
    seen = ends[0][0].cpu().numpy() if path.kind in ("picture", "sound") else np.empty(0)
    for count in steps:
        walked = Walked(path.kind, _shares(network, number, inputs, path, count), value, reference, count, seen)
        if abs(walked.missing) <= CLOSE * abs(value - reference):
            break
    return walked


def path_of(network: nn.Module, number: Number, inputs: Tensors, mean: Sequence[float] | None) -> Path:
    """What is moved. Raises OptionError where nothing can be."""
    for name, tensor in inputs.items():
        if tensor.ndim == 4 and tensor.shape[3] in (1, 3):
            colour = tensor.float().mean((1, 2)) if mean is None else torch.tensor(mean, device=tensor.device)[None]
            start = colour.float()[:, None, None].expand(tensor.shape)
            return Path("picture", {name: [(start, tensor.float())]})
    modules = dict(network.named_modules())
    with torch.no_grad(), _listening(network) as heard:
        number(network, inputs)
    sounds = {name: outputs for name, outputs in heard.items() if isinstance(modules[name], LogMel)}
    if sounds:
        return Path("sound", modules={name: [(0 * one, one) for one in outputs] for name, outputs in sounds.items()})
    if heard:
        middles = {name: modules[name].get_parameter("weight").detach().mean(0) for name in heard}
        return Path(
            "tokens",
            modules={name: [(middles[name].expand_as(one), one) for one in outputs] for name, outputs in heard.items()},
        )
    floats = {name: [(0 * tensor, tensor)] for name, tensor in inputs.items() if tensor.is_floating_point()}
    if not floats:
        what = "its inputs are codes that go through no embedding, so there is no way from one to another."
        raise OptionError(what, "explain INPUT", "Leave INPUT out: the layers are shown.")
    return Path("numbers", floats)


def _shares(network: nn.Module, number: Number, inputs: Tensors, path: Path, count: int) -> np.ndarray:
    """The mean slope along the path times the whole way, by Gauss-Legendre quadrature."""
    places, weights = np.polynomial.legendre.leggauss(count)
    ways = {(name, call): pair for name, pairs in path.inputs.items() for call, pair in enumerate(pairs)}
    ways |= {(name, call): pair for name, pairs in path.modules.items() for call, pair in enumerate(pairs)}
    sums = {key: torch.zeros_like(end, dtype=torch.float64, device="cpu") for key, (_, end) in ways.items()}
    size = sum(end.numel() for _, end in ways.values())
    for chunk in np.array_split(np.arange(count), min(count, -(-count * size // AT_ONCE))):
        share = torch.tensor((places[chunk] + 1) / 2, dtype=torch.float32)
        weight = torch.tensor(weights[chunk] / 2)
        points = {key: _between(*way, share).requires_grad_() for key, way in ways.items()}
        given = {name: tensor.expand(len(chunk), *tensor.shape[1:]) for name, tensor in inputs.items()}
        given |= {name: points[name, 0] for name in path.inputs}
        outputs = {name: [points[name, call] for call in range(len(pairs))] for name, pairs in path.modules.items()}
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=not _recurrent(network)):
            with _moving(network, outputs):
                total = number(network, given).sum()
            slopes = torch.autograd.grad(total, list(points.values()), allow_unused=True) if total.requires_grad else ()
        for key, slope in zip(points, slopes, strict=False):
            if slope is not None:
                sums[key] += torch.tensordot(weight, slope.cpu().double(), 1)[None]
    added = [sums[key] * (end - start).cpu().double() for key, (start, end) in ways.items()]
    if path.kind == "numbers":
        return np.asarray(torch.cat([one.flatten() for one in added]))
    whole = sum(added[1:], added[0])[0]  # of a module that is called several times, all calls
    return np.asarray(whole if path.kind == "sound" else whole.sum(-1))


def _recurrent(network: nn.Module) -> bool:
    """Whether there are layers that cuDNN does not take back in evaluation."""
    return any(isinstance(module, nn.RNNBase) for module in network.modules())


def _between(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """(points, ...) on the way from (1, ...) to (1, ...)."""
    return (start + (end - start) * share.view(-1, *[1] * (end.ndim - 1)).to(end.device)).detach()


@contextmanager
def _hooked(network: nn.Module, hooks: dict[str, Callable[..., Any]]) -> Iterator[None]:
    modules = dict(network.named_modules())
    handles = [modules[name].register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _listening(network: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """What modules whose outputs can be moved give, call by call."""
    heard: dict[str, list[Tensor]] = {}

    def listen(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            heard.setdefault(name, []).append((output[0] if isinstance(output, tuple) else output).detach())

        return hook

    movable = [name for name, module in network.named_modules() if isinstance(module, nn.Embedding | LogMel)]
    with _hooked(network, {name: listen(name) for name in movable}):
        yield heard


@contextmanager
def _moving(network: nn.Module, points: dict[str, list[Tensor]]) -> Iterator[None]:
    """Let modules give these outputs, call by call, whatever goes in."""

    def move(tensors: Iterator[Tensor]) -> Callable[..., Any]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            given = next(tensors)
            return (given, *output[1:]) if isinstance(output, tuple) else given

        return hook

    with _hooked(network, {name: move(iter(tensors)) for name, tensors in points.items()}):
        yield
