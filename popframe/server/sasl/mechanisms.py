"""Which SASL mechanisms a server offers, of its own and its plugins': as configuration and stored secrets allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from popframe.config import LoginSettings
from popframe.extension import Mechanism
from popframe.plugins import FoundPlugin, Hooks
from popframe.sasl import BUILT_IN, OFF_BY_DEFAULT, Apop, built_in
from popframe.suggestion import suggest


def may_offer_scram(settings: LoginSettings, plugins: Iterable[FoundPlugin]) -> bool:
    """Tell, before plugins are built, whether SCRAM may be among the mechanisms: then its library is needed."""
    is_wanted = settings.mechanisms is None or any(name.startswith("SCRAM-") for name in settings.mechanisms)
    return is_wanted and any("popframe_register_secret_schemes" in plugin.hooks for plugin in plugins)


def unknown_mechanisms(settings: LoginSettings, hooks: Hooks) -> list[str]:
    """Return a sentence for each mechanism in the configuration that does not exist."""
    known = [*BUILT_IN, *(mechanism.name for mechanism in hooks.mechanisms)]
    return [
        f"there is no SASL mechanism {name!r}" + suggest(name, known, "mechanisms")
        for name in settings.mechanisms or ()
        if name not in known
    ]


def offered_mechanisms(settings: LoginSettings, hooks: Hooks) -> list[Mechanism]:
    """Return the mechanisms that AUTH takes, in the order in which they are announced.

    What needs a stored secret that no plugin has is left out, also where the configuration names it; so is what does
    not exist.
    """
    foreign = {mechanism.name: mechanism for mechanism in hooks.mechanisms}
    known = [*BUILT_IN, *foreign]
    names = settings.mechanisms
    if names is None:
        names = tuple(name for name in known if name not in OFF_BY_DEFAULT)
    schemes = {"", *(scheme.name for scheme in hooks.secret_schemes)}
    needs = {mechanism.name: mechanism.needs_secret for mechanism in (*built_in(known), *foreign.values())}
    usable = [name for name in dict.fromkeys(names) if needs.get(name) in schemes]
    chosen = {mechanism.name: mechanism for mechanism in built_in(usable)} | foreign
    return [chosen[name] for name in usable]


def offers_apop(settings: LoginSettings, hooks: Hooks) -> bool:
    """Tell whether APOP is wanted and some plugin has the passwords that it needs."""
    return settings.apop and any(scheme.name == Apop.needs_secret for scheme in hooks.secret_schemes)


def by_name(mechanisms: Iterable[Mechanism], *, with_apop: bool) -> Mapping[str, Mechanism]:
    """Return what exchanges are begun with."""
    found = {mechanism.name: mechanism for mechanism in mechanisms}
    return found | {Apop.name: Apop()} if with_apop else found
