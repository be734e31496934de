"""Planted faults: what the audit finds of illnesses that were put into clean data, and what it says of the clean data.

    make faults                                     scikit-learn's data sets
    make faults FASHION=folder-of-idx-files

Each illness is planted in several strengths, with several seeds; ``docs/faults.md`` gets a row for each.
"""

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from sklearn import datasets

from benchmarks import training_faults
from lamina.audit.audit import audit
from lamina.data.data import Data, Source
from lamina.data.idx import idx
from lamina.data.images import digests_of_rows
from lamina.data.kinds import columns
from lamina.data.split import complete
from lamina.data.tables import digests_of_table
from lamina.findings import Finding

ROOT = Path(__file__).parents[1]
SEEDS = 3
HONEST = {"data.few", "class.imbalance", "column.constant"}
"""What is true of the clean data, and no false alarm: they are small, and some pixels of digits are always black."""
HEAD = """# Planted faults

What the audit finds of illnesses that were planted in clean data, over {seeds} seeds each; `make faults` repeats it and
writes this page. *Found* is the share of the data sets in which the illness was reported. *Items* is the share of the
planted copies or wrong labels that were named, of those in the part that is looked at.

"""


@dataclass(frozen=True)
class Fault:
    name: str
    strength: str
    kinds: tuple[str, ...]
    plant: Callable[[Data, np.random.Generator], tuple[Data, np.ndarray]]
    """Data and a generator in; the ill data and the planted rows out (none where the illness has no rows)."""
    of: str
    """What it is planted in: pictures or tables."""


def again(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def brighter(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels * 1.2, 0, 255).astype(np.uint8)


def cropped(pixels: np.ndarray, share: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    box = (width * share / 2, height * share / 2, width * (1 - share / 2), height * (1 - share / 2))
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC, box=box))


