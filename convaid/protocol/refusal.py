"""What a REST error of the platform's says in words."""

from __future__ import annotations

from typing import Any

from convaid.protocol.bodies import read_json

__all__ = ["read_detail"]

DETAIL_LENGTH = 200  # characters of an error page that is not the platform's


def read_detail(body: bytes) -> str:
    """``detail.message``, a bare ``detail``, or the body's beginning: the platform has used all of these shapes.

    Of a 422, which lists what does not fit, every place with its fault: ``tool_config.name: Field required; …``.
    """
    answer = read_json(body)
    detail = answer.get("detail") if isinstance(answer, dict) else None
    if isinstance(detail, dict):
        detail = detail.get("message") or detail.get("status")
    elif isinstance(detail, list):
        detail = "; ".join(_describe_fault(fault) for fault in detail if isinstance(fault, dict)) or None
    return detail if isinstance(detail, str) else body.decode(errors="replace").strip()[:DETAIL_LENGTH]


def _describe_fault(fault: dict[str, Any]) -> str:
    steps = fault.get("loc")
    path = ".".join(str(step) for step in steps if step != "body") if isinstance(steps, list) else ""
    return ": ".join(filter(None, (path, str(fault.get("msg", "")))))
