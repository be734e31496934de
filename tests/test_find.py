import os
import subprocess
import sys
from pathlib import Path

import pytest

from lamina import find
from lamina.errors import OptionError
from lamina.tasks.tabular_classification import TabularClassification

SOURCE = """
from dataclasses import dataclass
from pathlib import Path
from lamina.tasks import tabular_classification
from lamina.tasks.task import Task

@dataclass(frozen=True)
class Mine(Task):
    default_network = "mlp"
    mark: str = {mark!r}
    label_smoothing: float = 0.0
    class_weights: bool = False

for _name in Task.__abstractmethods__:
    setattr(Mine, _name, vars(tabular_classification.TabularClassification)[_name])
Mine.__abstractmethods__ = frozenset()
"""


def write(file: Path, mark: str = "one") -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text(SOURCE.format(mark=mark))
    return str(file)


@pytest.mark.parametrize("name", find.names("tasks"))
def test_a_name_and_its_class_find_each_other(name: str) -> None:
    assert find.name_of(find.task(name)) == name
    assert find.task(name.replace("_", "-")) is find.task(name)


@pytest.mark.parametrize("name", find.names("networks"))
def test_a_network_has_what_a_family_needs(name: str) -> None:
    assert all(hasattr(find.network(name), part) for part in ("takes", "SIZES", "default_size", "plan", "build"))


def test_wrong_names_get_the_nearest() -> None:
    with pytest.raises(OptionError, match='Did you mean "tabular_regression"'):
        find.task("tabular_regresion")
    with pytest.raises(OptionError, match='Did you mean "cnn"'):
        find.network("cn")


def test_a_file_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    name = write(tmp_path / "mine.py")
    found = find.task(name)
    assert find.name_of(found) == name
    assert find.task(name) is found


def test_files_of_one_name_in_two_folders_are_two_tasks(tmp_path: Path) -> None:
    one, two = write(tmp_path / "a" / "mine.py", "one"), write(tmp_path / "b" / "mine.py", "two")
    assert (find.task(one)().mark, find.task(two)().mark) == ("one", "two")  # type: ignore[attr-defined]


def test_a_changed_file_is_another_task_with_other_code(tmp_path: Path) -> None:
    before = find.task(write(tmp_path / "mine.py", "one"))
    after = find.task(write(tmp_path / "mine.py", "two"))
    assert after().mark == "two"  # type: ignore[attr-defined]
    assert find.code_of(before) != find.code_of(after)
    assert find.code_of(TabularClassification) == find.code_of(TabularClassification)


DEFINED = """
import functools
import torch
from dataclasses import dataclass, field
from lamina.tasks.tabular_classification import TabularClassification

FACTOR = 2

@functools.cache
def halved(raw):
    return raw / 2

def doubled(raws):
    halved(1)
    return [FACTOR * raw for raw in raws if raw not in {"a", "b", "c"}]

class Base(TabularClassification):
    LEAST = 1

@dataclass(frozen=True)
class Own(Base):
    side: int = 4
    names: list = field(default_factory=list)

    @torch.no_grad()
    def encode(self, raws, facts):
        return {"x": sorted(doubled(raws), key=lambda raw: raw + 7), "y": object()}
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [("raw / 2", "raw / 3"), ("FACTOR = 2", "FACTOR = 3"),
     ("[FACTOR", "[1 + FACTOR"), ("LEAST = 1", "LEAST = 2"), ("raw + 7", "raw + 8"),
     ('"c"}', '"d"}'), ("side: int = 4", "side: int = 5")],
)  # fmt: skip
def test_a_class_defined_elsewhere_changes_with_all_that_it_uses_and_with_nothing_else(old: str, new: str) -> None:
    """In each process it is the same: sets have no order there, and nothing lies where it lay."""
    say = "\nfrom lamina import find\nprint(find.code_of(Own))"
    said = []
    for number, text in enumerate((DEFINED, DEFINED, DEFINED.replace(old, new))):
        process = [sys.executable, "-c", text + say]
        known = os.environ | {"PYTHONHASHSEED": str(number)}
        said.append(subprocess.run(process, capture_output=True, text=True, check=True, env=known).stdout)
    assert said[0] == said[1] != said[2]


@pytest.mark.parametrize(
    ("content", "pattern"),
    [("x = 1", "defines 0"), ("import nothing_of_the_kind", "importing it fails"), ("def (", "importing it fails")],
)
def test_a_file_without_a_task_is_refused(tmp_path: Path, content: str, pattern: str) -> None:
    (tmp_path / "mine.py").write_text(content)
    for _ in range(2):
        with pytest.raises(OptionError, match=pattern):
            find.task(str(tmp_path / "mine.py"))
    with pytest.raises(OptionError, match="no such file"):
        find.task(str(tmp_path / "other.py"))


def test_a_class_defined_elsewhere_is_found_while_it_is_there() -> None:
    class Local(TabularClassification):
        pass

    name = find.name_of(Local)
    assert find.task(name) is Local
    with pytest.raises(OptionError, match=r"mine\.py"):
        find.task("__main__:Gone")
