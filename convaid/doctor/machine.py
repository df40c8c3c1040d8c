"""What is on this machine: plugins, a service of systemd, a running daemon (floor 6). Each check blocks."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from convaid import __version__
from convaid.control.calling import DaemonAbsent, RequestFailed, call_daemon, find_socket
from convaid.doctor.findings import Finding, error, ok, warning
from convaid.doctor.subject import Subject
from convaid.service.findings import find_service_findings
from convaid.service.units import Installation

__all__ = ["check_daemon", "check_plugins", "check_service"]

FORBIDDEN = 403
JOIN = 'join the group of the socket; or set mode = "0660" and group in [control]'


def check_plugins(subject: Subject) -> Iterator[Finding]:
    """Say how each plugin is. They have been imported and asked for their tools; their lifespans are not run."""
    for plugin in subject.plugins:
        title = f"{plugin.name} {plugin.version}".rstrip()
        match plugin.status:
            case "ready":
                names = ", ".join(tool.name for tool in plugin.tools)
                devices = ", ".join(device.name for device in plugin.devices)
                words = f"{title} is loaded, tools: {names or 'none'}"
                yield ok("plugins", f"{words}, devices: {devices}" if devices else words)
                if plugin.reason:
                    yield warning("plugins", f"{title}: {plugin.reason}", "rename one of the two, or remove its plugin")
            case "disabled":
                yield ok("plugins", f"{title} is disabled: {plugin.reason}")
            case "broken":
                fix = f"correct or update it (pip install -U {plugin.distribution}), or set enabled = false in "
                yield error("plugins", f"{title} is broken: {plugin.reason}", f"{fix}[plugins.{plugin.name}]")
            case "refused":
                fix = f"remove one of the two, or set enabled = false in [plugins.{plugin.name}]"
                yield error("plugins", f"{title} is refused: {plugin.reason}", fix)
    if not subject.plugins.all:
        yield ok("plugins", "none is installed: the agents have no tools here")


def check_service(subject: Subject) -> Iterator[Finding]:
    """Say how the services are that systemd has for this configuration."""
    installed = [each for each in list_installations(subject.path) if each.unit_file.exists()]
    if not installed:
        yield ok("service", "none is installed; `convaid service install` makes one")
    for installation in installed:
        for found in find_service_findings(installation):
            if not found.fix:
                yield ok("service", found.text)
            else:
                yield (error if found.is_grave else warning)("service", found.text, found.fix)


def list_installations(path: Path | None) -> Iterator[Installation]:
    """The services of which this may be the configuration: of the system, of the user, and an instance of its name."""
    for is_users in (False, True):
        installation = Installation(is_users)
        yield installation
        if path is not None and path.absolute().parent == installation.folder and path.stem != "config":
            yield Installation(is_users, path.stem)


def check_daemon(subject: Subject) -> Iterator[Finding]:
    """Ask the running daemon how it is, and look who may."""
    if not subject.configuration.control.enabled:
        yield ok("daemon", "it has no control API (enabled = false in [control])")
        return
    try:
        socket = find_socket(None, [subject.path] if subject.path else [])
        mode = socket.stat().st_mode
        status = call_daemon(socket, "GET", "/v1/status")
    except FileNotFoundError as absent:
        yield ok("daemon", f"none runs: there is no socket at {absent.filename}")
        return
    except DaemonAbsent as absent:
        yield ok("daemon", str(absent).partition(";")[0])
        return
    except PermissionError as refused:
        yield warning("daemon", f"you may not reach {refused.filename}: {refused.strerror}", JOIN)
        return
    except RequestFailed as failure:
        if failure.status == FORBIDDEN:
            yield warning("daemon", str(failure), JOIN)
        else:
            yield error("daemon", f"it does not say how it is: {failure}", "look at its log, and start it again")
        return
    if mode & stat.S_IWOTH:
        fix = 'set mode = "0660" in [control], and group to those who may'
        yield warning("daemon", f"everybody on this machine may control it, by {socket}", fix)
    if status["version"] != __version__:
        words = f"the one that runs is convaid {status['version']}, and this is {__version__}"
        yield warning("daemon", words, "restart it, if it has been updated")
    if status["is_well"]:
        yield ok("daemon", f"it runs (process {status['pid']}): {status['sentence']}")
    else:
        yield warning("daemon", f"it runs (process {status['pid']}): {status['sentence']}", "convaid status says more")
