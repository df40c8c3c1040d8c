"""Finding the installed plugins and finding out what they offer (floor 4).

Plugins are entry points in the group ``convaid``. They are loaded one by one by a loop of our own, in the order of
their names: pluggy's own loading stops at the first broken plugin and has no stable order. A plugin that cannot be used
has a status with a reason; it never stops the others, nor the daemon.
"""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import EntryPoint
from importlib.metadata import entry_points as find_entry_points
from typing import Any, Literal, get_args

import attrs
import pluggy
from attrs import field, frozen

from convaid.config import ConversationConfig
from convaid.config.policy import ALL_TOOLS, ToolsConfig, name_plugin
from convaid.errors import Problem, StructureError
from convaid.events import ApprovalRequest, Event
from convaid.plugins import hookspecs
from convaid.plugins.activation import Activation
from convaid.plugins.devices import OURS, AudioDevice
from convaid.plugins.options import find_place
from convaid.plugins.schema import ShapeError
from convaid.plugins.tool import Tool
from convaid.structuring import join_path, nearest, structure

__all__ = ["Plugin", "Plugins", "Status", "describe_failure", "find_stray_tables", "load_plugins"]

logger = logging.getLogger(__name__)

Status = Literal["ready", "disabled", "broken", "refused"]
"""ready: in use; disabled: by the configuration, and not imported; broken: it, or its table in the configuration, has a
fault; refused: it clashes with another plugin."""

HOOK_PREFIX = "convaid_"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith(HOOK_PREFIX))


@frozen
class Plugin:
    """An installed plugin: who it is, whether it is of use, and what it offers."""

    name: str
    """The entry point's name, which is also that of its table in the configuration."""
    module: str
    distribution: str
    version: str
    status: Status
    reason: str = ""
    """Why the plugin is not ready, or why some of its tools are left out; a sentence for a person."""
    tools: tuple[Tool, ...] = ()
    settings: Any = None
    lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None
    observe: Callable[[Event], Any] | None = None
    approve: Callable[[ApprovalRequest], Any] | None = None
    activate: Callable[[Activation], Any] | None = None
    devices: tuple[AudioDevice, ...] = ()
    loop: hookspecs.Loop = "trio"
    table: Mapping[str, Any] = field(factory=dict, repr=False)
    """Its table in the configuration, as it stands there: a process of the plugin's makes the settings from it anew."""
    import_seconds: float = 0.0

    def __str__(self) -> str:
        return f'the plugin "{self.name}" ({self.distribution} {self.version})'


@frozen
class Plugins:
    """All installed plugins, in the order of their names."""

    all: tuple[Plugin, ...]
    problems: tuple[Problem, ...] = ()
    """What is wrong with the plugins' tables in the configuration."""

    def __iter__(self) -> Iterator[Plugin]:
        return iter(self.all)

    @property
    def ready(self) -> tuple[Plugin, ...]:
        return tuple(plugin for plugin in self.all if plugin.status == "ready")


@frozen
class _NoSettings:
    """What the table of a plugin without settings is held against: nothing is expected there."""


class _Unusable(Exception):
    """The plugin cannot be used; ``str()`` is the reason."""


def load_plugins(
    tables: Mapping[str, Mapping[str, Any]], *, entry_points: Iterable[EntryPoint] | None = None
) -> Plugins:
    """Import every plugin that is installed and not disabled, and ask it what it offers.

    ``tables`` are the plugins' tables in the configuration: ``enabled`` and the plugin's own settings. ``entry_points``
    stands in for what is installed. Never raises because of a plugin: whatever it raises becomes its status, SystemExit
    at import included; only KeyboardInterrupt passes.
    """
    found = find_entry_points(group=hookspecs.PROJECT) if entry_points is None else entry_points
    plugins: list[Plugin] = []
    problems: list[Problem] = []
    for entry_point in sorted(found, key=lambda point: (point.name, point.value)):
        plugin = _identify(entry_point)
        table = dict(tables.get(plugin.name, {}))
        if twin := next((other for other in plugins if other.name == plugin.name), None):
            plugin = attrs.evolve(plugin, status="refused", reason=f"its name is taken by {twin}")
        elif table.pop("enabled", True) is False:
            plugin = attrs.evolve(plugin, status="disabled", reason=f"plugins.{plugin.name}.enabled is false")
        else:
            plugin = _load(plugin, entry_point, table, problems)
            plugin = _refuse_taken_names(plugin, plugins)
        plugins.append(plugin)
    plugins = _leave_out_taken_tools(plugins)
    names = [plugin.name for plugin in plugins]
    for name in tables:
        if name not in names:
            hint = _suggest(name, names) or f"installed are: {', '.join(names) or 'none'}"
            problems.append(Problem(f"plugins.{name}", f"no plugin of this name is installed; {hint}"))
    return Plugins(tuple(plugins), tuple(problems))