def copies(change: Callable[[np.ndarray], np.ndarray]) -> Callable[..., tuple[Data, np.ndarray]]:
    """One in a hundred test pictures becomes a changed copy of a training picture."""

    def plant(data: Data, generator: np.random.Generator) -> tuple[Data, np.ndarray]:
        assert isinstance(data.raws, np.ndarray)
        tests, trained = np.flatnonzero(data.part == "test"), np.flatnonzero(data.part == "train")
        rows = generator.choice(tests, max(3, len(tests) // 100), replace=False)
        raws = data.raws.copy()
        raws[rows] = [change(picture) for picture in data.raws[generator.choice(trained, len(rows), replace=False)]]
        return replace(data, raws=raws, digests=digests_of_rows(raws)), rows

    return plant


def noise(share: float) -> Callable[..., tuple[Data, np.ndarray]]:
    def plant(data: Data, generator: np.random.Generator) -> tuple[Data, np.ndarray]:
        answers, kinds = data.answers.copy(), np.unique(data.answers.astype(str))
        rows = np.flatnonzero(generator.random(len(data)) < share)
        for row in rows:
            answers[row] = generator.choice(kinds[kinds != answers[row]])
        return replace(data, answers=answers), rows[data.part[rows] == "train"]

    return plant


def column(made: Callable[[Data, np.random.Generator], np.ndarray]) -> Callable[..., tuple[Data, np.ndarray]]:
    def plant(data: Data, generator: np.random.Generator) -> tuple[Data, np.ndarray]:
        assert isinstance(data.raws, pl.DataFrame)
        return replace(data, raws=data.raws.with_columns(planted=pl.Series(made(data, generator)))), np.zeros(0, int)

    return plant


def giveaway(data: Data, generator: np.random.Generator) -> np.ndarray:
    return np.unique(data.answers.astype(str), return_inverse=True)[1] * 10.0


def identifier(data: Data, generator: np.random.Generator) -> np.ndarray:
    return generator.permutation(len(data)).astype(float)


def astride(data: Data, generator: np.random.Generator) -> tuple[Data, np.ndarray]:
    return replace(data, groups=generator.integers(0, len(data) // 5, len(data)).astype(str)), np.zeros(0, int)


def shifted(deviations: float) -> Callable[..., tuple[Data, np.ndarray]]:
    """Every number of the test part is larger by a share of its column's standard deviation; pictures move by a pixel."""

    def plant(data: Data, generator: np.random.Generator) -> tuple[Data, np.ndarray]:
        tests = data.part == "test"
        if isinstance(data.raws, pl.DataFrame):
            moved = [one + deviations * float(np.std(one.to_numpy())) * pl.Series(tests * 1.0) for one in data.raws]
            return replace(data, raws=pl.DataFrame(moved)), np.zeros(0, int)
        raws = data.raws.copy()
        raws[tests] = np.roll(raws[tests], 1, axis=2)
        return replace(data, raws=raws), np.zeros(0, int)

    return plant


NEAR = ("leak.near_duplicate", "leak.duplicate")
FAULTS = (
    Fault("test pictures copied", "1 %, exact", ("leak.duplicate",), copies(lambda p: p), "pictures"),
    Fault("test pictures copied", "1 %, JPEG at 90", NEAR, copies(lambda p: again(p, 90)), "pictures"),
    Fault("test pictures copied", "1 %, JPEG at 50", NEAR, copies(lambda p: again(p, 50)), "pictures"),
    Fault("test pictures copied", "1 %, brighter by 20 %", NEAR, copies(brighter), "pictures"),
    Fault("test pictures copied", "1 %, cropped by 5 %", NEAR, copies(lambda p: cropped(p, 0.05)), "pictures"),
    Fault("test pictures copied", "1 %, cropped by 10 %", NEAR, copies(lambda p: cropped(p, 0.1)), "pictures"),
    Fault("wrong labels", "5 %", ("label.suspect",), noise(0.05), "any"),
    Fault("wrong labels", "10 %", ("label.suspect",), noise(0.1), "any"),
    Fault("a column gives the answer away", "", ("leak.column",), column(giveaway), "tables"),
    Fault("an identifier", "", ("column.identifier",), column(identifier), "tables"),
    Fault("groups on both sides", "", ("leak.group",), astride, "tables"),
    Fault("shifted test part", "0.5 deviations, or a pixel", ("data.shift",), shifted(0.5), "any"),
    Fault("shifted test part", "1 deviation, or a pixel", ("data.shift",), shifted(1.0), "any"),
)


def clean(fashion: Path | None) -> Iterator[tuple[str, Data]]:
    """The data sets, not yet split."""
    for name in ("iris", "wine", "breast_cancer", "digits"):
        bunch = getattr(datasets, f"load_{name}")()
        answers = np.array([f"class {kind}" for kind in bunch.target], dtype=object)
        where, part = np.arange(len(answers)).astype(str).astype(object), np.full(len(answers), "", "<U5")
        if name == "digits":
            pixels = (bunch.images * 15.9).astype(np.uint8)
            yield name, Data(pixels, answers, where, part, digests_of_rows(pixels))
            continue
        frame = pl.DataFrame(bunch.data, [f"c{n}" for n in range(bunch.data.shape[1])])
        yield name, Data(frame, answers, where, part, digests_of_table(frame, columns(frame)))
    if fashion is not None:
        whole = idx(Source(fashion))
        chosen = whole.take(np.random.default_rng(0).permutation(len(whole))[:10_000])
        yield "Fashion-MNIST (10,000)", replace(chosen, part=np.full(10_000, "", "<U5"))


def run(fashion: Path | None) -> str:
    """The page."""
    found = ["| Illness | Strength | Planted in | Found | Items |", "|---|---|---|---|---|"]
    alarms = ["| Clean data | Examples | Seconds | Warnings a run | Notes a run | Kinds |", "|---|---|---|---|---|---|"]
    for name, unsplit in clean(fashion):
        parted = [complete(unsplit, seed, 0.15, 0.25) for seed in range(SEEDS)]
        began = time.monotonic()
        sound = [[f for f in audit(data) if f.kind not in HONEST] for data in parted]
        seconds = (time.monotonic() - began) / SEEDS
        said = [f for findings in sound for f in findings]
        warnings, kinds = sum(f.severity != "note" for f in said), sorted({f"`{f.kind}`" for f in said})
        alarms.append(
            f"| {name} | {len(unsplit):,} | {seconds:.1f} | {warnings / SEEDS:.1f} | {(len(said) - warnings) / SEEDS:.1f} "
            f"| {', '.join(kinds)} |"
        )
        kind = "tables" if isinstance(unsplit.raws, pl.DataFrame) else "pictures"
        for fault in FAULTS:
            if fault.of in ("any", kind):
                each = [_once(fault, data, seed) for seed, data in enumerate(parted)]
                shares = [share for _, share in each if share is not None]
                items = f"{np.mean(shares):.0%}" if shares else ""
                hit = np.mean([seen for seen, _ in each])
                found.append(f"| {fault.name} | {fault.strength} | {name} | {hit:.0%} | {items} |")
                print(
                    json.dumps({"fault": fault.name, "strength": fault.strength, "data": name, "found": hit}),
                    flush=True,
                )
    return HEAD.format(seeds=SEEDS) + "\n".join(found) + "\n\n" + "\n".join(alarms) + "\n"


def _once(fault: Fault, data: Data, seed: int) -> tuple[bool, float | None]:
    """Whether an illness was reported, and the share of its rows that was named (None where no rows are named)."""
    ill, rows = fault.plant(data, np.random.default_rng(seed))
    reported: list[Finding] = [f for f in audit(ill) if f.kind in fault.kinds]
    named = {row for finding in reported for row in finding.evidence.get("indices", [])}
    if not len(rows) or (reported and not named):
        return bool(reported), None
    share = float(np.isin(rows, list(named)).mean()) if named else 0.0
    return bool(reported) if fault.name == "wrong labels" else share > 0, share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, help="a folder of IDX files")
    page = run(parser.parse_args().fashion) + training_faults.page()
    (ROOT / "docs" / "faults.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
