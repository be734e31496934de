import json
from pathlib import Path

import pytest

from lamina.data.data import Source
from lamina.errors import LaminaError, OptionError, RunError
from lamina.execution import Execution
from lamina.plan import Plan
from lamina.recipe import Recipe, changed, with_options
from lamina.run import Run
from lamina.tasks.image_classification import ImageClassification

RECIPE = Recipe(
    Source("/somewhere/flowers", "a", None, "when"), ImageClassification(side=32, mix="cutmix"), "cnn", "tiny", 0.3,
    Plan(budget=3.5, ema=0.9, seed=7), Execution("cpu", "bfloat16", 2), 0.1, 0.2, "f1ngerpr1nt", ("leak.duplicate",),
)  # fmt: skip


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    run = Run.create(tmp_path, RECIPE.to_json())
    assert Recipe.of(run) == RECIPE
    assert Recipe.of(run, "/elsewhere").source == Source("/elsewhere", "a", None, "when")


@pytest.mark.parametrize("part", ["data", "task", "network", "plan", "execution"])
def test_a_missing_part_is_an_error(tmp_path: Path, part: str) -> None:
    content = RECIPE.to_json()
    del content[part]
    with pytest.raises(RunError, match=f"damaged.*{part}"):
        Recipe.of(Run.create(tmp_path, content))


@pytest.mark.parametrize(("part", "field"), [("plan", "lrr"), ("execution", "thread"), ("task", "nonsense")])
def test_an_unknown_field_is_an_error(tmp_path: Path, part: str, field: str) -> None:
    content = json.loads(json.dumps(RECIPE.to_json()))
    (content["task"]["options"] if part == "task" else content[part])[field] = 1
    with pytest.raises(LaminaError, match=field):
        Recipe.of(Run.create(tmp_path, content))


def test_a_recipe_of_format_1_still_loads(tmp_path: Path) -> None:
    content = json.loads(json.dumps(RECIPE.to_json()))
    content["execution"] = {"kind": "cpu", "precision": "bfloat16", "threads": 2, "table": [{"candidate": "float32"}]}
    assert Recipe.of(Run.create(tmp_path, content)).execution == Execution(precision="bfloat16", threads=2)


def test_data_in_memory_have_no_path(tmp_path: Path) -> None:
    recipe = Recipe(Source([1, 2]), ImageClassification(), "cnn", "tiny", None, Plan(), Execution())
    assert Recipe.of(Run.create(tmp_path, recipe.to_json())).source.where is None


def test_options_and_fields_are_replaced_by_name() -> None:
    assert with_options(ImageClassification, {"side": 48}) == ImageClassification(side=48)
    with pytest.raises(OptionError, match='Did you mean "side"'):
        with_options(ImageClassification, {"sid": 48})
    assert changed(Plan(), {"lr": 0.5, "epochs": None}) == Plan(lr=0.5)
    with pytest.raises(OptionError, match='Did you mean "epochs"'):
        changed(Plan(), {"epoch": 3})
