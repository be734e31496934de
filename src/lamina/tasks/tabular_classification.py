"""Tabular classification: say which one of several classes a row of a table belongs to.

On disk   a CSV, TSV, Parquet or JSON-lines file, or train and test files in one folder; the target is one column
Network   any table backbone (batch, members, width), then one linear layer per member; their probabilities are averaged
Answer    the name of the class, and the probability of each
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
from lamina.data.classes import class_answers, class_facts, class_targets
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.exhibits import Exhibit
from lamina.layers import losses
from lamina.layers.heads import TableHead
from lamina.layers.shapes import Table
from lamina.metrics import classification
from lamina.metrics.metric import Metric
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Task


@dataclass(frozen=True)
class TabularClassification(Task):
    """Say which one of several classes a row of a table belongs to."""

    default_network: ClassVar[str] = "mlp"

    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes (Szegedy et al. 2016)."""
    class_weights: bool = False
    """Whether rare classes count as much as frequent ones in the loss."""

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """A table whose target names classes."""
        found = rows.quantity(source)
        return None if found is None or found[0] else Claim(0.5, f"it is a table, and {found[1]}")

    def read(self, source: Source) -> Data:
        """Read the table; its columns get kinds."""
        return tables.tabular(source, regression=False)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Rows of tables, records or arrays."""
        return rows.gather(inputs, columns.kinds_of(facts))

    def facts(self, data: Data) -> Facts:
        """Classes, and how each column is encoded."""
        return class_facts(data.answers) | columns.column_facts(data)

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``numbers`` (rows, numbers) float32 and ``categories`` (rows, category columns) int64."""
        return columns.encoded(raws, facts)

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """``label``: (examples,) int64; and ``weight`` when rare classes count more."""
        return class_targets(answers, facts, self.class_weights)

    def takes(self, facts: Facts) -> Table:
        """As many numbers and category columns as the facts say."""
        return columns.shape(facts)

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """The backbone, and one linear layer per member."""
        return TableHead(backbone, len(facts["classes"]))

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """Cross-entropy, averaged over the members' own."""
        outputs = network(**batch.inputs)
        total, count, each = losses.cross_entropy(outputs, batch.targets, self.label_smoothing)
        yield Loss("network", total, count, each=each)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Accuracy first; then the rest of what a reviewer asks for."""
        return classification.classification(len(facts["classes"]))

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The likeliest class, its probability, and all probabilities."""
        return class_answers(outputs, facts["classes"])

    def tiny(self, path: Path) -> Source:
        """The 569 biopsies of scikit-learn's breast cancer table (Street et al. 1993)."""
        from sklearn.datasets import load_breast_cancer

        return columns.write_csv(load_breast_cancer(), path / "tumours.csv", "diagnosis")

    def settle(self, outputs: Tensor, targets: Tensors, facts: Facts) -> dict[str, Any]:
        """``temperature``: by which logits are divided, so that probabilities can be believed."""
        return {"temperature": classification.temperature(outputs, targets)}

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """The most frequent class, logistic regression, and gradient boosting."""
        return {
            "majority_class": baselines.majority,
            "logistic_regression": baselines.linear,
            "gradient_boosting": baselines.gradient_boosting,
        }

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """Confusion matrix, scores per class, and how far probabilities can be believed."""
        return classification.exhibits(outputs, targets, facts["classes"])
