"""The first frame of a session, from the configuration. Pure."""

from __future__ import annotations

from typing import Any

from convaid.config.model import ConversationConfig
from convaid.protocol.to_agent import ConversationInitiationClientData
from convaid.recap import RECAP_VARIABLE

__all__ = ["build_initiation"]


def build_initiation(
    settings: ConversationConfig, recap: str = "", *, greets: bool = True
) -> ConversationInitiationClientData:
    """What ``settings`` ask of the agent; whatever is not set stays out, because a null may count as an override.

    ``recap`` is what a dynamic variable says of the conversation before, where the settings want one; without
    ``greets`` the agent is to wait for the user. The table ``initiation`` is not in here: it is merged into the frame
    last (`UserSide.start`).
    """
    overrides = settings.overrides
    variables: dict[str, Any] = dict(settings.dynamic_variables)
    if settings.recap.way == "variable":
        variables[RECAP_VARIABLE] = recap
    conversation_config_override = drop_unset(
        agent=drop_unset(
            prompt=drop_unset(prompt=overrides.prompt),
            first_message=overrides.first_message if greets else "",
            language=overrides.language,
        ),
        tts=drop_unset(voice_id=overrides.voice_id),
        conversation=drop_unset(text_only=overrides.text_only),
    )
    return ConversationInitiationClientData(
        conversation_config_override=conversation_config_override,
        custom_llm_extra_body=settings.custom_llm_extra_body or None,
        dynamic_variables=variables or None,
        user_id=settings.user_id or None,
        # Where the URL cannot say it: the WebSocket's takes no branch, and somebody else's signed URL is as it is.
        branch_id=(settings.branch_id or None) if settings.auth != "signed_url" else None,
        environment=(settings.environment or None) if settings.auth == "signed_url_from" else None,
    )


def drop_unset(**fields: Any) -> dict[str, Any] | None:
    """The fields that are set; None where none is."""
    return {name: value for name, value in fields.items() if value is not None} or None