def find_stray_tables(plugins: Plugins, names: Iterable[str]) -> tuple[list[Problem], list[Problem]]:
    """Return what is wrong with the names of tables such as ``[tools.NAME]``: slips of the pen, and what is absent.

    A name that is nearly that of a tool or plugin is a slip: what the table forbids would be allowed. Any other may
    belong to a tool that is not there just now, because its plugin is broken, say.
    """
    offered = [tool.name for plugin in plugins.ready for tool in plugin.tools]
    known = [*offered, ALL_TOOLS, *(name_plugin(plugin.name) for plugin in plugins)]
    slips, absent = [], []
    for name in names:
        if name in known:
            continue
        place = join_path("tools", name)
        if found := _suggest(name, known):
            slips.append(Problem(place, f"no plugin in use offers this tool; {found}"))
        else:
            absent.append(Problem(place, "no plugin in use offers this tool; `convaid tools` lists those there are"))
    return slips, absent


def find_misplaced_tools(plugins: Plugins, config: ToolsConfig) -> list[Problem]:
    """Return a problem for each tool whose policy would have it run where its kind of function cannot."""
    problems = []
    for plugin in plugins.ready:
        for tool in plugin.tools:
            runs = config.find_policy(tool.name, plugin.name).runs
            try:
                find_place(runs, is_async=tool.is_async)
                if runs == "process" != tool.runs and plugin.lifespan and tool.context_parameter is not None:
                    raise ShapeError(
                        'may use what its plugin has opened, which a process does not have: leave runs="process" out'
                    )
            except ShapeError as error:
                problems.append(Problem(join_path("tools", tool.name), f"the tool {error}"))
    return problems


def find_unknown_devices(plugins: Plugins, conversations: Mapping[str, ConversationConfig]) -> list[Problem]:
    """Return a problem for each conversation by a device that no plugin offers."""
    offered = [device.name for plugin in plugins.ready for device in plugin.devices]
    known = [*OURS, *offered]
    return [
        Problem(
            f"conversations.{name}.audio",
            f'"{settings.audio}" is none of convaid\'s ({", ".join(OURS)}), and no plugin in use offers such a device; '
            + (_suggest(settings.audio, known) or f"plugins offer: {', '.join(offered) or 'none'}"),
        )
        for name, settings in conversations.items()
        if settings.audio not in known
    ]


def _identify(entry_point: EntryPoint) -> Plugin:
    distribution = entry_point.dist
    return Plugin(
        name=entry_point.name,
        module=entry_point.value,
        distribution=distribution.name if distribution else "unknown package",
        version=distribution.version if distribution else "",
        status="ready",
    )


