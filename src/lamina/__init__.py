"""Lamina trains neural networks by the book: from data to a proved, saved, reported model.

    import lamina
    model = lamina.train("flowers/")
    model.predict("new.jpg")

Nothing heavy is loaded before it is used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.batch import Batch as Batch
    from lamina.batch import Loss as Loss
    from lamina.comparison import compare as compare
    from lamina.data.data import Data as Data
    from lamina.data.data import Source as Source
    from lamina.errors import DataError as DataError
    from lamina.errors import LaminaError as LaminaError
    from lamina.errors import OptionError as OptionError
    from lamina.errors import RunError as RunError
    from lamina.errors import TrainingError as TrainingError
    from lamina.execution import Execution as Execution
    from lamina.findings import Finding as Finding
    from lamina.metrics.metric import Metric as Metric
    from lamina.metrics.metric import Score as Score
    from lamina.model import Model as Model
    from lamina.model import load as load
    from lamina.plan import Plan as Plan
    from lamina.records import Epoch as Epoch
    from lamina.records import Step as Step
    from lamina.run import Run as Run
    from lamina.sampling import Sampling as Sampling
    from lamina.seeds import spread as spread
    from lamina.tasks.task import Task as Task
    from lamina.training import check as check
    from lamina.training import repeat as repeat
    from lamina.training import resume as resume
    from lamina.training import train as train

__version__ = "0.1.0"

# Threads that wait for one another spin for some microseconds, then sleep: beside another busy program convolutions are 1.5 to
# 2.5 times as quick as with spinning on, and small operations are handed over at once all the same (docs/log.md). The library
# of threads reads it when PyTorch is loaded, so it has to be said before.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# With room of its own for each stream CUDA's products of matrices are the same from run to run.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

_HOMES = {
    "Batch": "batch",
    "Data": "data.data",
    "DataError": "errors",
    "Epoch": "records",
    "Execution": "execution",
    "Finding": "findings",
    "LaminaError": "errors",
    "Loss": "batch",
    "Metric": "metrics.metric",
    "Model": "model",
    "OptionError": "errors",
    "Plan": "plan",
    "Run": "run",
    "RunError": "errors",
    "Sampling": "sampling",
    "Score": "metrics.metric",
    "Source": "data.data",
    "Step": "records",
    "Task": "tasks.task",
    "TrainingError": "errors",
    "check": "training",
    "compare": "comparison",
    "load": "model",
    "repeat": "training",
    "resume": "training",
    "spread": "seeds",
    "train": "training",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name's module when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lamina' has no attribute {name!r}")
    value = getattr(import_module(f"lamina.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
