"""What a plugin may offer: hooks, each optional (floor 4). `convaid.hookimpl` functions are held against these.

A hook may leave out arguments that it does not need. It stands in the module (or on the object) that the plugin's entry
point in the group ``convaid`` names.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

import pluggy

from convaid.events import ApprovalRequest, Event
from convaid.plugins.activation import Activation
from convaid.plugins.devices import AudioDevice
from convaid.plugins.tool import Tool

__all__ = ["PROJECT", "Loop", "hookimpl"]

Loop = Literal["trio", "asyncio"]
"""What runs a plugin's async code."""

PROJECT = "convaid"  # pluggy's name for our hooks, and the group of the entry points

hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


@_hookspec(firstresult=True)
def convaid_tools(settings: Any) -> list[Tool]:  # type: ignore[empty-body]  # specifications have no bodies
    """Return the tools: functions decorated with `convaid.tool`, or made by `convaid.declare_tool`.

    Called once, before there is a conversation. ``settings`` is the instance of `convaid_settings`'s class, None
    without one: a plugin's tools may depend on it.
    """


@_hookspec(firstresult=True)
def convaid_settings() -> type:  # type: ignore[empty-body]
    """Return an attrs class: the plugin's table in the configuration becomes one instance of it.

    A table that does not fit is reported with its path, by `convaid check` too, and the plugin is not used.
    """


@_hookspec(firstresult=True)
def convaid_loop() -> Loop:  # type: ignore[empty-body]
    """Return "asyncio" where the plugin's async tools, lifespan, observer and approver need it; else trio runs them."""


@_hookspec(firstresult=True)
def convaid_lifespan(settings: Any) -> AbstractAsyncContextManager[Any]:  # type: ignore[empty-body]
    """Return an async context manager that is open while the daemon runs; what it yields is ``ToolContext.state``.

    It is entered before the first conversation and left after the last, each within a time limit, in the plugin's own
    thread, on the plugin's own loop: whatever the plugin opens there, its async tools may use. ``settings`` is the
    instance of `convaid_settings`'s class, None without one. A lifespan that raises takes the plugin's tools out of
    service, and nothing else.
    """


@_hookspec(firstresult=True)
def convaid_observe(event: Event) -> Any:
    """See what happens in the conversations: called with every event of `convaid.events`, in order; may be async.

    Runs in the plugin's own thread, one event at a time. What it raises is logged and otherwise ignored. An observer
    that is slow loses events, and the log says how many.
    """


@_hookspec(firstresult=True)
def convaid_approve(request: ApprovalRequest) -> Any:
    """Decide on a tool call whose ``permission`` is "ask": True allows it, False denies it, None leaves it to others.

    May be async, and take its time until ``request.deadline``. Runs in the plugin's own thread. The first plugin that
    says True or False decides; what raises, or says something else, has not decided; a call that nobody allows in time
    is denied.
    """


@_hookspec(firstresult=True)
def convaid_devices(settings: Any) -> list[AudioDevice]:  # type: ignore[empty-body]
    """Return the plugin's own microphones and speakers, each a `convaid.AudioDevice`; ``audio`` names one.

    Called once, before there is a conversation. Their functions run in the plugin's own thread, on the plugin's own
    loop, while a conversation needs the device, and are cancelled then. What they raise is a device that is lost: told
    in status and events, and tried again, later and later, while the conversation goes on with silence.
    """


@_hookspec(firstresult=True)
def convaid_activation(activation: Activation, settings: Any) -> Any:
    """Open and close conversations when something in the world says so: an async function that runs with the daemon.

    It runs in the plugin's own thread, on the plugin's own loop, after the lifespan has begun, and is cancelled at the
    end: wait for a button, a wake word or a sensor, and call ``activation.start("kitchen")``. What the conversation's
    microphone hears is ``activation.listen("kitchen")``. What it raises is logged, and it is called again, later and
    later. It is for conversations with ``start = "on_demand"``.
    """
