"""From the plugins' classes to the hooks of a server.

Rule of this file: a server does not start without one of its plugins, nor with a role that none of them fills; all
reasons are told at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import pluggy
from pydantic import BaseModel

from popframe import hookspecs
from popframe.errors import ConfigError, HookContractError
from popframe.plugins import contract
from popframe.plugins.discovery import FoundPlugin, describe_error
from popframe.plugins.hooks import Hooks, Implementation
from popframe.plugins.inspection import SPECIFICATIONS
from popframe.plugins.preparation import Preparation, needs_preparation

AnswerT = TypeVar("AnswerT")

SETGID_ATTRIBUTE = "starts_setgid_programs"
"""What a plugin object has, and is true, when it starts programs in a session that need a setuid or setgid bit."""

NOTHING_PREPARED: Mapping[str, Preparation] = MappingProxyType({})

ROLES: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset({"popframe_authenticate", "popframe_lookup_secret", "popframe_register_mechanisms"}),
        "no plugin authenticates users: list one that implements popframe_authenticate, such as auth_file",
    ),
    (
        frozenset({"popframe_open_maildrop"}),
        "no plugin stores mail: list one that implements popframe_open_maildrop, such as store_mbox",
    ),
)
"""Hooks of which at least one must be implemented, and what to say when none is."""


def missing_roles(plugins: Iterable[FoundPlugin]) -> list[str]:
    """Return a sentence for each role without which no client could read mail."""
    implemented = {hook for plugin in plugins for hook in plugin.hooks}
    return [text for hooks, text in ROLES if not hooks & implemented]


def build_hooks(
    plugins: Sequence[FoundPlugin],
    settings: Mapping[str, BaseModel | None],
    *,
    reserved_verbs: Collection[str] = (),
    reserved_mechanisms: Collection[str] = (),
    prepared: Mapping[str, Preparation] = NOTHING_PREPARED,
) -> Hooks:
    """Construct the plugins, in order, and put their hooks together.

    Args:
        plugins: What was found, in configuration order.
        settings: By name, the validated settings of each plugin that has some.
        reserved_verbs: Commands that no plugin can take.
        reserved_mechanisms: SASL mechanisms that no plugin can take.
        prepared: By name, what :func:`~popframe.plugins.prepare_plugins` has made of those that want it.

    Raises:
        ConfigError: A plugin does not start, a role is missing, or a name is taken twice; all of it, a line each.
    """
    problems = [*missing_roles(plugins), *_useless_secrets(plugins)]
    objects = {plugin.name: _construct(plugin, settings, prepared, problems) for plugin in plugins}
    if problems:
        raise ConfigError("\n".join(problems))
    implementations = _register(plugins, objects)
    commands = _collect(
        implementations["popframe_register_commands"],
        contract.accept_commands,
        lambda command: f"command {command.verb}",
        {f"command {verb}" for verb in reserved_verbs},
        problems,
    )
    mechanisms = _collect(
        implementations["popframe_register_mechanisms"],
        contract.accept_mechanisms,
        lambda mechanism: f"mechanism {mechanism.name}",
        {f"mechanism {name}" for name in reserved_mechanisms},
        problems,
    )
    schemes = _collect(
        implementations["popframe_register_secret_schemes"],
        contract.accept_schemes,
        lambda scheme: f"scheme {scheme}",
        (),
        problems,
        may_repeat=True,
    )
    if problems:
        raise ConfigError("\n".join(problems))
    starts_setgid = any(getattr(plugin, SETGID_ATTRIBUTE, False) for plugin in objects.values())
    return Hooks(implementations, commands, mechanisms, schemes, starts_setgid_programs=starts_setgid)


def _useless_secrets(plugins: Iterable[FoundPlugin]) -> Iterator[str]:
    """Yield a sentence for each plugin whose secrets would never be asked for."""
    hooks = frozenset({"popframe_lookup_secret", "popframe_register_secret_schemes"})
    for plugin in plugins:
        present = hooks & set(plugin.hooks)
        if present and present != hooks:
            there, missing = next(iter(present)), next(iter(hooks - present))
            yield f"{plugin.source} implements {there} and not {missing}: one is nothing without the other"


def _construct(
    plugin: FoundPlugin,
    settings: Mapping[str, BaseModel | None],
    prepared: Mapping[str, Preparation],
    problems: list[str],
) -> object:
    """Make the plugin's object; add to ``problems`` why that does not work."""
    arguments: list[object] = [] if plugin.settings_model is None else [settings[plugin.name]]
    if needs_preparation(plugin):
        preparation = prepared.get(plugin.name)
        if preparation is None or not preparation.suits(settings.get(plugin.name)):
            problems.append(f"{plugin.source}: what it prepares at start has changed: restart the server")
            return None
        arguments.append(preparation.outcome)
    try:
        return plugin.plugin_class(*arguments)
    except ConfigError as exc:
        problems += [f"{plugin.source}: {line}" for line in str(exc).splitlines()]
    except Exception as exc:
        reason = describe_error(exc, plugin.plugin_class.__module__)
        problems.append(f"{plugin.source} does not start: {reason}")
    return None


def _register(plugins: Sequence[FoundPlugin], objects: Mapping[str, object]) -> dict[str, list[Implementation]]:
    """Let pluggy match the objects with the specifications, and take the outcome in configuration order."""
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    sources = {plugin.name: plugin.source for plugin in plugins}
    for name, source in reversed(sources.items()):  # pluggy asks the last registered first
        try:
            manager.register(objects[name], name=name)
        except Exception as exc:  # besides pluggy's own, what the plugin's attributes raise when they are looked at
            raise ConfigError(f"{source} cannot be registered: {type(exc).__name__}: {exc}") from exc
    manager.check_pending()
    return {
        hook: [
            Implementation(f"{sources[found.plugin_name]}: {hook}", found.function, found.argnames)
            for found in reversed(getattr(manager.hook, hook).get_hookimpls())
        ]
        for hook in SPECIFICATIONS
    }


def _collect(
    implementations: Iterable[Implementation],
    accept: Callable[[str, object], tuple[AnswerT, ...]],
    title: Callable[[AnswerT], str],
    taken: Collection[str],
    problems: list[str],
    *,
    may_repeat: bool = False,
) -> list[AnswerT]:
    """Ask every plugin for what it adds; add to ``problems`` what cannot be taken."""
    owners = dict.fromkeys(taken, "popframe itself")
    collected: list[AnswerT] = []
    for implementation in implementations:
        try:
            answers = accept(implementation.source, implementation.call({}))
        except HookContractError as exc:
            problems.append(str(exc))
            continue
        except Exception as exc:
            reason = describe_error(exc, implementation.function.__module__)
            problems.append(f"{implementation.source} failed: {reason}")
            continue
        for answer in answers:
            name = title(answer)
            if name in owners and not may_repeat:
                problems.append(f"{implementation.source}: {name} is taken already, by {owners[name]}")
            owners.setdefault(name, implementation.source)
            collected.append(answer)
    return collected
