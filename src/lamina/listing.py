"""The verbs that list what there is: runs, what is kept of data, tasks, families of networks."""

from pathlib import Path
from typing import Annotated

import typer

from lamina.options import Json
from lamina.printing import list_files, show


def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs lie.")] = Path("runs"), as_json: Json = False
) -> None:
    """List the runs below a FOLDER, with their scores.

    Example: lamina runs
    """
    from lamina.run import listed

    show("runs", listed(folder), as_json, f"There is no run below {folder}.")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that no running program uses.")] = False,
    as_json: Json = False,
) -> None:
    """List what was encoded once and is kept for later runs, or clear it.

    Example: lamina cache --clear
    """
    from lamina.data import cache as kept

    gone = kept.clear() if clear else []
    if clear and not as_json:
        typer.echo(f"Removed {len(gone)} stores, {sum(entry.bytes for entry in gone) / 1e6:,.1f} MB.")
    rows = [entry.to_json() if as_json else entry.in_words() for entry in kept.entries()]
    show("stores", rows, as_json, f"No examples are kept in {kept.stores()}.")


def tasks(as_json: Json = False) -> None:
    """List what can be learned.

    Example: lamina tasks
    """
    list_files("tasks", as_json)


def networks(as_json: Json = False) -> None:
    """List the families of networks.

    Example: lamina networks
    """
    list_files("networks", as_json)
