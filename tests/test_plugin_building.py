"""From plugin classes to hooks: construction, the roles that must be filled, and what plugins add."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest
from pydantic import BaseModel

from popframe import (
    IN_TRANSACTION,
    Account,
    Command,
    CommandContext,
    ConfigError,
    Maildrop,
    Mechanism,
    PluginSettings,
    Reply,
    SecretScheme,
    StoredSecret,
    hookimpl,
)
from popframe.plugins import (
    FoundPlugin,
    Hooks,
    Host,
    Preparation,
    build_hooks,
    close_preparations,
    look_after_preparations,
    prepare_plugins,
)
from popframe.plugins.inspection import inspect_class


class Authenticator:
    """Fills the first role."""

    @hookimpl
    def popframe_authenticate(self) -> Account | None:
        """Know nobody."""
        return None


class Store:
    """Fills the second role."""

    @hookimpl
    def popframe_open_maildrop(self) -> Maildrop | None:
        """Know nobody."""
        return None


def found(plugin_class: type) -> FoundPlugin:
    """Return a plugin as discovery would, under the name of its class."""
    name = plugin_class.__name__
    model = getattr(plugin_class, "Settings", None)
    return FoundPlugin(name, plugin_class, f"popframe-{name} 1", model, inspect_class(plugin_class).hooks)


def build(*classes: type, settings: Mapping[str, BaseModel | None] | None = None) -> Hooks:
    """Return the hooks of some plugins and of those that fill the roles."""
    plugins = [found(plugin_class) for plugin_class in (*classes, Authenticator, Store)]
    return build_hooks(plugins, settings or {}, reserved_verbs={"STAT"}, reserved_mechanisms={"PLAIN"})


def plugin(name: str, hook: str, function: Callable[..., object]) -> type:
    """Return the class of a plugin whose one hook is a function without self."""
    return type(name, (), {hook: staticmethod(hookimpl(function))})


# --- roles


@pytest.mark.parametrize(
    ("plugin_class", "reason"),
    [
        (Store, "no plugin authenticates users: list one that implements popframe_authenticate, such as auth_file"),
        (Authenticator, "no plugin stores mail: list one that implements popframe_open_maildrop, such as store_mbox"),
    ],
)
def test_server_without_a_role_does_not_start(plugin_class: type, reason: str) -> None:
    """The message says which plugin would fill it."""
    with pytest.raises(ConfigError) as caught:
        build_hooks([found(plugin_class)], {})

    assert str(caught.value) == reason


def test_server_without_plugins_lacks_both_roles() -> None:
    """Both are told at once."""
    with pytest.raises(ConfigError) as caught:
        build_hooks([], {})

    assert len(str(caught.value).splitlines()) == 2


def test_stored_secrets_authenticate_too() -> None:
    """A site may allow only mechanisms that never send the password."""

    class Secrets:
        @hookimpl
        def popframe_lookup_secret(self) -> StoredSecret | None:
            return None

        @hookimpl
        def popframe_register_secret_schemes(self) -> Iterable[SecretScheme]:
            yield SecretScheme("scram-sha-256", 4096)

    class More(Secrets):
        pass

    hooks = build_hooks([found(Secrets), found(More), found(Store)], {})

    assert hooks.secret_schemes == (SecretScheme("scram-sha-256", 4096),) * 2


def test_mechanisms_authenticate_too() -> None:
    """A site may have no passwords at all."""

    class Tokens:
        @hookimpl
        def popframe_register_mechanisms(self) -> Iterable[Mechanism]:
            return (FakeMechanism("X-TOKEN"),)  # type: ignore[return-value]  # start() is not reached

    hooks = build_hooks([found(Tokens), found(Store)], {})

    assert [mechanism.name for mechanism in hooks.mechanisms] == ["X-TOKEN"]


@pytest.mark.parametrize(
    ("hook", "other"),
    [
        ("popframe_lookup_secret", "popframe_register_secret_schemes"),
        ("popframe_register_secret_schemes", "popframe_lookup_secret"),
    ],
)
def test_secrets_that_would_never_be_asked_for_stop_the_start(hook: str, other: str) -> None:
    """What has secrets says of which form they are, and what says so has some."""
    with pytest.raises(ConfigError) as caught:
        build(plugin("half", hook, lambda: ()))

    assert str(caught.value) == (
        f"plugin 'half' (popframe-half 1) implements {hook} and not {other}: one is nothing without the other"
    )


# --- construction


class Configured:
    """A plugin with settings."""

    class Settings(PluginSettings):
        """Its table."""

        number: int = 0

    def __init__(self, settings: Settings) -> None:
        self.number = settings.number

    @hookimpl
    def popframe_register_commands(self) -> Iterable[Command[CommandContext]]:
        """Show the setting."""
        yield Command(f"X{self.number}", answer, IN_TRANSACTION)


def test_plugin_gets_its_settings() -> None:
    """It is built with its own validated table, and with nothing else."""
    hooks = build(Configured, settings={"Configured": Configured.Settings(number=7)})

    assert [command.verb for command in hooks.commands] == ["X7"]


def test_two_servers_share_no_plugin() -> None:
    """What one is configured to do, the other one does not."""
    first = build(Configured, settings={"Configured": Configured.Settings(number=1)})
    second = build(Configured, settings={"Configured": Configured.Settings(number=2)})

    assert (first.commands[0].verb, second.commands[0].verb) == ("X1", "X2")


def test_plugins_that_do_not_start_are_told_together() -> None:
    """A plugin's own ConfigError is passed on line by line; any other error with the plugin's file and line."""

    class Careful(Authenticator):
        def __init__(self) -> None:
            raise ConfigError("users:3: no hash\nusers:5: listed twice")

    class Careless(Authenticator):
        def __init__(self) -> None:
            raise ZeroDivisionError("oops")

    class Demanding(Authenticator):
        def __init__(self, settings: object) -> None:
            """Want settings without having a model."""

    with pytest.raises(ConfigError) as caught:
        build(Careful, Careless, Demanding)
    lines = str(caught.value).splitlines()

    assert lines[:2] == [
        "plugin 'Careful' (popframe-Careful 1): users:3: no hash",
        "plugin 'Careful' (popframe-Careful 1): users:5: listed twice",
    ]
    assert lines[2].startswith(
        f"plugin 'Careless' (popframe-Careless 1) does not start: ZeroDivisionError: oops ({__file__}:"
    )
    assert lines[3].startswith("plugin 'Demanding' (popframe-Demanding 1) does not start: TypeError: ")
    assert len(lines) == 4


def test_plugin_that_cannot_be_registered_is_told() -> None:
    """Registering compares plugins with each other; one that fails then is named."""

    class Proud(Authenticator):
        def __eq__(self, other: object) -> bool:
            raise OSError("incomparable")

        __hash__ = Authenticator.__hash__

    with pytest.raises(ConfigError, match=r"plugin '\w+' \(popframe-\w+ 1\) cannot be registered: OSError: incomp"):
        build(Proud)


# --- what plugins add


def answer(_context: CommandContext, _arguments: Sequence[str]) -> Reply:
    """Carry a command out."""
    return Reply("done")


def command(verb: str) -> Command[CommandContext]:
    """Return a row of the command table."""
    return Command(verb, answer, IN_TRANSACTION)


class FakeMechanism:
    """A mechanism that is only looked at."""

    reveals_password = False
    needs_secret = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def suits(self, peer: object) -> bool:
        """Work everywhere."""
        return True

    def start(self, context: object) -> object:
        """Never begin."""
        raise NotImplementedError


def test_commands_and_mechanisms_are_collected_in_order() -> None:
    """A generator function will do, as will any iterable."""

    class First:
        @hookimpl
        def popframe_register_commands(self) -> Iterable[Command[CommandContext]]:
            yield command("XB")
            yield command("XA")

    class Second:
        @hookimpl
        def popframe_register_commands(self) -> Iterable[Command[CommandContext]]:
            return [command("XC")]

        @hookimpl
        def popframe_register_mechanisms(self) -> Iterable[Mechanism]:
            return (FakeMechanism("X-TOKEN"),)  # type: ignore[return-value]  # start() is not reached

    hooks = build(First, Second)

    assert [row.verb for row in hooks.commands] == ["XB", "XA", "XC"]
    assert [mechanism.name for mechanism in hooks.mechanisms] == ["X-TOKEN"]


@pytest.mark.parametrize(
    ("hook", "answers", "reason"),
    [
        ("popframe_register_commands", [command("STAT")], "command STAT is taken already, by popframe itself"),
        ("popframe_register_commands", [command("XA"), command("XA")], "command XA is taken already, by plugin 'odd'"),
        ("popframe_register_commands", [command("XTND")], "command XTND is taken already, by plugin 'owner'"),
        ("popframe_register_commands", ["XA"], "yielded str instead of Command"),
        ("popframe_register_commands", 3, "returned int instead of an iterable"),
        ("popframe_register_commands", None, "returned NoneType instead of an iterable"),
        ("popframe_register_commands", [Command("XA", None, IN_TRANSACTION)], "the handler of XA cannot be called"),  # type: ignore[arg-type]  # that is the mistake
        ("popframe_register_mechanisms", [FakeMechanism("PLAIN")], "mechanism PLAIN is taken already"),
        ("popframe_register_mechanisms", [FakeMechanism("lower")], "'lower' is not the name of a mechanism"),
        ("popframe_register_mechanisms", [FakeMechanism("X" * 21)], "is not the name of a mechanism"),
        ("popframe_register_mechanisms", [object()], "None is not the name of a mechanism"),
        ("popframe_register_mechanisms", [type("M", (), {"name": "M"})()], "M lacks reveals_password, a bool"),
        (
            "popframe_register_mechanisms",
            [type("M", (), {"name": "M", "reveals_password": True})()],
            "M lacks needs_secret, a str",
        ),
        (
            "popframe_register_mechanisms",
            [type("M", (), {"name": "M", "reveals_password": True, "needs_secret": ""})()],
            "M lacks suits()",
        ),
        (
            "popframe_register_mechanisms",
            [type("M", (), {"name": "M", "reveals_password": True, "needs_secret": "", "suits": print})()],
            "M lacks start()",
        ),
        (
            "popframe_register_mechanisms",
            [type("M", (), {"name": "M", "reveals_password": True, "needs_secret": "md5"})()],
            "M needs the scheme 'md5' (known: plain, scram-sha-1, scram-sha-256)",
        ),
    ],
)
def test_what_cannot_be_added_stops_the_start(hook: str, answers: object, reason: str) -> None:
    """A name that is taken, or a thing of another kind: the message names plugin and hook."""
    owner = plugin("owner", "popframe_register_commands", lambda: [command("XTND")])

    with pytest.raises(ConfigError) as caught:
        build(owner, plugin("odd", hook, lambda: answers))

    assert str(caught.value).startswith(f"plugin 'odd' (popframe-odd 1): {hook}")
    assert reason in str(caught.value)


def failing() -> object:
    """Fail as a hook."""
    raise ZeroDivisionError("oops")


def test_failures_while_collecting_are_told_together() -> None:
    """The operator sees all of them at once."""
    with pytest.raises(ConfigError) as caught:
        build(
            plugin("one", "popframe_register_commands", failing),
            plugin("two", "popframe_register_mechanisms", lambda: 3),
        )
    first, second = str(caught.value).splitlines()

    assert first.startswith("plugin 'one' (popframe-one 1): popframe_register_commands failed: ZeroDivisionError: oops")
    assert second.startswith("plugin 'two' (popframe-two 1): popframe_register_mechanisms returned int")


# --- what is prepared before the server gives up root


SERVER = Host(is_server=True, run_as="mail")


class Prepared:
    """What a plugin prepared; it remembers whether it was closed."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings
        self.is_closed = False

    def close(self) -> None:
        """Remember."""
        self.is_closed = True


