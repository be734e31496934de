"""From a name to the file of that name: tasks and networks. Listing a folder finds them; nothing is registered."""

import hashlib
import importlib.util
import inspect
import json
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Literal

import lamina
from lamina.errors import OptionError, unknown
from lamina.tasks.task import Task

Kind = Literal["tasks", "networks"]
_USER = "lamina_user_"  # begins the names of the modules of users' files
_CONSTANTS = (bool, int, float, str, bytes, tuple, list, dict, set, frozenset, type(None))


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
    """What changes when the code of a task does: Lamina's version; and for a user's class a digest of its file, or of itself,
    its bases and what its functions use of their modules: constants, and other functions."""
    if task_class.__module__.startswith("lamina.tasks."):
        return lamina.__version__
    if task_class.__module__.startswith(_USER):
        return f"{lamina.__version__} {task_class.__module__}"  # whose name holds a digest of the file
    told: dict[str, str] = {}
    for known in task_class.__mro__:
        if known.__module__.partition(".")[0] not in ("lamina", "builtins", "abc", "typing"):
            for name, member in vars(known).items():
                if not name.startswith("__") or isinstance(member, FunctionType):
                    _tell(f"{known.__qualname__}.{name}", member, told)
    text = json.dumps([lamina.__version__, told], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _tell(name: str, member: Any, told: dict[str, str]) -> None:
    """What a class or a module holds under a name, for a digest: functions by their code, and constants."""
    member = (
        member.fget if isinstance(member, property) else getattr(member, "__func__", getattr(member, "func", member))
    )
    member = inspect.unwrap(member) if callable(member) else member
    if isinstance(member, _CONSTANTS):
        told[name] = _constant(member)
    elif isinstance(member, FunctionType) and name not in told:
        told[name] = _code(member.__code__) + _constant(member.__defaults__) + _constant(member.__kwdefaults__)
        for used in sorted(_used(member.__code__) & member.__globals__.keys()):
            value = member.__globals__[used]
            if getattr(value, "__module__", member.__module__) == member.__module__:
                _tell(f"{member.__module__}:{used}", value, told)


def _code(code: CodeType) -> str:
    """A function's code; that of functions within it, too, of which Python tells only where they lie."""
    constants = [_code(one) if isinstance(one, CodeType) else _constant(one) for one in code.co_consts]
    return repr((code.co_code, code.co_names, constants))


def _used(code: CodeType) -> set[str]:
    return {*code.co_names}.union(*(_used(one) for one in code.co_consts if isinstance(one, CodeType)))


def _constant(value: Any) -> str:
    """The same in each process: sets have no order, and what is no constant might tell where it lies."""
    if isinstance(value, dict):
        return str({_constant(key): _constant(one) for key, one in value.items()})
    if isinstance(value, tuple | list):
        return str([_constant(one) for one in value])
    if isinstance(value, set | frozenset):
        return str(sorted(map(_constant, value)))
    return repr(value) if isinstance(value, _CONSTANTS) else type(value).__qualname__


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
