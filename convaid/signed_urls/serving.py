"""The server's sockets, its connections and its end (floor 6)."""

from __future__ import annotations

import logging

import trio

from convaid.asgi import BoundedStream, Connections, make_server, write_refusal
from convaid.config import Configuration, Secret, SignedUrlsConfig
from convaid.config.api_key import KeptSecret, describe_places, find_kept_secret
from convaid.config.checks import is_loopback
from convaid.config.policy import Rate
from convaid.errors import ConfigurationError, ConvaidError, Problem
from convaid.signed_urls.admission import Admission
from convaid.signed_urls.application import Office, find_agents, make_application

__all__ = ["CREDENTIAL", "find_shared_secret", "make_office", "serve_office"]

log = logging.getLogger(__name__)

CREDENTIAL = "convaid_signed_urls_secret"  # the name for systemd's LoadCredential=
SHORTEST_SECRET = 16  # characters: a shorter one can be guessed
CONNECTIONS = 256  # at once
IDLE_LIMIT = 10.0  # seconds that a connection may be open without a request
LIFE = 60.0  # seconds of a connection, whatever comes over it: a request drips no longer
TOO_MANY = b'{"error":{"code":"too_many","message":"too many connections; try again"}}'


def find_shared_secret(config: SignedUrlsConfig) -> KeptSecret | None:
    """Return the secret that whoever asks must know, if there is one. Raises `ConfigurationError` for a bad one."""
    found = find_kept_secret(
        config.secret_file, "signed_urls.secret_file", CREDENTIAL, config.secret_env, what="shared secret"
    )
    if found and len(found.secret.reveal()) < SHORTEST_SECRET:
        words = (
            f"holds a shared secret of less than {SHORTEST_SECRET} characters; make a better one: openssl rand -hex 24"
        )
        raise ConfigurationError(found.place, [Problem("", words)])
    return found


def make_office(configuration: Configuration, api_key: Secret | None, secret: Secret | None) -> Office:
    """Return what hands out URLs. Raises `ConfigurationError` where it would hand them to anybody, or could not."""
    config = configuration.signed_urls
    if not (config.is_local and not config.proxies) and not (secret or config.origins):
        place = "proxies" if config.is_local else "host"
        words = (
            "leads to requests from elsewhere, and nothing says who may ask: set origins in [signed_urls], or "
            f"a shared secret in {config.secret_env}, or leave it at 127.0.0.1 without proxies"
        )
        raise ConfigurationError("the configuration", [Problem(f"signed_urls.{place}", words)])
    agents = find_agents(configuration)
    base_url = configuration.platform.rest_url
    if api_key is None and not is_simulated(base_url):
        words = f"there is none, and it is what buys signed URLs; {describe_places(configuration.platform)}"
        raise ConfigurationError("API key", [Problem("", words)])
    rates = Rate.parse(config.rate), Rate.parse(config.rate_in_all)
    return Office(agents, base_url, api_key, Admission(config, secret), *rates)


def is_simulated(base_url: str) -> bool:
    """Whether this is a simulator, which asks for no key: the platform itself is never on this machine."""
    from urllib.parse import urlsplit

    return is_loopback(urlsplit(base_url).hostname or "")


async def serve_office(
    office: Office, stop: trio.Event, grace: float, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until ``stop``; then answer what has been asked, for at most ``grace`` seconds.

    Ready, with the server's address, when it answers. Raises `ConvaidError` where it cannot listen.
    """
    config = office.admission.config
    server = make_server(make_application(office), log, idle_limit=IDLE_LIMIT)

    async def serve(stream: BoundedStream) -> None:
        with trio.move_on_after(LIFE):
            await server.serve(stream)

    try:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host)
    except OSError as error:
        raise ConvaidError(f"cannot listen on {config.host}, port {config.port}: {error.strerror or error}") from None
    host, port = listeners[0].socket.getsockname()[:2]
    connections = Connections(serve, "connection", CONNECTIONS, write_refusal(TOO_MANY))
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(connections.run, listener)
        task_status.started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await stop.wait()
        nursery.cancel_scope.deadline = trio.current_time() + grace
        await server.finish()
        for listener in listeners:
            await listener.aclose()