class Preparing(Authenticator):
    """Prepares, and keeps what it was given."""

    class Settings(PluginSettings):
        """One setting."""

        word: str = "first"

    @classmethod
    def before_run_as(cls, settings: Settings) -> Prepared:
        """Prepare."""
        if settings.word == "impossible":
            raise ConfigError("cannot be done\nby nobody")
        return Prepared(settings)

    def __init__(self, settings: Settings, prepared: Prepared) -> None:
        prepared.settings = settings


def settings_of(word: str) -> dict[str, BaseModel | None]:
    """Return the settings for the plugin above."""
    return {"Preparing": Preparing.Settings(word=word)}


def test_what_a_plugin_prepares_reaches_its_constructor_again_and_again() -> None:
    """The first plugin and that of every reload get one and the same object, with their own settings."""
    plugins = [found(Preparing), found(Store)]
    prepared = prepare_plugins(plugins, settings_of("first"), SERVER)
    outcome = prepared["Preparing"].outcome
    assert isinstance(outcome, Prepared)

    for _ in range(2):
        settings = settings_of("first")
        build_hooks(plugins, settings, prepared=prepared)
        assert outcome.settings is settings["Preparing"]
    close_preparations(prepared.values())
    assert outcome.is_closed


@pytest.mark.parametrize("is_listed_at_start", [True, False])
def test_reload_is_refused_when_something_else_would_have_to_be_prepared(is_listed_at_start: bool) -> None:
    """Other settings, or a plugin that was not there at start: nobody could prepare it now."""
    prepared = prepare_plugins([found(Preparing)] if is_listed_at_start else [], settings_of("first"), SERVER)

    with pytest.raises(ConfigError, match=r"^plugin 'Preparing' \(popframe-Preparing 1\): .*restart the server$"):
        build_hooks([found(Preparing), found(Store)], settings_of("second"), prepared=prepared)


