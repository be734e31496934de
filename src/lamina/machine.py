"""Machine: what it is, how quick it can be, and what was measured on it before."""

import hashlib
import json
import os
import platform
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

import lamina
from lamina.data.store import cache_folder
from lamina.environment import processor
from lamina.execution import Execution

SIDES = {"cpu": (1024, 1536), "cuda": (4096, 8192), "mps": (2048, 4096)}  # of the matrices that are multiplied
REPEATS = 4


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def identity(kind: str) -> list[str]:
    """What must be equal for a measurement to hold: processor, cores, accelerator, system and versions."""
    accelerator = torch.cuda.get_device_name() if kind == "cuda" else kind
    return [processor(), str(cores()), accelerator, platform.platform(), torch.__version__, lamina.__version__]


def gemm_peak(way: Execution) -> float:
    """The most floating-point operations per second that a product of two square matrices reaches here, on the device, with
    the threads and in the precision of ``way``; measured once."""
    kind, threads = way.kind, way.threads
    dtype = {"float32": torch.float32, "float16": torch.float16}.get(way.precision, torch.bfloat16)
    key = key_of("gemm", kind, str(dtype), threads)
    known = recall(key)
    if known is not None:
        return float(known["flops"])
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    best = max(_product(kind, dtype, side) for side in SIDES[kind] for _ in range(REPEATS))
    torch.set_num_threads(before)
    remember(key, {"flops": best})
    return best


def key_of(*parts: Any) -> str:
    """The name under which something measured on this machine is remembered; ``parts[1]`` is the device's kind."""
    content = json.dumps([identity(str(parts[1])), *parts], sort_keys=True, default=str)
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def recall(key: str) -> dict[str, Any] | None:
    """What was remembered, or None."""
    try:
        content: dict[str, Any] = json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def remember(key: str, content: dict[str, Any]) -> None:
    """Keep a measurement for later runs; where it cannot be written, they measure again."""
    with suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=_folder(), suffix=".partial", delete=False, encoding="utf-8") as file:
            json.dump(content, file)
        Path(file.name).replace(_folder() / f"{key}.json")


def _product(kind: str, dtype: torch.dtype, side: int) -> float:
    one = torch.ones(side, side, dtype=dtype, device=kind)
    began = time.perf_counter()
    float((one @ one)[0, 0])  # reading it waits for the device
    return 2 * side**3 / (time.perf_counter() - began)


def _folder() -> Path:
    return cache_folder() / "measured"
