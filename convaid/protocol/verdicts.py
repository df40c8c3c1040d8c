"""What is known of each way in which a session can end: whose doing it is, whether to connect again, and the remedy.

Sources: the platform's AsyncAPI contract for error types and their codes; public reports for reasons and for the codes
3000, 3008 and 4300, which the contract leaves out.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

__all__ = [
    "AGENT_SILENT",
    "CLOSE_CODES",
    "ERROR_TYPES",
    "LIMITS",
    "LINK_LOST",
    "NORMAL",
    "NOT_BEGUN",
    "NO_SOUND",
    "ODD_FORMAT",
    "OWN_FAULT",
    "REASONS",
    "STATUSES",
    "STOPPED",
    "Cause",
    "Retry",
    "Verdict",
    "write_verdicts",
]


class Cause(StrEnum):
    """What ended a session, in words for a person."""

    ENDED_BY_AGENT = "ended by the agent"
    ENDED_BY_USER = "ended by the user"
    LIMIT_REACHED = "limit reached"
    REFUSED = "refused"
    BUSY = "busy"
    CONTRACT_FAULT = "contract fault"
    OPERATIONAL = "trouble on the platform"
    CRASH = "crash of the platform"
    LINK_LOST = "link lost"
    NO_SOUND = "no sound"
    OWN_FAULT = "fault of convaid"


class Retry(StrEnum):
    """When to connect again, as an answer to that question."""

    NO = "no"  # it is over; the configuration says whether a new conversation begins
    SOON = "at once"  # then with growing pauses
    LATER = "in a while"  # the platform is busy or wants credits
    REPAIR = "hardly ever"  # somebody must repair something first


@frozen
class Verdict:
    """What is known of a way to end before it has happened."""

    cause: Cause
    retry: Retry
    remedy: str = ""


WAIT = "Nothing needs doing unless it keeps happening: then look at the platform's status page, status.elevenlabs.io."
REPORT = (
    "Remove what is unusual from [conversations.NAME.initiation]; if there is nothing, report it as a fault of convaid."
)

AUTHORIZATION = Verdict(
    Cause.REFUSED,
    Retry.REPAIR,
    "The agent is private (dashboard: agent, Security, Authentication): make it public, or set auth in "
    '[conversations.NAME] to "signed_url", with an API key of the agent\'s workspace and region.',
)
NO_SUCH_AGENT = Verdict(
    Cause.REFUSED,
    Retry.REPAIR,
    "Copy the agent's ID from the dashboard to agent_id in [conversations.NAME], and check that base_url in [platform] "
    "is the region of its workspace.",
)
MISCONFIGURED_AGENT = Verdict(
    Cause.REFUSED, Retry.REPAIR, "Open the agent on the dashboard, correct what it complains of, and publish it."
)
NO_CREDITS = Verdict(
    Cause.BUSY,
    Retry.LATER,
    "Add credits or change the plan on the dashboard (Subscription), or wait for the new month.",
)
TOO_MANY = Verdict(
    Cause.BUSY,
    Retry.LATER,
    "Hold fewer conversations at once, or raise the limit on the dashboard (agent, Security, Limits) or with the plan.",
)
OVERRIDE = Verdict(
    Cause.CONTRACT_FAULT,
    Retry.REPAIR,
    "Allow the field on the dashboard (agent, Security, Overrides), or remove it from [conversations.NAME.overrides].",
)
VARIABLE = Verdict(
    Cause.CONTRACT_FAULT,
    Retry.REPAIR,
    "Set the variable in [conversations.NAME.dynamic_variables], or give it a default on the dashboard (agent).",
)
MAX_DURATION = Verdict(
    Cause.LIMIT_REACHED,
    Retry.NO,
    "If conversations should last longer, raise the maximum duration on the dashboard (agent, Advanced).",
)

REASONS: dict[str, Verdict] = {
    "exceeds your quota": NO_CREDITS,
    "quota_exceeded": NO_CREDITS,
    "out of credits": NO_CREDITS,
    "too many concurrent": TOO_MANY,
    "could not authorize the conversation": AUTHORIZATION,
    "agent you are trying to reach does not exist": NO_SUCH_AGENT,
    "appears to be misconfigured": MISCONFIGURED_AGENT,
    "override for field": OVERRIDE,
    "missing required dynamic variable": VARIABLE,
    "exceeded maximum duration": MAX_DURATION,
    "exceeded maximum message size": Verdict(
        Cause.OPERATIONAL,
        Retry.SOON,
        "The platform sent a message of more than 16 MiB, which convaid does not take; see what the agent sends.",
    ),
}
"""What the platform says, by a telling part of it in lower case. Looked up first: the codes and types are coarser."""

ERROR_TYPES: dict[str, Verdict] = {
    "max_duration_exceeded": MAX_DURATION,
    "transport_receive_timeout": Verdict(
        Cause.LIMIT_REACHED,
        Retry.REPAIR,  # whoever did not speak will not speak in a second either, and every new conversation costs
        "The platform ends a conversation after 60 s without input: give it a microphone with audio in "
        "[conversations.NAME], or write to it more often.",
    ),
    "safety_violation": Verdict(
        Cause.OPERATIONAL,
        Retry.LATER,
        "Read the conversation on the dashboard (Conversations), and adapt the agent's prompt or its guardrails.",
    ),
    "llm_timeout": Verdict(
        Cause.OPERATIONAL, Retry.SOON, "If it keeps happening, choose a faster model on the dashboard (agent, LLM)."
    ),
    "llm_error": Verdict(
        Cause.OPERATIONAL, Retry.SOON, "If it keeps happening, choose another model on the dashboard (agent, LLM)."
    ),
    "custom_llm_error": Verdict(
        Cause.OPERATIONAL,
        Retry.LATER,
        "Check the URL, the key and the log of your own model, which the dashboard names under agent, LLM, Custom LLM.",
    ),
    "cascade_brain_error": Verdict(
        Cause.OPERATIONAL,
        Retry.SOON,
        "If it keeps happening, choose another model and back-up models on the dashboard (agent, LLM).",
    ),
    "tts_cascade_error": Verdict(
        Cause.OPERATIONAL, Retry.SOON, "If it keeps happening, choose another voice on the dashboard (agent, Voices)."
    ),
    "asr_transcription_error": Verdict(
        Cause.OPERATIONAL,
        Retry.SOON,
        "If it keeps happening, choose pcm_16000 as the input format on the dashboard (agent, Advanced).",
    ),
    "vad_error": Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    "turn_probability_error": Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    "asyncio_timeout": Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    "http_exception": Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    "redis_timeout_error": Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    "override_error": OVERRIDE,
    "missing_dynamic_variable": VARIABLE,
    "missing_dynamic_variable_transfer": Verdict(
        Cause.CONTRACT_FAULT,
        Retry.REPAIR,
        "The agent that was transferred to wants a variable: set it in [conversations.NAME.dynamic_variables], or give "
        "it a default on that agent's page of the dashboard.",
    ),
    "invalid_message": Verdict(Cause.CONTRACT_FAULT, Retry.REPAIR, REPORT),
    "value_error": Verdict(Cause.CONTRACT_FAULT, Retry.REPAIR, REPORT),
    "missing_fields": Verdict(Cause.CONTRACT_FAULT, Retry.REPAIR, REPORT),
    "telephony_agent_error": Verdict(
        Cause.CONTRACT_FAULT,
        Retry.REPAIR,
        "The agent only transcribes telephone calls: set agent_id in [conversations.NAME] to one that converses.",
    ),
    "mcp_tool_error": Verdict(
        Cause.CONTRACT_FAULT,
        Retry.REPAIR,
        "Correct the tool schemas of the agent's MCP server, or remove it on the dashboard (agent, Tools, MCP).",
    ),
    "mcp_https_error": Verdict(
        Cause.CONTRACT_FAULT,
        Retry.REPAIR,
        "Give the agent's MCP server an https:// address on the dashboard (agent, Tools, MCP).",
    ),
    "unknown_websocket_crash": Verdict(Cause.CRASH, Retry.SOON, WAIT),
    "websocket_disconnect": Verdict(Cause.LINK_LOST, Retry.SOON, WAIT),
}
"""By the type in the platform's error frame. "unknown" is missing on purpose: the close code says more."""