def _load(plugin: Plugin, entry_point: EntryPoint, table: Mapping[str, Any], problems: list[Problem]) -> Plugin:
    start = time.perf_counter()
    try:
        target = entry_point.load()
        plugin = attrs.evolve(plugin, import_seconds=time.perf_counter() - start)
        return _ask(plugin, _register(target), table)
    except StructureError as error:
        problems.extend(error.problems)
        return attrs.evolve(plugin, status="broken", reason=str(error))
    except _Unusable as error:
        return attrs.evolve(plugin, status="broken", reason=str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # plugin code runs here: whatever it does is its own misfortune
        logger.debug("%s cannot be loaded", plugin, exc_info=error)
        return attrs.evolve(plugin, status="broken", reason=describe_failure(error))


def _register(target: Any) -> pluggy.PluginManager:
    """Return a manager for this one plugin: what one plugin does wrong cannot leave traces among the others."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(target)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _Unusable(_explain_hooks(target) or str(error)) from None
    if fault := _explain_hooks(target):
        raise _Unusable(fault)
    return manager


def _explain_hooks(target: Any) -> str:
    """Return what is wrong with the names and decorators of a plugin's hooks; "" if nothing is."""
    for name in dir(target):  # not vars(): it may be an object, whose hooks are its class's
        if not name.startswith(HOOK_PREFIX) or not inspect.isroutine(value := getattr(target, name)):
            continue
        if name not in HOOKS:
            return f'there is no hook "{name}"; {_suggest(name, HOOKS) or "there are: " + ", ".join(HOOKS)}'
        if not hasattr(value, f"{hookspecs.PROJECT}_impl"):
            return f"{name} is not decorated with @hookimpl"
        if name == "convaid_lifespan" and inspect.isasyncgenfunction(value):
            return f"{name} is not decorated with @asynccontextmanager"
    return ""


def _ask(plugin: Plugin, manager: pluggy.PluginManager, table: Mapping[str, Any]) -> Plugin:
    hook = manager.hook
    settings_class = hook.convaid_settings()
    if settings_class is not None and not attrs.has(settings_class):
        raise _Unusable(f"convaid_settings returned {settings_class!r}, which is not an attrs class")
    settings: Any = structure(table, settings_class or _NoSettings, f"plugins.{plugin.name}")
    if settings_class is None:
        settings = None
    loop: Any = hook.convaid_loop() or "trio"
    if loop not in get_args(hookspecs.Loop):
        raise _Unusable(f'convaid_loop returned {loop!r}; it is "trio" or "asyncio"')
    tools = tuple(hook.convaid_tools(settings=settings) or ())
    for tool in tools:
        if not isinstance(tool, Tool):
            raise _Unusable(f"convaid_tools returned {tool!r}, which is not decorated with @tool")
        if [other.name for other in tools].count(tool.name) > 1:
            raise _Unusable(f'it has two tools of the name "{tool.name}"')
    devices = tuple(hook.convaid_devices(settings=settings) or ())
    for device in devices:
        if not isinstance(device, AudioDevice):
            raise _Unusable(f"convaid_devices returned {device!r}, which is not a convaid.AudioDevice")
        if [other.name for other in devices].count(device.name) > 1:
            raise _Unusable(f'it has two devices of the name "{device.name}"')
    return attrs.evolve(
        plugin,
        tools=tools,
        devices=devices,
        settings=settings,
        lifespan=(lambda: hook.convaid_lifespan(settings=settings)) if hook.convaid_lifespan.get_hookimpls() else None,
        observe=(lambda event: hook.convaid_observe(event=event)) if hook.convaid_observe.get_hookimpls() else None,
        approve=(lambda asked: hook.convaid_approve(request=asked)) if hook.convaid_approve.get_hookimpls() else None,
        activate=(
            (lambda activation: hook.convaid_activation(activation=activation, settings=settings))
            if hook.convaid_activation.get_hookimpls()
            else None
        ),
        loop=loop,
        table=table,
    )


def _refuse_taken_names(plugin: Plugin, earlier: Sequence[Plugin]) -> Plugin:
    """Refuse a plugin that brings a tool or a device which another one brings, too."""
    owners = _find_owners(earlier, is_declared=False)
    makers = {device.name: other for other in earlier if other.status == "ready" for device in other.devices}
    clashes = [
        f'its tool "{tool.name}" is already offered by {owners[tool.name]}'
        for tool in plugin.tools
        if tool.name in owners and not tool.is_declared
    ]
    clashes += [
        f'its device "{device.name}" is already offered by {makers[device.name]}'
        for device in plugin.devices
        if device.name in makers
    ]
    if plugin.status != "ready" or not clashes:
        return plugin
    return attrs.evolve(plugin, status="refused", reason="; ".join(clashes))


def _leave_out_taken_tools(plugins: Sequence[Plugin]) -> list[Plugin]:
    """Leave out declared tools whose name another plugin has, and nothing else: a server or a table has named them."""
    owners = _find_owners(plugins, is_declared=False)
    settled: list[Plugin] = []
    for plugin in plugins:
        taken = [tool.name for tool in plugin.tools if tool.is_declared and tool.name in owners]
        if taken and plugin.status == "ready":
            tools = tuple(tool for tool in plugin.tools if tool.name not in taken)
            reason = "; ".join(
                f'its tool "{name}" is left out: it is already offered by {owners[name]}' for name in taken
            )
            settled.append(attrs.evolve(plugin, tools=tools, reason=reason))
        else:
            settled.append(plugin)
        owners |= _find_owners(settled[-1:], is_declared=True)
    return settled


def _find_owners(plugins: Iterable[Plugin], *, is_declared: bool) -> dict[str, Plugin]:
    ready = (plugin for plugin in plugins if plugin.status == "ready")
    return {tool.name: plugin for plugin in ready for tool in plugin.tools if tool.is_declared == is_declared}


def _suggest(name: str, known: Iterable[str]) -> str:
    found = nearest(name, known)
    return f'did you mean "{found[0]}"?' if found else ""


def describe_failure(error: BaseException) -> str:
    """What a plugin's code has raised, and where, in a line or few."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    words = "".join(traceback.format_exception_only(error)).strip()  # also where its own str() fails
    return f"{words}{place}"
