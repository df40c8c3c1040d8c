"""The way to the platform: its name, a connection, its certificate, the time there (floor 6).

Each step needs the one before it; the first that fails is told, and the others are left out.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import trio

from convaid.config import mask_url
from convaid.doctor.findings import Finding, error, ok, warning
from convaid.doctor.subject import Subject
from convaid.rest.request import open_http
from convaid.transport import load_trust_store

__all__ = ["check_network"]

STEP_LIMIT = 8.0  # seconds for one step
LARGEST_SKEW = 30.0  # seconds that the clock may be off: a signed URL is good for 15 minutes, a certificate begins soon
PORTS = {"http": 80, "https": 443}
SYNCHRONISE = "sudo timedatectl set-ntp true (`timedatectl` says whether it works)"
CERTIFICATES = "sudo apt install --reinstall ca-certificates"
WRONG_CLOCK = "if {now} is wrong, set the clock: " + SYNCHRONISE + "; else whoever owns the certificate has to renew it"
IN_BETWEEN = (
    CERTIFICATES + "; if it is a firewall of yours that opens TLS, name its certificate in SSL_CERT_FILE; else do not "
    "connect: somebody is in between"
)
REMEDIES = {9: WRONG_CLOCK, 10: WRONG_CLOCK, 18: IN_BETWEEN, 19: IN_BETWEEN, 20: IN_BETWEEN}
"""By OpenSSL's number of what is wrong: not valid yet, expired; self-signed, here or further up; an unknown issuer."""


async def check_network(subject: Subject) -> list[Finding]:
    """Go the way to the platform, as far as it leads."""
    return [*find_about_proxies(subject), *await walk(subject)]


async def walk(subject: Subject) -> list[Finding]:
    parts = urlsplit(subject.url)
    host, port = subject.host, parts.port or PORTS[parts.scheme]
    findings: list[Finding] = []
    try:
        with trio.fail_after(STEP_LIMIT):
            await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, trio.TooSlowError) as fault:
        words = f"the name {host} leads nowhere: {describe(fault)}"
        return [error("network", words, f"look at base_url in [platform] and at the DNS: getent hosts {host}")]
    began = trio.current_time()
    try:
        with trio.fail_after(STEP_LIMIT):
            stream = await trio.open_tcp_stream(host, port)
    except (OSError, trio.TooSlowError) as fault:
        return [error("network", f"no connection to {host}, port {port}: {describe(fault)}", explain_silence(subject))]
    words = f"{host}, port {port}, takes connections, after {(trio.current_time() - began) * 1000:.0f} ms"
    findings.append(ok("network", words))
    if parts.scheme == "http":
        await stream.aclose()
    else:
        findings += await check_certificate(stream, host)
    if findings[-1].level == "ok":
        findings += await check_clock(subject.url)
    return findings


def explain_silence(subject: Subject) -> str:
    """What to do where nobody answers."""
    if subject.is_simulated:
        return "start what is to listen there, such as `convaid simulate`, or set another base_url in [platform]"
    return f"let this machine connect to {subject.host}, port 443: look at firewall, cable, Wi-Fi, VPN"


async def check_certificate(stream: trio.SocketStream, host: str) -> list[Finding]:
    """Begin TLS as a conversation would, and end it again."""
    if fault := find_fault_of_trust_store():
        await stream.aclose()
        return [fault]
    tls = trio.SSLStream(stream, load_trust_store(), server_hostname=host, https_compatible=True)
    try:
        with trio.fail_after(STEP_LIMIT):
            await tls.do_handshake()
    except trio.TooSlowError as slow:
        return [error("tls", f"{host} does not begin TLS: {describe(slow)}", f"look whether {host} is what is meant")]
    except trio.BrokenResourceError as broken:
        return [explain_tls(broken.__cause__ or broken, host)]
    else:
        version = tls.version()
    finally:
        await trio.aclose_forcefully(tls)
    return [ok("tls", f"the certificate of {host} is trusted ({version})")]


