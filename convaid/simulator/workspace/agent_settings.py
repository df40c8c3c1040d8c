"""A scenario's agent and the platform's JSON of an agent: the one place where they meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve

from convaid.simulator.agent import Agent, Limits, Silences
from convaid.simulator.starting import find_placeholders, list_overrides
from convaid.simulator.workspace.agent_shapes import FLAGS, check_agent, merge
from convaid.simulator.workspace.checks import Fault

__all__ = ["describe_agent", "read_agent"]

NO_PROMPT = "A scenario tells this agent what to say."


def describe_agent(agent: Agent, name: str) -> Any:
    """The settings of a scenario's agent as the platform would keep them."""
    required_in_prompt = " ".join(f"{{{{{name}}}}}" for name in agent.required_dynamic_variables)
    prompt = f"{agent.prompt or NO_PROMPT} {required_in_prompt}".rstrip()
    silences, limits = agent.silences, agent.limits
    settings = {
        "name": name,
        "conversation_config": {
            "agent": {
                "first_message": agent.first_message,
                "max_conversation_duration_message": agent.max_duration_message,
                "dynamic_variables": {"dynamic_variable_placeholders": dict(agent.dynamic_variables)},
                "prompt": {"prompt": prompt},
                **({"language": agent.language} if agent.language else {}),
            },
            "conversation": {
                "text_only": agent.text_only,
                "max_duration_seconds": math.ceil(min(agent.max_duration, 86400)),  # inf is no whole number
                "client_events": list(agent.client_events),
                "file_input": {
                    "enabled": limits.max_files != 0,
                    "max_files_per_conversation": -1 if limits.max_files is None else limits.max_files,
                },
            },
            "turn": {
                "turn_timeout": write_seconds(silences.turn_timeout),
                "initial_wait_time": silences.initial_wait_time,
                "silence_end_call_timeout": write_seconds(silences.silence_end_call_timeout),
                "soft_timeout_config": {
                    "timeout_seconds": write_seconds(silences.soft_timeout),
                    "message": silences.soft_timeout_message,
                },
            },
            "asr": {"user_input_audio_format": agent.user_input_audio_format},
            "tts": {"agent_output_audio_format": agent.agent_output_audio_format},
        },
        "platform_settings": {
            "auth": {
                "enable_auth": agent.requires_authorization,
                "allowlist": [{"hostname": host} for host in agent.allowlist],
                "require_origin_header": agent.require_origin_header,
            },
            "call_limits": {
                "agent_concurrency_limit": limits.agent_concurrency_limit or -1,
                "daily_limit": limits.daily_limit,
            },
            "queueing_config": {
                "enabled": limits.queue_wait is not None,
                **({} if limits.queue_wait is None else {"wait_timeout_seconds": math.ceil(limits.queue_wait)}),
            },
            "overrides": {
                "conversation_config_override": build_permissions(set(agent.allowed_overrides) - set(FLAGS.values())),
                **{name: permission in agent.allowed_overrides for name, permission in FLAGS.items()},
            },
        },
    }
    faults: list[Fault] = []  # a scenario may have an agent that the platform would not take
    return check_agent(settings, (), faults)


def read_agent(agent_id: str, settings: Mapping[str, Any], simulated: Agent) -> Agent:
    """The agent that these settings make; what the platform has no setting for is as with the ``simulated`` one."""
    conversation_config, platform_settings = settings["conversation_config"], settings["platform_settings"]
    agent, conversation = conversation_config["agent"], conversation_config["conversation"]
    auth, overrides = platform_settings["auth"], platform_settings["overrides"]
    permissions = list_overrides(overrides["conversation_config_override"])
    prompt = agent["prompt"]["prompt"]
    is_stand_in = prompt.startswith(NO_PROMPT)
    return evolve(
        simulated,
        id=agent_id,
        requires_authorization=auth["enable_auth"],
        allowlist=[item["hostname"] for item in auth["allowlist"]],
        require_origin_header=auth["require_origin_header"],
        first_message=agent["first_message"],
        text_only=conversation["text_only"],
        client_events=conversation["client_events"],
        user_input_audio_format=conversation_config["asr"]["user_input_audio_format"],
        agent_output_audio_format=conversation_config["tts"]["agent_output_audio_format"],
        prompt="" if is_stand_in else prompt,
        language=agent["language"],
        required_dynamic_variables=find_placeholders(prompt) if is_stand_in else [],
        dynamic_variables=agent["dynamic_variables"]["dynamic_variable_placeholders"],
        allowed_overrides=[
            *(path for path, is_allowed in permissions if is_allowed),
            *(permission for name, permission in FLAGS.items() if overrides[name]),
        ],
        max_duration=float(conversation["max_duration_seconds"]),
        max_duration_message=agent["max_conversation_duration_message"],
        silences=read_silences(conversation_config["turn"], simulated.silences),
        limits=read_limits(settings),
    )


def read_silences(turn: Mapping[str, Any], simulated: Silences) -> Silences:
    """What the agent does about silence; what it says to a silent user, only the ``simulated`` one knows."""
    soft_timeout = turn["soft_timeout_config"]
    return Silences(
        turn_timeout=read_seconds(turn["turn_timeout"]),
        initial_wait_time=read_seconds(turn["initial_wait_time"]),
        message=simulated.message,
        silence_end_call_timeout=read_seconds(turn["silence_end_call_timeout"]),
        soft_timeout=read_seconds(soft_timeout["timeout_seconds"]),
        soft_timeout_message=soft_timeout["message"],
    )


def read_limits(settings: Mapping[str, Any]) -> Limits:
    """How much the agent takes."""
    calls, queue = settings["platform_settings"]["call_limits"], settings["platform_settings"]["queueing_config"]
    files = settings["conversation_config"]["conversation"]["file_input"]
    most = files["max_files_per_conversation"] if files["enabled"] else 0
    return Limits(
        agent_concurrency_limit=calls["agent_concurrency_limit"] if calls["agent_concurrency_limit"] > 0 else None,
        daily_limit=calls["daily_limit"],
        queue_wait=queue["wait_timeout_seconds"] if queue["enabled"] else None,
        max_files=None if most < 0 else most,
    )


def read_seconds(seconds: float | None) -> float | None:
    """A duration; the platform writes -1 for what is off."""
    return seconds if seconds is not None and seconds > 0 else None


def write_seconds(seconds: float | None) -> float:
    return -1 if seconds is None or math.isinf(seconds) else seconds


def build_permissions(paths: Iterable[str]) -> dict[str, Any]:
    """Permission to override what stands at these paths, as the platform nests them."""
    permissions: dict[str, Any] = {}
    for path in paths:
        inner: Any = True
        for name in reversed(path.split(".")):
            inner = {name: inner}
        permissions = merge(permissions, inner)
    return permissions
