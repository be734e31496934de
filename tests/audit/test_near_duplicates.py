"""Near-duplicates: copies that were saved anew are found, and what merely looks alike is not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from lamina.audit import near_duplicates
from lamina.audit.audit import audit
from lamina.audit.near_duplicates import copies, find
from lamina.data.data import Data
from lamina.data.images import digests_of_files, digests_of_rows
from lamina.data.thumbnails import thumbnails, zoomed


def patches(rows: int = 300) -> np.ndarray:
    """(rows, 32, 32, 3): places of scikit-learn's two photographs that do not overlap, those with most contrast first."""
    found = []
    for photograph in load_sample_images().images:
        for top in range(0, photograph.shape[0] - 32, 32):
            found += [photograph[top : top + 32, left : left + 32] for left in range(0, photograph.shape[1] - 32, 32)]
    contrast = [-patch.astype(float).mean(2).std() for patch in found]
    return np.stack(found)[np.argsort(contrast)[:rows][np.random.default_rng(0).permutation(rows)]]


def put(pixels: np.ndarray) -> Data:
    part = np.resize(["train", "train", "valid", "test"], len(pixels))
    where = np.array([f"{n}.png" for n in range(len(pixels))], dtype=object)
    return Data(pixels, np.array(["a"] * len(pixels), dtype=object), where, part, digests_of_rows(pixels))


def again(pixels: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def brighter(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels * 1.2, 0, 255).astype(np.uint8)


def cropped(pixels: np.ndarray) -> np.ndarray:
    size = pixels.shape[0]
    kept = Image.fromarray(pixels).resize(
        (size, size), Image.Resampling.BICUBIC, box=(0.8, 0.8, size - 0.8, size - 0.8)
    )
    return np.asarray(kept)


@pytest.mark.parametrize("change", [lambda p: again(p, 75), lambda p: again(p, 50), brighter, cropped])
def test_copies_across_parts_are_named(change: Callable[[np.ndarray], np.ndarray]) -> None:
    pixels = patches()
    tests, trained = np.arange(3, 43, 4), np.arange(0, 40, 4)
    pixels[tests] = [change(picture) for picture in pixels[trained]]
    leak = next(finding for finding in find(put(pixels)) if finding.evidence["part"] == "test")
    assert (leak.kind, leak.severity) == ("leak.near_duplicate", "warning")
    assert len(set(leak.evidence["indices"]) & set(tests.tolist())) >= 7  # of 10, small and of two scenes only
    assert "0.png ~ 3.png" in leak.where


def test_copies_within_a_part() -> None:
    pixels = patches()
    pixels[4] = again(pixels[0], 60)
    assert [(f.kind, f.severity, f.where) for f in find(put(pixels)) if "0.png ~ 4.png" in f.where]


@pytest.mark.parametrize("name", ["digits", "noise", "patches"])
def test_clean_pictures_have_none(name: str) -> None:
    pixels = {
        "digits": (load_digits().images * 15.9).astype(np.uint8),
        "noise": np.random.default_rng(0).integers(0, 255, (600, 4, 4), np.uint8),
        "patches": patches(),
    }[name]
    assert sum(finding.count for finding in find(put(pixels))) <= (1 if name == "patches" else 0)


def test_exact_copies_are_reported_elsewhere() -> None:
    pixels = patches(300)
    before = sum(finding.count for finding in find(put(pixels)))
    pixels[3] = pixels[7] = pixels[0]
    assert sum(finding.count for finding in find(put(pixels))) <= before


def test_many_pictures_are_compared_in_cells() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 255, (6000, 6, 6), np.uint8)
    pixels[3003] = np.clip(pixels[0] + generator.normal(0, 3, (6, 6)), 0, 255)
    assert [(f.kind, f.where) for f in find(put(pixels))] == [("leak.near_duplicate", ("0.png ~ 3003.png",))]


def test_files_are_decoded_and_unreadable_and_blank_ones_left_alone(tmp_path: Path) -> None:
    pixels = patches(120)
    pixels[10] = pixels[11] = 255
    paths = np.array([str(tmp_path / f"{n}.png") for n in range(120)], dtype=object)
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    Image.fromarray(pixels[0]).resize((64, 64)).save(paths[3])
    Path(paths[20]).write_bytes(b"no image")
    part = np.resize(["train", "train", "valid", "test"], 120)
    data = Data(paths, np.array(["a"] * 120, dtype=object), paths, part, digests_of_files(paths))
    assert [(f.kind, f.where) for f in find(data) if f.evidence["part"] == "test"] == [
        ("leak.near_duplicate", (f"{paths[0]} ~ {paths[3]}",))
    ]


def test_few_pictures_and_other_data_say_nothing() -> None:
    assert list(find(put(patches(40)))) == []


def test_cut_copies_are_found_among_pictures_that_are_all_alike() -> None:
    """Of digits a twentieth that is cut off moves a copy as far away as other digits lie."""
    small = (load_digits().images[:900] * 15.9).astype(np.uint8)
    pixels = np.stack([np.asarray(Image.fromarray(one).resize((28, 28), Image.Resampling.BICUBIC)) for one in small])
    tests, trained = np.arange(3, 83, 4), np.arange(0, 80, 4)
    assert [finding.kind for finding in find(put(pixels))] == []
    for size in (1.4, 0.7):
        box = (size, size, 28 - size, 28 - size)
        ill = pixels.copy()
        ill[tests] = [
            np.asarray(Image.fromarray(one).resize((28, 28), Image.Resampling.BICUBIC, box=box))
            for one in pixels[trained]
        ]
        named = {row for finding in find(put(ill)) for row in finding.evidence["indices"]}
        assert len(named & {*tests.tolist()}) >= 14  # of 20


def test_a_cut_thumbnail_is_that_of_a_cut_picture() -> None:
    pixels = patches(60)
    cut = np.stack(
        [
            np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BICUBIC, box=(1.6, 1.6, 30.4, 30.4)))
            for one in pixels
        ]
    )
    expected, found = thumbnails(put(cut)), zoomed(put(pixels), 0.1)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 0.25 * np.abs(thumbnails(put(pixels)) - expected).mean()
    assert np.abs(zoomed(put(pixels), 0.0) - thumbnails(put(pixels))).mean() < 2.0


def test_pairs_are_the_same_however_many_are_compared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    vectors[250:260] = vectors[:10] + 0.01
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.stack([np.arange(10), np.arange(250, 260)], 1)
    for together in (2048, 7):
        monkeypatch.setattr(near_duplicates, "_TOGETHER", together)
        np.testing.assert_array_equal(copies(vectors), expected)


def test_thumbnails_are_let_go_when_the_audit_ends() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    where = np.array([str(row) for row in range(60)], dtype=object)
    data = Data(pixels, where, where, np.resize(["train"], 60), digests_of_rows(pixels))
    first = thumbnails(data)
    assert thumbnails(data) is first
    audit(data)
    assert thumbnails(data) is not first
