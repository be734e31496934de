"""Writing: piece by piece comes what decoding all at once gives, and a long text is not decoded anew at each token."""

from dataclasses import replace

import pytest

from lamina.data.vocabulary import END, Vocabulary, choose
from lamina.data.writing import Writing

TEXT = 'He said: "It\'s (very) well-known", and/or so; "yes"!\n"No," said she. "Ünïcode 文 🎉 is fine."\n' * 30


@pytest.mark.parametrize("kind", ["characters", "words", "bytepairs"])
@pytest.mark.parametrize("begun", [0, 1, 7, 60])
def test_pieces_are_the_text(kind: str, begun: int) -> None:
    vocabulary, _ = choose([TEXT], kind)  # type: ignore[arg-type]
    ids = vocabulary.encode([TEXT])[0].tolist()
    if kind == "bytepairs":
        while "\ufffd" in vocabulary.decode(ids[:begun]):
            begun += 1  # a prompt is whole
    text = Writing(vocabulary, ids[:begun])
    pieces = [text.add(token) for token in ids[begun:]]
    assert vocabulary.decode(ids[:begun]) + "".join(pieces) == vocabulary.decode(ids)
    assert not any("\ufffd" in piece for piece in pieces)
    assert text.add(END) == ""


@pytest.mark.parametrize("kind", ["characters", "words", "bytepairs"])
def test_what_is_decoded_again_is_short(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, _ = choose([TEXT], kind)  # type: ignore[arg-type]
    decoded: list[int] = []
    whole = Vocabulary.decode

    def counted(self: Vocabulary, ids: list[int]) -> str:
        decoded.append(len(ids))
        return whole(self, ids)

    monkeypatch.setattr(Vocabulary, "decode", counted)
    text = Writing(replace(vocabulary), [])
    for token in vocabulary.encode([TEXT])[0].tolist():
        text.add(token)
    assert max(decoded) < 40
