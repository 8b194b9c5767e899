"""From the entries of the list ``plugins`` to the classes that they name.

Rule of this file: only listed plugins are imported, in the order of the list; whatever a plugin does wrong while it is
imported is a problem of that plugin, told with its file and line, and stops no other.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

from popframe.hookspecs import PROJECT_NAME
from popframe.plugins.inspection import inspect_class
from popframe.suggestion import nearest, suggest

FILE_MODULE_PREFIX = "popframe_file_"
"""What the module of a single-file plugin is called, so that it never hides an installed one."""


@dataclass(frozen=True, slots=True)
class FoundPlugin:
    """A plugin that was imported and whose class is sound.

    Attributes:
        name: What its table and its log lines are called.
        plugin_class: Its class, not constructed yet.
        origin: Distribution and version, or the path of a single file.
        settings_model: Its ``Settings``; None when it has none.
        hooks: The hooks that it implements.
    """

    name: str
    plugin_class: type
    origin: str
    settings_model: type[BaseModel] | None
    hooks: tuple[str, ...]

    @property
    def source(self) -> str:
        """The plugin and where it comes from, in words, for messages."""
        return f"plugin {self.name!r} ({self.origin})"


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """Why an entry cannot be used.

    Attributes:
        name: The plugin.
        text: What is wrong.
        position: The entry's place in the list, from 0.
    """

    name: str
    text: str
    position: int

    def __str__(self) -> str:
        """Write it with the plugin's name."""
        return f"plugin {self.name!r}: {self.text}"


class _Unusable(Exception):
    """A plugin cannot be used; ``args`` are the reasons."""


def is_file_entry(entry: str) -> bool:
    """Tell whether an entry is the path of a single-file plugin rather than the name of an installed one."""
    return "/" in entry or entry.endswith(".py")


def plugin_name(entry: str) -> str:
    """Return the name of the plugin that an entry of the list ``plugins`` stands for."""
    return Path(entry).stem if is_file_entry(entry) else entry


def find_plugins(entries: Sequence[str], directory: Path) -> tuple[dict[str, FoundPlugin], list[PluginProblem]]:
    """Import the listed plugins.

    Args:
        entries: Names of installed plugins, and paths of single-file plugins.
        directory: What relative paths start from.

    Returns:
        The plugins by name, in the order of the list; and what is wrong with the others.
    """
    installed = {} if all(map(is_file_entry, entries)) else installed_plugins()
    found: dict[str, FoundPlugin] = {}
    problems: list[PluginProblem] = []
    seen: set[str] = set()
    for position, entry in enumerate(entries):
        name = plugin_name(entry)
        if name in seen:
            problems.append(PluginProblem(name, "listed twice", position))
            continue
        seen.add(name)
        try:
            if is_file_entry(entry):
                found[name] = _from_file(name, Path(os.path.normpath(directory / entry)))
            else:
                found[name] = _from_installed(name, installed)
        except _Unusable as exc:
            problems += [PluginProblem(name, reason, position) for reason in exc.args]
    return found, problems


def installed_plugins() -> dict[str, list[EntryPoint]]:
    """Return the entry points of the group ``popframe`` by name; nothing is imported."""
    installed: dict[str, list[EntryPoint]] = {}
    for entry_point in entry_points(group=PROJECT_NAME):
        installed.setdefault(entry_point.name, []).append(entry_point)
    return installed


def origin_of(entry_point: EntryPoint) -> str:
    """Return the distribution and version that an entry point belongs to."""
    return f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else entry_point.value


def _from_installed(name: str, installed: Mapping[str, Sequence[EntryPoint]]) -> FoundPlugin:
    match installed.get(name, ()):
        case []:
            raise _Unusable(f"not installed{suggest(name, installed, 'installed')}{_how_to_install(name, installed)}")
        case [entry_point]:
            pass
        case several:
            raise _Unusable(f"in several distributions: {', '.join(map(origin_of, several))}")
    try:
        plugin_class = entry_point.load()
    except (Exception, SystemExit) as exc:
        reason = describe_error(exc, entry_point.module, otherwise=entry_point.value)
        raise _Unusable(f"cannot be imported: {reason}") from exc
    if not isinstance(plugin_class, type):
        raise _Unusable(f"{entry_point.value} is not a class")
    return _checked(name, plugin_class, origin_of(entry_point))


