"""The user's sound server: where its socket is, and whether somebody answers there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from convaid.devices.servers import find_obstacle, find_socket


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, None),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, Path("/run/user/7/pulse/native")),
        ({"XDG_RUNTIME_DIR": "/run/user/7", "PULSE_RUNTIME_PATH": "/tmp/p"}, Path("/tmp/p/native")),
        ({"XDG_RUNTIME_DIR": "/run/user/7", "PULSE_SERVER": "unix:/tmp/native"}, Path("/tmp/native")),
        ({"PULSE_SERVER": "{3d12}unix:/tmp/none unix:/dev"}, Path("/dev")),
        ({"PULSE_SERVER": "/tmp/native"}, Path("/tmp/native")),
        ({"PULSE_SERVER": "tcp:box:4713"}, "tcp:box:4713"),
    ],
)
def test_where_it_listens(environ: dict[str, str], found: Path | str | None) -> None:
    assert find_socket(environ) == found


def test_whether_somebody_answers(tmp_path: Path) -> None:
    path = tmp_path / "native"
    assert find_obstacle(path) == "No such file or directory"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert find_obstacle(path) == "Connection refused"
        listener.listen()
        assert find_obstacle(path) == ""