@pytest.mark.parametrize("has_settings", [True, False])
def test_plugin_that_asks_is_told_what_it_prepares_for(has_settings: bool) -> None:
    """The argument ``host`` is filled, with settings before it or without."""
    told: list[Host] = []

    class WithSettings(Authenticator):
        """Wants to know."""

        Settings = Preparing.Settings

        @classmethod
        def before_run_as(cls, settings: Preparing.Settings, host: Host) -> Prepared:
            """Remember."""
            told.append(host)
            return Prepared(settings)

    class Without(Authenticator):
        """Wants to know, and has no settings."""

        @classmethod
        def before_run_as(cls, host: Host) -> Prepared:
            """Remember."""
            told.append(host)
            return Prepared(Preparing.Settings())

    plugin_class = WithSettings if has_settings else Without
    prepare_plugins([found(plugin_class)], {plugin_class.__name__: Preparing.Settings()}, SERVER)

    assert told == [SERVER]


class Patient(Prepared):
    """Wants to be looked after."""

    def __init__(self, answer: float | Exception | None) -> None:
        super().__init__(Preparing.Settings())
        self.answer = answer
        self.look_count = 0

    def look_after(self) -> float | None:
        """Count."""
        self.look_count += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_what_was_prepared_is_looked_after(caplog: pytest.LogCaptureFixture) -> None:
    """All that wants it; the shortest pause counts, and a defect is logged and keeps nobody from being seen to."""
    patients = [Patient(7.0), Patient(ZeroDivisionError("a defect")), Patient(None), Patient(3.0)]
    preparations = [Preparation(None, outcome) for outcome in (Prepared(Preparing.Settings()), *patients)]

    assert look_after_preparations(preparations) == 3.0
    assert [patient.look_count for patient in patients] == [1] * 4
    assert "Patient cannot be looked after" in caplog.text
    assert "a defect" in caplog.text
    assert look_after_preparations(preparations[:1]) is None
    assert look_after_preparations([]) is None


