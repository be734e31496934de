"""Run directories made by code, as training leaves them: a whole one, and each way in which one can be incomplete."""

import atexit
import base64
import functools
import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lamina.findings import Finding
from lamina.records import Epoch, Step
from lamina.report.report import write_report
from lamina.run import Run

DIGITS = [str(digit) for digit in range(10)]
RECIPE = {
    "lamina": "0.1.0",
    "data": {
        "source": "/data/pictures/handwritten-digits",
        "target": None,
        "counts": {"train": 3830, "valid": 894, "test": 896},
        "fingerprint": "9f86d081884c7d65",
    },
    "task": {"name": "image_classification", "options": {"side": 32, "flip": False, "mixup": 0.2}},
    "network": {"name": "cnn", "size": "small", "dropout": 0.1},
    "plan": {
        "epochs": 20,
        "batch_size": 128,
        "lr": 0.002,
        "schedule": "one-cycle",
        "warmup": 0.2,
        "clip": 1.0,
        "seed": 0,
    },
    "execution": {
        "kind": "cpu",
        "precision": "float32",
        "layout": "channels-last",
        "threads": 2,
        "compiled": False,
    },
    "measured": {
        "table": [
            {
                "candidate": "float32, channels last, 2 threads",
                "examples_per_s": 3120.9,
                "error": 0.0,
                "chosen": True,
                "note": "",
            },
            {
                "candidate": "float32, channels first, 2 threads",
                "examples_per_s": 2310.4,
                "error": 2.1e-6,
                "chosen": False,
                "note": "",
            },
            {
                "candidate": "bfloat16, channels last, 2 threads",
                "examples_per_s": 3911.2,
                "error": 0.3132,
                "chosen": False,
                "note": "refused: it does not compute the same",
            },
            {
                "candidate": "bfloat16, channels last, 1 thread",
                "examples_per_s": None,
                "error": None,
                "chosen": False,
                "note": "out of memory",
            },
        ],
        "remembered": False,
        "gemm_flops": 2.5e11,
    },
}
OLD_EXECUTION = {
    "kind": "cpu",
    "precision": "float32",
    "channels_last": True,
    "threads": 2,
    "table": [
        {"candidate": "float32", "examples_per_s": 2310.4, "error": 0.0, "chosen": False},
        {"candidate": "float32, channels last", "examples_per_s": 3120.9, "error": 2.1e-6, "chosen": True},
        {"candidate": "bfloat16", "examples_per_s": 911.2, "error": 0.0132, "chosen": False},
        {"candidate": "bfloat16, channels last", "examples_per_s": None, "error": "out of memory", "chosen": False},
    ],
}
"""As the first Lamina wrote it."""
SPENT = {
    "data": 0.04,
    "forward": 0.8,
    "backward": 1.9,
    "optimizer": 0.16,
    "evaluation": 0.45,
    "checkpoints": 0.03,
    "other": 0.02,
}
"""Of an epoch; 3.4 s together."""
ENVIRONMENT = {
    "date": "2025-11-22T19:44:10+00:00",
    "command": "lamina train handwritten-digits",
    "lamina": "0.1.0",
    "python": "3.11.9",
    "torch": "2.14.1",
    "numpy": "2.4.0",
    "machine": "Linux x86_64, 2 cores, 7.8 GiB",
}


