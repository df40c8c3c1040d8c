"""Who asks, and whether there is a signed URL for whoever that is (pure)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

from attrs import field, frozen
from starlette.datastructures import Headers

from convaid.config import Secret, SignedUrlsConfig
from convaid.config.checks import is_loopback
from convaid.errors import ConvaidError

__all__ = ["FORWARDING", "Admission", "Refusal"]

FORWARDING = ("x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via")
"""Headers that proxies add: what has one was not asked for on this machine."""
NETWORK_LENGTH = 64  # bits of an IPv6 address that are its owner's; the rest he chooses


class Refusal(ConvaidError):
    """A request that is not granted, as it is answered."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers


@frozen
class Admission:
    """The rules: ``config`` has the origins and proxies; whoever asks must know ``secret``, if there is one."""

    config: SignedUrlsConfig
    secret: Secret | None = field(default=None)

    def check(self, headers: Headers) -> None:
        """Raise `Refusal` for a request that is not to be granted.

        An origin must be listed, always; the secret must be right, always, where there is one. Without either, only
        programs of this machine are let in, and pages that come from where we are said to be.
        """
        origins = headers.getlist("origin")
        if any(origin not in self.config.origins for origin in origins):
            words = "pages of this origin may not ask; whoever runs this server can list it in origins of [signed_urls]"
            raise Refusal(403, "origin_refused", words)
        if self.secret is not None:
            self._check_secret(headers.get("authorization", ""))
        elif not origins and not (self._is_of_own_page(headers) or self._is_of_this_machine(headers)):
            words = "this comes neither from a page of a listed origin nor from a program of this machine"
            raise Refusal(403, "origin_missing", words)

    def find_address(self, peer: str, headers: Headers) -> str:
        """Whom to count a request for: the peer, or whom a proxy of ours names; of IPv6 its network."""
        address = _read_address(peer)
        if address is None:
            return peer
        names = [name for line in headers.getlist("x-forwarded-for") for name in line.split(",")]
        while names and self.config.is_proxy(address) and (named := _read_address(names.pop())):
            address = named
        if isinstance(address, IPv6Address):
            bits = 128 - NETWORK_LENGTH
            return f"{IPv6Address(int(address) >> bits << bits)}/{NETWORK_LENGTH}"
        return str(address)

    def _check_secret(self, authorization: str) -> None:
        assert self.secret is not None
        scheme, _, given = authorization.partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self.secret.reveal().encode())
        if scheme.lower() != "bearer" or not is_right:
            words = "the shared secret is missing or wrong; send it as Authorization: Bearer …"
            raise Refusal(401, "secret_refused", words, {"WWW-Authenticate": "Bearer"})

    def _is_of_own_page(self, headers: Headers) -> bool:
        """Whether a page asks that came from this very server, which has a listed origin; browsers name none then."""
        own = {f"{scheme}://{headers.get('host', '')}" for scheme in ("https", "http")}
        return headers.get("sec-fetch-site") == "same-origin" and not own.isdisjoint(self.config.origins)

    def _is_of_this_machine(self, headers: Headers) -> bool:
        """Whether a program of this machine asks.

        Not a page of somewhere else in its browser: nor one whose name leads here all at once (DNS rebinding).
        """
        if self.config.origins or self.config.proxies or not self.config.is_local:
            return False
        is_forwarded = any(name in headers for name in FORWARDING)
        is_of_page = headers.get("sec-fetch-site", "none") != "none"
        return not is_forwarded and not is_of_page and is_loopback(_read_host(headers.get("host", "")))


def _read_host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; one of IPv4 that came by IPv6 as what it is."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
