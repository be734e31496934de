"""Model: a finished run, ready to answer: predict, evaluate, explain, report."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import nn

from lamina import find
from lamina.attribution import activations as passing
from lamina.attribution.explain import Subject, explained
from lamina.batch import Batch
from lamina.data.data import Data, Raws, Source
from lamina.data.ragged import joined
from lamina.data.store import Report, Store, alike, columns_of, encode_each, gathered
from lamina.errors import OptionError, RunError, unknown, unwritable
from lamina.evaluation import answered
from lamina.examples import encoded, open_data
from lamina.layers.shapes import Shape
from lamina.prove import prove
from lamina.recipe import Recipe
from lamina.run import Run
from lamina.sampling import Sampling
from lamina.tasks.task import Answer, Facts, Piece, Task

OUT = "out"  # the part of examples that are left out
AT_ONCE = 512  # examples that predict encodes together


class Model:
    """A finished run, ready to answer."""

    def __init__(self, run: Run, network: nn.Module | None = None) -> None:
        """Load the best weights. ``network`` is needed for a run whose network the caller made.

        Raises:
            RunError: the run has no weights yet, or they are damaged or of another network.
        """
        self.run = run
        self.recipe = Recipe.of(run)
        self.task = self.recipe.task
        self.facts: Facts = run.facts()
        self.network = build(self.recipe, self.facts, network)
        file = run.path / "best.safetensors"
        try:
            self.network.load_state_dict(safetensors.load(file.read_bytes()))
        except FileNotFoundError:
            raise RunError(
                "the run has no weights yet: it stopped before its first epoch ended.",
                str(run.path),
                f"Continue it: lamina train --resume {run.path}",
            ) from None
        except (SafetensorError, RuntimeError, ValueError, OSError) as error:
            raise RunError(
                f"the weights cannot be loaded ({error}).", str(file), "Train again with --recipe."
            ) from None
        self.recipe.execution.prepare(self.network).eval()
        adopt(self, self.facts)

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.run.path

    @property
    def scores(self) -> dict[str, Any]:
        """The scores on the test part: metric -> value, low, high, better."""
        return dict(self.run.read("evaluation/test.json")["scores"])

    @property
    def generates(self) -> bool:
        """Whether the run's task is to make something up."""
        return type(self.task).generate is not Task.generate

    def predict(self, *inputs: Any) -> list[Answer]:
        """One answer per example, in the order given.

        Args:
            inputs: files, folders, tables (paths, DataFrames, lists of dicts) or arrays, as the task takes them.

        Returns:
            Dicts with ``input`` and ``prediction`` and what else the task says (probabilities), or with ``input`` and
            ``error`` for an example that cannot be read: the rest still run.
        """
        return list(self.stream(inputs))

    def stream(self, inputs: Sequence[Any], report: Report | None = None) -> Iterator[Answer]:
        """The answers of ``predict``, as they come; memory stays flat however many there are."""
        yield from self._streamed(*self.task.gather(inputs, self.facts), report)

    def write(self, inputs: Sequence[Any], out: Path, report: Report | None = None) -> tuple[int, int]:
        """Write the answers of ``predict`` in one of the task's ``forms``; how many there were, and how many were errors."""
        if out.suffix not in self.task.forms:
            raise unwritable(out, self.task.forms)
        raws, where = self.task.gather(inputs, self.facts)
        return self.task.write(zip(raws, self._streamed(raws, where, report), strict=True), out)

    def evaluate(self, data: Any = None, target: str | None = None, report: Report | None = None) -> dict[str, Any]:
        """Scores with intervals on the run's own test part, or on other labelled data.

        Each reading of the test part is counted in the run. The result is also written into the run's ``evaluation/``. Of other
        data, those examples that took part in training are found, and the verdict says what the others score.

        Returns:
            ``examples``, ``scores`` (metric -> value, low, high, better), ``baselines``, ``verdict``, ``exhibits``.
        """
        if data is None:
            if self.recipe.source.where is None:
                what = "the run was trained on data in memory: its test part is not at hand."
                remedy = "What it scored there is in model.scores; to score other labelled data, pass them."
                raise RunError(what, str(self.path), remedy)
            examples, store = open_data(self.recipe, self.facts, report)
            return self.prove(examples, store, "test", self.run.count_test_read("evaluate"))
        source = data if isinstance(data, Source) else Source(data, target or self.recipe.source.target)
        source = replace(source, columns=self.facts.get("columns"))
        try:
            examples = self.task.read(source)
        except OptionError as error:  # trained on a column, asked about a text that has none
            if target is not None or isinstance(data, Source) or error.where != "--target":
                raise
            examples = self.task.read(Source(data))
        every = Data(
            examples.raws, examples.answers, examples.where, np.full(len(examples), "test"), examples.digests,
            examples.groups,
        )  # fmt: skip
        store = encoded(self.task, self.facts, every, report, source.name)
        return self.prove(every, store, f"on-{source.name}", 0)  # never the name of the run's own proof

    def generate(self, *prompts: str, wish: Sampling | None = None) -> list[Any]:
        """Make something up for each prompt, or for an empty one.

        Returns:
            Of each, what comes after it; or a picture of the class that it names, (height, width, 1 or 3) uint8.

        Raises:
            OptionError: the task makes up nothing, or cannot make that.
        """
        made: dict[int, Any] = dict.fromkeys(range(max(1, len(prompts))), "")
        for pieces in self.generation(prompts, wish or Sampling()):
            for index, piece in pieces.items():
                made[index] = made[index] + piece if isinstance(piece, str) else piece.pixels
        return list(made.values())

    def generation(self, prompts: Sequence[str], wish: Sampling) -> Iterator[dict[int, Piece]]:
        """What ``generate`` makes, piece by piece as it comes, by the number of the prompt."""
        return self.task.generate(self.network, self.facts, list(prompts) or [""], wish)

    def explain(self, *inputs: Any, activations: bool = False, data: Any = None) -> dict[str, Any]:
        """What in each of some inputs made its answer; without any, or with ``activations``, the network's layers.

        Args:
            inputs: as for ``predict``; the first eight examples are explained.
            activations: say of each layer what goes through it for these inputs, or for the run's validation part.
            data: the run's data, where they are needed and it was trained on data in memory: for rows of a table, and for
                activations without inputs.

        Returns:
            ``explanations``, each with the ``shares`` of its places; ``errors``, ``left_out`` and ``findings``. Of the layers
            ``rows``, with shapes, parameters and FLOPs, and the totals.

        Raises:
            OptionError: answers of this task are not made from an input, or no input can be explained.
            RunError: the run's data are needed, and are not at hand.
        """
        layers = dict(self.run.read("layers.json"))
        if activations:
            known, examples = passing.activations(subject(self, data), inputs)
            rows = [row | known.get(row["name"], {}) for row in layers["rows"]]
            found = [finding.to_json() for finding in passing.silent_layers(known, examples)]
            return layers | {"rows": rows, "examples": examples, "findings": found}
        return explained(subject(self, data), inputs).to_json() if inputs else layers

    def report(self) -> Path:
        """Write the report page anew; its path."""
        from lamina.report.report import write_report

        return write_report(self.run)

    def _repr_html_(self) -> str:
        """What a notebook shows: the run."""
        return self.run._repr_html_()

    def prove(self, data: Data, store: Store, name: str, reads: int) -> dict[str, Any]:
        """Scores of the examples of ``data`` whose part is "test"; the baselines are trained when there is a part to.

        Args:
            data: the examples.
            store: the same, encoded.
            name: of the result in the run's ``evaluation/``.
            reads: how often the run's test part has been read by now; 0 for other data.
        """
        recipe = self.recipe
        batch_size = recipe.plan.batch_size
        return prove(
            self.network, self.task, self.facts, data, store, self.run, recipe.execution, batch_size, name, reads
        )

    def _streamed(self, raws: Raws, where: np.ndarray, report: Report | None) -> Iterator[Answer]:
        for start in range(0, len(raws), AT_ONCE):
            yield from self._answers(raws[start : start + AT_ONCE], where[start : start + AT_ONCE])
            if report:
                report(min(start + AT_ONCE, len(raws)), len(raws))

    def _answers(self, raws: Raws, where: np.ndarray) -> Iterator[Answer]:
        arrays, good, bad = encode_each(raws, lambda some: self.task.encode(some, self.facts))
        answers: dict[int, Answer] = {}
        if arrays is not None:
            inputs = columns_of(arrays)
            for rows in alike(inputs, len(good)):
                outputs = [
                    said
                    for said, _ in answered(
                        self.network,
                        self.task,
                        lambda some: Batch(gathered(inputs, some), {}),
                        rows,
                        self.recipe.plan.batch_size,
                        self.recipe.execution,
                    )
                ]
                decoded = self.task.decode(joined(outputs), self.facts)
                answers.update(zip(good[rows.numpy()].tolist(), decoded, strict=True))
        for index in range(len(raws)):
            known = answers[index] if index in answers else {"error": bad[index]}
            yield {"input": str(where[index]), **known}


