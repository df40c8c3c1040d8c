"""Who the simulated agent is: its settings, as the platform keeps them for a real one, and how it sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from attrs import Factory, field, frozen

from convaid.simulator.fields import check_format, check_not_negative, check_positive, positive_field

__all__ = ["Agent", "Voice"]


@frozen
class Voice:
    """How the agent sounds: a WAV file's beginning, as long as the text takes to say, or a tone."""

    wav: Annotated[Path | None, "a file, relative to the scenario's"] = None
    # Whole: one second of the tone is repeated without a click.
    tone: Annotated[int, "Hz"] = field(default=330, validator=check_positive)
    pace: Annotated[float, "characters of text that it says in a second"] = positive_field(15.0)
    chunk: Annotated[float, "seconds of speech in one frame"] = positive_field(0.1)
    speed: Annotated[float, "how many times faster than real time speech is sent"] = positive_field(5.0)


@frozen
class Agent:
    """The simulated agent's settings, as the platform keeps them for a real one."""

    id: Annotated[str, "left out, the agent answers to any id"] = ""
    requires_authorization: Annotated[bool, "a private agent: it wants a signed URL or an API key"] = False
    first_message: Annotated[str, "what it says first, {{names}} of dynamic variables filled in"] = ""
    text_only: bool = False
    client_events: Annotated[
        list[str], "which events it sends; the metadata, pings, tool calls and errors are always sent"
    ] = Factory(
        lambda: [
            "audio",
            "interruption",
            "user_transcript",
            "agent_response",
            "agent_response_correction",
            "agent_chat_response_part",
            "agent_response_complete",
            "agent_tool_request",
            "agent_tool_response",
        ]
    )
    user_input_audio_format: Annotated[str, "such as pcm_16000 or ulaw_8000"] = field(
        default="pcm_16000", validator=check_format
    )
    agent_output_audio_format: Annotated[str, "likewise"] = field(default="pcm_16000", validator=check_format)
    required_dynamic_variables: Annotated[list[str], "beside those that first_message names"] = Factory(list)
    dynamic_variables: Annotated[dict[str, Any], "for those that the user leaves out"] = Factory(dict)
    allowed_overrides: Annotated[list[str], "what the user may override, such as agent.first_message"] = Factory(
        lambda: ["conversation.text_only"]
    )
    metadata_delay: Annotated[float, "seconds until the conversation begins; inf: it never does"] = field(
        default=0.0, validator=check_not_negative
    )
    ping_interval: Annotated[float, "seconds; inf: no pings"] = positive_field(2.0)
    input_limit: Annotated[float, "seconds without any input from the user, after which the platform hangs up"] = (
        positive_field(60.0)
    )
    max_duration: Annotated[float, "seconds that a conversation lasts at most"] = positive_field(600.0)

    @property
    def audio_formats(self) -> tuple[str, str]:
        """What is heard, and what is spoken."""
        return self.user_input_audio_format, self.agent_output_audio_format
