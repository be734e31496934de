"""Machine: what it is, and how quick it can be."""

import os
import platform
import time

import torch

import lamina
from lamina.data.remembered import key_of, recall, remember
from lamina.environment import processor
from lamina.execution import Execution
from lamina.threads import threads

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
    dtype = way.computes_in
    key = key_of("gemm", identity(way.kind), dtype, way.threads)
    known = recall("measured", key)
    if known is not None:
        return float(known["flops"])
    with threads(way.threads or torch.get_num_threads()):
        best = max(_product(way.kind, dtype, side) for side in SIDES[way.kind] for _ in range(REPEATS))
    remember("measured", key, {"flops": best})
    return best


def bfloat16_is_native() -> bool:
    """Whether this CPU multiplies bfloat16 matrices as quickly as float32 ones; some only emulate it, far more slowly."""
    with threads(1):  # several wait for one another where a core is busy, and then both seem alike
        halves, wholes = (
            max(_product("cpu", dtype, 256) for _ in range(3)) for dtype in (torch.bfloat16, torch.float32)
        )
    return halves >= wholes


def _product(kind: str, dtype: torch.dtype, side: int) -> float:
    one = torch.ones(side, side, dtype=dtype, device=kind)
    began = time.perf_counter()
    float((one @ one)[0, 0])  # reading it waits for the device
    return 2 * side**3 / (time.perf_counter() - began)
