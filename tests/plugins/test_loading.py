"""Loading: packages as pip leaves them on disk, good and bad; what a bad one does stays with it."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint, distributions
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from convaid.errors import Problem
from convaid.plugins import Plugin, Plugins, load_plugins

numbers = count()

GOOD = """
    from convaid import hookimpl, tool

    @tool
    def {tool}() -> str:
        "Do it."
        return "done"

    @hookimpl
    def convaid_tools():
        return [{tool}]
"""


@define
class Site:
    """A folder with packages in it, as pip installs them."""

    folder: Path
    modules: list[str] = field(factory=list)

    def install(self, plugin: str, source: str, *, package: str = "", **words: str) -> None:
        """Write a module, and beside it what tells that it is a plugin."""
        module = f"convaid_test_plugin_{os.getpid()}_{next(numbers)}"
        self.modules.append(module)
        self.folder.joinpath(f"{module}.py").write_text(textwrap.dedent(source).format(**words))
        package = package or f"convaid-{plugin}"
        record = self.folder / f"{package.replace('-', '_')}-{len(self.modules)}.0.dist-info"
        record.mkdir()
        record.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: {len(self.modules)}.0\n"
        )
        record.joinpath("entry_points.txt").write_text(f"[convaid]\n{plugin} = {module}\n")

    def load(self, **tables: dict[str, Any]) -> Plugins:
        found: list[EntryPoint] = []
        for distribution in distributions(path=[str(self.folder)]):
            found += distribution.entry_points
        return load_plugins(tables, entry_points=found)

    def load_one(self, source: str, **table: Any) -> Plugin:
        """Load a plugin named "one" with this source, beside a good one that it must not disturb."""
        self.install("good", GOOD, tool="good")
        self.install("one", source)
        plugins = self.load(one=table)
        good, one = plugins
        assert (good.status, [tool.name for tool in good.tools]) == ("ready", ["good"])
        return one


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.syspath_prepend(tmp_path)
    site = Site(tmp_path)
    yield site
    for module in site.modules:
        sys.modules.pop(module, None)


def test_a_plugin_offers_what_its_hooks_return(site: Site) -> None:
    site.install(
        "all",
        """
        from contextlib import asynccontextmanager
        from attrs import frozen
        from convaid import hookimpl, tool

        @frozen
        class Settings:
            volume: int
            name: str = "radio"

        @tool
        async def play() -> str:
            "Play."

        @hookimpl
        def convaid_tools():
            return [play]

        @hookimpl
        def convaid_settings():
            return Settings

        @hookimpl
        @asynccontextmanager
        async def convaid_lifespan(settings):
            yield settings

        @hookimpl
        def convaid_observe(event):
            return event
        """,
    )
    (plugin,) = site.load(all={"enabled": True, "volume": 3})
    assert (plugin.name, plugin.distribution, plugin.version) == ("all", "convaid-all", "1.0")
    assert (plugin.status, plugin.reason) == ("ready", "")
    assert plugin.import_seconds > 0
    assert [tool.name for tool in plugin.tools] == ["play"]
    assert (plugin.settings.volume, plugin.settings.name) == (3, "radio")
    assert plugin.lifespan is not None
    assert isinstance(plugin.lifespan(), AbstractAsyncContextManager)
    assert plugin.observe is not None
    assert plugin.observe("an event") == "an event"  # type: ignore[arg-type]


def test_a_plugin_may_offer_nothing_and_hooks_may_leave_arguments_out(site: Site) -> None:
    plugin = site.load_one(
        """
        from contextlib import asynccontextmanager
        from convaid import hookimpl

        @hookimpl
        @asynccontextmanager
        async def convaid_lifespan():
            yield
        """
    )
    assert (plugin.status, plugin.tools, plugin.settings, plugin.observe) == ("ready", (), None, None)
    assert plugin.lifespan is not None
    plugin.lifespan()


def test_order_is_that_of_the_names(site: Site) -> None:
    for name in ("zebra", "ant", "mole"):
        site.install(name, GOOD, tool=name)
    assert [plugin.name for plugin in site.load()] == ["ant", "mole", "zebra"]


def test_a_disabled_plugin_is_not_imported(site: Site) -> None:
    site.install("off", "raise SystemExit('imported')")
    (plugin,) = site.load(off={"enabled": False, "whatever": 1})
    assert (plugin.status, plugin.reason) == ("disabled", "plugins.off.enabled is false")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found' ("),
        ("raise SystemExit(3)", "SystemExit: 3 ("),
        ("raise GeneratorExit", "GeneratorExit ("),
        ("class E(BaseException): pass\nraise E('odd')", "E: odd ("),
        ("def (", "SyntaxError: "),
        (
            "from convaid import tool\n@tool\ndef f(a: int) -> None:\n    'Do.'\n",
            "ToolDefinitionError: ",
        ),
        (
            "from convaid import hookimpl\n@hookimpl\ndef convaid_tool(): return []\n",
            'there is no hook "convaid_tool"; did you mean "convaid_tools"?',
        ),
        (
            "def convaid_on_every_single_message(): return []\n",
            'there is no hook "convaid_on_every_single_message"; there are: convaid_tools, convaid_settings, ',
        ),
        ("def convaid_tools(): return []\n", "convaid_tools is not decorated with @hookimpl"),
        (
            "from convaid import hookimpl\n@hookimpl\nasync def convaid_lifespan(settings):\n    yield\n",
            "convaid_lifespan is not decorated with @asynccontextmanager",
        ),
        (
            "from convaid import hookimpl\n@hookimpl\ndef convaid_tools(config): return []\n",
            "hook 'convaid_tools'",
        ),
        (
            "from convaid import hookimpl\n@hookimpl\ndef convaid_tools(): raise SystemExit('no')\n",
            "SystemExit: no (",
        ),
        (
            "from convaid import hookimpl\n@hookimpl\ndef convaid_tools(): return [print]\n",
            "convaid_tools returned <built-in function print>, which is not decorated with @tool",
        ),
        (
            "from convaid import hookimpl\n@hookimpl\ndef convaid_tools(): return 5\n",
            "TypeError: 'int' object is not iterable",
        ),
        (
            "from convaid import hookimpl, tool\n@tool\ndef f() -> None:\n    'Do.'\n"
            "@hookimpl\ndef convaid_tools(): return [f, f]\n",
            'it has two tools of the name "f"',
        ),
        (
            "from convaid import hookimpl\n@hookimpl\ndef convaid_settings(): return dict\n",
            "convaid_settings returned <class 'dict'>, which is not an attrs class",
        ),
    ],
)
def test_a_broken_plugin_is_a_status_with_a_reason(site: Site, source: str, reason: str) -> None:
    plugin = site.load_one(source)
    assert plugin.status == "broken"
    assert reason in plugin.reason
    assert plugin.tools == ()


def test_keyboard_interrupt_is_the_users(site: Site) -> None:
    site.install("one", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        site.load()


def test_settings_that_do_not_fit_are_problems_with_paths(site: Site) -> None:
    site.install(
        "radio",
        """
        from attrs import frozen
        from convaid import hookimpl

        @frozen
        class Settings:
            volume: int
            name: str

        @hookimpl
        def convaid_settings():
            return Settings
        """,
    )
    site.install("good", GOOD, tool="good")
    plugins = site.load(radio={"volume": "loud", "nam": "x"}, good={"speed": 1}, goood={}, xyzzy={})
    assert [(plugin.name, plugin.status) for plugin in plugins] == [("good", "broken"), ("radio", "broken")]
    assert set(plugins.problems) == {
        Problem("plugins.good.speed", "is not known; nothing is expected here"),
        Problem("plugins.radio.volume", 'expected a whole number, got the text "loud"'),
        Problem("plugins.radio.name", "is required and missing"),
        Problem("plugins.radio.nam", 'is not known; did you mean "name"?'),
        Problem("plugins.goood", 'no plugin of this name is installed; did you mean "good"?'),
        Problem("plugins.xyzzy", "no plugin of this name is installed; installed are: good, radio"),
    }
    assert "plugins.radio.volume" in next(plugin.reason for plugin in plugins if plugin.name == "radio")
    assert plugins.ready == ()


def test_a_tool_name_has_one_owner_and_both_are_named(site: Site) -> None:
    site.install("ant", GOOD, tool="dig")
    site.install("mole", GOOD, tool="dig")
    site.install("zebra", GOOD, tool="run")
    ant, mole, zebra = site.load()
    assert [ant.status, mole.status, zebra.status] == ["ready", "refused", "ready"]
    assert mole.reason == 'its tool "dig" is already offered by the plugin "ant" (convaid-ant 1.0)'


def test_a_tool_that_a_server_or_a_table_has_named_gives_way_alone(site: Site) -> None:
    declared = """
        from convaid import declare_tool, hookimpl

        def act(arguments, context):
            return "done"

        @hookimpl
        def convaid_tools():
            return [declare_tool(act, name=name, description="Do it.") for name in {names}]
    """
    site.install("ant", declared, names=["dig", "fly"])
    site.install("bee", declared, names=["fly", "sting"])
    site.install("mole", GOOD, tool="dig")
    ant, bee, mole = site.load()
    assert [plugin.status for plugin in (ant, bee, mole)] == ["ready"] * 3
    assert [[tool.name for tool in plugin.tools] for plugin in (ant, bee, mole)] == [["fly"], ["sting"], ["dig"]]
    taken = "is left out: it is already offered by the plugin"
    assert ant.reason == f'its tool "dig" {taken} "mole" (convaid-mole 3.0)'
    assert bee.reason == f'its tool "fly" {taken} "ant" (convaid-ant 1.0)'
    assert mole.reason == ""


def test_a_refused_plugin_does_not_take_names(site: Site) -> None:
    site.install("ant", GOOD, tool="dig")
    site.install(
        "mole",
        """
        from convaid import hookimpl, tool

        @tool
        def dig() -> None:
            "Dig."

        @tool
        def run() -> None:
            "Run."

        @hookimpl
        def convaid_tools():
            return [dig, run]
        """,
    )
    site.install("zebra", GOOD, tool="run")
    assert [plugin.status for plugin in site.load()] == ["ready", "refused", "ready"]


def test_two_plugins_of_one_name(site: Site) -> None:
    site.install("ant", GOOD, tool="dig")
    site.install("ant", GOOD, tool="run", package="convaid-other-ant")
    first, second = site.load()
    assert (first.status, second.status) == ("ready", "refused")
    assert second.reason == f"its name is taken by {first}"


def test_the_plugins_of_this_repository_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {plugin.name: plugin for plugin in load_plugins({})}
    if not {"clock", "notes"} <= set(installed):
        reason = "not installed: pip install -e plugins/clock -e plugins/notes"
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    for name, tools in {"clock": 1, "notes": 4}.items():
        assert (installed[name].status, len(installed[name].tools)) == ("ready", tools)


def test_public_names_are_imported_when_asked_for() -> None:
    import subprocess

    lines = (
        "import sys, convaid; assert 'convaid.plugins' not in sys.modules; convaid.__version__",
        "from convaid import tool, hookimpl, Tool, ToolContext, ToolError; assert 'trio' not in sys.modules",
        "assert not hasattr(convaid, 'nothing')",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=30)