def digit_picture(seed: int, side: int = 28) -> np.ndarray:
    """(side, side) uint8: strokes that look like handwriting from afar."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    centre, radius = draw.uniform(0.42, 0.58, 2), draw.uniform(0.15, 0.3)
    ring = np.exp(-(((np.hypot(x - centre[0], (y - centre[1]) * 0.8) - radius) / 0.05) ** 2))
    stem = np.exp(-(((x - centre[0] - draw.uniform(-0.1, 0.2)) / 0.05) ** 2)) * (abs(y - 0.5) < 0.35)
    return (255 * np.clip(ring * (seed % 3 > 0) + stem * (seed % 2 > 0 or seed % 3 == 0), 0, 1)).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def sheet(rows: int = 4, columns: int = 12) -> bytes:
    """A contact sheet."""
    tiles = [[np.pad(digit_picture(12 * i + j), 2) for j in range(columns)] for i in range(rows)]
    return png(np.block(tiles).astype(np.uint8))


def score(value: float | None, half: float = 0.01, better: str | None = None) -> dict[str, Any]:
    known = value is not None and not math.isnan(value)
    interval = {"value": value, "low": value - half if known else None, "high": value + half if known else None}
    return interval | ({"better": better} if better else {})


def confusion(classes: int, seed: int = 0, each: int = 90) -> list[list[int]]:
    draw = np.random.default_rng(seed)
    counts = np.zeros((classes, classes), int)
    for truth in range(classes):
        said = np.where(draw.random(each) < 0.92, truth, draw.integers(0, classes, each))
        counts[truth] = np.bincount(said, minlength=classes)
    return counts.tolist()


def exhibits() -> list[dict[str, Any]]:
    draw = np.random.default_rng(1)
    pictures = [
        {
            "where": f"handwritten-digits/{k % 10}/{k:05}.png",
            "caption": f"{(k * 7) % 10}; the truth: {k % 10}",
            "shown": {"picture": base64.b64encode(png(digit_picture(k))).decode()},
        }
        for k in range(12)
    ]
    x = draw.normal(200_000, 60_000, 3000)
    return [
        {
            "kind": "matrix",
            "title": "Confusion matrix",
            "explanation": "How often each class was taken for which.",
            "rows": DIGITS,
            "columns": DIGITS,
            "values": confusion(10),
            "row_title": "truth",
            "column_title": "prediction",
        },
        {
            "kind": "gallery",
            "title": "Worst mistakes",
            "explanation": "The test examples on which the network was most wrong: look for wrong labels.",
            "items": pictures,
        },
        {
            "kind": "rows",
            "title": "Scores by class",
            "explanation": "Which classes are hard.",
            "columns": ["class", "examples", "recall", "precision"],
            "rows": [[digit, 90, round(float(draw.uniform(0.9, 1)), 4), None] for digit in DIGITS],
        },
        {
            "kind": "scatter",
            "title": "Predictions against the truth",
            "explanation": "On the line is right.",
            "x": x.tolist(),
            "y": (x + draw.normal(0, 24_000, 3000)).tolist(),
            "x_title": "truth, dollars",
            "y_title": "prediction, dollars",
            "diagonal": True,
        },
        {
            "kind": "gallery",
            "title": "Worst rows",
            "explanation": "Rows of a table.",
            "items": [
                {
                    "where": f"adult.csv:{k}",
                    "caption": ">50K; the truth: <=50K",
                    "shown": {
                        "row": {
                            "age": 37 + k,
                            "workclass": "Private",
                            "education": "Masters",
                            "hours-per-week": 60.0,
                            "capital-gain": None,
                        }
                    },
                }
                for k in (17, 1209, 30_555)
            ],
        },
        {
            "kind": "gallery",
            "title": "Worst texts",
            "explanation": "",
            "items": [
                {
                    "where": "reviews.csv:3",
                    "caption": "bad; the truth: good",
                    "shown": {"text": "I could not stop laughing."},
                }
            ],
        },
    ]


def evaluation(**changes: Any) -> dict[str, Any]:
    scores = {
        "accuracy": score(0.9746, 0.0104, "higher"),
        "macro-F1": score(0.9741, 0.0106, "higher"),
        "balanced accuracy": score(0.9738, 0.0107, "higher"),
        "AUROC": score(0.9993, 0.0004, "higher"),
        "log-loss": score(0.0871, 0.021, "lower"),
        "calibration error": score(0.0134, 0.006, "lower"),
    }
    trivial = {
        "accuracy": score(0.1016, 0.02),
        "macro-F1": score(0.0184, 0.003),
        "balanced accuracy": score(0.1, 0.0),
        "AUROC": score(0.5, 0.0),
        "log-loss": score(2.303, 0.001),
        "calibration error": score(0.002, 0.002),
    }
    linear = {
        "accuracy": score(0.9152, 0.018),
        "macro-F1": score(0.914, 0.019),
        "balanced accuracy": score(0.914, 0.019),
        "AUROC": score(0.9931, 0.002),
        "log-loss": score(0.297, 0.05),
        "calibration error": score(0.024, 0.01),
    }
    return {
        "part": "test",
        "examples": 896,
        "fingerprint": "5e884898da280471",
        "scores": scores,
        "baselines": {"majority class": trivial, "linear model on 8×8 pixels": linear},
        "verdict": "accuracy 0.9746 (95 % interval 0.9642 to 0.9850): better than the best baseline, linear model "
        "on 8×8 pixels, with 0.9152 (difference 0.0594, 95 % interval 0.0391 to 0.0781).",
        "seconds": 3.1,
        "exhibits": exhibits(),
        "reads": 1,
    } | changes


def findings() -> list[Finding]:
    return [
        Finding(
            "imbalance.class",
            "note",
            "the rarest class has 12 % fewer examples than the most frequent one.",
            "Nothing: this is mild.",
            evidence={"rarest": "8", "examples": 361, "most_frequent": "1", "most": 412},
        ),
        Finding(
            "leak.duplicate",
            "warning",
            "14 test pictures are also in the training part, byte for byte.",
            "Delete one of each pair, or let Lamina make the split, which keeps duplicates together.",
            tuple(f"handwritten-digits/test/3/{k:05}.png" for k in range(14)),
            14,
            {"share_of_test": 0.0156},
        ),
    ]


def train_records(run: Run, epochs: int, steps: int = 30, best: int | None = None) -> None:
    """The log of ``epochs`` epochs of ``steps`` steps each."""
    draw = np.random.default_rng(0)
    best = best or max(1, round(0.85 * epochs))
    step = 0
    for epoch in range(1, epochs + 1):
        for _ in range(steps // 5):
            step += 5
            t = step / (epochs * steps)
            lr = 0.002 * (0.04 + 0.96 * t / 0.2 if t < 0.2 else max((1 - t) / 0.8, 1e-4))
            loss = 2.2 * math.exp(-5 * t) + 0.08 + 0.06 * float(draw.random())
            norm = 0.4 + 2 * math.exp(-6 * t) * float(draw.uniform(0.5, 1.5))
            pace = 3000 + 200 * float(draw.random())
            run.log(Step(step, epoch, t, {"network": loss}, lr, norm, pace, 1, step * 0.11))
        s = epoch / epochs
        wobble = 0.006 * float(draw.normal())
        train = {"accuracy": 1 - 0.55 * math.exp(-7 * s), "macro-F1": 0.9, "log-loss": 0.02 + 1.9 * math.exp(-6 * s)}
        valid = {
            "accuracy": 0.976 - 0.5 * math.exp(-6.5 * s) + wobble * (1 - s),
            "macro-F1": 0.9,
            "log-loss": 0.09 + 1.8 * math.exp(-6 * s) + 0.03 * max(0, s - 0.7),
        }
        loss = {"network": 0.1 + 1.9 * math.exp(-5 * s)}
        pace = 3050 + 50 * float(draw.random())
        run.log(Epoch(epoch, step, s, loss, train, valid, 3.4, pace, SPENT, epoch <= best))


def layers(blocks: int = 6) -> dict[str, Any]:
    rows = []
    for block in range(blocks):
        channels = 32 * 2 ** (block // 2)
        side = 32 >> (block // 2)
        shape = [channels, side, side]
        rows.append(
            {
                "name": f"backbone.blocks.{block}.conv",
                "type": "Conv2d",
                "shape": shape,
                "parameters": 9 * channels * channels,
                "flops": 9 * channels * channels * side * side,
            }
        )
        rows.append(
            {
                "name": f"backbone.blocks.{block}.norm",
                "type": "BatchNorm2d",
                "shape": shape,
                "parameters": 2 * channels,
                "flops": 0,
            }
        )
        rows.append(
            {"name": f"backbone.blocks.{block}.act", "type": "GELU", "shape": shape, "parameters": 0, "flops": 0}
        )
    rows.append({"name": "head", "type": "Linear", "shape": [10], "parameters": 1290, "flops": 1280})
    total = {key: sum(row[key] for row in rows) for key in ("parameters", "flops")}
    return {"rows": rows, **total}


def whole(path: Path, epochs: int = 20) -> Run:
    """A run that ended, with everything."""
    run = Run.create(path, RECIPE)
    run.write("environment.json", ENVIRONMENT)
    counts = dict(zip(DIGITS, [371, 412, 384, 390, 377, 372, 383, 391, 361, 389], strict=True))
    run.write("facts.json", {"classes": DIGITS, "class_counts": counts, "side": 32})
    run.write("layers.json", layers())
    run.log(
        "12 folders were seen, of which 10 hold pictures: this is image classification, the folders are the classes."
    )
    run.log("There is no test part in the layout: 15 % of the examples were set aside, stratified by class, seed 0.")
    run.log("Pictures are 28×28, greyscale; they are enlarged to 32×32.")
    for finding in findings():
        run.log(finding)
    run.log({"kind": "prepared", "seconds": 12.0})
    train_records(run, epochs)
    run.log({"kind": "end", "epochs": epochs, "seconds": 68.0, "reason": "the budget is spent"})
    run.count_test_read("train")
    run.write("evaluation/test.json", evaluation())
    run.write("pictures/augmented.png", sheet())
    return run


def of_an_older_lamina(path: Path) -> Run:
    """What the first Lamina left: nothing of where the time went, and the measured ways within ``execution``."""
    recipe = {key: value for key, value in RECIPE.items() if key != "measured"} | {"execution": OLD_EXECUTION}
    run = Run.create(path, recipe)
    run.write("layers.json", layers())
    train_records(run, 3)
    log = run.path / "log.jsonl"
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record.pop("spent", None)
        record.pop("micro_batches", None)
    log.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    run.log({"kind": "end", "epochs": 3, "seconds": 10.2})
    run.write("evaluation/test.json", evaluation())
    return run


def stopped_at_once(path: Path) -> Run:
    """Stopped before anything but the recipe was written."""
    return Run.create(path, RECIPE)


def stopped_early(path: Path) -> Run:
    """Stopped in the first epoch."""
    run = Run.create(path, RECIPE)
    run.write("layers.json", layers())
    for step in (5, 10):
        run.log(Step(step, 1, step / 600, {"network": 2.3 - step / 50}, 1e-4, 2.1, 2900.0, 1, step * 0.1))
    return run


def many_classes(path: Path, classes: int = 100, epochs: int = 300) -> Run:
    """100 classes with long names, 300 epochs, a player more, no baseline, nothing found."""
    run = Run.create(path, RECIPE | {"network": {"name": "cnn", "size": "large", "dropout": None}})
    names = [f"species {k}: Helianthus × multiflorus ‘Loddon Gold’" for k in range(classes)]
    run.write("facts.json", {"classes": names, "class_counts": list(range(20, 20 + classes))})
    train_records(run, epochs, steps=10)
    run.log({"kind": "end", "epochs": epochs, "seconds": 7412.0})
    run.count_test_read("train")
    run.count_test_read("evaluate")
    run.count_test_read("evaluate")
    run.write("layers.json", layers(blocks=8))
    matrix = exhibits()[0] | {"rows": names, "columns": names, "values": confusion(classes, each=30)}
    shown = evaluation(baselines={}, verdict="", exhibits=[matrix])
    run.write("evaluation/test.json", shown)
    return run


def undefined(path: Path) -> Run:
    """One epoch; every value that can be missing is."""
    run = Run.create(path, RECIPE | {"data": {"source": None, "target": None}, "execution": {}, "measured": {}})
    nothing = {"accuracy": math.nan, "log-loss": math.inf}
    run.log(Step(1, 1, 0.5, {"network": math.nan}, 0.001, math.inf, math.nan, 1, 0.1))
    run.log(Epoch(1, 1, 1.0, {"network": math.nan}, nothing, nothing, 0.2, math.nan, {"forward": math.nan}, False))
    run.log({"kind": "end", "epochs": 1, "seconds": None})
    exhibit = exhibits()
    exhibit[0]["values"][0][0] = None
    exhibit[3] |= {"x": [None], "y": [math.nan]}
    exhibit[1]["items"][0]["shown"] = {"picture": "not base64!"}
    exhibit[1]["items"][1]["shown"] = {}
    absent = {"value": None, "low": None, "high": None}
    run.write(
        "evaluation/test.json",
        evaluation(
            scores={"accuracy": {**absent, "better": "higher"}, "log-loss": {**absent, "better": "lower"}},
            baselines={"majority class": {"accuracy": absent}, "linear": {}},
            exhibits=[*exhibit, {"kind": "hologram", "title": "From the future"}],
            verdict="",
            examples=None,
        ),
    )
    run.write("layers.json", {"rows": [{"name": "x", "type": "Y", "shape": [], "parameters": 0, "flops": None}]})
    return run


def regression(path: Path) -> Run:
    """A table, a first metric of which less is better, and a baseline that wins."""
    changes = {
        "data": RECIPE["data"] | {"source": "/data/houses.csv", "target": "price"},  # type: ignore[operator]
        "task": {"name": "tabular", "options": {}},
        "network": {"name": "mlp", "size": "medium", "dropout": None},
    }
    run = Run.create(path, RECIPE | changes)
    for epoch in range(1, 4):
        scores = {"RMSE": 90_000 / epoch, "R²": 1 - 1 / epoch}
        run.log(Epoch(epoch, epoch, epoch / 3, {"network": 1 / epoch}, scores, scores, 2.0, 5000.0, {}, True))
    run.log({"kind": "end", "epochs": 3, "seconds": 6.2})
    run.count_test_read("train")
    run.write(
        "evaluation/test.json",
        evaluation(
            examples=4128,
            scores={"RMSE": score(49_800.0, 900.0, "lower"), "R²": score(0.81, 0.01, "higher")},
            baselines={
                "mean": {"RMSE": score(115_000.0, 1500.0), "R²": score(0.0, 0.0)},
                "gradient boosting": {"RMSE": score(47_100.0, 850.0), "R²": score(0.83, 0.01)},
            },
            verdict="",
            exhibits=exhibits()[3:5],
        ),
    )
    return run


HOSTILE = "<script>alert('x')</script>\"'&$\\frac{1}{0}$--></svg></style><img src=x onerror=alert(1)>"


def hostile(path: Path) -> Run:
    """Every text that comes from outside tries to break out of the page."""
    run = whole(path, epochs=3)
    poisoned = json.loads(json.dumps(RECIPE))
    poisoned["data"] |= {"source": f"/data/{HOSTILE}", "target": HOSTILE}
    poisoned["task"]["name"] = poisoned["network"]["name"] = HOSTILE
    poisoned["execution"] |= {HOSTILE: HOSTILE, "precision": HOSTILE}
    row = dict.fromkeys(("candidate", "error", "examples_per_s", "note", "chosen"), HOSTILE)
    poisoned["measured"] |= {"table": [row, HOSTILE], "remembered": HOSTILE}
    run.write("recipe.json", {"format": 1, **poisoned})
    run.write("environment.json", {HOSTILE: HOSTILE})
    run.write("facts.json", {"class_counts": {HOSTILE: 3, "b": 5}})
    row = {"name": HOSTILE, "type": HOSTILE, "shape": [HOSTILE], "parameters": 1, "flops": 1}
    run.write("layers.json", {"rows": [row], "flops": 1})
    run.write("test_reads.json", [{"when": HOSTILE, "why": HOSTILE}])
    run.log(HOSTILE)
    run.log(Finding(HOSTILE, "stop", HOSTILE, HOSTILE, (HOSTILE,), 9, {HOSTILE: {HOSTILE: HOSTILE}}))
    run.log(
        Epoch(4, 1, 1, {HOSTILE: 1.0}, {HOSTILE: 0.5}, {HOSTILE: 0.4}, 1.0, 1.0, {HOSTILE: 1.0, "data": HOSTILE}, True)
    )
    run.log(Step(1, 4, 1.0, {HOSTILE: 1.0, "b": 0.1}, 0.1, 1.0, 1.0, 1, 1.0))
    run.log({"kind": "end", "epochs": 4, "seconds": 1, "reason": HOSTILE})
    card = {"where": HOSTILE, "caption": HOSTILE}
    run.write(
        "evaluation/test.json",
        evaluation(
            scores={HOSTILE: score(0.5, 0.1, "higher")},
            baselines={HOSTILE: {HOSTILE: score(0.4, 0.1)}},
            verdict=HOSTILE,
            exhibits=[
                {
                    "kind": "matrix",
                    "title": HOSTILE,
                    "explanation": HOSTILE,
                    "rows": [HOSTILE, "b"],
                    "columns": [HOSTILE, "b"],
                    "values": [[1, 2], [3, 4]],
                    "row_title": HOSTILE,
                    "column_title": HOSTILE,
                },
                {
                    "kind": "scatter",
                    "title": HOSTILE,
                    "explanation": HOSTILE,
                    "x": [1, 2],
                    "y": [1, 2],
                    "x_title": HOSTILE,
                    "y_title": HOSTILE,
                    "diagonal": True,
                },
                {
                    "kind": "rows",
                    "title": HOSTILE,
                    "explanation": HOSTILE,
                    "columns": [HOSTILE],
                    "rows": [[HOSTILE], [{HOSTILE: 1}]],
                },
                {
                    "kind": "gallery",
                    "title": HOSTILE,
                    "explanation": HOSTILE,
                    "items": [
                        {**card, "shown": {"text": HOSTILE}},
                        {**card, "shown": {"row": {HOSTILE: HOSTILE}}},
                        {**card, "shown": {"picture": '"><script>alert(1)</script>'}},
                    ],
                },
                {"kind": HOSTILE, "title": HOSTILE},
            ],
        ),
    )
    return run


@functools.cache
def page(name: str) -> Path:
    """The report of one of the runs above, by the function's name; each is made once in a session."""
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    return write_report(globals()[name](Path(directory.name) / name))
