"""What all tests share: a cache of their own, one thread each, and one trained tiny run per task."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: tests run side by side, and bits depend on the number

from pathlib import Path
from typing import Any

import pytest

from lamina.examples import open_data
from trained import Trained


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["LAMINA_CACHE"] = str(tmp_path_factory.mktemp("cache"))


OWN: dict[str, dict[str, Any]] = {
    "object_detection": {"network": "cnn", "size": "tiny"},  # not what is at hand here
    "speech_recognition": {"epochs": 8, "dropout": 0.0},  # for some epochs, recurrent networks say nothing at all
}
"""How a task is trained for the tests, where that is not as all are."""
_TRAINED: dict[str, Trained] = {}


@pytest.fixture
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The run of the task whose name the test is parametrised with; trained once per process."""
    from lamina import find, training

    name: str = request.param
    if name not in _TRAINED:
        folder = tmp_path_factory.mktemp(name)
        task = find.task(name)()
        source = task.tiny(folder)
        wishes = {"epochs": 6, "threads": 1, "precision": "float32"} | OWN.get(name, {})
        model = training.train(source, task=task, **wishes, out=folder / "run")
        data, store = open_data(model.recipe, model.facts)
        _TRAINED[name] = Trained(
            name, source, model, data, store, task.feed(store, store.rows_of(data, "train"), model.network)
        )
    return _TRAINED[name]


@pytest.fixture
def shared_data() -> Path:
    """Data sets that are not in the repository: $LAMINA_DATA, or ../shared/data beside the checkout."""
    folder = Path(os.environ.get("LAMINA_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the data sets are not at {folder}; set LAMINA_DATA to where they lie")
    return folder
