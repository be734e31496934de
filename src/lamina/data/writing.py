"""Writing: token ids one by one in, what a person reads of them out, piece by piece.

A token may be but a part of a character, and a word's neighbours decide about the space before it. So what comes is decoded
together with what it may depend on, and with no more, so that a long text does not take longer with each token.
"""

from collections.abc import Sequence

from lamina.data.vocabulary import END, UNKNOWN, Vocabulary

PART = "\ufffd"  # stands for bytes that are no whole character yet


class Writing:
    """A text that grows."""

    def __init__(self, vocabulary: Vocabulary, begun: Sequence[int]) -> None:
        """Begin after the tokens of a prompt."""
        self.vocabulary = vocabulary
        self.line = int(vocabulary.encode(["\n"])[0][0]) if vocabulary.kind == "words" else None
        self.tail: list[int] = []
        """What is decoded again with the next token: of words those of the line, since quotation marks open and close in it."""
        for token in begun if self.line is not None else ():
            self._keep(token)
        self.shown = len(vocabulary.decode(self.tail))

    def add(self, token: int) -> str:
        """What can be read now and could not before."""
        if token == END:
            return ""
        self.tail.append(token)
        text = self.vocabulary.decode(self.tail)
        if text.endswith(PART):
            return ""
        piece = text[self.shown :]
        self.tail.pop()
        self._keep(token)
        self.shown = len(self.vocabulary.decode(self.tail)) if len(self.tail) < 2 else len(text)
        return piece

    def _keep(self, token: int) -> None:
        """Add a token to the tail, which begins anew where nothing before it counts."""
        if self.line is None:
            self.tail = []
        elif token == self.line != UNKNOWN:
            self.tail = [token]
        else:
            self.tail.append(token)
