"""Where connections may go: no address of the local network unless allowed, whatever a name resolves to, and when."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpcore
import pytest
import trio
import trustme
from convaid_webhook.connecting import Connecting, is_local, open_http

from convaid import ToolError

from .serving import Server, ask


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%lo",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::",
        "2002:c0a8:101::1",
        "64:ff9b:1::1.1.1.1",
        "2001:0:4136:e378:8000:63bf:fefe:fefe",
        "192.0.0.192",
        "168.63.129.16",
    ],
)
def test_local_addresses_in_all_their_forms(address: str) -> None:
    assert is_local(address)


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"],
)
def test_public_addresses(address: str) -> None:
    assert not is_local(address)


class Resolver(trio.abc.HostnameResolver):
    """Answers with each list of addresses in turn."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        answer = self.answers.pop(0)
        return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (address, port)) for address in answer]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:
        raise NotImplementedError


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """The addresses that connections were opened to; none of them really is."""
    opened: list[str] = []

    async def note(self: object, host: str, *rest: object) -> Any:
        opened.append(host)
        raise httpcore.ConnectError("not in a test")

    monkeypatch.setattr(httpcore.TrioBackend, "connect_tcp", note)
    yield opened
    trio.socket.set_custom_hostname_resolver(None)


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(opened: list[str]) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(["1.1.1.1", "1.0.0.1"]))
    with pytest.raises(httpcore.ConnectError):
        await Connecting(lambda host: False).connect_tcp("example.com", 443)
    assert opened == ["1.1.1.1", "1.0.0.1"]


async def test_an_address_that_leads_nowhere_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    async def stall_at_first(self: object, host: str, port: int, timeout: float, *rest: object) -> Any:
        if host == "1.1.1.1":
            await trio.sleep(timeout)
            raise httpcore.ConnectTimeout
        return host

    monkeypatch.setattr(httpcore.TrioBackend, "connect_tcp", stall_at_first)
    trio.socket.set_custom_hostname_resolver(Resolver(["1.1.1.1", "1.0.0.1"]))
    reached: object = await Connecting(lambda host: False).connect_tcp("example.com", 443, timeout=5)
    assert reached == "1.0.0.1"
    trio.socket.set_custom_hostname_resolver(None)


async def test_a_name_that_is_rebound_is_refused_at_its_next_connection(opened: list[str]) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(["1.1.1.1"], ["127.0.0.1"]))
    connecting = Connecting(lambda host: False)
    with pytest.raises(httpcore.ConnectError):
        await connecting.connect_tcp("example.com", 443)
    with pytest.raises(ToolError, match=r"example\.com is in the local network"):
        await connecting.connect_tcp("example.com", 443)
    assert opened == ["1.1.1.1"]


async def test_one_local_address_among_others_is_enough(opened: list[str]) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver(["1.1.1.1", "10.0.0.1"]))
    with pytest.raises(ToolError, match="in the local network"):
        await Connecting(lambda host: False).connect_tcp("example.com", 443)
    assert opened == []


async def test_a_name_whose_look_up_takes_for_ever_meets_the_connect_limit(autojump_clock: object) -> None:
    class Stalling(Resolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            await trio.sleep_forever()

    trio.socket.set_custom_hostname_resolver(Stalling())
    with trio.fail_after(10), pytest.raises(httpcore.ConnectTimeout):
        await Connecting(lambda host: True).connect_tcp("example.com", 443, timeout=5)
    trio.socket.set_custom_hostname_resolver(None)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "017700000001",
        "LOCALHOST",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_the_own_machine_is_refused_however_it_is_written(server: Server, host: str) -> None:
    answer = await ask({"method": "POST", "url": f"http://{host}:{server.port}/"}, allow_local=False)
    assert answer.is_error
    assert "is in the local network, where requests are not allowed. Nothing was sent." in answer.result
    assert server.connections == 0


@pytest.mark.parametrize(("allowed", "outcome"), [(["127.0.0.1"], "ok"), (["localhost"], "error"), ([], "error")])
async def test_single_hosts_may_be_allowed(server: Server, allowed: list[str], outcome: str) -> None:
    assert (await ask({"url": f"http://127.0.0.1:{server.port}/"}, allow_local=allowed)).outcome == outcome


async def test_a_name_without_an_address_is_said() -> None:
    class Knowing(Resolver):
        async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    trio.socket.set_custom_hostname_resolver(Knowing())
    with pytest.raises(httpcore.ConnectError, match="its name cannot be looked up: Name or service not known"):
        await Connecting(lambda host: True).connect_tcp("nowhere.invalid", 443)
    trio.socket.set_custom_hostname_resolver(None)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return authority


def make_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


async def test_tls_verifies_the_name_not_the_address(server: Server, authority: trustme.CA) -> None:
    asked: list[Any] = []
    server.tls = make_context(authority, "localhost")
    server.tls.sni_callback = lambda connection, name, context: asked.append(name)
    async with open_http(lambda host: True) as http:
        answer = await http.get(f"https://localhost:{server.port}/")
    assert answer.status_code == 200
    assert asked == ["localhost"]
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


async def test_a_certificate_for_another_name_is_refused(server: Server, authority: trustme.CA) -> None:
    server.tls = make_context(authority, "example.com")
    answer = await ask({"method": "POST", "url": f"https://localhost:{server.port}/"})
    assert "localhost cannot be reached: its certificate is not accepted (Hostname mismatch" in answer.result
    assert server.requests == []


async def test_a_certificate_of_an_unknown_authority_is_refused(server: Server, authority: trustme.CA) -> None:
    server.tls = make_context(trustme.CA(), "localhost")
    answer = await ask({"method": "POST", "url": f"https://localhost:{server.port}/"})
    assert "its certificate is not accepted (unable to get local issuer certificate)" in answer.result