LINK_LOST = Verdict(
    Cause.LINK_LOST,
    Retry.SOON,
    "If it keeps happening, check the network, a firewall in between, and base_url in [platform].",
)
NORMAL = Verdict(Cause.ENDED_BY_AGENT, Retry.NO)
NOT_BEGUN = Verdict(
    Cause.REFUSED,
    Retry.LATER,
    "The platform hung up before the conversation began: test the agent on the dashboard, and compare agent_id in "
    "[conversations.NAME] with it.",
)

CLOSE_CODES: dict[int, Verdict] = {
    1000: NORMAL,
    1001: Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    1002: Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    1005: NORMAL,
    1006: LINK_LOST,
    1008: Verdict(Cause.CONTRACT_FAULT, Retry.REPAIR, REPORT),
    1009: Verdict(
        Cause.CONTRACT_FAULT, Retry.SOON, 'A message was too long for the platform: lower result_size in [tools."*"].'
    ),
    1011: Verdict(Cause.CRASH, Retry.SOON, WAIT),
    1012: Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
    1013: Verdict(Cause.BUSY, Retry.LATER, WAIT),
    3000: Verdict(
        Cause.REFUSED,
        Retry.REPAIR,
        "Compare agent_id, auth, branch_id and environment in [conversations.NAME] with the agent on the dashboard.",
    ),
    3008: TOO_MANY,
    4300: TOO_MANY,
}
"""By the close frame's code; any other is taken for 1002."""