def load(run: Path | str, network: nn.Module | None = None) -> Model:
    """The model of a run's directory; ``network`` is needed when the caller made it (its code is not in the run)."""
    return Model(Run.open(run), network)


def adopt(model: Model, facts: Facts) -> None:
    """Let a model take on facts with what the validation part has settled, or without: its network's temperature, too."""
    model.facts = facts
    if hasattr(model.network, "temperature"):
        model.network.temperature = facts.get("settled", {}).get("temperature", 1.0)


def build(recipe: Recipe, facts: Facts, own: nn.Module | None = None) -> nn.Module:
    """The untrained network of a recipe: the backbone that its name says, with the task's head."""
    task = recipe.task
    torch.manual_seed(recipe.plan.seed)
    if recipe.network != "own":
        module, shape = family_of(recipe, facts)
        if recipe.size not in module.SIZES:
            raise unknown(f"size of {recipe.network}", recipe.size, module.SIZES)
        return task.network(module.build(shape, recipe.size, recipe.dropout), facts)
    if own is None:
        raise OptionError(
            "the run's network was made by the caller, so its code is not in the run.",
            "network",
            "Pass the same module: lamina.load(run, network=...).",
        )
    return task.network(own, facts) if hasattr(own, "width") else own


def untrained(model: Model, number: int) -> nn.Module:
    """A network of a model's kind that has learned nothing; what starts at zero is drawn, too, or all answers were alike."""
    recipe = model.recipe
    with torch.random.fork_rng(devices=[]):
        seed = recipe.plan.seed + 1 + number
        if recipe.network == "own":
            torch.manual_seed(seed)
            network = deepcopy(model.network)
            for module in network.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
        else:
            network = build(replace(recipe, plan=replace(recipe.plan, seed=seed)), model.facts)
        for parameter in network.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.05)
    return recipe.execution.prepare(network).eval()


