"""Who the simulated agent is: its settings, as the platform keeps them for a real one, and how it sounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import Factory, field, frozen

from convaid.simulator.fields import (
    check_events,
    check_format,
    check_not_negative,
    check_positive,
    check_writable,
    positive_field,
)

__all__ = ["Agent", "Guesses", "Limits", "Silences", "Voice"]


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
class Silences:
    """What the agent does about silence: the user's, and its own while a tool runs. What is left out is off."""

    turn_timeout: Annotated[float | None, "seconds until a silent user is spoken to; the platform's default is 7"] = (
        positive_field(None)
    )
    initial_wait_time: Annotated[float | None, "the same before the user's first turn, without a first message"] = (
        positive_field(None)
    )
    message: Annotated[str, "what is said to a silent user; there is no language model that could think of it"] = (
        "Are you still there?"
    )
    silence_end_call_timeout: Annotated[float | None, "seconds since the user's last turn until the agent hangs up"] = (
        positive_field(None)
    )
    soft_timeout: Annotated[float | None, "seconds until the agent bridges the wait for a tool with words"] = (
        positive_field(None)
    )
    soft_timeout_message: Annotated[str, "these"] = "Hhmmmm...yeah."


@frozen
class Limits:
    """How much is too much. What is left out is as the platform has it, or not limited."""

    agent_concurrency_limit: Annotated[int | None, "conversations at once"] = positive_field(None)
    daily_limit: Annotated[int, "conversations that begin in a day (UTC)"] = field(
        default=100_000, validator=check_not_negative
    )
    queue_wait: Annotated[float | None, "seconds that one too many at once may wait; left out, it is refused"] = (
        positive_field(None)
    )
    max_files: Annotated[int | None, "files that are uploaded to one conversation; 0: none at all"] = field(
        default=10, validator=check_not_negative
    )


@frozen
class Guesses:
    """What nobody outside the platform knows: how the simulated one does it. The defaults are what is most likely."""

    metadata_waits: Annotated[
        bool, "the metadata waits for the user's initiation, for 1.5 s; false: it comes at once"
    ] = True
    activity_is_input: Annotated[bool, "user_activity counts as input, without which a conversation ends"] = True
    message_interrupts: Annotated[bool, "a user_message cuts off an agent that is speaking"] = True
    late_result: Annotated[
        Literal["ignored", "refused"], "a tool's result that is late or that nobody waits for; refused: close 1008"
    ] = "ignored"
    async_result: Annotated[
        Literal["later", "awaited"], "a tool with execution_mode async: the agent goes on without its result, or waits"
    ] = "later"
    pong_limit: Annotated[float | None, "seconds that a ping may go unanswered; left out, for ever"] = positive_field(
        None
    )
    busy_code: Annotated[
        Literal[3008, 4300, 429], "how a conversation too many is refused: a close code, or the HTTP status"
    ] = 3008
    max_message_size: Annotated[int, "bytes of a user's message; a longer one ends the conversation with 1009"] = (
        positive_field(16 * 2**20)
    )
    any_source: Annotated[bool, "source_info.source may be any text; false: only those of the platform's list"] = True
    new_agent_events: Annotated[list[str], "client_events of an agent that REST makes without naming any"] = field(
        # What the dashboard begins with.
        factory=lambda: ["audio", "interruption", "user_transcript", "agent_response", "agent_response_correction"],
        validator=check_events,
    )
    in_use_status: Annotated[Literal[400, 409], "HTTP status for deleting a tool that an agent uses"] = 400


@frozen
class Agent:
    """The simulated agent's settings, as the platform keeps them for a real one."""

    id: Annotated[str, "left out, the agent answers to any id"] = ""
    requires_authorization: Annotated[bool, "a private agent: it wants a signed URL or an API key"] = False
    allowlist: Annotated[list[str], "hosts whose pages may talk to it, of all that say where they come from"] = Factory(
        list
    )
    require_origin_header: Annotated[bool, "with an allowlist: who does not say so may not, either"] = False
    signed_url_life: Annotated[float, "seconds in which a signed URL can start a conversation"] = positive_field(
        15 * 60.0
    )
    branches: Annotated[list[str], "which branch_id a user may name; left out, any"] = Factory(list)
    first_message: Annotated[str, "what it says first, {{names}} of dynamic variables filled in"] = ""
    prompt: Annotated[str, "what a brain is told of who it is and what to do; {{names}} likewise"] = ""
    language: Annotated[str, "which a brain is told to speak, such as en; left out, it is not told"] = ""
    text_only: bool = False
    client_events: Annotated[
        list[str], "which events it sends; the metadata, pings, tool calls and errors are always sent"
    ] = field(
        factory=lambda: [
            "audio",
            "interruption",
            "user_transcript",
            "agent_response",
            "agent_response_correction",
            "agent_chat_response_part",
            "agent_response_complete",
            "agent_tool_request",
            "agent_tool_response",
        ],
        validator=check_events,
    )
    user_input_audio_format: Annotated[str, "such as pcm_16000 or ulaw_8000"] = field(
        default="pcm_16000", validator=check_format
    )
    agent_output_audio_format: Annotated[str, "likewise"] = field(default="pcm_16000", validator=check_format)
    required_dynamic_variables: Annotated[list[str], "beside those that first_message names"] = Factory(list)
    dynamic_variables: Annotated[dict[str, Any], "for those that the user leaves out"] = field(
        factory=dict, validator=check_writable
    )
    allowed_overrides: Annotated[
        list[str],
        "what the user may override, such as agent.first_message, and send: custom_llm_extra_body, "
        "starting_workflow_node_id, procedure_ids",
    ] = Factory(lambda: ["conversation.text_only"])
    metadata_delay: Annotated[float, "seconds until the conversation begins; inf: it never does"] = field(
        default=0.0, validator=check_not_negative
    )
    first_frames: Annotated[
        list[str], "text frames that come before the metadata, whether the protocol allows it or not"
    ] = Factory(list)
    ping_interval: Annotated[float, "seconds; inf: no pings"] = positive_field(2.0)
    input_limit: Annotated[float, "seconds without any input from the user, after which the platform hangs up"] = (
        positive_field(60.0)
    )
    max_duration: Annotated[float, "seconds that a conversation lasts at most"] = positive_field(600.0)
    max_duration_message: Annotated[str, "what the agent says when they are over"] = ""
    silences: Silences = Factory(Silences)
    limits: Limits = Factory(Limits)
    guesses: Guesses = Factory(Guesses)

    @property
    def audio_formats(self) -> tuple[str, str]:
        """What is heard, and what is spoken."""
        return self.user_input_audio_format, self.agent_output_audio_format
