"""Does a plugin's class implement hooks that exist, in a way in which they can be called?

Rule of this file: what would be ignored in silence is refused by name: a misspelt hook, a forgotten ``@hookimpl``, an
argument that is never filled. Only the class is looked at, so that all of it is known before any setting is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType

from popframe import hookspecs
from popframe.suggestion import suggest

PREFIX = "popframe_"
"""What the name of every hook begins with."""

MARK = f"{hookspecs.PROJECT_NAME}_impl"
"""The attribute by which ``@hookimpl`` marks a function."""

SPECIFICATIONS: Mapping[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(function).parameters)
    for name, function in vars(hookspecs).items()
    if name.startswith(PREFIX) and inspect.isfunction(function)
}
"""The names of each hook's arguments."""

COLLECT_HOOKS = frozenset(
    {"popframe_register_commands", "popframe_register_mechanisms", "popframe_register_secret_schemes"}
)
"""Hooks whose result is iterated over, so that a generator function may implement them."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a class.

    Attributes:
        hooks: The hooks that it implements, in the order of their specifications.
        problems: What is wrong with it, one sentence each.
    """

    hooks: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def is_plugin(self) -> bool:
        """Whether the class is a plugin, or was meant to be one."""
        return bool(self.hooks or self.problems)


def inspect_class(plugin_class: type) -> Inspection:
    """Look at every attribute of a class that is a hook, or that was meant to be one."""
    hooks: set[str] = set()
    problems: list[str] = []
    for attribute, member in inspect.getmembers_static(plugin_class):
        function = _unwrapped(member)
        options = getattr(function, MARK, None)
        if isinstance(options, dict):
            hook = options.get("specname") or attribute
            found = _problems_of_hook(hook, member, function, options)
            if hook in hooks:
                found = iter(["is implemented twice"])
            hooks.add(hook)
        elif attribute.startswith(PREFIX):
            hook = attribute
            found = iter(["is not marked with @hookimpl, so it would never be called"])
        else:
            continue
        problems += [f"{hook}{_place(function)}: {text}" for text in found]
    return Inspection(tuple(name for name in SPECIFICATIONS if name in hooks), tuple(problems))


def _unwrapped(member: object) -> object:
    """Return the function within what a class body may hold in its place."""
    match member:
        case staticmethod() | classmethod():
            return member.__func__
        case property():
            return member.fget
        case functools.cached_property() | functools.partialmethod():
            return member.func
    return member


def _place(function: object) -> str:
    code = getattr(function, "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if inspect.iscode(code) else ""


def _problems_of_hook(hook: str, member: object, function: object, options: Mapping[str, object]) -> Iterator[str]:
    """Say why an implementation could not be called, or would not be called as its author expects."""
    if hook not in SPECIFICATIONS:
        yield "there is no such hook" + suggest(hook, SPECIFICATIONS, "hooks")
        return
    if not isinstance(function, FunctionType) or not isinstance(member, FunctionType | staticmethod | classmethod):
        yield f"a hook is a method, not a {type(member).__name__}"
        return
    if options.get("wrapper") or options.get("hookwrapper"):
        yield "hook wrappers are not supported: one plugin would change what another one decided"
        return
    if options.get("tryfirst") or options.get("trylast"):
        yield "tryfirst and trylast are not supported: the order is that of the list 'plugins'"
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield "must not be 'async def': hooks are called directly and may block"
    elif inspect.isgeneratorfunction(function) and hook not in COLLECT_HOOKS:
        yield "must not have 'yield': it would return at once and never run"
    yield from _problems_of_arguments(hook, member, function)


def _problems_of_arguments(hook: str, member: object, function: FunctionType) -> Iterator[str]:
    """Compare the arguments with the specification; an implementation may leave some out."""
    known = SPECIFICATIONS[hook]
    parameters = list(inspect.signature(function).parameters.values())
    for parameter in parameters if isinstance(member, staticmethod) else parameters[1:]:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            yield f"argument '{parameter}' cannot be filled: arguments are named one by one, without '*'"
        elif parameter.name not in known:
            yield f"there is no argument {parameter.name!r}" + suggest(parameter.name, known, "arguments")
        elif parameter.default is not parameter.empty:
            yield f"argument {parameter.name!r} must not have a default: it would never be filled"
