"""Speech recognition: write down what is said in a recording.

On disk   a table of recordings and transcripts, an LJSpeech folder, or sound files beside text files
Network   log-mel features, any backbone that reads recordings, then the scores of characters in each frame (CTC)
Answer    the text, how sure it is, and when each word was said
"""

import base64
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from lamina import ctc
from lamina.batch import Batch, Loss, Tensors
from lamina.data import audio, pictures, recordings, spoken, subtitles, transcribing
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.feed import Alike, Feed
from lamina.data.ragged import Ragged, ragged
from lamina.data.recording_checks import Transcript
from lamina.data.store import Store, encode_each
from lamina.data.text_files import decoded
from lamina.data.tones import speak_tones
from lamina.data.transcribing import EDGE
from lamina.data.vocabulary import choose
from lamina.errors import DataError
from lamina.exhibits import Exhibit
from lamina.layers import sound_augmentation
from lamina.layers.log_mel import LogMel
from lamina.layers.recogniser import Recogniser
from lamina.layers.shapes import Recording
from lamina.metrics import speech
from lamina.metrics.metric import Metric
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Shown, Task

SURVEYED = 500  # recordings from whose headers the rate is chosen
LOW_RATE, RATE = 8000, 16000  # samples per second: of telephones, and what speech needs
BANDS = 64  # of the pictures that people look at
TEXT = 5_000_000  # characters of transcripts, and of a user's text, from which the n-gram model learns, at most
WEIGHTS = (0.25, 0.5, 0.75, 1.0)  # of what it says, from which the validation part chooses
BONUSES = (0.0, 0.75, 1.5)  # for each token, likewise
SETTLED = 30_000  # frames of the validation part that are searched for that, at most