def test_server_does_not_start_when_a_plugin_cannot_prepare() -> None:
    """Every reason is told, and what others have prepared is closed."""
    made: list[Prepared] = []

    class Other(Authenticator):
        """Prepares as well."""

        @classmethod
        def before_run_as(cls) -> Prepared:
            """Prepare."""
            made.append(Prepared(Preparing.Settings()))
            return made[0]

    class Useless(Authenticator):
        """Returns what cannot be closed."""

        @classmethod
        def before_run_as(cls) -> None:
            """Prepare nothing."""

    class Broken(Authenticator):
        """Has a defect."""

        @classmethod
        def before_run_as(cls) -> None:
            """Fail."""
            raise RuntimeError("a defect")

    plugins = [found(plugin_class) for plugin_class in (Other, Preparing, Useless, Broken)]
    with pytest.raises(ConfigError) as caught:
        prepare_plugins(plugins, settings_of("impossible"), SERVER)

    lines = str(caught.value).splitlines()
    assert lines[:2] == [
        "plugin 'Preparing' (popframe-Preparing 1): cannot be done",
        "plugin 'Preparing' (popframe-Preparing 1): by nobody",
    ]
    assert lines[2].endswith("does not start: before_run_as returned None, which has no method 'close'")
    assert "does not start: before_run_as: " in lines[3]
    assert "a defect" in lines[3]
    assert made[0].is_closed
