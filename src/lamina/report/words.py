"""Numbers and terms as a person reads them: values in, short strings out; and what each technical term means."""

import math
from typing import Any

from lamina.writing import ABSENT as ABSENT
from lamina.writing import duration as duration
from lamina.writing import number as number

TERMS = {
    "test part": "examples kept aside: nothing was learned from them or chosen by them, so the score is honest.",
    "95 % confidence interval": "the range in which the score on all such examples probably lies; a smaller test part "
    "makes it wider.",
    "baseline": "a simpler method, fitted on the same training part and scored on the same test part; a network "
    "that does not beat it is not worth its cost.",
    "finding": "something that the checks before, during or after training noticed, with its evidence.",
    "training, validation and test part": "the first is learned from, the second chooses the best epoch, the third is "
    "only for the final score.",
    "backpropagation": "the rule by which the error of the answers is carried back through the layers, so that each weight "
    "knows in which direction to move.",
    "learning rate range test": "some steps at ever higher learning rates: where the loss begins to rise, steps are too long.",
    "epoch": "one pass over all training examples.",
    "overfitting": "the training score still improves while the validation score gets worse: examples are learned by "
    "heart.",
    "loss": "the number that training makes smaller; its gradient says how each weight must change.",
    "learning rate": "how far one step moves the weights.",
    "gradient norm": "the length of the gradient; sudden peaks are a sign of unstable training.",
    "augmentation": "random changes that leave the answer as it is, made anew in each epoch, so that the network does "
    "not learn the examples by heart.",
    "parameter": "one number that training adjusts.",
    "FLOPs": "additions and multiplications for one example.",
    "FLOP/s": "FLOPs per second. A step of training needs about three times a forward pass, since the backward pass costs "
    "two; they are divided by the seconds of forward pass, backward pass and optimizer.",
    "GEMM peak": "what this machine reached, in the same precision and with as many threads, when it did nothing but "
    "multiply two large matrices (GEMM), its quickest arithmetic; no training reaches all of it, since numbers must also "
    "be moved.",
    "precision": "how many bits each number has while the network computes.",
}

METRICS = {
    "accuracy": "share of examples whose answer is right.",
    "error": "share of examples whose answer is wrong.",
    "macro f1": "balance of missed and false answers (F1), averaged over the classes, so that rare ones count as much.",
    "balanced accuracy": "accuracy within each class, averaged over the classes.",
    "auroc": "chance that a positive example is ranked above a negative one; 0.5 is guessing.",
    "log loss": "how far the stated probabilities are from the truth; being sure and wrong costs most.",
    "calibration error": "mean gap between the stated confidence and how often the answer is right.",
    "brier": "mean squared gap between the stated probabilities and the truth.",
    "mse": "mean squared error, in squared units of the target; large errors weigh most.",
    "rmse": "root of the mean squared error, in units of the target.",
    "mae": "mean absolute error, in units of the target.",
    "perplexity": "among how many equally likely tokens the network chooses, on average: e to the nats per token.",
    "nats per token": "mean negative log-likelihood (cross-entropy) of a token; fewer are a better forecast.",
    "bits per byte": "what a byte of text would take, were it compressed by the network's forecasts; comparable whatever the "
    "tokens are.",
    "next token accuracy": "how often the token that the network finds likeliest is the one that follows.",
    "map50 95": "how well the detector ranks its boxes: the area under the curve of precision against recall, averaged over "
    "the classes and over how exactly a box must lie (intersection over union of 0.50 to 0.95), as COCO has it.",
    "map50": "the same, where a box counts as right from an intersection over union of 0.50 on.",
    "map75": "the same, where a box must lie more exactly: 0.75.",
    "box precision": "share of the boxes shown that are right, at the score from which they are shown.",
    "box recall": "share of the true boxes that are found, at that score.",
    "box f1": "balance of box precision and box recall: their harmonic mean.",
    "mistakes per image": "false alarms and missed objects, per image.",
    "word error rate": "words that are wrong, missing or too many, by the words that were said; it can be above 1.",
    "character error rate": "the same, of characters.",
    "frechet distance": "how far the made pictures are from the real ones, by mean and spread of what a judge sees in them; 0 "
    "where they are alike. Comparable for the same judge and about as many pictures only.",
    "kernel distance": "the same by another measure, which does not depend on how many pictures there are; about 0 where "
    "nothing can be told apart.",
    "distribution precision": "share of made pictures that lie among the real ones: are they good?",
    "distribution recall": "share of real pictures that lie among the made ones: are all kinds made?",
    "recognised": "share of made pictures that the judge takes for the class that was wanted.",
    "told apart": "how often the discriminator scores a real picture above a made one; 0.5 where it cannot tell.",
    "r2": "share of the target's variance that is explained; 0 is as good as always saying the mean.",
}
_OTHER_NAMES = {
    "f1": "macro f1",
    "roc auc": "auroc",
    "auc": "auroc",
    "logloss": "log loss",
    "cross entropy": "log loss",
    "ece": "calibration error",
    "expected calibration error": "calibration error",
    "mean squared error": "mse",
    "root mean squared error": "rmse",
    "mean absolute error": "mae",
    "r squared": "r2",
}
_WRITTEN = {
    "macro f1": "macro-F1",
    "auroc": "AUROC",
    "log loss": "log-loss",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "frechet distance": "Fréchet distance",
    "box f1": "box F1",
}
_LOWER = {"error", "log loss", "calibration error", "brier", "mse", "rmse", "mae", "loss"} | {
    "perplexity",
    "nats per token",
    "bits per byte",
    "mistakes per image",
    "word error rate",
    "character error rate",
    "frechet distance",
    "kernel distance",
    "told apart",
}


