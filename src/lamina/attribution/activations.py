"""Activations: what goes through each layer, how much of it is silent, and how strongly the loss pulls at its weights.

In go a network and some examples; out comes, by the name of a layer that has no layers inside:

    mean, spread       of its outputs, over all examples and places
    dead               share of its units that are exactly zero for every example, as behind a closed rectifier
    relative_gradient  length of the loss's gradient by its weights, as a share of their own length
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from lamina.attribution.explain import Subject
from lamina.batch import Batch
from lamina.data.building import encode_each
from lamina.data.store import columns_of, gathered
from lamina.errors import OptionError
from lamina.findings import Finding

EXAMPLES = 64  # of the validation part, or of what is given
SILENT = 0.5  # share of a layer's units from which it is a finding


def activations(subject: Subject, inputs: Sequence[Any] = ()) -> tuple[dict[str, dict[str, float]], int]:
    """The numbers of each layer, and over how many examples.

    Args:
        subject: of a run.
        inputs: as ``predict`` takes them; the run's validation part otherwise. Of inputs, whose answers nobody knows,
            there is no ``relative_gradient``.

    Raises:
        OptionError: no input can be read.
        RunError: there are no inputs, and the run's data are not at hand.
    """
    if inputs:
        raws, where = subject.task.gather(inputs, subject.facts)
        arrays, good, bad = encode_each(raws[:EXAMPLES], lambda some: subject.task.encode(some, subject.facts))
        if arrays is None:
            raise OptionError(f"no input can be read: {next(iter(bad.values()), 'there is none')}.", str(where[:1]))
        seen = gathered(columns_of(arrays), torch.arange(len(good)))
        learned = None
    else:
        evaluated, learned = subject.validation(EXAMPLES)
        seen = evaluated.inputs
    batch = subject.execution.move(Batch(seen, {}))
    found = passed(subject.network, lambda network: subject.task.outputs(network, batch.inputs))
    if learned is not None:
        pulls = pulled(subject, subject.execution.move(learned))
        found = {
            name: row | ({"relative_gradient": pulls[name]} if name in pulls else {}) for name, row in found.items()
        }
    return found, len(batch)


def passed(network: nn.Module, run: Callable[[nn.Module], Any]) -> dict[str, dict[str, float]]:
    """``mean``, ``spread`` and ``dead`` of each layer while ``run`` is given the network."""
    sums: dict[str, Tensor] = {}
    silent: dict[str, Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            if not isinstance(output, Tensor) or not output.is_floating_point() or output.ndim < 2:
                return
            values = output.detach().cpu().double()
            units = values.transpose(1, -1) if values.ndim == 4 else values  # of a grid, channels
            still = (units == 0).flatten(0, -2).all(0)
            one = torch.stack([values.sum(), values.square().sum(), values.new_tensor(values.numel())])
            sums[name] = sums.get(name, torch.zeros_like(one)) + one
            known = silent.get(name)
            silent[name] = still if known is None or known.shape != still.shape else known & still

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(note(name)) for name, module in leaves]
    try:
        with torch.no_grad():
            run(network)
    finally:
        for hook in hooks:
            hook.remove()
    rows = {}
    for name, (total, squares, count) in ((name, one.tolist()) for name, one in sums.items()):
        mean = total / count
        spread = max(0.0, squares / count - mean**2) ** 0.5
        rows[name] = {"mean": mean, "spread": spread, "dead": float(silent[name].float().mean())}
    return rows


def pulled(subject: Subject, batch: Batch) -> dict[str, float]:
    """By layer, the length of the loss's gradient as a share of that of its weights; as in training, but for augmentation."""
    network = deepcopy(subject.network).train()
    for own, learns in zip(network.parameters(), subject.learns, strict=True):
        own.requires_grad_(learns)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        for loss in subject.task.losses(network, batch):
            (loss.total / loss.count).backward()  # type: ignore[no-untyped-call]
    found = {}
    for name, module in network.named_modules():
        weights = [weight for weight in module.parameters(recurse=False) if weight.grad is not None]
        if weights:
            gradient = sum(
                float(weight.grad.cpu().double().square().sum()) for weight in weights if weight.grad is not None
            )
            length = sum(float(weight.detach().cpu().double().square().sum()) for weight in weights)
            found[name] = (gradient / max(length, 1e-24)) ** 0.5
    return found


def silent_layers(rows: dict[str, dict[str, float]], examples: int) -> list[Finding]:
    """The finding that most units of a layer say nothing."""
    quiet = {name: row["dead"] for name, row in rows.items() if row["dead"] > SILENT}
    if not quiet:
        return []
    worst = max(quiet, key=lambda name: quiet[name])
    return [
        Finding(
            "units.silent",
            "warning",
            f"{quiet[worst]:.0%} of the units of {worst} are zero for each of {examples:,} examples"
            + (f", and so it is with {len(quiet) - 1} other layers." if len(quiet) > 1 else "."),
            "Train again with a lower --lr or --clip 1, or with a smaller --size.",
            tuple(sorted(quiet, key=lambda name: -quiet[name])[:20]),
            len(quiet),
            {"examples": examples, **{name: round(share, 3) for name, share in list(quiet.items())[:20]}},
        )
    ]
