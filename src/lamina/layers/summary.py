"""What a network is made of: its layers in the order in which they run, with shapes, parameters and arithmetic."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lamina.batch import Tensors


def summarise(network: nn.Module, inputs: Tensors) -> dict[str, Any]:
    """Run one example through a copy of the network and note every layer that has no layers inside.

    Args:
        network: left as it was.
        inputs: encoded inputs by name; the first example is used.

    Returns:
        ``rows``, each with ``name``, ``type``, ``shape`` (of the output, without the batch), ``parameters`` and
        ``flops`` (multiplications and additions of a forward pass in training, counted by PyTorch's FlopCounterMode);
        and the totals ``parameters`` and ``flops``.
    """
    network = deepcopy(network).cpu().eval()
    network.training = True  # of the outermost module alone: one view of the example, as in training
    rows: list[dict[str, Any]] = []
    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    example = {name: tensor[:1].cpu() for name, tensor in inputs.items()}
    twice = _shapes(network, leaves, {name: torch.cat([tensor, tensor]) for name, tensor in example.items()})
    with FlopCounterMode(display=False) as counter:
        once = _shapes(network, leaves, example)
    flops = counter.get_flop_counts()
    root = type(network).__name__
    counted: set[int] = set()
    for name, module in leaves.items():
        own = [p for p in module.parameters() if id(p) not in counted]
        counted |= {id(p) for p in own}
        if name in once:
            operations = flops.get(f"{root}.{name}", {})
            rows.append(
                {
                    "name": name,
                    "type": type(module).__name__,
                    "shape": _without_batch(once[name], twice[name]),
                    "parameters": sum(p.numel() for p in own),
                    "flops": int(sum(operations.values())),
                }
            )
    return {
        "rows": rows,
        "parameters": sum(p.numel() for p in network.parameters()),
        "flops": int(counter.get_total_flops()),
    }


def _shapes(network: nn.Module, leaves: dict[str, nn.Module], inputs: Tensors) -> dict[str, list[int]]:
    """The shape of what each of these layers says when it first runs."""
    shapes: dict[str, list[int]] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output  # beside it, a recurrent layer gives its state
            if isinstance(output, Tensor):
                shapes.setdefault(name, list(output.shape))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in leaves.items()]
    with torch.inference_mode():
        network(**inputs)
    for hook in hooks:
        hook.remove()
    return shapes


def _without_batch(once: list[int], twice: list[int]) -> list[int]:
    """A shape without its first dimension, or without the one that two examples make longer than one does."""
    longer = [place for place, (one, two) in enumerate(zip(once, twice, strict=False)) if two > one]
    return once[: longer[0]] + once[longer[0] + 1 :] if longer else once[1:]
