"""The plugin's table in the configuration, and the request that each tool's table becomes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from attrs import define, field, fields, frozen

from convaid import Range, Tool, ToolContext
from convaid.config.secrets import Secret
from convaid.errors import Problem, StructureError
from convaid.plugins.tables import ToolTable, declare_tools
from convaid.plugins.templates import SecretReference, Template, TemplateReader
from convaid.wording import join_path
from convaid_webhook.filling import Tree, find_templates, read_tree

__all__ = ["Limits", "WebhookSettings", "WebhookTool", "has_dots"]

Seconds = Annotated[float, Range(0.1, 3600)]

URL = re.compile(r"(?P<origin>(?P<scheme>https?)://(?P<host>[^/?#]+))(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
HOST = re.compile(r"(?:(?:[\w-]{1,63}\.)*[\w-]{1,63}\.?|\[[0-9a-fA-F:.]+\])(?::\d+)?")
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OURS = {"accept-encoding", "connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"}
BODIES = {"json": "application/json", "form": "application/x-www-form-urlencoded"}
MARGIN = 1.0  # seconds that the tool has beyond its total limit: what is said there is better than «took too long»


@frozen
class Limits:
    """Seconds."""

    connect: Seconds = 5.0
    """For the name, the connection; and as much for TLS."""
    write: Seconds = 5.0
    """Until the server takes the request."""
    read: Seconds = 10.0
    """Until the answer begins, and between its parts."""
    pool: Seconds = 5.0
    """Until fewer than 100 requests are under way."""
    total: Seconds = 15.0
    """For everything, repetitions included."""

    def __attrs_post_init__(self) -> None:
        problems = [
            Problem(limit.name, f"is longer than total, {self.total:g} s, which ends everything: set total, too")
            for limit in fields(Limits)
            if getattr(self, limit.name) not in (limit.default, self.total) and getattr(self, limit.name) > self.total
        ]
        if problems:
            raise StructureError(problems)


@define(kw_only=True, eq=False)
class WebhookTool(ToolTable):
    """``[plugins.webhook.tools.NAME]``"""

    url: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    headers: dict[str, str] = field(factory=dict)
    query: dict[str, Any] = field(factory=dict)
    json: Any = None
    form: dict[str, Any] | None = None
    result: str = ""
    """A path into the answer's JSON, ``booking.id`` or ``days.0.high``; else all of the answer."""
    limits: Limits = field(factory=Limits)
    retries: Annotated[int, Range(0, 5)] = 2
    """How often a request is repeated that may be: not POST and PATCH."""
    answer_size: Annotated[int, Range(1)] = 1_000_000
    """The most bytes of an answer."""

    origin: str = field(init=False, default="", repr=False)
    host: str = field(init=False, default="", repr=False)
    path: Template = field(init=False, repr=False)
    queries: Tree = field(init=False, repr=False)
    extra_query: Template = field(init=False, repr=False)
    header_texts: dict[str, Template] = field(init=False, repr=False)
    body: Tree = field(init=False, repr=False, default=None)

    @property
    def time_limit(self) -> float:
        return self.limits.total + MARGIN

    @property
    def body_type(self) -> str:
        return next((BODIES[kind] for kind in BODIES if getattr(self, kind) is not None), "")

    @property
    def secrets(self) -> tuple[SecretReference, ...]:
        trees = (self.queries, self.header_texts, self.body)
        return tuple(secret for template in find_templates(trees) for secret in template.secrets)

    def read_secrets(self) -> list[Secret]:
        """Return the secrets. Raises ValueError, which says which of them is missing, and why."""
        read = []
        for reference in self.secrets:
            try:
                read.append(reference.read())
            except ValueError as error:
                raise ValueError(f"{reference} is missing: {error}") from None
        return read

    def read_templates(self, reader: TemplateReader) -> None:
        self._read_url(reader)
        self.queries = read_tree(self.query, "query", reader)
        self.header_texts = {}
        for name, text in self.headers.items():
            path = join_path("headers", name)
            self.header_texts[name] = reader.read(text, path, allows_secrets=True)
            if not HEADER.fullmatch(name):
                reader.complain(path, "is no name of a header")
            elif name.lower() in OURS:
                reader.complain(path, "is set by what sends the request: remove it")
        if self.json is not None and self.form is not None:
            reader.complain("form", "and json are both there: a request has one body, so remove one")
        elif self.body_type and self.method == "GET":
            reader.complain(
                "json" if self.form is None else "form",
                'is a body, which GET has none of: use query, or method = "POST"',
            )
        self.body = read_tree(self.json, "json", reader) if self.form is None else read_tree(self.form, "form", reader)
        if self.result and not all(self.result.split(".")):
            reader.complain("result", 'is a path with dots, such as "booking.id" or "days.0.high"')

    def _read_url(self, reader: TemplateReader) -> None:
        parts = URL.fullmatch(self.url)
        if parts is None or not self.url.isprintable():
            reader.complain("url", "is no https:// or http:// address, or has a # or a control character")
            self.path = self.extra_query = reader.read(self.url, "url")
            return
        self.origin = parts["origin"]
        self.host = _find_host(self.origin) if HOST.fullmatch(parts["host"]) else ""
        if not self.host:
            reader.complain("url", "has no plain host: no argument, name or password can stand there")
            reader.read(parts["host"], "url")
        self.path = reader.read(parts["path"] or "/", "url")
        self.extra_query = reader.read(parts["query"] or "", "url")
        if has_dots(parts["path"] or ""):
            reader.complain("url", "has . or .. as a step of its path")
        for name in dict.fromkeys(self.path.names + self.extra_query.names):
            if name in reader.parameters and name not in reader.required:
                reader.complain("url", f'needs "{name}", which is optional: remove optional = true, or use query')

    async def call(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        from convaid_webhook.sending import send

        return await send(self, arguments, context)


@define
class WebhookSettings:
    """``[plugins.webhook]``"""

    tools: dict[str, WebhookTool] = field(factory=dict)
    allow_local: bool | list[str] = False
    """Whether requests may go into the local network, or the hosts that may be there."""
    declared: list[Tool] = field(init=False, factory=list, repr=False)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._find_open_secrets()):
            raise StructureError(problems)
        self.declared = declare_tools(self.tools)

    def may_be_local(self, host: str) -> bool:
        """Whether this host may be in the local network."""
        allowed = self.allow_local
        return allowed if isinstance(allowed, bool) else host.lower() in map(str.lower, allowed)

    def _find_open_secrets(self) -> Iterator[Problem]:
        for name, table in self.tools.items():
            if table.origin.startswith("http:") and table.secrets and not self.may_be_local(table.host):
                yield Problem(
                    join_path(join_path("tools", name), "url"),
                    "would send a secret in the clear: use https://, or name the host in allow_local if it is near",
                )


def has_dots(path: str) -> bool:
    """Whether a step of the path is one that servers take for another step, however it is written."""
    return not {".", ".."}.isdisjoint(re.split(r"[/\\]", unquote(path)))


def _find_host(origin: str) -> str:
    """Return the host of an address; "" if it is none."""
    try:
        parts = urlsplit(origin)
        return parts.hostname or "" if parts.port != 0 else ""
    except ValueError:  # brackets that do not match, a port that is no number
        return ""
