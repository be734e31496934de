"""What a run was made on and with: versions, machine, command, date."""

import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import lamina

LIBRARIES = ("torch", "numpy", "polars", "pillow", "scikit-learn", "safetensors")


def environment() -> dict[str, str]:
    """Names and values, for people who want to repeat a run."""
    import torch

    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
    }
    if torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    found["lamina"] = lamina.__version__  # asked of the code itself, which need not be installed
    return found | {library: version(library) for library in LIBRARIES}


def processor() -> str:
    """The processor's name, where the system tells it."""
    return _told("model name") or platform.processor() or platform.machine()


def instructions() -> str:
    """The sets of instructions that the processor knows, where the system tells them; ARM's is known by its number, too."""
    told = [_told(what) for what in ("flags", "Features", "CPU implementer", "CPU part")]
    return " ".join([platform.machine(), *filter(None, told)])


def _told(what: str) -> str:
    """What Linux says of the first core."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(what)), "")
