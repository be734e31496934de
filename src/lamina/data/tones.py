"""Speech made of tones, for tests and demonstrations: each letter is a mixture of two tones, and words are spelled so."""

from pathlib import Path

import numpy as np

LETTERS = {"a": (700, 1200), "e": (450, 2100), "i": (300, 2600), "o": (500, 900), "n": (250, 1600), "t": (1800, 3200)}
WORDS = ("one", "ten", "no", "tea", "tie", "net")
RATE = 8000


def speak_tones(folder: Path, count: int, seed: int = 0) -> Path:
    """Write so many recordings of one or two words, and metadata.csv; six voices differ in pitch and pace.

    Returns:
        The folder.
    """
    import soundfile

    generator = np.random.default_rng(seed)
    (folder / "recordings").mkdir(parents=True, exist_ok=True)
    lines = ["file,transcript,speaker"]
    for number in range(count):
        voice = number % 6
        words = generator.choice(WORDS, generator.integers(1, 3))
        pieces = []
        for word in words:
            for letter in word:
                pieces.append(_tone(LETTERS[letter], 0.08 * (0.9 + 0.05 * voice), 1 + 0.02 * (voice - 3)))
            pieces.append(np.zeros(RATE // 10))
        sound = np.concatenate([np.zeros(RATE // 20), *pieces])
        sound += generator.normal(0, 0.01, len(sound))
        name = f"recordings/{number:03d}.wav"
        soundfile.write(folder / name, sound, RATE, subtype="PCM_16")
        lines.append(f"{name},{' '.join(words)},voice{voice}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _tone(pitches: tuple[int, int], seconds: float, size: float) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * size * time) for pitch in pitches)
    return np.asarray(0.2 * wave * np.hanning(len(time)) ** 0.3)
