"""Watch: who is told what a verb is doing. The command line and notebooks show it; the default says nothing."""

from typing import Protocol

from lamina.findings import Finding
from lamina.records import Epoch, Step


class Watch(Protocol):
    """Who is told."""

    def say(self, text: str) -> None:
        """A decision or a fact in words, such as what was recognised."""

    def progress(self, what: str, done: int, total: int) -> None:
        """How far a piece of work is; it is over when done equals total."""

    def see(self, record: Step | Epoch) -> None:
        """How training goes."""

    def find(self, finding: Finding) -> None:
        """Something that a person should know."""


class Quiet:
    """Says nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Nothing."""

    def see(self, record: Step | Epoch) -> None:
        """Nothing."""

    def find(self, finding: Finding) -> None:
        """Nothing."""