def subject(model: Model, data: Any = None) -> Subject:
    """What an explanation needs of a model; ``data`` are its own, where it was trained on data in memory."""
    recipe = model.recipe if data is None else Recipe.of(model.run, data)

    def training_rows(count: int) -> pl.DataFrame:
        examples, _ = open_data(recipe, model.facts)
        train = np.flatnonzero(examples.part == "train")
        chosen = np.random.default_rng(0).choice(train, count, replace=len(train) < count)
        return cast(pl.DataFrame, examples.raws)[chosen]

    def validation(count: int) -> tuple[Batch, Batch]:
        examples, store = open_data(recipe, model.facts)
        rows = store.rows_of(examples, "valid")[:count]
        feed = recipe.task.feed(store, rows, model.network)
        return store.batch(rows), feed.batch(feed.batches(count, np.random.default_rng(0))[0])

    learns = tuple(weight.requires_grad for weight in model.network.parameters())
    network = deepcopy(model.network).requires_grad_(False).eval()  # not compiled, and with hooks of its own
    fresh = partial(untrained, model)
    return Subject(model.task, model.facts, network, learns, recipe.execution, fresh, training_rows, validation)


def family_of(recipe: Recipe, facts: Facts) -> tuple[ModuleType, Shape]:
    """The network's family, and the shape of its inputs. Raises OptionError when the family does not take that shape."""
    module, shape = find.network(recipe.network), recipe.task.takes(facts)
    if not isinstance(shape, module.takes):
        fit = [name for name in find.names("networks") if isinstance(shape, find.network(name).takes)]
        raise OptionError(
            f"it takes {module.takes.__name__.lower()} inputs, and {find.name_of(type(recipe.task))} gives "
            f"{type(shape).__name__.lower()} inputs.",
            f"--network {recipe.network}",
            f"Networks that fit: {', '.join(fit)}.",
        )
    return module, shape