STATUSES: dict[int, Verdict] = {
    400: Verdict(
        Cause.REFUSED,
        Retry.REPAIR,
        "Check agent_id, branch_id and environment in [conversations.NAME], and base_url in [platform].",
    ),
    401: Verdict(
        Cause.REFUSED,
        Retry.REPAIR,
        "Create an API key that may read agents (dashboard: Developers, API Keys), in the region that base_url in "
        "[platform] names, and put it where api_key_env in [platform] or api_key_file in [platform] says.",
    ),
    403: Verdict(
        Cause.REFUSED,
        Retry.REPAIR,
        "Use an API key of the workspace that owns the agent (dashboard: Developers, API Keys), and look whether its "
        "plan allows this.",
    ),
    404: NO_SUCH_AGENT,
    429: TOO_MANY,
    500: Verdict(Cause.OPERATIONAL, Retry.SOON, WAIT),
}
"""By the HTTP status that came instead of a signed URL or a WebSocket; others count as 400, or as 500 from there on."""

AGENT_SILENT = Verdict(
    Cause.OPERATIONAL,
    Retry.SOON,
    "Read the conversation on the dashboard (Conversations), or raise answer in [conversations.NAME.limits].",
)
NO_SOUND = Verdict(
    Cause.NO_SOUND,
    Retry.REPAIR,
    "Mend what this says, or the table [conversations.NAME.wav] or [conversations.NAME.command].",
)
OWN_FAULT = Verdict(Cause.OWN_FAULT, Retry.LATER, "Report it, with the traceback that the log has.")
ODD_FORMAT = Verdict(
    Cause.CONTRACT_FAULT,
    Retry.REPAIR,
    "Choose one of these as the agent's audio format on the dashboard (agent, Advanced).",
)
STOPPED = Verdict(Cause.ENDED_BY_USER, Retry.NO)
LIMITS: dict[str, Verdict] = {
    "idle": Verdict(
        Cause.LIMIT_REACHED, Retry.NO, "If silence may last longer, raise idle in [conversations.NAME.limits]."
    ),
    "life": Verdict(
        Cause.LIMIT_REACHED,
        Retry.NO,
        "If conversations should last longer, raise life in [conversations.NAME.limits].",
    ),
    "budget": Verdict(
        Cause.LIMIT_REACHED,
        Retry.LATER,
        "If conversations may be open for longer, or begin more often, raise minutes_per_conversation, "
        "minutes_per_day, minutes_per_month and starts_per_hour in [budget] or [conversations.NAME.budget], "
        "whichever it was.",
    ),
}
"""By the limit's name in the configuration."""


def write_verdicts() -> str:
    """All of them as a Markdown table, one line for each verdict."""
    happenings: list[tuple[str, Verdict]] = [
        ("you stop it", STOPPED),
        *((f"the limit `{name}` is reached", verdict) for name, verdict in LIMITS.items()),
        ("the agent owes an answer for too long", AGENT_SILENT),
        ("the connection fails or falls silent", LINK_LOST),
        ("microphone or speaker cannot be opened", NO_SOUND),
        ("the platform announces an unknown audio format", ODD_FORMAT),
        ("convaid has a fault", OWN_FAULT),
        *((f"close {code}", verdict) for code, verdict in CLOSE_CODES.items()),
        ("close 1000 before it began", NOT_BEGUN),
        *((f"HTTP {status}", verdict) for status, verdict in STATUSES.items()),
        *((f"“{reason}”", verdict) for reason, verdict in REASONS.items()),
        *((f"`{error_type}`", verdict) for error_type, verdict in ERROR_TYPES.items()),
    ]
    by_verdict: dict[Verdict, list[str]] = {}
    for what, verdict in happenings:
        by_verdict.setdefault(verdict, []).append(what)
    lines = ["| What happens | convaid says | connects again | What you can do |", "|---|---|---|---|"]
    for verdict, whats in by_verdict.items():
        lines.append(
            f"| {', '.join(whats)} | {verdict.cause} | {verdict.retry} | {verdict.remedy or 'nothing to do'} |"
        )
    return "\n".join(lines) + "\n"