@dataclass(frozen=True)
class SpeechRecognition(Task):
    """Write down what is said in a recording."""

    default_network: ClassVar[str] = "convolutional_rnn"
    forms: ClassVar[dict[str, str]] = {
        ".srt": "subtitles, of one recording",
        "": "a folder with subtitles and the text of each recording",
    }

    rate: int | None = None
    """Samples per second to which all recordings are resampled; 8,000 or 16,000 by those of the data otherwise."""
    bands: int = 40
    """Bands of the mel scale."""
    tokens: Literal["characters", "bytepairs"] = "characters"
    """What the network writes."""
    vocabulary: int | None = None
    """Most kinds of tokens; chosen by the amount of text otherwise."""
    spelling: Literal["plain", "exact"] = "plain"
    """Whether transcripts are learned in lower case without punctuation, as scores usually compare them, or as they are."""
    mask: float = 0.15
    """Share of the bands that SpecAugment hides at most, twice; of the frames half of that."""
    speed: float = 1.2
    """How much faster or slower training recordings are played at most; pitch goes along, as with a voice of another size."""
    noise: float | None = 10.0
    """Fewest decibels that noise, added to half of the training recordings, lies below them."""
    beam: int = 16
    """Transcripts that are kept in each frame while the best is searched for, with an n-gram model of the training transcripts;
    1 takes each frame's most probable token."""
    text: str | None = None
    """A text file whose lines the n-gram model learns, too."""

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """Recordings with transcripts."""
        reason = recordings.recognised(source)
        return None if reason is None else Claim(0.95, reason)

    def read(self, source: Source) -> Data:
        """Find the recordings and their transcripts."""
        return recordings.read(source)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Sound files, folders of them, tables with a column of paths, or ``-`` for standard input."""
        return recordings.gather(inputs)

    def facts(self, data: Data) -> Facts:
        """The rate, the vocabulary and the speakers."""
        raws = cast(np.ndarray, data.raws)
        chosen = np.unique(np.linspace(0, len(data) - 1, min(SURVEYED, len(data))).astype(int))
        rates = [audio.header(raws[index]).rate for index in chosen]
        rate = self.rate or (LOW_RATE if float(np.median(rates)) < RATE else RATE)
        texts = [self._plain(str(answer)) for answer in data.answers]
        if not any(texts):
            raise DataError("no transcript holds a letter.", str(data.where[0]), "Use --set spelling=exact.")
        vocabulary, why = choose(texts, self.tokens, self.vocabulary)
        others = sum(each != rate for each in rates)
        notes = [why]
        if others:
            notes.append(
                f"Recordings are resampled to {rate:,} samples per second; {others / len(rates):.0%} had others."
            )
        if self.spelling == "plain":
            notes.append("Transcripts are learned and scored in lower case without punctuation (--set spelling=exact).")
        lines = [line for line in map(self._plain, self._lines()) if line]
        return {
            "rate": rate,
            "vocabulary": vocabulary.to_json(),
            "bytes": vocabulary.bytes_of().tolist(),
            "speakers": sorted({answer.speaker for answer in data.answers if answer.speaker}),
            "texts": _some(lines, TEXT) + _some(texts, TEXT) if self.beam > 1 else [],
            "notes": notes,
        }

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``audio``: ragged int16 samples, with a little silence around."""
        edge = np.zeros(round(EDGE * facts["rate"]), np.int16)
        return {
            "audio": ragged(
                [np.concatenate([edge, audio.decode(raw, facts["rate"]), edge]) for raw in cast(np.ndarray, raws)]
            )
        }

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """``transcript``: ragged int32 token ids; ``speaker``: ragged uint8, the bytes of a name."""
        texts = [self._plain(str(answer)) for answer in answers]
        names = [answer.speaker.encode() if isinstance(answer, Transcript) else b"" for answer in answers]
        return {
            "transcript": ragged(transcribing.vocabulary_of(facts).encode(texts)),
            "speaker": ragged([np.frombuffer(name, np.uint8) for name in names]),
        }

    def takes(self, facts: Facts) -> Recording:
        """Features of this many bands."""
        return Recording(self.bands)

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """Samples → log-mel features → backbone → log-probabilities of tokens."""
        return Recogniser(backbone, facts["rate"], self.bands, len(facts["bytes"]), self.mask)

    def feed(self, store: Store, rows: Tensor, network: nn.Module) -> Feed:
        """Batches of recordings of similar lengths, with room to play them slower."""
        lengths = cast(Ragged, store.inputs["audio"]).lengths[rows].cpu()  # an accelerator may hold the store
        return Alike(rows, lengths, store.batch, "audio", self.speed - 1)

    def augment(self, batch: Batch, facts: Facts, generator: torch.Generator) -> Batch:
        """Play faster or slower, begin later, add noise; each recording in its own way."""
        sound, lengths = batch.inputs["audio"].float(), batch.inputs["audio_lengths"]
        if self.speed > 1:
            sound, lengths = sound_augmentation.speed(sound, lengths, generator, self.speed)
        sound, lengths = sound_augmentation.shift(sound, lengths, generator, round(EDGE * facts["rate"]))
        if self.noise is not None:
            sound = sound_augmentation.noise(sound, lengths, generator, self.noise)
        return Batch({"audio": sound, "audio_lengths": lengths}, batch.targets)

    def seen(self, batch: Batch, facts: Facts) -> np.ndarray:
        """The spectra, low tones below."""
        sound = LogMel(facts["rate"], BANDS)
        return _pictures(*sound(batch.inputs["audio"], batch.inputs["audio_lengths"]))

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """Connectionist temporal classification (Graves et al. 2006): over all ways to lay the transcript on the frames."""
        scores = network(**batch.inputs)
        transcript, lengths = batch.targets["transcript"].long(), batch.targets["transcript_lengths"]
        frames = (scores != 0).any(2).sum(1)
        if scores.device.type == "mps":  # PyTorch has no such loss on Apple's GPU
            scores, transcript, frames, lengths = (tensor.cpu() for tensor in (scores, transcript, frames, lengths))
        surprise = nn.functional.ctc_loss(
            scores.transpose(0, 1), transcript, frames, lengths, ctc.BLANK, reduction="none", zero_infinity=True
        )  # what was played too fast for its transcript teaches nothing
        yield Loss("network", surprise.sum(), lengths.sum().clamp(min=1))

    def outputs(self, network: nn.Module, inputs: Tensors) -> Tensor:
        """Rows of frames as ``ctc`` has them; long recordings are read in pieces."""
        return ctc.condensed(cast(Recogniser, network).read(**inputs))

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Word error rate first."""
        return speech.speech(transcribing.hearing(facts))

    def settle(self, outputs: Tensor, targets: Tensors, facts: Facts) -> dict[str, Any]:
        """``beam``, and ``weight`` and ``bonus`` of the n-gram model: the largest weight that is within a standard error of the
        fewest wrong words (Breiman et al. 1984), since voices that training never heard need the model more."""
        if self.beam == 1:
            return {}
        every = -(-int(ctc.frames_of(outputs).sum()) // SETTLED)
        some, truths = outputs[::every], {name: tensor[::every] for name, tensor in targets.items()}
        tried: list[dict[str, Any]] = [{"beam": 1}, {"beam": self.beam}]
        tried += [{"beam": self.beam, "weight": weight, "bonus": bonus} for weight in WEIGHTS for bonus in BONUSES]
        found = []
        for settled in tried:
            metrics = list(speech.speech(transcribing.hearing(facts | {"settled": settled})).values())[:2]
            words, letters = (metric.observe(some, truths) for metric in metrics)
            found.append((metrics[0].value(words), metrics[1].value(letters), speech.standard_error(words), settled))
        best = min(found, key=lambda one: one[:2])
        good = [one for one in found if one[0] <= best[0] + best[2]]
        most = max(one[3].get("weight", 0.0) for one in good)
        return min((one for one in good if one[3].get("weight", 0.0) == most), key=lambda one: one[:2])[3]

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The text; its confidence, the geometric mean of the probabilities of the frames; and the words, each with its own,
        and beginning and end in seconds."""
        return transcribing.answers(outputs, facts)

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """The most frequent transcript, and a linear choice among those of training."""
        return {
            "usual_transcript": spoken.usual_transcript,
            "linear_on_mean_spectra": spoken.linear_on_mean_spectra,
        }

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """What is taken for what, and the scores of each speaker."""
        return speech.exhibits(outputs, targets, transcribing.hearing(facts), facts["speakers"])

    def show(
        self, raws: Raws, facts: Facts, truths: np.ndarray | None = None, said: Sequence[Answer] | None = None
    ) -> list[Shown]:
        """The spectra as pictures, low tones below; with the alignment of what was said and what was heard."""
        arrays, good, _ = encode_each(raws, lambda some: self.encode(some, facts))
        readable = {} if arrays is None else dict(zip(good.tolist(), arrays["audio"], strict=True))
        shown: list[Shown] = []
        for index in range(len(raws)):
            one: Shown = {"text": str(raws[index])}
            if index in readable:
                one = {"picture": base64.b64encode(pictures.png(_picture(readable[index], facts["rate"]))).decode()}
            if truths is not None and said is not None:
                truth = self._plain(str(truths[index]))
                one["caption"] = speech.in_words(speech.aligned(truth.split(), said[index]["prediction"].split()))
            shown.append(one)
        return shown

    def write(self, answered: Iterator[tuple[Any, Answer]], out: Path) -> tuple[int, int]:
        """A file of subtitles, or a folder with one, and the text, for each recording."""
        return subtitles.one(answered, out) if out.suffix == ".srt" else subtitles.folder(answered, out)

    def tiny(self, path: Path) -> Source:
        """Words of one to four letters, each letter two tones: 400 recordings of about half a second, by six voices."""
        return Source(speak_tones(path / "tones", 400))

    def _lines(self) -> list[str]:
        """What the n-gram model learns beside the transcripts."""
        return decoded(Path(self.text)).splitlines() if self.text else []

    def _plain(self, text: str) -> str:
        """A transcript as it is learned."""
        if self.spelling == "exact":
            return " ".join(text.split())
        lower = unicodedata.normalize("NFC", text.replace("’", "'").lower())
        return " ".join(re.sub(r"[^\w\s']|_", _bare, lower).split())


def _bare(mark: re.Match[str]) -> str:
    """A space in the place of a punctuation mark; accents and vowel signs that stand behind their letter stay."""
    return mark[0] if unicodedata.category(mark[0])[0] == "M" else " "


def _some(texts: list[str], most: int) -> list[str]:
    """So many characters of them, from all over."""
    return texts[:: max(1, -(-sum(map(len, texts)) // most))]


def _picture(samples: np.ndarray, rate: int) -> np.ndarray:
    """(2 BANDS, frames, 1) uint8 of one recording."""
    sound = LogMel(rate, BANDS)
    picture: np.ndarray = _pictures(*sound(torch.from_numpy(samples)[None], torch.tensor([len(samples)])))[0]
    return picture


def _pictures(features: Tensor, frames: Tensor) -> np.ndarray:
    """(recordings, 2 BANDS, frames, 1) uint8: log-mel features, loud is bright, low tones are below, black behind the end."""
    there = torch.arange(features.shape[1]) < frames[:, None]
    grey = ((features.clamp(-2, 3) + 2) * 51 * there[..., None]).byte().numpy()[:, :, ::-1]
    return np.ascontiguousarray(np.repeat(grey.transpose(0, 2, 1), 2, 1)[..., None])
