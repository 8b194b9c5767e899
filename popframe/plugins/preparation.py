"""What plugins do before the server gives up root.

A plugin is constructed as the user that the server becomes. One that needs more than this user may, such as a process
that stays root to ask PAM, has a class method ``before_run_as(settings)``: it is called once, at start, as the user
that started the server, and what it returns is handed to the constructor, also to those of later reloads. An argument
``host`` tells it what it prepares for, if it has one.

What it returned may have a method ``look_after()`` besides, by which a process that has ended is started anew.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from popframe.errors import ConfigError
from popframe.plugins.discovery import FoundPlugin, describe_error

_logger = logging.getLogger("popframe.plugins")

METHOD = "before_run_as"
"""The name of the class method."""


HOST_ARGUMENT = "host"
"""The name of the argument that a plugin may leave out."""


@dataclass(frozen=True, slots=True)
class Host:
    """What a plugin is to prepare for.

    Attributes:
        is_server: A server that serves many clients until it is stopped. Otherwise it is the process of one client
            (``popframe inetd``), or nobody is served (``popframe check-config``).
        run_as: The user that is to be once root is given up; None for whoever has started it.
    """

    is_server: bool
    run_as: str | None = None


@runtime_checkable
class Closeable(Protocol):
    """What ``before_run_as`` returns."""

    def close(self) -> None:
        """Give back what is held; called when the server has stopped."""


@runtime_checkable
class LookedAfter(Protocol):
    """What ``before_run_as`` returns for a server that serves many clients, if it has to be seen to."""

    def look_after(self) -> float | None:
        """See whether everything is there, and start what has ended.

        Called in the process that has made it, which has one thread and forks the others; as the user that this process
        is by now. It must not block. It is called after a child of that process has ended, and for no reason as well.

        Returns:
            After how many seconds to call it again, whatever happens; None for when a child has ended.
        """


@dataclass(frozen=True, slots=True)
class Preparation:
    """What one plugin has prepared.

    Attributes:
        settings: The settings that it was done with.
        outcome: What ``before_run_as`` returned.
    """

    settings: BaseModel | None
    outcome: Closeable

    def suits(self, settings: BaseModel | None) -> bool:
        """Tell whether it would be the same with these settings."""
        return _values(self.settings) == _values(settings)


def needs_preparation(plugin: FoundPlugin) -> bool:
    """Tell whether a plugin wants to be called before the server gives up root."""
    return hasattr(plugin.plugin_class, METHOD)


def prepare_plugins(
    plugins: Sequence[FoundPlugin], settings: Mapping[str, BaseModel | None], host: Host
) -> dict[str, Preparation]:
    """Let every plugin that wants to do what it cannot do later.

    Args:
        plugins: What was found, in configuration order.
        settings: By name, the validated settings of each plugin that has some.
        host: What they prepare for.

    Raises:
        ConfigError: A plugin cannot; all of them, a line each. What others had prepared is closed again.
    """
    problems: list[str] = []
    prepared = {}
    for plugin in filter(needs_preparation, plugins):
        preparation = _prepare(plugin, settings.get(plugin.name), host, problems)
        if preparation is not None:
            prepared[plugin.name] = preparation
    if problems:
        close_preparations(prepared.values())
        raise ConfigError("\n".join(problems))
    return prepared


def close_preparations(preparations: Iterable[Preparation]) -> None:
    """Close what was prepared."""
    for preparation in preparations:
        preparation.outcome.close()


def look_after_preparations(preparations: Iterable[Preparation]) -> float | None:
    """Let what was prepared be seen to; a defect in that is logged, and stops nobody.

    Returns:
        After how many seconds to do so again; None for when a child has ended.
    """
    pauses: list[float] = []
    for preparation in preparations:
        if not isinstance(preparation.outcome, LookedAfter):
            continue
        try:
            pause = preparation.outcome.look_after()
        except Exception:
            _logger.exception("%s cannot be looked after", type(preparation.outcome).__name__)
        else:
            pauses += [] if pause is None else [pause]
    return min(pauses, default=None)


def _prepare(plugin: FoundPlugin, settings: BaseModel | None, host: Host, problems: list[str]) -> Preparation | None:
    """Return what the plugin has prepared; add to ``problems`` why that does not work."""
    arguments = [] if plugin.settings_model is None else [settings]
    try:
        method: Callable[..., object] = getattr(plugin.plugin_class, METHOD)
        wants_host = HOST_ARGUMENT in inspect.signature(method).parameters
        outcome = method(*arguments, **({HOST_ARGUMENT: host} if wants_host else {}))
    except ConfigError as exc:
        problems += [f"{plugin.source}: {line}" for line in str(exc).splitlines()]
        return None
    except Exception as exc:
        reason = describe_error(exc, plugin.plugin_class.__module__)
        problems.append(f"{plugin.source} does not start: {METHOD}: {reason}")
        return None
    if not isinstance(outcome, Closeable):
        problems.append(f"{plugin.source} does not start: {METHOD} returned {outcome!r}, which has no method 'close'")
        return None
    return Preparation(settings, outcome)


def _values(settings: BaseModel | None) -> dict[str, object] | None:
    """Return the values alone: after a reload, the class of a single-file plugin's settings is another one."""
    return None if settings is None else settings.model_dump()