def find_fault_of_trust_store() -> Finding | None:
    """Whether there is anything that certificates could be held against."""
    places = ssl.get_default_verify_paths()
    for variable in (places.openssl_cafile_env, places.openssl_capath_env):
        if (named := os.environ.get(variable)) and not os.path.exists(named):
            return error("tls", f"{variable} names {named}, which is not there", f"correct {variable}, or unset it")
    has_file = places.cafile is not None and os.path.getsize(places.cafile) > 0
    has_folder = places.capath is not None and bool(os.listdir(places.capath))
    if not has_file and not has_folder:
        return error("tls", "there are no trusted certificates on this machine", CERTIFICATES)
    return None


def explain_tls(fault: BaseException, host: str) -> Finding:
    """What a failed beginning of TLS means."""
    if not isinstance(fault, ssl.SSLCertVerificationError):
        words = f"{host} does not speak TLS as it should: {describe(fault)}"
        return error("tls", words, "look at base_url in [platform], and at its port")
    fix = REMEDIES.get(fault.verify_code, "correct base_url in [platform]: the certificate is that of somebody else")
    words = f"the certificate of {host} is not trusted: {describe(fault)}"
    return error("tls", words, fix.format(now=time.strftime("%Y-%m-%d %H:%M")))


async def check_clock(url: str) -> list[Finding]:
    """Hold the clock against the platform's."""
    import httpx

    try:
        async with open_http() as http:
            with trio.fail_after(STEP_LIMIT):
                began = time.time()
                response = await http.head(url)
                now = (began + time.time()) / 2
    except (httpx.HTTPError, trio.TooSlowError) as fault:
        fix = "look whether base_url in [platform] is right"
        return [error("network", f"{urlsplit(url).hostname} does not answer as a web server: {describe(fault)}", fix)]
    try:
        there = parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return [ok("clock", "the platform does not tell the time, so the clock is not held against it")]
    skew = now - there - 0.5  # the header has whole seconds
    if abs(skew) <= LARGEST_SKEW:
        return [ok("clock", f"within {max(1, round(abs(skew)))} s of the platform's")]
    words = f"the clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the platform's"
    return [error("clock", f"{words}: certificates and signed URLs are not valid then", SYNCHRONISE)]


def find_about_proxies(subject: Subject) -> Iterator[Finding]:
    """Say that a proxy is not used, where programs are told to use one."""
    found = find_proxy(subject.environ, urlsplit(subject.url).scheme)
    if found and not subject.is_simulated and not is_excepted(subject.host, subject.environ):
        variable, proxy = found
        words = f"{variable} is set ({mask_url(proxy)}), and convaid uses no proxy: it connects by itself"
        fix = (
            f"let this machine connect to {subject.host}, port 443, directly; add the host to no_proxy to silence this"
        )
        yield warning("network", words, fix)


def is_excepted(host: str, environ: Mapping[str, str]) -> bool:
    """Whether programs are told to use no proxy for a host, of all that they are told to use one for."""
    names = [name.strip().lstrip(".") for name in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")]
    return any(name and (name == "*" or f".{host}".endswith(f".{name}")) for name in names)


def find_proxy(environ: Mapping[str, str], scheme: str) -> tuple[str, str] | None:
    """The variable that tells other programs which proxy to use, and the proxy."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        for variable in (name, name.upper()):
            if value := environ.get(variable):
                return variable, value
    return None


def describe(fault: BaseException) -> str:
    """In a few words what went wrong."""
    if isinstance(fault, trio.TooSlowError):
        return f"no answer in {STEP_LIMIT:g} s"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return fault.verify_message
    while isinstance(fault.__cause__, BaseException):
        fault = fault.__cause__
        if isinstance(fault, BaseExceptionGroup):
            fault = fault.exceptions[0]
    return str(fault.strerror if isinstance(fault, OSError) and fault.strerror else fault) or type(fault).__name__
