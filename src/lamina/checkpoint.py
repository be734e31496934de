"""Checkpoint: a State as bytes, and the files that keep them in a run."""

import hashlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lamina.batch import Tensors
from lamina.data.feed import Feed
from lamina.errors import RunError
from lamina.findings import Finding
from lamina.run import Run
from lamina.state import LossScale, State, Sums

KEPT = 2
"""Checkpoints in a run: when the newest turns out to be damaged, the one before serves."""


def save_checkpoint(run: Run, state: State) -> None:
    """Keep the state in the run, and the one before it; one that is not finite is not worth keeping."""
    if not state.finite():
        return
    run.write(f"checkpoints/{state.step:09d}.safetensors", to_bytes(state, run.log_size()))
    for old in _checkpoints(run)[:-KEPT]:
        old.unlink()


def restore_checkpoint(run: Run, state: State) -> bool:
    """Continue from the newest checkpoint that is whole; False when the run has none. A damaged one is set aside and said.

    Raises RunError when there are checkpoints and none is whole, or when they are of another network or plan.
    """
    files = _checkpoints(run)
    damaged: list[Path] = []
    for file in reversed(files):
        try:
            data = file.read_bytes()
            _header(data)
        except (ValueError, OSError):
            damaged.append(file.rename(file.with_suffix(".damaged")))
            continue
        try:
            size = restore(state, data)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint is whole, but of another network or plan ({error}).",
                str(file),
                "Resume with the network and the recipe that the run began with.",
            ) from None
        run.cut_log(size)
        if damaged:
            run.log(_set_aside(damaged, state.step))
        return True
    if files or list((run.path / "checkpoints").glob("*.damaged")):
        raise RunError("its checkpoints are damaged.", str(run.path), "Train again: `lamina train --recipe RUN`.")
    return False


def restore_newest(run: Run, state: State) -> bool:
    """Make a state that of the newest whole checkpoint, and leave the run as it is; False where there is none."""
    data = _newest(run)
    if data is not None:
        restore(state, data)
    return data is not None


def remind(run: Run, feed: Feed) -> int | None:
    """Let a feed know what the newest whole checkpoint does; how many epochs were finished there, None where there is none."""
    data = _newest(run)
    if data is None:
        return None
    feed.recall(_below("feed.", load(data)))
    finished: int = _header(data)["numbers"]["epoch"]
    return finished


def to_bytes(state: State, log_size: int) -> bytes:
    """A state as one safetensors file; numbers are JSON in its header, the size of the run's log among them."""
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"carried.{name}": tensor for name, tensor in state.carried.items()}
    tensors |= {f"feed.{name}": tensor for name, tensor in state.feed.remembered().items()}
    if state.average is not None:
        tensors |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    for player, optimizer in state.optimizers.items():
        for index, slots in optimizer.state_dict()["state"].items():
            for slot, value in slots.items():
                if value is not None:
                    tensors[f"optimizer.{player}.{index}.{slot}"] = torch.as_tensor(value)
    numbers = {name: getattr(state, name) for name in _NUMBERS}
    header = {
        "numbers": numbers, "sums": state.sums.settle(), "account": state.account.seconds,
        "players": list(state.optimizers), "scale": [state.scale.value, state.scale.unspoilt],
        "log_size": log_size,
    }  # fmt: skip
    data = save(apart(tensors), {"state": json.dumps(header), "seal": _UNSEALED})
    return data.replace(_UNSEALED.encode(), _seal(data).encode(), 1)


def apart(tensors: Tensors) -> Tensors:
    """The tensors as safetensors takes them: contiguous, and each in memory of its own, tied weights too."""
    seen: set[int] = set()
    made: Tensors = {}
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()
        place = own.untyped_storage().data_ptr()
        made[name] = own.clone() if place in seen else own
        seen.add(place)
    return made


def restore(state: State, data: bytes) -> int:
    """Make a state the one that ``to_bytes`` kept; the size the log had. Raises ValueError when the bytes are damaged."""
    header = _header(data)  # raises before anything is changed
    tensors = load(data)
    for name, value in header["numbers"].items():
        setattr(state, name, value)
    state.started = time.monotonic() - state.seconds
    old = {player: sums.tolist() for player, sums in _below("sums.", tensors).items()}  # where format 1 kept them
    state.sums = Sums({player: (total, count) for player, (total, count) in header.get("sums", old).items()})
    state.scale = LossScale(*header.get("scale", [state.scale.value]))
    state.account.seconds |= header.get("account", {})
    state.network.load_state_dict(_below("network.", tensors))
    state.execution.hand_out(state.network, state.worker)
    state.carried = {name: tensor.to(state.execution.device) for name, tensor in _below("carried.", tensors).items()}
    state.feed.recall(_below("feed.", tensors))
    if state.average is not None:
        state.average.load_state_dict(_below("average.", tensors))
    for player in header["players"]:
        optimizer = state.optimizer(player)
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below(f"optimizer.{player}.", tensors).items():
            index, _, slot = name.partition(".")
            slots.setdefault(int(index), {})[slot] = tensor
        optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})
        for weight, kept in optimizer.state.items():
            for slot, value in kept.items():
                if slot == "steps":  # Muon counts on the CPU; loading put it beside the weight
                    kept[slot] = value.cpu()
                elif (
                    isinstance(value, Tensor) and value.shape == weight.shape
                ):  # a fused step goes through memory as it lies
                    kept[slot] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
    return int(header["log_size"])


_UNSEALED = "0" * 64  # stands in the header while the digest is computed
_NUMBERS = (
    "step",
    "epoch",
    "position",
    "examples",
    "seconds",
    "epoch_began",
    "train_seconds",
    "best",
    "stale",
    "micro_batches",
    "reserve",
)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _newest(run: Run) -> bytes | None:
    """The newest checkpoint that is whole."""
    for file in reversed(_checkpoints(run)):
        with suppress(ValueError, OSError):
            data = file.read_bytes()
            _header(data)
            return data
    return None


def _checkpoints(run: Run) -> list[Path]:
    return sorted((run.path / "checkpoints").glob("*.safetensors"))


def _header(data: bytes) -> dict[str, Any]:
    """The JSON that ``to_bytes`` put into the file's header (8 bytes of length, then the header itself).

    Raises ValueError when the bytes are not those that were sealed.
    """
    length = int.from_bytes(data[:8], "little")
    try:
        metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
        seal, header = metadata["seal"].encode(), metadata["state"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the header is damaged ({error})") from None
    if _seal(data.replace(seal, _UNSEALED.encode(), 1)).encode() != seal:
        raise ValueError("the content is damaged")
    state: dict[str, Any] = json.loads(header)
    return state


def _seal(data: bytes) -> str:
    """A digest of a checkpoint: a truncated file is no safetensors file, but one with a wrong bit is."""
    return hashlib.blake2b(data, digest_size=len(_UNSEALED) // 2).hexdigest()


def _set_aside(damaged: list[Path], step: int) -> Finding:
    """What is said of checkpoints that could not be used."""
    return Finding(
        "checkpoint.damaged",
        "warning",
        f"{len(damaged)} damaged checkpoint{'s were' if len(damaged) > 1 else ' was'} set aside; "
        f"training goes on from the one at step {step}.",
        "Nothing is lost but time: the steps since are taken again. Check the disk.",
        tuple(file.name for file in damaged),
        len(damaged),
        {"step": step},
    )