def _how_to_install(name: str, installed: Iterable[str]) -> str:
    """Name the distribution by the rule of names; not for what looks like a slip, lest a stranger's is installed."""
    if nearest(name, installed) or not (name.isascii() and name.isidentifier()):
        return ""
    return f"; to install it: pip install {PROJECT_NAME}-{name.replace('_', '-')}"


def _from_file(name: str, path: Path) -> FoundPlugin:
    if not path.is_file():
        raise _Unusable(f"not found: there is no file {path}")
    module = _run_file(name, path)
    classes = dict.fromkeys(member for member in vars(module).values() if isinstance(member, type))
    own_classes = [plugin_class for plugin_class in classes if plugin_class.__module__ == module.__name__]
    match [plugin_class for plugin_class in own_classes if inspect_class(plugin_class).is_plugin]:
        case []:
            raise _Unusable(f"no class in {path} has a method marked with @hookimpl")
        case [plugin_class]:
            return _checked(name, plugin_class, str(path))
        case several:
            names = ", ".join(plugin_class.__name__ for plugin_class in several)
            raise _Unusable(f"several classes in {path} have hooks ({names}); a plugin is one class")


class _UncachedLoader(SourceFileLoader):
    """Loads a file as it is now, and writes no bytecode beside it: a configuration folder is not ours to fill."""

    def path_stats(self, path: str | bytes) -> dict[str, float]:
        """Let the import machinery believe that bytecode cannot be kept for this file."""
        raise OSError(f"no bytecode for {path!r}")


def _run_file(name: str, path: Path) -> ModuleType:
    module_name = FILE_MODULE_PREFIX + name
    loader = _UncachedLoader(module_name, str(path))
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    if spec is None:
        raise _Unusable(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pydantic and dataclasses look names up there
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as exc:
        del sys.modules[module_name]
        reason = describe_error(exc, module_name, otherwise=str(path))
        raise _Unusable(f"cannot be imported: {reason}") from exc
    return module


def _checked(name: str, plugin_class: type, origin: str) -> FoundPlugin:
    """Refuse a class that has no hook, a hook that could not be called, or settings of another kind."""
    inspection = inspect_class(plugin_class)
    settings_model = getattr(plugin_class, "Settings", None)
    reasons = list(inspection.problems)
    if not inspection.is_plugin:
        reasons.append(f"{plugin_class.__qualname__} has no method marked with @hookimpl")
    if settings_model is not None and not (isinstance(settings_model, type) and issubclass(settings_model, BaseModel)):
        reasons.append(f"{plugin_class.__qualname__}.Settings is not a class derived from PluginSettings")
    if reasons:
        raise _Unusable(*reasons)
    return FoundPlugin(name, plugin_class, origin, settings_model, inspection.hooks)


def describe_error(error: BaseException, module: str, otherwise: str = "") -> str:
    """Say what was raised, and in which line of a plugin.

    Args:
        error: What came out of the plugin's code.
        module: A module of the plugin; lines of other packages are passed over.
        otherwise: What to name when no line of the plugin was running.
    """
    text = " ".join(str(error).split())
    if isinstance(error, SyntaxError):
        text, place = error.msg, f"{error.filename}:{error.lineno}"
    else:
        package = module.partition(".")[0]
        places = [
            f"{frame.f_code.co_filename}:{line}"
            for frame, line in traceback.walk_tb(error.__traceback__)
            if str(frame.f_globals.get("__name__")).partition(".")[0] == package
        ]
        place = places[-1] if places else otherwise
    return f"{type(error).__name__}{': ' if text else ''}{text}{f' ({place})' if place else ''}"
