"""What a server answers to a call, as the text for the agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from convaid import ToolError

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock

__all__ = ["read_result"]


def read_result(result: CallToolResult) -> str:
    """Return what the tool has to say. Raises ToolError with that where the server calls it an error.

    Structured content stands for the text beside it, which by the protocol says the same. What is neither is named and
    not sent: agents get text.
    """
    texts = [text for block in result.content if (text := _read_text(block)) is not None]
    content = result.structured_content
    if content is not None and not result.is_error and not _wraps(content, "\n".join(texts)):
        texts = [json.dumps(content, ensure_ascii=False, separators=(",", ":"))]
    text = "\n".join([*texts, *(_name(block) for block in result.content if _read_text(block) is None)])
    if result.is_error:
        raise ToolError(text or "The tool failed, and its server does not say why.")
    return text


def _wraps(content: object, text: str) -> bool:
    """Whether it is but the text in an object of one key, as SDKs make of a text, because it has to be an object."""
    return isinstance(content, dict) and list(content.values()) == [text]


def _read_text(block: ContentBlock) -> str | None:
    if block.type == "text":
        return block.text
    if block.type == "resource":
        return getattr(block.resource, "text", None)
    return None


def _name(block: ContentBlock) -> str:
    """Return words for what cannot be sent."""
    match block.type:
        case "image" | "audio":
            size = len(block.data) * 3 // 4  # base64
            return f"[{block.type}, {block.mime_type}, {size} bytes: not sent]"
        case "resource_link":
            return f"[{block.title or block.name}: {block.uri}]"
        case "resource":
            return f"[{block.resource.uri}, {block.resource.mime_type or 'of unknown type'}: not sent]"
    return f"[{block.type}: not sent]"
