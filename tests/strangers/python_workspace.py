"""The official Python SDK, unmodified, provisions tools and agents and tells on standard output, in JSON, what it saw.

Arguments: the simulator's base URL, the API key, and the id of a conversation that has been held.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from typing import Any

errors: Any = import_module("elevenlabs.errors")
ApiError: Any = import_module("elevenlabs.core.api_error").ApiError
ElevenLabs: Any = import_module("elevenlabs.client").ElevenLabs
types: Any = import_module("elevenlabs.types")


def make_request(name: str, **settings: Any) -> Any:
    parameters = types.ObjectJsonSchemaPropertyInput(
        type="object",
        required=["level"],
        properties={"level": types.LiteralJsonSchemaProperty(type="integer", description="0 to 100")},
    )
    config = types.ToolRequestModelToolConfig_Client(
        name=name, description="Set the volume", parameters=parameters, **settings
    )
    return types.ToolRequestModel(tool_config=config)


def provision_tools(tools: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    made = [
        tools.create(request=make_request(name, expects_response=True)).id for name in ("volume_a", "volume_b", "x")
    ]
    pages, cursor = [], None
    while True:
        page = tools.list(page_size=2, sort_by="name", sort_direction="asc", types=["client"], cursor=cursor)
        pages.append([tool.tool_config.name for tool in page.tools])
        cursor = page.next_cursor
        if not page.has_more:
            break
    seen["pages"] = pages
    seen["found"] = [tool.tool_config.name for tool in tools.list(search="volume_", sort_direction="asc").tools]

    tool = tools.get(tool_id=made[0])
    seen["got"] = [tool.id == made[0], tool.tool_config.type, tool.tool_config.parameters.properties["level"].type]
    changed = tools.update(
        tool_id=made[0], request=make_request("louder", response_timeout_secs=-1, expects_response=True)
    )
    seen["updated"] = [changed.tool_config.name, changed.tool_config.response_timeout_secs]
    # What was got goes back as it came: nothing in it is refused.
    again = types.ToolRequestModel(tool_config=json.loads(tool.json())["tool_config"])
    seen["sent_back"] = tools.update(tool_id=made[0], request=again).tool_config.name
    try:
        tools.create(request=make_request("no blanks", response_timeout_secs=0))
    except errors.UnprocessableEntityError as error:
        seen["refused"] = [[each["loc"][-1], each["type"]] for each in error.body["detail"]]
    seen["made"] = made
    return seen


def provision_agents(agents: Any, tools: Any, made: list[str]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    config = types.ConversationalConfig(
        agent=types.AgentConfig(first_message="Hello", prompt=types.PromptAgentApiModelOutput(tool_ids=made)),
        conversation=types.ConversationConfigOutput(text_only=True, client_events=["agent_response"]),
    )
    agent_id = agents.create(conversation_config=config, name="Made by the SDK").agent_id
    agent = agents.get(agent_id=agent_id)
    seen["got"] = [agent.name, agent.conversation_config.agent.prompt.tool_ids == made]
    seen["dependents"] = [each.id == agent_id for each in tools.get_dependent_agents(tool_id=made[0]).agents]
    try:
        tools.delete(tool_id=made[0])
    except ApiError as error:
        seen["in_use"] = [error.status_code, error.body["detail"]["status"]]
    tools.delete(tool_id=made[0], force=True)
    agent = agents.update(agent_id=agent_id, name="Renamed")
    seen["updated"] = [agent.name, agent.conversation_config.agent.prompt.tool_ids == made[1:]]
    seen["listed"] = [each.name for each in agents.list(page_size=1).agents]
    agents.delete(agent_id=agent_id)
    try:
        agents.get(agent_id=agent_id)
    except ApiError as error:
        seen["gone"] = error.status_code
    return seen


def main() -> None:
    base_url, api_key, conversation_id = sys.argv[1:]
    platform = ElevenLabs(base_url=base_url, api_key=api_key)
    agents = platform.conversational_ai
    seen: dict[str, Any] = {"user": platform.user.get().user_id, "tools": provision_tools(agents.tools)}
    seen["agents"] = provision_agents(agents.agents, agents.tools, seen["tools"].pop("made"))
    listed = agents.conversations.list(agent_id="agent_demo").conversations
    conversation = agents.conversations.get(conversation_id=conversation_id)
    seen["conversation"] = [
        [each.conversation_id for each in listed] == [conversation_id],
        conversation.status,
        [[turn.role, turn.message] for turn in conversation.transcript],
        "ended the conversation" in conversation.metadata.termination_reason,
    ]
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
