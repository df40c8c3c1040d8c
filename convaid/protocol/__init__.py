"""The platform's conversation protocol, for both roles: messages, frames, the state of a conversation, its endings.

Pure: no sockets, no clock, no tasks. Frames go in, messages and frames come out.

What it handles for you:

- every message of both directions as a frozen class with the wire's names, read strictly and written compactly;
- what is unknown, missing though optional, or null: harmless, and counted;
- what cannot be read: a `RemoteProtocolError` value, never an exception;
- what may not be sent now: a `LocalProtocolError` before anything has left;
- the order of a conversation: the initiation first, the metadata once;
- tool calls by id: one result each, a repeated id ignored, however the parameters are named;
- audio of an interrupted event: dropped, and only that;
- endings: who ended it, whether to connect again, and a sentence with the remedy.

What it will not do:

- send anything by itself: a `Ping` is returned, and the caller owes the `Pong`;
- keep time: no time limits, no pace of audio, no latencies;
- look into audio: base64 stays as it came, and formats are names;
- check a tool call's parameters: they are handed on as they came, whatever their type;
- connect, reconnect, or resume: the platform has no resumption, and a new link is a new conversation.
"""

from convaid.protocol.agent_side import AgentSide
from convaid.protocol.codec import KNOWN_AND_IGNORED, Decoded, UnknownType, decode_from_agent, decode_to_agent, encode
from convaid.protocol.endings import Cause, Retry, SessionEnd
from convaid.protocol.from_agent import FROM_AGENT, FromAgent
from convaid.protocol.to_agent import TO_AGENT, ToAgent
from convaid.protocol.user_side import UserSide

__all__ = [
    "FROM_AGENT",
    "KNOWN_AND_IGNORED",
    "TO_AGENT",
    "AgentSide",
    "Cause",
    "Decoded",
    "FromAgent",
    "Retry",
    "SessionEnd",
    "ToAgent",
    "UnknownType",
    "UserSide",
    "decode_from_agent",
    "decode_to_agent",
    "encode",
]
