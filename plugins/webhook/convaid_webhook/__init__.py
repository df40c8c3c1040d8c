"""Tools that make an HTTP request, written in the configuration. The README has the settings and every time limit."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from convaid import Tool, hookimpl
from convaid_webhook.settings import WebhookSettings

__all__ = ["convaid_lifespan", "convaid_settings", "convaid_tools"]

logger = logging.getLogger(__name__)


@hookimpl
def convaid_settings() -> type:
    return WebhookSettings


@hookimpl
def convaid_tools(settings: WebhookSettings) -> list[Tool]:
    return settings.declared


@hookimpl
@asynccontextmanager
async def convaid_lifespan(settings: WebhookSettings) -> AsyncIterator[object]:
    if not settings.declared:
        yield None
        return
    from convaid_webhook.connecting import open_http

    for name, table in settings.tools.items():
        try:
            table.read_secrets()
        except ValueError as error:
            logger.error('the tool "%s" is out of order: %s', name, error)
    async with open_http(settings.may_be_local) as http:
        yield http
