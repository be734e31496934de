"""Elsewhere: tensors that say they lie on another device, and mix with those of the CPU as little as an accelerator's do.

Their numbers are on the CPU, so what is asked of them is really computed. The device is called "meta", which PyTorch knows on
every machine; like Apple's GPU it has no float64. What an accelerator's kernels compute is not shown by this; that nothing is
left behind on the CPU is.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
_BETWEEN = ("copy_", "_to_copy")  # from one device to another
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")  # whose second argument may lie on the CPU


class Elsewhere(Tensor):
    """A tensor on the other device, around the one that holds its numbers."""

    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> "Elsewhere":
        """Around a tensor on the CPU."""
        made: Elsewhere = Tensor._make_wrapper_subclass(
            cls, numbers.size(), strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype,
            device=DEVICE, requires_grad=numbers.requires_grad,
        )  # fmt: skip
        made.numbers = numbers
        return made

    def tolist(self) -> Any:
        """PyTorch refuses it to subclasses."""
        return self.numbers.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Elsewhere({self.numbers!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """As the mode below does, which may be off."""
        return _run(func, args, kwargs or {})


class Apart(TorchDispatchMode):
    """While it is on, what is made with ``device=DEVICE`` lies there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation."""
        return _run(func, args, kwargs or {})


def move(network: nn.Module) -> nn.Module:
    """Put parameters and buffers there; ``Module.to`` cannot change the class of a parameter."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(parameter.detach().to(DEVICE), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(DEVICE)
    return network


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute with the numbers.

    Raises RuntimeError where tensors of both devices meet, but for numbers without a dimension; TypeError for float64 there.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there, name = any(isinstance(tensor, Elsewhere) for tensor in tensors), func._schema.name.partition("::")[2]
    if there and name not in _BETWEEN:
        given = tree_leaves((args[0], args[2:])) if name in _INDEXING else tensors
        left = [leaf for leaf in given if isinstance(leaf, Tensor) and not isinstance(leaf, Elsewhere) and leaf.dim()]
        if left:
            raise RuntimeError(f"{name}: a tensor of shape {tuple(left[0].shape)} was left on the CPU")
    plain_args, plain = tree_map(lambda leaf: leaf.numbers if isinstance(leaf, Elsewhere) else leaf, (args, kwargs))
    if kwargs.get("device") is not None:
        there, plain["device"] = torch.device(kwargs["device"]) == DEVICE, torch.device("cpu")
    out = func(*plain_args, **plain)
    if torch.Tag.inplace_view in func.tags:
        with no_dispatch():  # the shape that is told has to follow
            func(*args, **kwargs)
    if func._schema.is_mutable and func._schema.returns:
        return args[0] if len(func._schema.returns) == 1 else args[: len(func._schema.returns)]
    if there and any(leaf.dtype == torch.float64 for leaf in tree_leaves(out) if isinstance(leaf, Tensor)):
        raise TypeError(f"{name}: float64 was asked of the device")
    return tree_map(lambda leaf: Elsewhere(leaf) if there and isinstance(leaf, Tensor) else leaf, out)
