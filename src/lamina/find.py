"""From a name to the file of that name: tasks and networks. Listing a folder finds them; nothing is registered."""

import hashlib
import importlib.util
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Literal

import lamina
from lamina.errors import OptionError, unknown
from lamina.tasks.task import Task

Kind = Literal["tasks", "networks"]
_USER = "lamina_user_"  # begins the names of the modules of users' files


def names(kind: Kind) -> list[str]:
    """All names of a kind, in alphabetical order."""
    folder = Path(lamina.__file__).parent / kind
    return sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if module.name != "task")


def task(name: str) -> type[Task]:
    """The task class of a name such as ``image_classification``, or the one in a user's file (``./mine.py``).

    ``module:Class`` names a class that is defined elsewhere, such as in a notebook: it must have been defined by then.
    Raises OptionError with the nearest name, or when the file does not define exactly one task.
    """
    if ":" in name and not name.endswith(".py"):
        return _defined(name)
    if name.endswith(".py"):
        module = _module_of(Path(name))
    else:
        name = name.replace("-", "_")
        if name not in names("tasks"):
            raise unknown("task", name, names("tasks"))
        module = import_module(f"lamina.tasks.{name}")
    classes = [
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Task) and member.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise OptionError(
            f"the file defines {len(classes)} subclasses of lamina.Task; it must define one.", name, "Split the file."
        )
    return classes[0]


def network(name: str) -> ModuleType:
    """The module of a network family such as ``cnn``; it has ``takes``, ``SIZES``, ``build`` and ``plan``."""
    if name not in names("networks"):
        raise unknown("network", name, names("networks"))
    return import_module(f"lamina.networks.{name}")


def name_of(task_class: type[Task]) -> str:
    """By which name ``task`` finds this class again: the file's name, the path of a user's file, or ``module:Class``."""
    module = task_class.__module__
    if module.startswith("lamina.tasks."):
        return module.rpartition(".")[2]
    if module.startswith(_USER):
        return str(sys.modules[module].__file__)
    return f"{module}:{task_class.__qualname__}"


def code_of(task_class: type[Task]) -> str:
    """What changes when the code of a task does: Lamina's version, or a digest of a user's class."""
    if task_class.__module__.startswith("lamina.tasks."):
        return lamina.__version__
    if task_class.__module__.startswith(_USER):
        return task_class.__module__  # its name holds a digest of the file
    codes = [getattr(member, "__code__", None) for member in vars(task_class).values()]
    texts = [repr((code.co_code, code.co_names, code.co_consts)) for code in codes if code is not None]
    return hashlib.blake2b("".join(texts).encode(), digest_size=8).hexdigest()


def _defined(name: str) -> type[Task]:
    """The latest class of that name among those that this process has defined."""
    classes = Task.__subclasses__()
    for known in classes:
        classes += known.__subclasses__()
    for known in reversed(classes):
        if f"{known.__module__}:{known.__qualname__}" == name:
            return known
    raise OptionError(
        "the task was defined outside of Lamina, and is not defined here.",
        name,
        "Define it before this call, or keep it in a file of its own: --task ./mine.py.",
    )


def _module_of(file: Path) -> ModuleType:
    """Import a user's file. This runs its code, as any import does: it is the user's own."""
    if not file.is_file():
        raise OptionError("there is no such file.", str(file), "Give the path of the file that defines the task.")
    content = file.read_bytes()  # part of the name, so that a changed file is another module
    digest = hashlib.blake2b(str(file.resolve()).encode() + content, digest_size=8).hexdigest()
    module_name = f"{_USER}{file.stem}_{digest}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, file.resolve())
    if spec is None or spec.loader is None:
        raise OptionError("the file cannot be imported.", str(file), "It must be a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise OptionError(f"importing it fails: {error!r}.", str(file), "Mend the file.") from error
    return module
