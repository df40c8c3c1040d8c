"""The API's own description, in OpenAPI 3.1, made of the table by which it is served (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from convaid import __version__
from convaid.control.exchange import Route
from convaid.control.forms import Error
from convaid.control.schemas import REFERENCE, collect_schemas, describe_type

__all__ = ["describe_api"]

WITH_BODY = (400, 408, 413)  # the statuses by which any request that has a body may fail


def describe_api(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the OpenAPI document of a table of routes."""
    paths: dict[str, dict[str, Any]] = {}
    roots: dict[str, type] = {"Error": Error}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route, roots)
    failure = {
        "type": "object",
        "properties": {"error": {"$ref": f"{REFERENCE}Error"}},
        "required": ["error"],
        "additionalProperties": False,
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "convaid",
            "version": __version__,
            "description": "Control of a running daemon, over HTTP/1.1 on a Unix socket. Paths begin with their "
            "version: what is in /v1 stays as it is, though there may be more of it.",
        },
        "servers": [{"url": "http://localhost", "description": "the host's name means nothing on a Unix socket"}],
        "paths": paths,
        "components": {"schemas": {**collect_schemas(roots), "Failure": failure}},
    }


def _describe_route(route: Route, roots: dict[str, type]) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
    names = re.findall(r"\{(\w+)\}", route.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    for query in route.query:
        text = {"type": "string"}
        parameters.append(
            {
                "name": query.name,
                "in": "query",
                "required": query.is_required,
                "description": query.description,
                "schema": {"type": "array", "items": text} if query.is_repeatable else text,
            }
        )
    if parameters:
        described["parameters"] = parameters
    failures = {422, *route.failures}
    if route.takes_bytes:
        content: dict[str, Any] = {"application/octet-stream": {}}
        described["requestBody"] = {"required": True, "content": content}
        failures |= {*WITH_BODY}
    elif route.body is not None:
        schema = describe_type(route.body, roots)
        described["requestBody"] = {"required": False, "content": {"application/json": {"schema": schema}}}
        failures |= {*WITH_BODY}
    answer: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
    if route.answer is not None:
        answer = {"application/json": {"schema": describe_type(route.answer, roots)}}
    responses = {str(route.status): {"description": HTTPStatus(route.status).phrase, "content": answer}}
    content = {"application/json": {"schema": {"$ref": f"{REFERENCE}Failure"}}}
    for status in sorted(failures):
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    responses["default"] = {"description": "Any other failure", "content": content}
    return {**described, "responses": responses}
