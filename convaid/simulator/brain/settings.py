"""Which language model an agent thinks with: the table ``[brain]`` of a scenario."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from attrs import field, frozen

from convaid.simulator.fields import check_not_negative, positive_field

__all__ = ["Brain"]

OLLAMA = "http://127.0.0.1:11434/v1"


def check_base_url(_: object, __: object, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment:
        raise ValueError(f"is not the beginning of URLs, such as {OLLAMA}")


def check_temperature(_: object, attribute: Any, temperature: float | None) -> None:
    if temperature is not None:
        check_not_negative(_, attribute, temperature)


@frozen
class Brain:
    """A language model that decides what the agent says and which tools it calls, in place of steps and rules.

    ``brain = "openai"`` alone takes the first model of an Ollama on this machine.
    """

    api: Annotated[Literal["openai"], "what its server speaks: OpenAI's chat completions"] = "openai"
    base_url: Annotated[str, "where the server is; /chat/completions is what follows"] = field(
        default=OLLAMA, validator=check_base_url
    )
    model: Annotated[str, "its name on the server; left out, the first that the server lists"] = ""
    api_key_env: Annotated[str, "the environment variable that has the server's key; left out, it needs none"] = ""
    temperature: Annotated[float | None, "left out, it is the server's"] = field(
        default=None, validator=check_temperature
    )
    time_limit: Annotated[float, "seconds without anything from the model, after which the agent fails"] = (
        positive_field(20.0)
    )
    tool_rounds: Annotated[int, "how often it may call tools for one turn of the user's"] = positive_field(8)
