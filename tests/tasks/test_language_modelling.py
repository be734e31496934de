"""Language modelling: every token is foreseen once, from what stands before it; what is written is what the network says."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from lamina import find
from lamina.data.data import Data, Source
from lamina.data.split import complete
from lamina.data.store import columns_of, gathered
from lamina.data.stream import IGNORED
from lamina.data.texts import Passage
from lamina.data.vocabulary import END
from lamina.descent import descend
from lamina.errors import OptionError
from lamina.examples import encoded, learned
from lamina.layers.heads import STRETCH, LanguageModel
from lamina.metrics.language import BYTES, HITS, NATS, TOKENS
from lamina.plan import Plan
from lamina.sampling import Sampling
from lamina.state import State
from lamina.tasks.image_classification import ImageClassification
from lamina.tasks.language_modelling import LanguageModelling
from lamina.tasks.task import Facts

NETWORKS = ["lstm", "rnn", "transformer"]
each_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModelling, Data, Facts]:
    task = LanguageModelling()
    data = complete(task.read(task.tiny(tmp_path_factory.mktemp("tiny"))), 0)
    return task, data, task.facts(data.of("train"))


def network_of(name: str, task: LanguageModelling, facts: Facts) -> LanguageModel:
    torch.manual_seed(0)
    network = task.network(find.network(name).build(task.takes(facts), "tiny", 0.3), facts).eval()
    with torch.no_grad():  # so that what is said depends on what was read: blocks begin as if they were not there
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    assert isinstance(network, LanguageModel)
    return network


def scored(network: LanguageModel, task: LanguageModelling, facts: Facts, passages: list[Passage]) -> torch.Tensor:
    columns = columns_of(task.encode(np.array(passages, dtype=object), facts))
    with torch.inference_mode():
        return task.outputs(network, gathered(columns, torch.arange(len(passages))))


@each_network
def test_a_passage_is_scored_as_reading_it_whole_would(name: str, read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, data, facts = read
    network = network_of(name, task, facts)
    text = "".join(passage.text for passage in data.raws)[: 3 * STRETCH]
    passages = [Passage(text[:100], "", True, False), Passage(text[100:700], text[:100], False, False)]
    found = scored(network, task, facts, passages)
    every = torch.from_numpy(task.encode(np.array([Passage(text[:700], "", True, False)]), facts)["tokens"][0]).long()
    for sums, (tokens, known) in zip(
        found.sum(1), ((torch.cat([torch.tensor([END]), every[:100]]), 1), (every, 100)), strict=True
    ):
        with torch.inference_mode():
            logits, _ = network(tokens[None, :-1], **network.backbone.start(1))
        said, truth = logits[0, known - 1 :], tokens[known:]
        assert float(sums[NATS]) == pytest.approx(
            float(functional.cross_entropy(said, truth, reduction="sum")), rel=1e-4
        )
        assert float(sums[HITS]) == float((said.argmax(1) == truth).sum())
        assert float(sums[TOKENS]) == len(truth)
        assert float(sums[BYTES]) == len(text[100 * (known == 100) : 100 + 600 * (known == 100)].encode())


def test_every_token_of_the_test_part_counts_once(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, data, facts = read
    passages = data.of("test").raws.tolist()
    found = scored(network_of("lstm", task, facts), task, facts, passages).sum((0, 1))
    assert float(found[TOKENS]) == sum(len(passage.text) for passage in passages)


@pytest.mark.parametrize("options", [{"window": -3}, {"window": 0}, {"negatives": -5}])
def test_options_outside_of_their_range_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(OptionError, match=f"--set {name}: {options[name]} was given"):
        LanguageModelling(**options)  # type: ignore[arg-type]


def test_an_end_follows_each_of_several_documents_and_no_single_one(
    read: tuple[LanguageModelling, Data, Facts],
) -> None:
    task, _, facts = read
    passages = np.array([Passage("one", "", True, True), Passage("two", "one", False, True)], dtype=object)
    assert [ids[-1] == END for ids in task.encode(passages, facts | {"documents": 2})["tokens"]] == [True, True]
    assert [ids[-1] == END for ids in task.encode(passages, facts | {"documents": 1})["tokens"]] == [False, False]
    assert task.encode(passages, facts)["before"][0].tolist() == [END]


def test_the_mark_between_documents_counts_as_often_as_it_comes() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    task = LanguageModelling(tokens="characters")
    data = task.read(Source([f"{letters[number % 26]}{letters[(number + 1) % 26]} " for number in range(60)]))
    facts = task.facts(data)
    assert facts["class_names"][facts["classes"][END]] == "the 10 most frequent"
    assert facts["tokens"] == sum(len(ids) for ids in task.encode(data.raws, facts)["tokens"])


def test_words_of_natural_text_count_its_own_bytes() -> None:
    """For the network and for what it is compared with."""
    task = LanguageModelling(tokens="words")
    text = 'He said: "(So they say.)" and/or: "no"!\n' * 30
    data = complete(task.read(Source([text])), 0)
    facts = task.facts(data.of("train"))
    passages = data.of("test").raws.tolist()
    sizes = [len(passage.text) for passage in passages]
    found = scored(network_of("lstm", task, facts), task, facts, passages)
    assert found[..., BYTES].sum(1).tolist() == sizes
    columns = columns_of(task.encode(np.array(passages, dtype=object), facts))
    arrays = {name: one.numpy() for name, one in gathered(columns, torch.arange(len(passages))).items()}
    for baseline in task.baselines(facts).values():
        assert baseline(arrays, {}, arrays, facts)[..., BYTES].sum(1).tolist() == sizes


def test_the_test_part_is_what_comes_last(read: tuple[LanguageModelling, Data, Facts]) -> None:
    _, data, _ = read
    assert data.part.tolist() == sorted(data.part.tolist(), key=["train", "valid", "test"].index)


def written(
    task: LanguageModelling, network: LanguageModel, facts: Facts, prompts: list[str], wish: Sampling
) -> list[str]:
    texts = [""] * len(prompts)
    for pieces in task.generate(network, facts, prompts, wish):
        texts = [text + str(pieces[index]) for index, text in enumerate(texts)]
    return texts


@each_network
def test_what_is_written_with_a_cache_is_what_reading_all_anew_gives(
    name: str, read: tuple[LanguageModelling, Data, Facts]
) -> None:
    task, _, facts = read
    network = network_of(name, task, facts)
    ids = task.encode(np.array([Passage("The value", "", True, False)], dtype=object), facts)["tokens"][0].tolist()
    known = [END, *ids]
    with torch.inference_mode():
        for _ in range(160):  # beyond the transformer's window
            logits, _ = network(torch.tensor([known]), **network.backbone.start(1))
            known.append(int(logits[0, -1].argmax()))
    from lamina.data.vocabulary import Vocabulary

    expected = Vocabulary.of_json(facts["vocabulary"]).decode([token for token in known[1:] if token != END])
    if END in known[1:]:
        pytest.skip("this network ends the text")
    got = written(task, network, facts, ["The value"], Sampling(tokens=160, temperature=0.0))[0]
    assert "The value" + got == expected


@each_network
def test_texts_are_continued_alike_alone_and_together(name: str, read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network, wish = network_of(name, task, facts), Sampling(tokens=30, temperature=0.0)
    prompts = ["The", "The value of an expression", ""]
    assert written(task, network, facts, prompts, wish) == [
        written(task, network, facts, [each], wish)[0] for each in prompts
    ]


def test_the_same_seed_writes_the_same_text_of_the_wished_length(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network = network_of("lstm", task, facts)
    one, two, other = (written(task, network, facts, ["The "], Sampling(tokens=50, seed=seed))[0] for seed in (1, 1, 2))
    assert one == two != other
    assert 0 < len(one) <= 50


def test_a_text_does_not_depend_on_how_many_are_drawn_together(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network, wish = network_of("lstm", task, facts), Sampling(tokens=40, seed=5)
    three = written(task, network, facts, ["The "] * 3, wish)
    assert written(task, network, facts, ["The "], wish) == three[:1]
    assert len(set(three)) == 3
    longer = "The value of an expression "
    assert written(task, network, facts, [longer, "A"], wish)[0] == written(task, network, facts, [longer], wish)[0]


@each_network
def test_a_long_prompt_is_read_in_pieces_and_its_last_token_alone_is_asked(
    name: str, read: tuple[LanguageModelling, Data, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data, facts = read
    network, wish = network_of(name, task, facts), Sampling(tokens=5, temperature=0.0)
    prompt = "".join(passage.text for passage in data.raws)[: 2 * STRETCH + 50]
    lengths, asked = [], []
    forward, following = network.backbone.forward, network.following

    def seen(tokens: torch.Tensor, **carried: torch.Tensor) -> object:
        lengths.append(tokens.shape[1])
        return forward(tokens, **carried)

    def heard(features: torch.Tensor) -> torch.Tensor:
        asked.append(features.shape[:-1].numel())
        return following(features)

    monkeypatch.setattr(network.backbone, "forward", seen)
    monkeypatch.setattr(network, "following", heard)
    text = written(task, network, facts, [prompt], wish)[0]
    assert max(lengths) == STRETCH
    assert set(asked) == {1}
    monkeypatch.setattr("lamina.tasks.language_modelling.STRETCH", 10_000)
    assert written(task, network, facts, [prompt], wish)[0] == text


def test_a_prompt_that_is_no_text_is_refused(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    with pytest.raises(OptionError, match="surrogate"):
        task.generate(network_of("lstm", task, facts), facts, ["a\udcff"], Sampling())  # before anything is printed


def test_a_compiled_network_writes_without_compiling(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network = network_of("lstm", task, facts)

    def compiled(*given: object, **named: object) -> None:
        raise AssertionError("it would be compiled for each length")

    network._compiled_call_impl = compiled
    assert written(task, network, facts, ["The "], Sampling(tokens=3))


def test_the_mark_before_a_text_is_learned_and_nothing_is_counted_twice(
    read: tuple[LanguageModelling, Data, Facts],
) -> None:
    task, data, facts = read
    store = encoded(task, facts, data)
    network = network_of("lstm", task, facts)
    feed = task.feed(store, store.rows_of(data, "train"), network)
    seen = torch.zeros(len(facts["bytes"]), dtype=torch.int64)
    begun = 0
    for picked in feed.batches(4, np.random.default_rng(0)):
        batch = feed.batch(picked)
        tokens, following = batch.inputs["tokens"], batch.targets["following"]
        begun += int(((tokens == END) & (following != IGNORED)).sum())
        seen += torch.bincount(following[following != IGNORED], minlength=len(seen))
    assert begun == 1
    assert int(seen[END]) == 1
    assert int(seen.sum()) == facts["tokens"] + 1


def test_what_training_never_saw_is_shown_by_itself(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network = network_of("lstm", task, facts)
    outputs = scored(network, task, facts, [Passage("The \u4e00\u4e00", "", True, False)])
    (exhibit,) = task.exhibits(outputs, {}, facts, None)
    assert exhibit.rows[-1][:3] == ["unknown: none in training", 2, pytest.approx(2 / 6)]  # type: ignore[union-attr]


def test_nothing_on_the_device_needs_double_precision(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network = network_of("lstm", task, facts)
    assert all(tensor.dtype != torch.float64 for tensor in [*network.parameters(), *network.buffers()])


@each_network
def test_a_text_that_ended_is_read_no_further(
    name: str, read: tuple[LanguageModelling, Data, Facts], monkeypatch: pytest.MonkeyPatch
) -> None:
    task, data, facts = read
    network = network_of(name, task, facts)
    text = "".join(passage.text for passage in data.raws)
    passages = [Passage(text[:long], "", True, False) for long in (30, 3 * STRETCH, STRETCH + 5)]
    alone = torch.cat([scored(network, task, facts, [passage]) for passage in passages])
    rows, forward = [], network.backbone.forward

    def seen(tokens: torch.Tensor, **carried: torch.Tensor) -> object:
        rows.append(len(tokens))
        return forward(tokens, **carried)

    monkeypatch.setattr(network.backbone, "forward", seen)
    torch.testing.assert_close(scored(network, task, facts, passages), alone, rtol=1e-4, atol=1e-4)
    assert rows == [3, 2, 1]


def test_an_end_that_is_drawn_ends_the_text(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, _, facts = read
    network = network_of("lstm", task, facts)
    with torch.no_grad():
        network.bias[END] = 1e6
    assert written(task, network, facts, ["The ", "A longer one"], Sampling(tokens=50)) == ["", ""]


@pytest.mark.parametrize("name", ["lstm", "rnn"])
@pytest.mark.parametrize("pieces", [2, 3])
def test_what_is_carried_does_not_depend_on_micro_batches(
    name: str, pieces: int, read: tuple[LanguageModelling, Data, Facts]
) -> None:
    task, data, facts = read
    store = encoded(task, facts, data)
    reached = []
    for micro_batches in (1, pieces):
        network = network_of(name, task, facts)  # in evaluation mode: dropout would draw other masks
        feed = task.feed(store, store.rows_of(data, "train"), network)
        plan = Plan(optimizer="sgd", momentum=0.0, batch_size=7, micro_batches=micro_batches)
        state = State(network, plan, feed)
        for picked in state.batches()[:3]:
            descend(state, task, replace(feed.batch(picked), carried=state.carried), 1e-3, True)
        reached.append(state)
    one, cut = reached
    assert one.carried
    for key, tensor in one.carried.items():
        assert len(tensor) == 7
        assert bool(tensor.any())
        torch.testing.assert_close(cut.carried[key], tensor, rtol=1e-4, atol=1e-6)


@each_network
def test_reading_on_from_what_was_carried_is_reading_it_whole(
    name: str, read: tuple[LanguageModelling, Data, Facts]
) -> None:
    task, _, facts = read
    network = network_of(name, task, facts)
    tokens = torch.randint(2, len(facts["bytes"]), (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole, _ = network(tokens, **network.backbone.start(2))
        first, carried = network(tokens[:, :25], **network.backbone.start(2))
        second, _ = network(tokens[:, 25:], **carried)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-4, atol=1e-4)


def test_a_task_that_makes_nothing_up_says_so() -> None:
    with pytest.raises(OptionError, match="predict"):
        ImageClassification().generate(torch.nn.Identity(), {}, [], Sampling())


def test_the_ngrams_are_scored_on_the_same_tokens(read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, data, facts = read

    def arrays(part: str) -> dict[str, np.ndarray]:
        columns = columns_of(task.encode(data.of(part).raws, facts))  # type: ignore[arg-type]
        return {
            name: tensor.numpy()
            for name, tensor in gathered(columns, torch.arange(int((data.part == part).sum()))).items()
        }

    train, test = arrays("train"), arrays("test")
    nats: Iterator[float] = iter([])
    found = {name: baseline(train, {}, test, facts).sum((0, 1)) for name, baseline in task.baselines(facts).items()}
    assert {float(sums[TOKENS]) for sums in found.values()} == {float(test["tokens_lengths"].sum())}
    nats = (float(sums[NATS]) for sums in found.values())
    assert next(nats) > 1.3 * next(nats)  # the n-gram model knows more than the unigram


def test_a_renamed_column_is_another_one(tmp_path: Path) -> None:
    import polars as pl

    task = LanguageModelling(tokens="characters")
    for name in ("text", "story"):
        frame = pl.DataFrame({name: [f"Once upon a time there were {number} pigs." for number in range(30)]})
        data = complete(task.read(Source(frame, target=name)), 0)
        assert learned(task, data)["column"] == name


def test_a_run_on_a_column_is_evaluated_on_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    from lamina import rivals, training

    monkeypatch.setattr(rivals, "MOST_VALUES", 1000)  # of some 2,700 tokens
    rows = [f"Once upon a time there were {number} pigs, who went to the market." for number in range(60)]
    frame = pl.DataFrame({"story": rows, "id": list(range(60))})
    frame.write_csv(tmp_path / "stories.csv")
    (tmp_path / "other.txt").write_text("There were 3 pigs.\n" * 20)
    model = training.train(
        tmp_path / "stories.csv",
        target="story",
        task=LanguageModelling(),
        size="tiny",
        epochs=1,
        threads=1,
        out=tmp_path / "run",
    )
    assert re.search(
        r"The baselines learned from \d\d\.\d % of the training", model.run.read("evaluation/test.json")["verdict"]
    )
    result = model.evaluate(tmp_path / "other.txt")
    assert result["scores"]["perplexity"]["value"] > 1
    with pytest.raises(OptionError, match="--target"):
        model.evaluate(tmp_path / "other.txt", target="story")
    answers = model.predict({"story": rows[0]}, tmp_path / "other.txt", {"story": "x"})
    alone = model.predict(tmp_path / "other.txt")
    assert answers[1]["prediction"] == pytest.approx(alone[0]["prediction"], rel=1e-3)


@pytest.mark.parametrize(("name", "most"), [("lstm", 5_000_000), ("rnn", 5_000_000), ("transformer", 10_000_000)])
def test_the_size_follows_from_the_tokens(name: str, most: int, read: tuple[LanguageModelling, Data, Facts]) -> None:
    task, data, facts = read
    family, shape = find.network(name), task.takes(facts)
    assert [family.default_size(shape, tokens) for tokens in (most - 1, most)] == ["small", "medium"]
    store = encoded(task, facts, data)
    network = network_of(name, task, facts)
    for window in (None, 7):
        feed = replace(task, window=window).feed(store, store.rows_of(data, "train"), network)
        assert feed.amount == facts["tokens"] + 1  # whatever the window


def test_a_run_writes_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from lamina import training
    from lamina.cli import app

    task = LanguageModelling()
    source = task.tiny(tmp_path)
    run = tmp_path / "run"
    training.train(source, task=task, size="tiny", epochs=1, threads=1, out=run)
    app(["generate", str(run), "--prompt", "The ", "--tokens", "20"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("The ")
    app(["generate", str(run), "--prompt", "A", "--samples", "2", "--tokens", "20", "--json"], standalone_mode=False)
    texts = json.loads(capsys.readouterr().out)["texts"]
    assert [text["prompt"] for text in texts] == ["A", "A"]
    assert all(text["text"].startswith("A") for text in texts)
    assert texts[0] != texts[1]
