"""Tabular regression: say how much, from a row of a table.

On disk   a CSV, TSV, Parquet or JSON-lines file, or train and test files in one folder; the target is one column
Network   any table backbone (batch, members, width), then one linear layer per member; their values are averaged
Answer    a number, in the target's own unit
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from lamina import baselines
from lamina.batch import Batch, Loss, Tensors
from lamina.data import columns, rows, tables
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.errors import DataError
from lamina.exhibits import Exhibit
from lamina.layers import losses
from lamina.layers.heads import TableHead
from lamina.layers.shapes import Table
from lamina.metrics import regression
from lamina.metrics.metric import Metric
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Task


@dataclass(frozen=True)
class TabularRegression(Task):
    """Say how much, from a row of a table."""

    default_network: ClassVar[str] = "mlp"

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """A table whose target is a quantity."""
        found = rows.quantity(source)
        return None if found is None or not found[0] else Claim(0.5, f"it is a table, and {found[1]}")

    def read(self, source: Source) -> Data:
        """Read the table; its columns get kinds."""
        return tables.tabular(source, regression=True)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Rows of tables, records or arrays."""
        return rows.gather(inputs, columns.kinds_of(facts))

    def facts(self, data: Data) -> Facts:
        """Mean, deviation and bounds of the target, and how each column is encoded."""
        values = data.answers.astype(np.float64)
        deviation = float(values.std())
        if deviation == 0:
            raise DataError(f"every training answer is {values[0]:g}.", "", "Choose another target column.")
        target = {"mean": float(values.mean()), "deviation": deviation}
        return {"target": target | {"low": float(values.min()), "high": float(values.max())}} | columns.column_facts(
            data
        )

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``numbers`` (rows, numbers) float32 and ``categories`` (rows, category columns) int64."""
        return columns.encoded(raws, facts)

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """``value``: (examples,) float32, of mean 0 and deviation 1 in the training part."""
        target = facts["target"]
        return {"value": ((answers.astype(np.float64) - target["mean"]) / target["deviation"]).astype(np.float32)}

    def takes(self, facts: Facts) -> Table:
        """As many numbers and category columns as the facts say."""
        return columns.shape(facts)

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """The backbone, and one linear layer per member; answers stay within what the training part has."""
        target = facts["target"]
        low, high = ((target[bound] - target["mean"]) / target["deviation"] for bound in ("low", "high"))
        return TableHead(backbone, 1, (low, high))

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """Squared error of the standardised target, averaged over the members' own."""
        yield Loss("network", *losses.squared_error(network(**batch.inputs), batch.targets))

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Root mean squared error first, in the target's own unit."""
        return regression.regression(facts["target"]["mean"], facts["target"]["deviation"])

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The value, in the target's own unit."""
        target = facts["target"]
        return [
            {"prediction": value * target["deviation"] + target["mean"]}
            for value in outputs.double().flatten().tolist()
        ]

    def tiny(self, path: Path) -> Source:
        """The 442 patients of scikit-learn's diabetes table (Efron et al. 2004)."""
        from sklearn.datasets import load_diabetes

        return columns.write_csv(load_diabetes(scaled=False), path / "diabetes.csv", "progression")

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """The mean, ridge regression, and gradient boosting."""
        return {
            "mean": baselines.mean_value,
            "ridge_regression": baselines.linear,
            "gradient_boosting": baselines.gradient_boosting,
        }

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """Predicted against true values."""
        target = facts["target"]
        return [regression.predicted_against_true(outputs, targets, target["mean"], target["deviation"])]
