"""``convaid serve-signed-url``: hands signed URLs to browsers and other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from convaid.cli.setting import config_option, open_platform, read_configuration

if TYPE_CHECKING:
    import trio

    from convaid.config import Configuration, Secret

__all__ = ["serve_signed_url"]


@click.command()
@config_option
@click.option("--host", metavar="ADDRESS", help="Where to listen; else as [signed_urls] says, or 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free one; else as [signed_urls] says, or 8700.")
def serve_signed_url(path: Path | None, host: str | None, port: int | None) -> None:
    """Hand signed URLs to browsers and other programs, which have no API key, until Ctrl+C or SIGTERM.

    GET /signed-url?conversation=NAME answers {"signed_url": "wss://…"}, for the agents of the configuration alone.
    [signed_urls] says who may ask: pages of listed origins, whoever knows a shared secret, or programs of this machine.

    \b
    Examples:
      convaid serve-signed-url
      CONVAID_SIGNED_URLS_SECRET=… convaid serve-signed-url --host 0.0.0.0 --port 8700
      curl 'http://127.0.0.1:8700/signed-url?conversation=main'
    """
    import attrs
    import trio

    from convaid.config import find_api_key
    from convaid.logs import set_up_logging
    from convaid.signed_urls.serving import find_shared_secret

    configuration, _ = read_configuration(path)
    config = configuration.signed_urls
    config = attrs.evolve(
        config, host=config.host if host is None else host, port=config.port if port is None else port
    )
    configuration = attrs.evolve(configuration, signed_urls=config)
    api_key, found = find_api_key(configuration.platform), find_shared_secret(config)
    secret = found.secret if found else None
    secrets = [each for each in (api_key, secret) if each is not None]
    set_up_logging(configuration.log.level, [*configuration.secrets(), *secrets], configuration.log.format)
    trio.run(serve, configuration, api_key, secret)


async def serve(configuration: Configuration, api_key: Secret | None, secret: Secret | None) -> None:
    """Serve until SIGINT or SIGTERM; a second one ends it at once."""
    import trio

    from convaid.signed_urls.serving import make_office, serve_office

    async with open_platform(configuration) as pointed, trio.open_nursery() as nursery:
        office = make_office(pointed, api_key, secret)
        stop = trio.Event()
        nursery.start_soon(watch_signals, stop, nursery.cancel_scope)
        grace = configuration.daemon.stop_grace
        async with trio.open_nursery() as serving:
            address = await serving.start(serve_office, office, stop, grace)
            click.echo(f"handing out signed URLs at {address}/signed-url, conversations: {', '.join(office.agents)}")
        nursery.cancel_scope.cancel()


async def watch_signals(stop: trio.Event, everything: trio.CancelScope) -> None:
    """The first SIGINT or SIGTERM asks for an end, the second one makes it."""
    import signal

    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if stop.is_set():
                everything.cancel()
            stop.set()
