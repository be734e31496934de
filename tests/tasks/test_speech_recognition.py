"""Speech recognition: words with times, from files of any length; what an n-gram model has to say."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from lamina import ctc
from lamina.batch import Batch
from lamina.data import audio, tones, transcribing
from lamina.data.data import Source
from lamina.data.recording_checks import Transcript
from lamina.data.vocabulary import choose
from lamina.errors import DataError
from lamina.layers.log_mel import LogMel
from lamina.layers.recogniser import CHUNK
from lamina.layers.sound_front import STRIDE
from lamina.metrics.speech import aligned
from lamina.tasks.speech_recognition import SpeechRecognition
from trained import Trained

TONES = pytest.mark.parametrize("trained", ["speech_recognition"], indirect=True)


def facts_of(texts: list[str], kind: str = "characters") -> dict[str, object]:
    vocabulary, _ = choose(texts, kind)  # type: ignore[arg-type]
    return {
        "rate": 8000,
        "vocabulary": vocabulary.to_json(),
        "bytes": vocabulary.bytes_of().tolist(),
        "texts": texts,
    }


def spoken(text: str, facts: dict[str, object]) -> torch.Tensor:
    return ctc.spoken([transcribing.vocabulary_of(facts).encode([text])[0].tolist()])


@pytest.mark.parametrize("kind", ["characters", "bytepairs"])
def test_words_have_times_in_order(kind: str) -> None:
    facts = facts_of(["one two", "two  one", "three"], kind)
    (answer,) = transcribing.answers(spoken("one two three", facts), facts)
    assert answer["prediction"] == "one two three"
    assert [word["word"] for word in answer["words"]] == ["one", "two", "three"]
    times = [time for word in answer["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert all(0.98 < word["confidence"] <= 1 for word in answer["words"])
    if (
        kind == "characters"
    ):  # each after a blank of one frame of 20 ms; and half a frame's worth of silence goes before
        assert answer["words"][1] == {"word": "two", "start": 0.13, "end": 0.23, "confidence": 0.99}


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
def test_times_are_those_of_the_samples_at_any_rate(rate: int) -> None:
    """Each frame follows the one before by a whole number of samples, which need not be a hundredth of a second."""
    text = "one two " * 300
    facts = facts_of([text]) | {"rate": rate}
    outputs = spoken(text.strip(), facts)
    (answer,) = transcribing.answers(outputs, facts)
    hop = LogMel(rate, 16).hop * STRIDE
    frames = int(ctc.frames_of(outputs)[0])
    assert answer["words"][-1]["end"] == pytest.approx(frames * hop / rate - transcribing.EDGE, abs=0.06)


def test_a_character_that_training_never_saw_is_no_letter() -> None:
    facts = facts_of(["one", "two"])
    (answer,) = transcribing.answers(spoken("o#ne", facts), facts)
    assert answer["prediction"] == "one"
    (nothing,) = transcribing.answers(spoken("", facts), facts)
    assert nothing["prediction"] == ""
    assert nothing["words"] == []


def test_the_first_byte_of_byte_pairs_is_a_letter_like_others() -> None:
    facts = facts_of(["!!", "one! two!"], "bytepairs")
    assert transcribing.answers(spoken("!one!", facts), facts)[0]["prediction"] == "!one!"


def doubtful(facts: dict[str, object], heard: str, perhaps: str, share: float) -> torch.Tensor:
    """Frames that say ``heard``; where ``perhaps`` has another letter, that one is nearly as probable."""
    outputs = spoken(heard, facts)
    index = transcribing.vocabulary_of(facts)
    one, other = (index.encode([text])[0].tolist() for text in (heard, perhaps))
    for place, (letter, second) in enumerate(zip(one, other, strict=True)):
        if letter != second:
            row = outputs[0, 2 * place + 1]
            row[1] = second
            row[ctc.CANDIDATES : ctc.CANDIDATES + 2] = torch.tensor([1 - share, share]).log()
    return outputs


def test_the_ngram_model_decides_between_what_sounds_alike_where_validation_found_it_useful() -> None:
    facts = facts_of(["seven one", "one seven", "eight seven", "seven"])
    outputs = doubtful(facts, "siven one", "seven one", 0.4)
    before = transcribing.answers(outputs, facts)[0]["prediction"]
    after = transcribing.answers(outputs, facts | {"settled": {"beam": 16, "weight": 1.0, "bonus": 0.5}})[0]
    assert before == "siven one"
    assert after["prediction"] == "seven one"


def test_validation_settles_how_much_the_ngram_model_has_to_say() -> None:
    task, facts = SpeechRecognition(), facts_of(["seven one", "one seven", "eight seven", "seven"])
    truth = task.target(np.array([Transcript("seven one")], dtype=object), facts)
    targets = {
        "transcript": torch.from_numpy(truth["transcript"][0])[None].long(),
        "transcript_lengths": torch.tensor([9]),
    }
    useful = task.settle(doubtful(facts, "siven one", "seven one", 0.4), targets, facts)
    assert useful["weight"] > 0
    harmless = task.settle(spoken("seven one", facts), targets, facts)
    assert harmless["weight"] == 1.0  # as much as does no harm
    odd = facts | {"texts": ["seven two", "eight two", "nine two"]}
    wrong = task.settle(doubtful(odd, "seven one", "seven two", 0.49), targets, odd)
    assert "weight" not in wrong  # the model would make "two" of what was "one"
    assert SpeechRecognition(beam=1).settle(spoken("seven one", facts), targets, facts) == {}


def test_a_text_of_the_users_teaches_the_ngram_model(tmp_path: Path) -> None:
    data = SpeechRecognition().read(SpeechRecognition().tiny(tmp_path))
    (tmp_path / "more.txt").write_text("Tea, and no!\n\nNet\n")
    plain = SpeechRecognition().facts(data)["texts"]
    more = SpeechRecognition(text=str(tmp_path / "more.txt")).facts(data)["texts"]
    assert more == ["tea and no", "net", *plain]
    assert SpeechRecognition(beam=1).facts(data)["texts"] == []
    with pytest.raises(DataError, match=r"gone\.txt"):
        SpeechRecognition(text=str(tmp_path / "gone.txt")).facts(data)


def test_transcripts_are_plain_unless_they_are_wanted_exact() -> None:
    assert SpeechRecognition()._plain(" It’s  GONE, isn't_it? ") == "it's gone isn't it"
    assert SpeechRecognition()._plain("हिन्दी, बोलें। Cafe\u0301!") == "हिन्दी बोलें café"
    assert SpeechRecognition(spelling="exact")._plain(" It’s  GONE ") == "It’s GONE"


def test_the_rate_is_that_of_the_recordings_and_others_are_said(tmp_path: Path) -> None:
    folder = tones.speak_tones(tmp_path, 20)
    data = SpeechRecognition().read(SpeechRecognition().tiny(tmp_path / "own"))
    assert SpeechRecognition().facts(data)["rate"] == 8000
    for file in (folder / "recordings").iterdir():
        soundfile.write(file, np.zeros(44_100) + 0.1, 44_100)
    facts = SpeechRecognition().facts(SpeechRecognition().read(Source(folder / "metadata.csv")))
    assert facts["rate"] == 16_000
    assert any("resampled to 16,000" in note and "100%" in note for note in facts["notes"])


def test_augmentation_keeps_recordings_whole_and_leaves_room_empty() -> None:
    task, facts = SpeechRecognition(), {"rate": 8000}
    sound = torch.randint(-5000, 5000, (6, 9000)).to(torch.int16)
    lengths = torch.tensor([7500, 7000, 6000, 3000, 1000, 7500])
    for row, length in zip(sound, lengths.tolist(), strict=True):
        row[length:] = 0
    batch = task.augment(Batch({"audio": sound, "audio_lengths": lengths}, {}), facts, torch.Generator().manual_seed(0))
    made = batch.inputs["audio_lengths"]
    assert batch.inputs["audio"].shape == sound.shape
    assert bool((made <= 9000).all())
    assert made.tolist() != lengths.tolist()
    for row, length in zip(batch.inputs["audio"], made.tolist(), strict=True):
        assert bool((row[length:] == 0).all())
        assert bool((row[length // 2 : length] != 0).any())


@TONES
def test_a_recording_of_any_length_is_written_down_with_the_time_of_each_word(trained: Trained, tmp_path: Path) -> None:
    raws, truths = trained.data.of("test").raws, [str(answer) for answer in trained.data.of("test").answers]
    clips = [audio.decode(raw, tones.RATE) for raw in raws]
    count = int((CHUNK * 1.5) / np.mean([len(clip) / tones.RATE for clip in clips])) + 1
    clips, truths = (clips * 9)[:count], (truths * 9)[:count]
    begins = np.cumsum([0, *map(len, clips)]) / tones.RATE
    soundfile.write(tmp_path / "long.wav", np.concatenate(clips), tones.RATE)
    assert begins[-1] > CHUNK
    (answer,) = trained.model.predict(tmp_path / "long.wav")
    words = [
        (word, begin, end)
        for text, begin, end in zip(truths, begins[:-1], begins[1:], strict=True)
        for word in text.split()
    ]
    heard = answer["words"]
    assert answer["prediction"] == " ".join(word["word"] for word in heard)
    letters = [
        "".join(text.split()) for text in (" ".join(truths), answer["prediction"])
    ]  # a pause was never heard there
    wrong = sum(a != b for a, b in aligned(*map(list, letters)))
    assert wrong <= 0.1 * len(letters[0])
    starts = [word["start"] for word in heard]
    assert starts == sorted(starts)
    inside = [
        any(begin <= word["start"] <= end and word["word"].startswith(name) for name, begin, end in words)
        for word in heard
    ]
    assert np.mean(inside) > 0.8


@TONES
def test_standard_input_and_samples_are_answered_like_files(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = trained.data.raws[0]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(Path(raw).read_bytes())))
    answers = trained.model.predict(raw, "-", audio.decode(raw, tones.RATE))
    assert answers[0]["prediction"] == answers[1]["prediction"] == answers[2]["prediction"]
    assert answers[1]["input"] == "standard input"


@TONES
def test_what_cannot_be_read_is_answered_by_an_error(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "no.wav").write_text("no sound")
    answers = trained.model.predict(tmp_path / "no.wav", trained.data.raws[0])
    assert "no recording" in answers[0]["error"]
    assert "prediction" in answers[1]


@TONES
def test_mistakes_are_shown_as_spectra_with_alignments(trained: Trained) -> None:
    task, facts = trained.model.task, trained.model.facts
    truths = trained.data.answers[:2]
    (shown, other) = task.show(
        trained.data.raws[:2], facts, truths, [{"prediction": "tea no"}, {"prediction": str(truths[1])}]
    )
    assert shown["picture"]
    assert "tea" in shown["caption"] or "→" in shown["caption"]
    assert other["caption"] == str(truths[1])


def test_what_the_network_is_given_is_a_picture() -> None:
    sound = torch.randint(-5000, 5000, (3, 8000), dtype=torch.int16)
    batch = Batch({"audio": sound, "audio_lengths": torch.tensor([8000, 4000, 200])}, {})
    pictures = SpeechRecognition().seen(batch, {"rate": 8000})
    assert pictures.dtype == np.uint8
    assert pictures.shape == (3, 128, 98, 1)
    assert pictures[0].std() > 20
    assert bool((pictures[1, :, 60:] == 0).all())
