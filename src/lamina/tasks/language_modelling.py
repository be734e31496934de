"""Language modelling: foresee the next token of a text from all before it, and so write texts.

On disk   a text file, a folder of texts, a column of a table, JSON lines
Network   any backbone that reads tokens, then the embedding again, which gives the logits of the next token
Answer    how well a text is foreseen; `lamina generate` continues a prompt
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from lamina import baselines
from lamina.batch import Batch, Loss, Tensors
from lamina.data import texts
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.documents import recognised
from lamina.data.feed import Feed
from lamina.data.ragged import Ragged, ragged
from lamina.data.store import Store
from lamina.data.stream import IGNORED, Stream, streamed
from lamina.data.texts import Passage
from lamina.data.vocabulary import END, UNKNOWN, Kind, Vocabulary, choose
from lamina.data.writing import Writing
from lamina.errors import OptionError
from lamina.exhibits import Exhibit
from lamina.layers.heads import STRETCH, LanguageModel
from lamina.layers.shapes import Tokens
from lamina.metrics import language
from lamina.metrics.metric import Metric
from lamina.sampling import Sampling, draw, generators
from lamina.tasks.task import Answer, Baseline, Claim, Facts, Judged, Piece, Shown, Task

RANKS = (10, 100, 1_000, 10_000)  # of tokens by frequency, at which a class of tokens ends
FREQUENT = 2  # the last class of tokens with which each training step compares: the 1,000 most frequent
LARGE = 4096  # tokens of a vocabulary beyond which a training step does not compare with all
NEGATIVES = 1000  # rare tokens with which it compares then
SAMPLE = {"characters": 240, "words": 60, "bytepairs": 80}  # tokens that the network writes after each epoch
TINY = 60_000  # characters


@dataclass(frozen=True)
class LanguageModelling(Task):
    """Foresee the next token of a text from all before it, and so write texts."""

    default_network: ClassVar[str] = "lstm"
    continues: ClassVar[bool] = True

    tokens: Kind | None = None
    """What the network reads and writes: characters, words or bytepairs; chosen by the texts otherwise."""
    vocabulary: int | None = None
    """Most kinds of tokens, of words or byte pairs; chosen by the amount of text otherwise."""
    window: int | None = None
    """Tokens of a training window; what suits the network otherwise."""
    negatives: int | None = None
    """Of how many rare tokens, drawn anew, a training step learns that they do not follow; 0 for all. 1,000 where the
    vocabulary has more than 4,096 tokens, otherwise all."""

    def __post_init__(self) -> None:
        rules = {
            "window": (self.window is None or self.window >= 1, "at least 1"),
            "negatives": (self.negatives is None or self.negatives >= 0, "0 or more"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise OptionError(f"{getattr(self, name)} was given; it must be {rule}.", f"--set {name}", "Change it.")

    @classmethod
    def claim(cls, source: Source) -> Claim | None:
        """A text, a folder of texts, or a table whose only column holds texts."""
        found = recognised(source)
        return None if found is None else Claim(*found)

    def read(self, source: Source) -> Data:
        """Find the texts, cut into passages."""
        return texts.read(source)

    def gather(self, inputs: Sequence[Any], facts: Facts) -> tuple[Raws, np.ndarray]:
        """Text files, folders of them, tables with the column that training had, or texts: ``{"text": ...}``."""
        return texts.gather(inputs, facts["column"])

    def facts(self, data: Data) -> Facts:
        """The vocabulary, and how often each token came."""
        passages = cast(Sequence[Passage], data.raws)
        words = [passage.text for passage in passages]
        vocabulary, why = choose(words, self.tokens, self.vocabulary)
        counts = np.zeros(len(vocabulary), dtype=np.int64)
        for start in range(0, len(words), 1000):
            for ids in vocabulary.encode(words[start : start + 1000]):
                counts += np.bincount(ids, minlength=len(counts))
        documents = sum(passage.first for passage in passages)
        if documents > 1:
            counts[END] += sum(passage.last for passage in passages)
        ends = [rank for rank in RANKS if rank < len(counts)] + [len(counts)]
        classes = np.searchsorted(ends, np.argsort(np.argsort(-counts, kind="stable"), kind="stable"), side="right")
        names = [f"the {ends[0]:,} most frequent", *(f"ranks {a + 1:,} to {b:,}" for a, b in pairwise(ends))]
        if vocabulary.kind != "bytepairs" and counts[UNKNOWN] == 0:  # what it costs is shown by itself
            classes[UNKNOWN] = len(names)
            names.append("unknown: none in training")
        return {
            "vocabulary": vocabulary.to_json(),
            "column": passages[0].column,
            "documents": documents,
            "tokens": int(counts.sum()),
            "classes": classes.tolist(),
            "class_names": names,
            "bytes": vocabulary.bytes_of().tolist(),
            "notes": [why, f"The training part has {counts.sum():,} tokens of {np.count_nonzero(counts):,} kinds."],
        }

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """``tokens`` of each passage, ragged int32, and of what stands ``before`` it: END where nothing does; and its ``bytes``
        where tokens do not tell them."""
        vocabulary = _vocabulary(facts)
        passages = cast(Sequence[Passage], raws)
        tokens = vocabulary.encode([passage.text for passage in passages])
        before = vocabulary.encode([passage.before for passage in passages])
        untold = {"bytes": vocabulary.bytes_in([one.text for one in passages], tokens)} if vocabulary.natural else {}
        end = np.array([END], dtype=np.int32)
        several = facts["documents"] > 1
        return {
            "tokens": ragged(
                [
                    np.r_[ids, end] if passage.last and several else ids
                    for passage, ids in zip(passages, tokens, strict=True)
                ]
            ),
            "before": ragged([ids if len(ids) else end for ids in before]),
            **untold,
        }

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """None: a text is its own answer."""
        return {}

    def takes(self, facts: Facts) -> Tokens:
        """Tokens of this vocabulary."""
        return Tokens(len(facts["bytes"]))

    def network(self, backbone: nn.Module, facts: Facts) -> nn.Module:
        """Tokens → backbone → logits by the embedding."""
        drawn = NEGATIVES if self.negatives is None and len(facts["bytes"]) > LARGE else self.negatives or 0
        frequent = [token for token, kind in enumerate(facts["classes"]) if kind <= FREQUENT]
        return LanguageModel(backbone, facts["classes"], facts["bytes"], frequent, drawn)

    def feed(self, store: Store, rows: Tensor, network: nn.Module) -> Feed:
        """The training passages as one stream, in windows; those of a recurrent network continue one another."""
        backbone = cast(Any, network.backbone)
        stream = streamed(cast(Ragged, store.inputs["tokens"]), rows)
        begins = None if int(stream[-1]) == END else END  # where a part of a document is learned, nothing else ends
        return Stream(stream, self.window or backbone.window, backbone.carries, begins)

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        """The negative log-likelihood of each following token (cross-entropy)."""
        nats, carried = network(**batch.inputs, **batch.targets, **batch.carried)
        left = {name: tensor.detach() for name, tensor in carried.items()}
        yield Loss("network", nats.sum(), (batch.targets["following"] != IGNORED).sum(), carried=left)

    def outputs(self, network: nn.Module, inputs: Tensors) -> Tensor:
        """(passages, classes of tokens, 4) sums over the tokens: nats, hits, tokens, bytes."""
        read = {name: tensor for name, tensor in inputs.items() if name != "bytes"}
        return language.with_bytes(cast(LanguageModel, network).score(**read), inputs.get("bytes"))

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Perplexity first."""
        return language.language()

    def decode(self, outputs: Tensor, facts: Facts) -> list[Answer]:
        """The perplexity of each text, and what else is measured."""
        metrics = language.language()
        values = {
            name: [metric.value(metric.observe(row[None], {})) for row in outputs] for name, metric in metrics.items()
        }
        tokens = outputs[..., language.TOKENS].sum(1).tolist()
        return [
            {
                "prediction": float(f"{values['perplexity'][index]:.4g}"),
                "tokens": int(tokens[index]),
                **{name: round(value[index], 4) for name, value in values.items()},
            }
            for index in range(len(outputs))
        ]

    def baselines(self, facts: Facts) -> dict[str, Baseline]:
        """How often tokens come, and an n-gram model."""
        words = facts["vocabulary"]["kind"] == "words"
        return {"unigram": baselines.unigram, "n-gram_model": baselines.kneser_ney(5 if words else 7)}

    def exhibits(self, outputs: Tensor, targets: Tensors, facts: Facts, judged: Judged) -> list[Exhibit]:
        """Scores by how frequent tokens are."""
        return language.by_frequency(outputs, facts["class_names"])

    def show(
        self, raws: Raws, facts: Facts, truths: np.ndarray | None = None, said: Sequence[Answer] | None = None
    ) -> list[Shown]:
        """The beginnings of the passages."""
        return texts.show(raws)

    def samples(self, network: nn.Module, facts: Facts) -> list[Shown]:
        """A text that the network writes by itself."""
        wish = Sampling(tokens=SAMPLE[facts["vocabulary"]["kind"]])
        return [
            {"text": "".join(cast(str, pieces[0]) for pieces in self.generate(network, facts, [""], wish)).strip("\n")}
        ]

    def generate(
        self, network: nn.Module, facts: Facts, prompts: Sequence[str], wish: Sampling
    ) -> Iterator[dict[int, Piece]]:
        """Continue each prompt, token by token, until its end is drawn or there are as many as were wished.

        The texts advance together: a token that a longer prompt has already is taken, not drawn.

        Raises:
            OptionError: a prompt holds half of a character, or something is wished for that only pictures have.
        """
        if wish.between:
            raise OptionError("texts have nothing between them.", "--between", "Leave it out.")
        vocabulary = _vocabulary(facts)
        for prompt in prompts:
            try:
                prompt.encode()
            except UnicodeEncodeError:
                what = "it holds half of a character (a lone surrogate)."
                raise OptionError(what, "--prompt", "Write it in UTF-8.") from None
        return _written(cast(LanguageModel, network), vocabulary, prompts, wish)

    def tiny(self, path: Path) -> Source:
        """The longest topics of the Python language reference, as the interpreter ships them for its ``help``."""
        from pydoc_data.topics import topics

        text = ""
        for topic in sorted(topics.values(), key=lambda topic: (-len(topic), topic)):
            middle = len(topic) // 2
            if topic[middle : middle + 100] not in text:  # many a topic is a part of another one
                text += topic
        path.mkdir(parents=True, exist_ok=True)
        (path / "python.txt").write_text(text[:TINY], encoding="utf-8")
        return Source(path / "python.txt")