def metric_name(metric: str) -> str:
    """A metric's name as the field writes it: ``auroc`` is "AUROC", ``balanced_accuracy`` is "balanced accuracy"."""
    return _WRITTEN.get(metric.casefold().replace("_", " ").replace("-", " "), title(metric))


def meaning(metric: str) -> str:
    """What a metric measures, one phrase; empty for a metric that this page does not know."""
    return METRICS.get(_plain_name(metric), "")


def usually_lower(metric: str) -> bool:
    """Whether less of the metric is better, by its name; only for runs whose evaluation did not say so."""
    return _plain_name(metric) in _LOWER


def _plain_name(metric: str) -> str:
    name = metric.casefold().replace("²", "2").replace("-", " ").replace("_", " ").strip()
    return _OTHER_NAMES.get(name, name)


def title(name: str) -> str:
    """An identifier as words: ``image_classification`` is "image classification"."""
    return name.replace("_", " ")


def decimals_for(low: float | None, high: float | None) -> int:
    """Digits after the point that an interval justifies: two significant ones of its width, 4 unless it is tiny."""
    if low is None or high is None or not math.isfinite(high - low) or high <= low:
        return 4
    digits = 1 - math.floor(math.log10(high - low))
    return max(0, min(digits, 4 if high - low >= 1e-4 else 6))


def compact(value: Any) -> str:
    """A large count with a letter: 12.3 k, 4.56 M, 7.89 G; a missing one as a dash."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return number(value)
    if abs(value) < 1e4:
        return number(value)
    text = ""
    for size, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        scaled = float(f"{value / size:.3g}")
        text = f"{number(scaled)} {letter}"
        if abs(scaled) < 1000:
            break
    return text


def count(amount: int, noun: str, plural: str = "") -> str:
    """ "1 finding", "2 findings", "no findings"."""
    return f"{number(amount) if amount else 'no'} {noun if amount == 1 else plural or noun + 's'}"


def times(amount: int) -> str:
    """How often: "never", "once", "twice", "3 times"."""
    return {0: "never", 1: "once", 2: "twice"}.get(amount, f"{amount:,} times")
