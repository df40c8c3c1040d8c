"""Calls of a running daemon, over its control socket, by the standard library alone: commands are to be quick."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

from convaid.control.places import list_instances, list_socket_places
from convaid.errors import ConvaidError

__all__ = ["DaemonAbsent", "RequestFailed", "call_daemon", "find_socket", "follow_events"]

CONNECT_LIMIT = 5.0  # seconds for the daemon to take a connection, and to answer what it answers at once
CONNECT_PAUSE = 0.05  # seconds between two attempts, where too many others wait
SILENCE_LIMIT = 60.0  # seconds without so much as a heartbeat, after which events are not followed any more


class DaemonAbsent(ConvaidError):
    """No daemon answers."""


class RequestFailed(ConvaidError):
    """The daemon does not do it; ``str()`` says why, and what can be done."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        self.status = status
        self.code = str(error.get("code", ""))
        self.problems = [str(problem) for problem in error.get("problems", ())]
        words = str(error.get("message", f"HTTP {status}"))
        remedy = error.get("remedy")
        super().__init__(f"{words} -> {remedy}" if remedy and not remedy.startswith("GET ") else words)


class SocketConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, time_limit: float | None) -> None:
        super().__init__("localhost", timeout=time_limit)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        give_up_at = time.monotonic() + (self.timeout or CONNECT_LIMIT)
        while True:
            try:
                return self.sock.connect(str(self._path))
            except BlockingIOError:  # so many wait already that the kernel takes no more of them
                if time.monotonic() > give_up_at:
                    raise TimeoutError from None
                time.sleep(CONNECT_PAUSE)


def find_socket(given: Path | None = None, configurations: Sequence[Path] = ()) -> Path:
    """Return the path of the daemon's socket: ``given``, or what the first configuration that is there says, or the
    first that is there of the usual places. Raises `DaemonAbsent`, and `RequestFailed` where there are several.
    """
    if given is not None:
        return given
    for configuration in configurations:
        if configuration.exists():
            if path := _read_path(configuration):
                return path
            break
    places = list(list_socket_places())
    for place in places:
        try:
            if place.exists():
                return place
        except PermissionError:  # it is in a folder that is not for us; the daemon says no more than this either
            return place
    instances = list_instances()
    if len(instances) > 1:
        words = f"several daemons run here; say which one by --socket: {', '.join(map(str, instances))}"
        raise RequestFailed(300, {"code": "several", "message": words})
    if instances:
        return instances[0]
    listed = " or ".join(map(str, places))
    raise DaemonAbsent(
        f"no daemon runs here: there is no socket at {listed}; start one with `convaid run`, or say where its socket "
        "is (--socket, $CONVAID_SOCKET)"
    )


def _read_path(configuration: Path) -> Path | None:
    import tomllib

    try:
        control = tomllib.loads(configuration.read_text()).get("control", {})
        path = control.get("path")
    except (OSError, ValueError, AttributeError):  # `convaid check` says what is wrong with it
        return None
    return configuration.absolute().parent / Path(path).expanduser() if isinstance(path, str) else None


def call_daemon(
    path: Path, method: str, route: str, body: Any = None, *, time_limit: float | None = CONNECT_LIMIT
) -> Any:
    """Make one request and return its answer. Raises `DaemonAbsent` and `RequestFailed`.

    ``body`` is bytes, or plain values to be sent as JSON. ``time_limit``: seconds without an answer;
    None for a tool, which has a limit of its own.
    """
    connection, response = _send(path, method, route, body, time_limit)
    try:
        return json.loads(response.read())
    except (OSError, HTTPException, ValueError) as error:
        raise DaemonAbsent(f"the daemon at {path} broke off in its answer ({_word(error)})") from error
    finally:
        connection.close()


def follow_events(path: Path, query: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the kind and the content of each event, a snapshot first. Raises `DaemonAbsent` at the daemon's end."""
    connection, response = _send(path, "GET", f"/v1/events{query}", None, CONNECT_LIMIT)
    try:
        connection.sock.settimeout(SILENCE_LIMIT)
        kind = ""
        for line in response:
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                yield kind, json.loads(value)
    except (OSError, HTTPException) as error:
        raise DaemonAbsent(f"the daemon has gone ({_word(error)})") from error
    finally:
        connection.close()
    raise DaemonAbsent("the daemon has ended")


def _send(
    path: Path, method: str, route: str, body: Any, time_limit: float | None
) -> tuple[SocketConnection, HTTPResponse]:
    """Send a request and wait for the head of its answer, which is a good one."""
    connection = SocketConnection(path, time_limit)
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        with ExitStack() as stack:
            stack.callback(connection.close)
            connection.request(method, route, content)
            response = connection.getresponse()
            if response.status < 400:
                stack.pop_all()
                return connection, response
            failure = response.read()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise DaemonAbsent(f"no daemon runs: nobody answers at {path}; start it, or look at its log") from error
    except PermissionError as error:
        raise RequestFailed(403, {"message": _describe_refusal(path)}) from error
    except TimeoutError as error:
        limit = f"{time_limit or CONNECT_LIMIT:g} s"
        words = f"the daemon at {path} does not answer within {limit}: it hangs, or the machine is busy"
        raise RequestFailed(504, {"code": "no_answer", "message": words}) from error
    except (OSError, HTTPException) as error:
        raise DaemonAbsent(f"the daemon at {path} broke off ({_word(error)})") from error
    try:
        error_body = json.loads(failure)["error"]
    except (ValueError, KeyError, TypeError):
        error_body = {}
    raise RequestFailed(response.status, error_body)


def _describe_refusal(path: Path) -> str:
    import grp
    import pwd

    try:
        found = os.stat(path)
        owner, group = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name
        whose = f"it belongs to {owner}:{group}, with the permissions {found.st_mode & 0o777:04o}"
    except (OSError, KeyError):
        whose = "its folder is not for you"
    remedy = "use sudo, or let a group in by `group` and `mode` in [control]"
    return f"you may not talk to the daemon at {path}: {whose}; {remedy}"


def _word(error: Exception) -> str:
    return str(error) or type(error).__name__