def _written(
    network: LanguageModel, vocabulary: Vocabulary, prompts: Sequence[str], wish: Sampling
) -> Iterator[dict[int, Piece]]:
    """What can be read of each text after each token."""
    given = [[END, *ids.tolist()] for ids in vocabulary.encode([prompt or "\n" for prompt in prompts])]
    written = [Writing(vocabulary, ids[1:]) for ids in given]
    for added in _continued(network, given, wish):
        yield {
            index: "" if token is None else text.add(token)
            for index, (text, token) in enumerate(zip(written, added, strict=True))
        }


@torch.inference_mode()
def _continued(network: LanguageModel, given: list[list[int]], wish: Sampling) -> Iterator[list[int | None]]:
    """The token that is added to each text; None while its prompt is still read, and after its end.

    It calls the backbone as it is, not compiled: what is read has another shape each time.
    """
    device = network.bias.device
    own = generators(wish.seed, len(given))
    known = [list(ids) for ids in given]
    done = [False] * len(given)
    place = min(map(len, given))  # how many tokens of each text were read
    read = torch.tensor([ids[:place] for ids in given], device=device)
    carried = network.backbone.start(len(given))
    while True:
        for some in torch.split(read, STRETCH, 1):
            features, carried = network.backbone(some, **carried)
        ready = [index for index, ids in enumerate(given) if len(ids) <= place]  # what follows in the others is known
        said = _said([known[index] for index in ready], place, wish)
        drawn = draw(network.following(features[ready, -1]), said, wish, [own[index] for index in ready]).tolist()
        added: list[int | None] = [None] * len(given)
        for index, token in zip(ready, drawn, strict=True):
            done[index] = done[index] or token == END or place - len(given[index]) >= wish.tokens
            known[index].append(END if done[index] else token)
            added[index] = None if done[index] else token
        if all(done):
            return
        yield added
        read = torch.tensor([[ids[place]] for ids in known], device=device)
        place += 1


def _said(known: list[list[int]], place: int, wish: Sampling) -> Tensor:
    """(texts, tokens) of what may not be repeated lightly; not END, which begins each text, but did not come."""
    if wish.repetition == 1:
        return torch.full((len(known), 1), -1)
    return torch.tensor([[-1, *ids[1:place]] for ids in known])


def _vocabulary(facts: Facts) -> Vocabulary:
    return Vocabulary.of_json(facts["vocabulary"])
