"""Run the benchmarks, write their rounds to ``benchmarks/results/NAME.json``, and rebuild the page from those files.

    make bench                                               all that fit in half an hour
    make bench ONLY=resnet DATA=flowers128 ROUNDS=3 IMAGES=512
    make bench ONLY=fashion FASHION=folder-of-idx-files

Entrants take turns: each round runs every one of them once, so that a machine that is busy for a while slows all alike.
Everything runs on the CPU.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.contests import CONTESTS, ON_IMAGES, RACES, Contest, Settings, command

ROOT = Path(__file__).parents[1]
LONGEST = 7200.0  # seconds after which an entrant is ended
SURROUNDINGS = {
    "CUDA_VISIBLE_DEVICES": "",  # all on the CPU
    "PYTHONWARNINGS": "ignore",
    "KERAS_BACKEND": "tensorflow",  # where an entrant does not name another
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_ENABLE_ONEDNN_OPTS": "1",  # TensorFlow turns it on by itself on newer processors only, and is half as quick without
}
SKILLS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # of a processor, which decide what is quick


def main() -> None:
    """Prepare data, run the rounds, write results and page."""
    asked = arguments()
    whole = asked.images // asked.batch * asked.batch  # some peers leave out a last batch that is smaller
    settings = Settings(
        whole, asked.epochs, asked.batch, asked.side, asked.limit, asked.fashion, asked.cifar10
    )  # fmt: skip
    chosen = [contest for contest in CONTESTS if not asked.only or contest.name in asked.only.split(",")]
    if unknown := set(asked.only.split(",")) - {"", *(contest.name for contest in CONTESTS)}:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(c.name for c in CONTESTS)}.")
    deadline = time.monotonic() + (60 * asked.minutes if not asked.only else float("inf"))
    with tempfile.TemporaryDirectory() as place:
        for contest in chosen:
            race = RACES.get(contest.name)
            if race and getattr(settings, race.data) is None:
                print(f"{contest.name}: left out, since {race.data.upper()}=FOLDER does not say where the images lie.")
            elif time.monotonic() > deadline:
                print(
                    f"{contest.name}: left out, since {asked.minutes:g} minutes are over; ONLY={contest.name} runs it."
                )
            else:
                data = prepare(contest.name, asked, settings, Path(place))
                for rounds in play(contest, asked.rounds, settings, Path(place)):
                    write(contest, rounds, settings, data, asked.results)
                shutil.rmtree(Path(place) / contest.name, ignore_errors=True)
    page.write(asked.results, asked.docs)
    print(f"The page is {asked.docs / 'benchmarks.md'}.")


def arguments() -> argparse.Namespace:
    """What the user chose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of benchmarks, with commas between them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=256, help="training images of the ResNet benchmarks")
    parser.add_argument("--epochs", type=int, default=3, help="of the ResNet benchmarks; the first one warms up")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=128, help="of the square that the ResNet sees, in pixels")
    parser.add_argument("--limit", type=float, default=900, help="seconds of training to reach an accuracy")
    parser.add_argument("--minutes", type=float, default=30, help="after which no further benchmark is begun")
    parser.add_argument("--data", type=Path, help="folder with train/CLASS/*.jpg and test/CLASS/*.jpg; made otherwise")
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's IDX files")
    parser.add_argument("--cifar10", type=Path, help="folder of CIFAR-10's images in class folders")
    parser.add_argument("--adult", type=Path, help="folder of adult_train.csv and adult_test.csv; made otherwise")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    return parser.parse_args()


def prepare(name: str, asked: argparse.Namespace, settings: Settings, place: Path) -> str:
    """Put the data of a benchmark where its entrants expect them; in words, what they are."""
    from benchmarks import pictures, tables  # only here: the page needs neither NumPy nor Pillow

    if name in ("resnet", "layers") and asked.data:
        pictures.take(asked.data, place / name, settings.images)
        return f"{settings.images} images of {asked.data.resolve().name}"
    if name in ON_IMAGES:
        width, height = (1024, 768) if name == "photographs" else (settings.side, settings.side)
        pictures.make(place / name, settings.images, width, height)
        return f"{settings.images} made images of {width} x {height}"
    if name == "tables" and asked.adult:
        shutil.copytree(asked.adult, place / "table")
        return "adult"
    if name == "tables":
        tables.make(place / "table")
        return "a made table of 20,000 rows"
    if name.startswith("cifar10"):
        return "CIFAR-10" + (", copies as JPEG files" if next(asked.cifar10.glob("**/*.jpg"), None) else "")
    return "Fashion-MNIST" if name == "fashion" else ""


def play(contest: Contest, count: int, settings: Settings, place: Path) -> Iterator[list[dict[str, Any]]]:
    """The rounds so far, after each: what every entrant printed, or why it failed; the order turns from round to round."""
    rounds = []
    for number in range(count):
        said: dict[str, Any] = {}
        turn = number % len(contest.entrants)
        for entrant in (*contest.entrants[turn:], *contest.entrants[:turn]):
            print(f"{contest.name}  round {number + 1} of {count}  {entrant} ... ", end="", flush=True)
            began = time.monotonic()
            said[entrant] = result(command(contest.name, entrant, number, settings, place), place)
            figures = [f"{m.name} {said[entrant].get(m.name)}" for m in contest.measures]
            print(said[entrant].get("error") or ", ".join(figures), f"({time.monotonic() - began:.0f} s)", flush=True)
        rounds.append({name: said[name] for name in contest.entrants})
        yield rounds


def result(process: list[str], place: Path) -> dict[str, Any]:
    """The last line that a process prints, as JSON; or an ``error``, the last line of what it complained."""
    known = SURROUNDINGS | {"LAMINA_CACHE": str(place / "cache")}
    load = os.getloadavg()[0]
    try:
        done = subprocess.run(
            process, cwd=ROOT, env=os.environ | known, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"ended after {LONGEST:.0f} seconds"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said | {"load_before": round(load, 2)}


def write(contest: Contest, rounds: list[dict[str, Any]], settings: Settings, data: str, results: Path) -> None:
    """The file of a benchmark: its rounds, and all that a reader must know to judge them."""
    versions: dict[str, str] = {}
    for entrant in (entrant for one in rounds for entrant in one.values()):
        versions |= entrant.get("versions", {})
    told = [
        {name: {fact: value for fact, value in entrant.items() if fact != "versions"} for name, entrant in one.items()}
        for one in rounds
    ]
    content = {
        "benchmark": contest.name,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(),
        "versions": dict(sorted(versions.items())) | {"python": platform.python_version()},
        "commit": commit(),
        "data": data,
        "settings": {name: getattr(settings, name) for name in ("images", "epochs", "batch", "side", "limit")},
        "rounds": told,
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{contest.name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def commit() -> str:
    """Which commit was measured; "-dirty" where files differ from it, other than what the benchmarks write themselves."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs/benchmarks.*")
    return git("describe", "--always") + ("-dirty" if changed else "")


def machine() -> dict[str, Any]:
    """Processor, cores that may be used, what its arithmetic can do, memory, system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"processor": platform.machine(), "cores": cores, "system": platform.system()}
    with_proc = Path("/proc/cpuinfo")
    if with_proc.exists():
        lines = dict(line.split(":", 1) for line in with_proc.read_text().splitlines() if ":" in line)
        lines = {name.strip(): value.strip() for name, value in lines.items()}
        found["processor"] = lines.get("model name", found["processor"])
        found["skills"] = [skill for skill in SKILLS if skill in lines.get("flags", "").split()]
        found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
    return found


if __name__ == "__main__":
    main()
