"""``[signed_urls]``: the small server that hands signed URLs to browsers and other programs (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen

from convaid.config.checks import Field, check_variable, is_loopback
from convaid.config.policy import Rate

__all__ = ["SignedUrlsConfig"]

DEFAULT_PORTS = {"http": 80, "https": 443}


def _check_origins(_: object, field: Field, value: Iterable[str]) -> None:
    for origin in value:
        if fault := _find_fault(origin):
            remedy = 'expected what browsers send, such as "https://app.example.com" or "http://localhost:3000"'
            raise ValueError(f'"{origin}" {fault}; {remedy}')


def _find_fault(origin: str) -> str:
    """Why no browser would ever send this as its page's origin, or why it must not be allowed; "" for a good one."""
    if "*" in origin or origin == "null":
        return "would let in the pages of anybody"
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return "is not an origin"
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        return "is not an origin"
    if origin != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        return "has more than a scheme, a host and a port"
    if origin != origin.lower() or not origin.isascii() or port == DEFAULT_PORTS[parts.scheme]:
        return "is not written as browsers write it: in lower case, in ASCII, without the port that goes without saying"
    return ""


def _check_proxies(_: object, field: Field, value: Iterable[str]) -> None:
    for proxy in value:
        try:
            ip_network(proxy)
        except ValueError as error:
            raise ValueError(f'expected addresses or networks, such as "127.0.0.1" or "10.0.0.0/8": {error}') from None


def _check_rate(_: object, field: Field, value: str) -> None:
    Rate.parse(value)


@frozen
class SignedUrlsConfig:
    """``[signed_urls]``: what `convaid serve-signed-url` does, and for whom."""

    host: str = "127.0.0.1"
    port: int = field(default=8700)
    conversations: list[str] = field(factory=list)  # whose agents it hands out URLs for; empty: all
    origins: list[str] = field(factory=list, validator=_check_origins)  # whose pages may ask
    secret_file: Path | None = None
    secret_env: str = field(default="CONVAID_SIGNED_URLS_SECRET", validator=check_variable)
    rate: str = field(default="20/min", validator=_check_rate)  # of one address
    rate_in_all: str = field(default="300/min", validator=_check_rate)
    proxies: list[str] = field(factory=list, validator=_check_proxies)  # whose X-Forwarded-For is believed

    @port.validator
    def _check_port(self, field: Field, value: int) -> None:
        if not 0 <= value <= 65535:
            raise ValueError(f"must be between 0 (any free one) and 65535, not {value}")

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach it."""
        return is_loopback(self.host)

    def is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether this is a proxy of ours."""
        networks: list[IPv4Network | IPv6Network] = [ip_network(proxy) for proxy in self.proxies]
        return any(address in network for network in networks)
