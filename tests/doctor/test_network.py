"""The way to the platform: real servers, with clocks and certificates that are not what they should be."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from convaid.doctor.network import check_network, find_about_proxies
from convaid.transport import load_trust_store
from tests.transport.servers import serve_raw

from .subjects import check, make_subject, serve_platform, tell

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def _trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust one authority, and no other."""
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    load_trust_store.cache_clear()
    yield
    load_trust_store.cache_clear()


@asynccontextmanager
async def serve_tls(certificate: trustme.LeafCert) -> AsyncIterator[str]:
    """A web server with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            if await stream.receive_some(4096):
                await stream.send_all(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        except trio.BrokenResourceError:
            pass

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        secured = trio.SSLListener(listener, context, https_compatible=True)
        nursery.start_soon(partial(trio.serve_listeners, serve, [secured], handler_nursery=nursery))
        yield f"https://localhost:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("certificate", "level", "words", "fix"),
    [
        (AUTHORITY.issue_cert("localhost"), "ok", "the certificate of localhost is trusted (TLSv1.3)", ""),
        (STRANGER.issue_cert("localhost"), "error", "unable to get local issuer", "ca-certificates"),
        (AUTHORITY.issue_cert("example.com"), "error", "Hostname mismatch", "is that of somebody else"),
        (
            AUTHORITY.issue_cert("localhost", not_before=NOW - 2 * DAY, not_after=NOW - DAY),
            "error",
            "certificate has expired",
            "is wrong, set the clock: sudo timedatectl",
        ),
        (
            AUTHORITY.issue_cert("localhost", not_before=NOW + DAY, not_after=NOW + 2 * DAY),
            "error",
            "certificate is not yet valid",
            f"if {NOW.year}",
        ),
    ],
)
async def test_certificates(certificate: trustme.LeafCert, level: str, words: str, fix: str) -> None:
    async with serve_tls(certificate) as url:
        findings = await check(check_network(make_subject(base_url=url)))
    ((found, line),) = tell(findings, "tls")
    assert (found, words in line, fix in line) == (level, True, True), line
    assert bool(tell(findings, "clock")) == (level == "ok")


async def test_what_is_no_tls_is_said_to_be_none() -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    async with serve_raw(serve) as port:
        findings = await check(check_network(make_subject(base_url=f"https://localhost:{port}")))
    ((level, line),) = tell(findings, "tls")
    assert (level, "does not speak TLS as it should" in line) == ("error", True), line


@pytest.mark.parametrize(
    ("path", "words", "fix"),
    [
        ("/nowhere/authority.pem", "SSL_CERT_FILE names /nowhere/authority.pem, which is not there", "unset it"),
        ("", "there are no trusted certificates on this machine", "apt install"),
    ],
)
async def test_a_machine_that_trusts_nobody(
    path: str, words: str, fix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", path or str(tmp_path / "empty.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    async with serve_tls(AUTHORITY.issue_cert("localhost")) as url:
        ((level, line),) = tell(await check(check_network(make_subject(base_url=url))), "tls")
    assert (level, words in line, fix in line) == ("error", True, True), line


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        (0.0, "ok", "within 1 s of the platform's"),
        (20.0, "ok", "within 2"),
        (-100.0, "error", "s behind the platform's: certificates and signed URLs are not valid then"),
        (4000.0, "error", "s ahead of the platform's"),
        (None, "ok", "does not tell the time"),
    ],
)
async def test_the_clock(ahead: float | None, level: str, words: str) -> None:
    def date() -> str:
        return "X: y" if ahead is None else f"Date: {formatdate(time.time() - ahead, usegmt=True)}"

    async with serve_platform(lambda *_: (404, {}, date())) as url:
        ((found, line),) = tell(await check(check_network(make_subject(base_url=url))), "clock")
    assert (found, words in line) == (level, True), line


async def test_nobody_listens() -> None:
    (finding,) = await check(check_network(make_subject(base_url="http://127.0.0.1:9")))
    assert (finding.check, finding.level) == ("network", "error")
    assert str(finding).startswith("no connection to 127.0.0.1, port 9: ")
    assert "Connection refused -> start what is to listen there, such as `convaid simulate`" in str(finding)


async def test_a_name_that_leads_nowhere() -> None:
    class Nobody(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: object, **__: object) -> Any:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise AssertionError

    trio.socket.set_custom_hostname_resolver(Nobody())
    (finding,) = await check(check_network(make_subject(base_url="https://api.example")))
    assert finding.level == "error"
    assert str(finding).startswith("the name api.example leads nowhere: Name or service not known -> look at base_url")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"HTTPS_PROXY": "http://ada:pass@proxy:3128"},
            "HTTPS_PROXY is set (http://***@proxy:3128), and convaid uses no",
        ),
        ({"all_proxy": "socks5://proxy:1"}, "all_proxy is set"),
        ({"http_proxy": "http://proxy:3128"}, ""),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "elevenlabs.io"}, ""),
    ],
)
def test_a_proxy_is_not_used(environ: dict[str, str], words: str) -> None:
    found = [str(finding) for finding in find_about_proxies(make_subject(base_url="global", environ=environ))]
    assert len(found) == bool(words)
    assert words in "".join(found)
    assert not list(find_about_proxies(make_subject(environ=environ)))
