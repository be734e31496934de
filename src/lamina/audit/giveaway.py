"""A column that gives the answer away: alone, it predicts the answer nearly perfectly.

The rule: a decision tree on that one column (at least 2 examples a leaf; at most 64 leaves or two for each class, 1,024 when
the answer is a number), cross-validated in three folds on at most 5,000 training rows, removes 98 % of the errors that the
majority class makes, or explains 99.8 % of the variance. Of numbers the same is asked of ranks, read off between the nearest
ones that were seen: the large values of a copied price lie nowhere near to one another. Honest predictors stay well below: a
petal's width tells 95 % of irises, a district's income explains half of the variance of its house prices. What passes the
rule was most likely written down after the answer, or computed from it. Identifiers are not looked at: they are no inputs.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from lamina.data.data import Data
from lamina.data.tables import columns_of
from lamina.findings import Finding

_CLASSES_REMOVED, _VARIANCE_EXPLAINED = 0.98, 0.998
_MOSTLY = 0.2  # share of the answers that one value may have, for their ranks to tell anything
_MOST_ROWS, _FEWEST_ROWS, _FOLDS = 5000, 50, 3


def find(data: Data) -> Iterator[Finding]:
    """Find columns of a table that predict the answer alone."""
    if not isinstance(data.raws, pl.DataFrame):
        return
    rows = np.flatnonzero(data.part == "train")
    if len(rows) > _MOST_ROWS:
        rows = np.random.default_rng(0).choice(rows, _MOST_ROWS, replace=False)
    answers = data.answers[rows]
    regression = answers.dtype.kind == "f"
    if len(rows) < _FEWEST_ROWS or len(np.unique(answers if regression else answers.astype(str))) < 2:
        return
    frame = data.raws[rows]
    folds = np.random.default_rng(0).permutation(len(rows)) % _FOLDS
    for name in (column.name for column in columns_of(data) if column.kind not in ("identifier", "constant")):
        skill, of = _skill(frame[name], answers, folds), "its variance"
        if regression and skill < _VARIANCE_EXPLAINED:
            skill, of = _following(frame[name], answers, folds), "the variance of its ranks"
        if skill >= (_VARIANCE_EXPLAINED if regression else _CLASSES_REMOVED):
            measure = f"explains {skill:.2%} of {of}" if regression else f"removes {skill:.1%} of the errors"
            yield Finding(
                "leak.column",
                "warning",
                f'The column "{name}" alone gives the answer away: it {measure}.',
                "If it is not known when a prediction is needed, remove it from the table.",
                where=(name,),
                evidence={"column": name, "skill": round(skill, 4), "rows": len(rows)},
            )


def _skill(column: pl.Series, answers: np.ndarray, folds: np.ndarray) -> float:
    """Share of the error of the constant guess that a tree on one column removes on rows that it has not seen."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    regression = answers.dtype.kind == "f"
    truth = answers if regression else np.unique(answers.astype(str), return_inverse=True)[1]
    wrong = guessed_wrong = 0.0
    for fold in range(_FOLDS):
        seen, judged = folds != fold, folds == fold
        inputs = _ordered(column, truth, seen)
        most = 1024 if regression else max(64, 2 * (int(truth.max()) + 1))
        leaves = {"max_leaf_nodes": most, "min_samples_leaf": 2, "random_state": 0}
        tree = DecisionTreeRegressor(**leaves) if regression else DecisionTreeClassifier(**leaves)
        said = tree.fit(inputs[seen], truth[seen]).predict(inputs[judged])
        if regression:
            wrong += float(((said - truth[judged]) ** 2).sum())
            guessed_wrong += float(((truth[seen].mean() - truth[judged]) ** 2).sum())
        else:
            wrong += float((said != truth[judged]).sum())
            guessed_wrong += float((np.bincount(truth[seen]).argmax() != truth[judged]).sum())
    return 1 - wrong / guessed_wrong if guessed_wrong else 0.0


def _following(column: pl.Series, answers: np.ndarray, folds: np.ndarray) -> float:
    """Share of the variance of the answers' ranks that a curve through the seen rows explains on the others; 0 for strings. An
    answer that most rows have is left out: whether it is that one, many an honest column tells."""
    from scipy.stats import rankdata

    places, counts = np.unique(answers, return_counts=True)
    if counts.max() > _MOSTLY * len(answers):
        others = answers != places[counts.argmax()]
        column, answers, folds = column.filter(pl.Series(others)), answers[others], folds[others]
    if column.dtype in (pl.String, pl.Boolean) or len(answers) < _FEWEST_ROWS:
        return 0.0
    ranks = rankdata(answers)
    values, missing = _ordered(column, ranks, folds >= 0).T
    values = rankdata(values)
    wrong = guessed_wrong = 0.0
    for fold in range(_FOLDS):
        seen, judged = (folds != fold) & (missing == 0), folds == fold
        if not seen.any():
            return 0.0
        places, index, counts = np.unique(values[seen], return_inverse=True, return_counts=True)
        curve = np.bincount(index, weights=ranks[seen]) / counts
        said = np.where(missing[judged] == 1, ranks[seen].mean(), np.interp(values[judged], places, curve))
        wrong += float(((said - ranks[judged]) ** 2).sum())
        guessed_wrong += float(((ranks[seen].mean() - ranks[judged]) ** 2).sum())
    return 1 - wrong / guessed_wrong if guessed_wrong else 0.0


def _ordered(column: pl.Series, truth: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(rows, 2) for a tree: the value, and whether it is missing; of a string, the mean answer of the seen rows with it.

    For several classes the mean of class numbers orders strings well enough: those of one class get one number.
    """
    missing = column.is_null().to_numpy()
    if column.dtype == pl.String:
        codes = np.unique(column.fill_null("\x00").to_numpy().astype(str), return_inverse=True)[1]
        sums = np.bincount(codes[seen], weights=truth[seen], minlength=int(codes.max()) + 1)
        counts = np.bincount(codes[seen], minlength=int(codes.max()) + 1)
        values = np.where(counts > 0, sums / np.maximum(counts, 1), truth[seen].mean())[codes]
    else:
        values = (
            column.cast(pl.Int64 if column.dtype == pl.Datetime("us") else pl.Float64)
            .cast(pl.Float64)
            .fill_null(0.0)
            .to_numpy()
        )
    return np.stack([values, missing.astype(float)], 1)
