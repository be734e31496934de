"""Options of the command line: those that verbs share, those that come from dataclasses, and values written in a way of their
own."""

import ast
import inspect
import json
import re
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

import lamina
from lamina.errors import OptionError, unknown
from lamina.plan import Plan
from lamina.sampling import Sampling

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]
MadeInto = Annotated[
    Path | None, typer.Option("--out", help="Of pictures a .png file for all, or a folder; of texts a .txt file.")
]
RunPath = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's directory, such as runs/flowers-1.", show_default=False)
]
DataPath = Annotated[str, typer.Argument(metavar="DATA", help="A folder or a file.", show_default=False)]
MaybeData = Annotated[str | None, typer.Argument(metavar="DATA", help="A folder or a file.", show_default=False)]
Target = Annotated[str | None, typer.Option(help="The column that holds the answer, for a table.")]
Group = Annotated[str | None, typer.Option(help="A column whose equal values stay on one side of the split.")]
Time = Annotated[str | None, typer.Option("--time", help="A column in whose order the data are split.")]
ValidShare = Annotated[float | None, typer.Option(help="Validation part, where the data have none; 0.15 otherwise.")]
TestShare = Annotated[float | None, typer.Option(help="Test part, where the data have none; 0.15 otherwise.")]
TaskName = Annotated[
    str | None, typer.Option("--task", help="Its name, or a file that defines one; see `lamina tasks`.")
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the task; repeatable.")
]

Device = Annotated[
    Literal["cpu", "gpu", "cuda", "mps"] | None, typer.Option(help="The accelerator, if any, otherwise.")
]
Precision = Annotated[
    Literal["float32", "bfloat16", "bfloat16-weights", "float16"] | None, typer.Option(help="Measured otherwise.")
]
Size = Annotated[str | None, typer.Option(help="tiny, small, medium or large; chosen by the data otherwise.")]
Accept = Annotated[list[str] | None, typer.Option(metavar="KIND", help="A finding that shall not stop the run.")]
Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="KIND", help="Leave out the examples that findings of this kind name; or all."),
]
Threads = Annotated[int | None, typer.Option(help="Of the CPU; measured otherwise.", min=1)]
Layout = Annotated[
    Literal["channels-last", "channels-first"] | None,
    typer.Option(help="Of pictures and filters in memory; measured otherwise."),
]
Convolutions = Annotated[
    Literal["direct", "winograd", "winograd-compiled"] | None,
    typer.Option(help="How wide 3x3 convolutions are computed on a CPU; measured otherwise."),
]
Compiled = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="Whether to compile the network; measured in long runs otherwise."),
]


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lamina {lamina.__version__}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version.")]


def with_plan(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb one option per field of Plan; the values that were given arrive as ``plan``."""
    return _with_fields(function, Plan, "plan", "Training")


def with_sampling(function: Callable[..., None]) -> Callable[..., None]:
    """Give a verb one option per field of Sampling; the values that were given arrive as ``wish``."""
    return _with_fields(function, Sampling, "wish", "Sampling")


def _with_fields(function: Callable[..., None], kind: type, argument: str, panel: str) -> Callable[..., None]:
    """Give a verb one option per field of a dataclass: same name, type and docstring."""
    docs, names = field_docs(kind), [field.name for field in fields(kind)]
    hints = get_type_hints(kind) | ({"budget": str | None} if "budget" in names else {})  # written with a unit: 10m
    own = inspect.signature(function, eval_str=True)
    added = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                hints[name] | None, typer.Option(help=docs[name], show_default=False, rich_help_panel=panel)
            ],
        )
        for name in names
    ]
    kept = [parameter for name, parameter in own.parameters.items() if name != argument]

    def verb(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in names}
        if given.get("budget") is not None:
            given["budget"] = seconds_of(given["budget"])
        function(**arguments, **{argument: {name: value for name, value in given.items() if value is not None}})

    verb.__signature__ = own.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
    verb.__annotations__ = {p.name: p.annotation for p in [*kept, *added]}
    verb.__name__, verb.__doc__ = function.__name__, function.__doc__
    return verb


def seconds_of(text: str) -> float:
    """``"90"``, ``"90s"``, ``"10m"``, ``"1.5h"`` as seconds. Raises OptionError."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|m|h|sec|min|hours?)?\s*", text)
    if match is None:
        raise OptionError(f"{text!r} is not a time.", "--budget", "Write 90s, 10m or 1.5h.")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[(match[2] or "s")[0]]


def corrected(message: str, usage: str) -> OptionError:
    """What the parser says of a wrong option or value, in the words that every other wrong name gets; ``usage`` says where to
    look."""
    wrong = re.fullmatch(r"Invalid value for '?(--[\w-]+)[^:]*: (?:Value error, )?(.*?)\.?", message, re.DOTALL)
    if wrong is None:
        return OptionError(
            re.sub(r" \(Possible options?: (--[\w-]+)[^)]*\)", r'. Did you mean "\1"?', message), remedy=usage
        )
    option, said = wrong.groups()
    if choice := re.fullmatch(r"'(.*)' is not one of (.*)", said, re.DOTALL):
        return unknown(option, choice[1], re.findall(r"'([^']*)'", choice[2]))
    said = re.sub(r", unable to parse.*", "", re.sub(r"^Input should", "it must", said))
    return OptionError(f"{said}.", option, usage)


def settings_of(settings: list[str] | None) -> dict[str, Any]:
    """``name=value`` pairs, before it is known which task they are for."""
    options: dict[str, Any] = {}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals:
            raise OptionError("it must read NAME=VALUE.", f"--set {setting}", "Example: --set flip=false")
        try:
            options[name.strip().replace("-", "_")] = json.loads(text)
        except ValueError:
            options[name.strip().replace("-", "_")] = None if text.lower() == "none" else text
    return options


def field_docs(kind: type) -> dict[str, str]:
    """The string below each field of a dataclass."""
    body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
    docs: dict[str, str] = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[ast.unparse(field.target)] = str(ast.literal_eval(text.value))
    return docs
