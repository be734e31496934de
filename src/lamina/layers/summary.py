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
    shapes: dict[str, list[int]] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output  # beside it, a recurrent layer gives its state
            if isinstance(output, Tensor):
                shapes.setdefault(name, list(output.shape[1:]))

        return hook

    leaves = {name: module for name, module in network.named_modules() if not list(module.children())}
    hooks = [module.register_forward_hook(note(name)) for name, module in leaves.items()]
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(**{name: tensor[:1].cpu() for name, tensor in inputs.items()})
    for hook in hooks:
        hook.remove()
    flops = counter.get_flop_counts()
    root = type(network).__name__
    counted: set[int] = set()
    for name, module in leaves.items():
        own = [p for p in module.parameters() if id(p) not in counted]
        counted |= {id(p) for p in own}
        if name in shapes:
            operations = flops.get(f"{root}.{name}", {})
            rows.append(
                {
                    "name": name,
                    "type": type(module).__name__,
                    "shape": shapes[name],
                    "parameters": sum(p.numel() for p in own),
                    "flops": int(sum(operations.values())),
                }
            )
    return {
        "rows": rows,
        "parameters": sum(p.numel() for p in network.parameters()),
        "flops": int(counter.get_total_flops()),
    }
