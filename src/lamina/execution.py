"""Execution: on which device, in which precision and layout, with how many threads a network is run."""

import logging
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from lamina import native
from lamina.batch import Batch
from lamina.data.store import Store
from lamina.errors import OptionError, unknown
from lamina.layers.convolution import Convolutions, train_by_tiles, train_directly
from lamina.memory import keep_freed_memory

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16", "bfloat16-weights", "float16"]
Layout = Literal["channels-last", "channels-first"]
ACCELERATORS: tuple[Device, ...] = ("cuda", "mps")

HELD = 0.25  # share of the accelerator's free memory that a data set may take to lie there whole
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)  # always in float32


@dataclass(frozen=True)
class Execution:
    """How a network is run. What is not said is measured; each docstring is the command line's help."""

    kind: Device = "cpu"
    """Device: cpu, cuda or mps; the accelerator where there is one."""
    precision: Precision = "float32"
    """float32; bfloat16 or float16 for matrix products and convolutions, weights staying in float32 (autocast); or
    bfloat16-weights, which keeps a copy of them in bfloat16, too."""
    layout: Layout = "channels-last"
    """In which order pictures and filters lie in memory."""
    convolutions: Convolutions = "direct"
    """How wide 3x3 convolutions are computed in training on a CPU: direct; winograd, by tiles with fewer multiplications; or
    winograd-compiled, whose transforms are in C++."""
    threads: int = 0
    """Threads of the CPU; 0 leaves PyTorch's own choice."""
    compiled: bool = False
    """Whether the network is compiled (torch.compile)."""

    @property
    def device(self) -> torch.device:
        """The device as PyTorch names it."""
        return torch.device(self.kind)

    @property
    def computes_in(self) -> torch.dtype:
        """The type in which matrices are multiplied."""
        return {"float32": torch.float32, "float16": torch.float16}.get(self.precision, torch.bfloat16)

    def here(self) -> "Execution":
        """The same where its device is present, as for a run that another machine made; otherwise the plain way on what is.

        What is compiled is done without where it does not compile.
        """
        if not available(self.kind):
            return Execution(default_device())
        lost = self.convolutions == "winograd-compiled" and not native.compiles()
        return replace(self, convolutions="winograd") if lost else self

    def prepare(self, network: nn.Module) -> nn.Module:
        """Put the network onto the device, in the layout, with its ways to compute, and set the threads."""
        keep_freed_memory()
        if self.threads:
            torch.set_num_threads(self.threads)
        network.to(self.device)
        order = torch.channels_last if self.layout == "channels-last" else torch.contiguous_format
        for module in network.modules():
            if isinstance(getattr(module, "memory_format", None), torch.memory_format):
                module.memory_format = order  # type: ignore[assignment]
        train_directly(network)  # it may have been trained another way
        if self.convolutions != "direct":
            train_by_tiles(network, native.winograd if self.convolutions == "winograd-compiled" else None)
        if self.compiled or self.kind == "cuda":
            # Otherwise sums over threads differ from run to run: compiled ones, and those of CUDA's libraries.
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        if self.compiled and network._compiled_call_impl is None:
            logging.getLogger("torch.utils.cpp_extension").setLevel(
                logging.ERROR
            )  # it wonders where CUDA is, on a CPU too
            network.compile()
        return network.to(memory_format=order)

    def holds(self, store: Store) -> bool:
        """Whether the store lies on the device in training: where that is an accelerator with plenty of room."""
        return self.kind == "cuda" and store.bytes <= HELD * torch.cuda.mem_get_info(self.device)[0]

    def hold(self, store: Store) -> Store:
        """The store where it lies in training."""
        return store.to(self.device) if self.holds(store) else store

    def move(self, batch: Batch) -> Batch:
        """Put a batch onto the device."""
        return batch if self.kind == "cpu" else batch.to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which the network runs forward."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, self.computes_in)

    def worker(self, network: nn.Module) -> nn.Module:
        """What runs forward and backward: the network, or its copy in bfloat16, which shares norms and buffers with it."""
        if self.precision != "bfloat16-weights":
            return network
        shared: list[Tensor] = list(network.buffers())
        for module in network.modules():
            if isinstance(module, _NORMS):
                shared += module.parameters()
        twin = deepcopy(network, {id(tensor): tensor for tensor in shared})
        kept = {id(tensor) for tensor in shared}
        for parameter in twin.parameters():
            if id(parameter) not in kept:
                parameter.data = parameter.data.bfloat16()
        if self.compiled:  # which copying has lost
            twin.compile()
        return twin

    def collect(self, worker: nn.Module, network: nn.Module) -> None:
        """Bring the worker's gradients to the network, in float32."""
        if worker is not network:
            for own, theirs in zip(network.parameters(), worker.parameters(), strict=True):
                if own is not theirs:
                    own.grad = None if theirs.grad is None else theirs.grad.float()

    def hand_out(self, network: nn.Module, worker: nn.Module) -> None:
        """Give the worker the network's weights."""
        if worker is not network:
            with torch.no_grad():
                for own, theirs in zip(network.parameters(), worker.parameters(), strict=True):
                    if own is not theirs:
                        theirs.copy_(own)

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def available(kind: Device) -> bool:
    """Whether there is such a device here."""
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or torch.backends.mps.is_available()


def device_named(name: str) -> Device:
    """The device that is meant: cpu, cuda or mps, or by ``gpu`` whichever accelerator is here.

    Raises:
        OptionError: it is no such name, or not here.
    """
    if name not in (names := ("cpu", "gpu", *ACCELERATORS)):
        raise unknown("--device", name, names)
    meant = ACCELERATORS if name == "gpu" else (cast(Device, name),)
    for kind in meant:
        if available(kind):
            return kind
    raise OptionError(f"there is no {name} here.", "--device", f"Leave it out: {default_device()} is taken.")


def default_device() -> Device:
    """The accelerator where there is one."""
    return next((kind for kind in ACCELERATORS if available(kind)), "cpu")
