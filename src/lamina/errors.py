"""Every error that Lamina raises on purpose.

LaminaError                 what was given, what must hold, what to do next
├── DataError               the data cannot be used as they are: names file and row
├── OptionError             an option, a name or a combination of them is wrong
├── RunError                a run directory is missing, damaged, or from something else
└── TrainingError           training cannot go on: loss not finite, no space left
    └── InterruptError      the user stopped it (interrupt.py)

The command line shows an error as one line and exits with the class's ``exit_code``; a user sees no traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class LaminaError(Exception):
    """Base of the tree.

    Args:
        what: what was given and which rule it breaks, one sentence.
        where: the file, row, column or option at fault; empty when there is none.
        remedy: what to do next, one sentence.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(" ".join(part for part in (f"{where}: {what}" if where else what, remedy) if part))
        self.what = what
        self.where = where
        self.remedy = remedy

    def to_json(self) -> dict[str, str]:
        """The ``error`` object of ``--json``."""
        return {"what": self.what, "where": self.where, "remedy": self.remedy}


class OptionError(LaminaError):
    """An option, a name or a combination of them is wrong."""

    exit_code = 2


class DataError(LaminaError):
    """The data cannot be used as they are."""

    exit_code = 3


class RunError(LaminaError):
    """A run directory is missing, damaged, or made by something else."""

    exit_code = 4


class TrainingError(LaminaError):
    """Training cannot go on."""

    exit_code = 5


def unwritable(out: Path, forms: dict[str, str]) -> OptionError:
    """The error for a file in whose form answers cannot be written.

    Args:
        out: the file.
        forms: by the endings that there are, what is written.
    """
    listed = ", ".join(f"{ending or 'no ending'} ({what})" for ending, what in forms.items())
    remedy = (
        f"Answers can be written as {listed}." if forms else "`lamina predict --out` writes these answers as a table."
    )
    return OptionError(f'its name ends in "{out.suffix}".', str(out), remedy)


def unknown(kind: str, name: str, choices: Iterable[str]) -> OptionError:
    """The error for a name that is not there, with the nearest one that is.

    Args:
        kind: what was looked for, such as "task" or "column".
        name: what was given.
        choices: what there is.
    """
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f'Did you mean "{near[0]}"? ' if near else ""
    listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
    return OptionError(f'there is no {kind} "{name}".', remedy=f"{hint}There is: {listed}.")
