"""The floor: what trio-websocket alone costs. Answers pings and tool calls at once, decodes speech, does nothing else.

Arguments: the platform's base URL; the agent id; how many conversations. Buffers as convaid has them.
"""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import orjson
import pybase64
import trio
from trio_websocket import ConnectionClosed, wrap_client_stream


async def converse(host: str, port: int, agent_id: str) -> None:
    stream = await trio.open_tcp_stream(host, port)
    async with trio.open_nursery() as nursery:
        websocket = await wrap_client_stream(
            nursery,
            stream,
            f"{host}:{port}",
            f"/v1/convai/conversation?agent_id={agent_id}",
            message_queue_size=256,
            max_message_size=16 * 2**20,
            receive_buffer_size=256 * 2**10,
        )
        await websocket.send_message('{"type":"conversation_initiation_client_data"}')
        speech = b""
        try:
            while True:
                frame = orjson.loads(await websocket.get_message())
                match frame["type"]:
                    case "ping":
                        answer = {"type": "pong", "event_id": frame["ping_event"]["event_id"]}
                        await websocket.send_message(orjson.dumps(answer).decode())
                    case "client_tool_call":
                        call_id = frame["client_tool_call"]["tool_call_id"]
                        answer = {
                            "type": "client_tool_result",
                            "tool_call_id": call_id,
                            "result": "ok",
                            "is_error": False,
                        }
                        await websocket.send_message(orjson.dumps(answer).decode())
                    case "audio":
                        speech = pybase64.b64decode(frame["audio_event"]["audio_base_64"], validate=True)
        except ConnectionClosed:
            del speech
            nursery.cancel_scope.cancel()


async def main() -> None:
    base_url, agent_id, count = sys.argv[1:]
    address = urlsplit(base_url)
    assert address.hostname
    assert address.port
    async with trio.open_nursery() as nursery:
        for _ in range(int(count)):
            nursery.start_soon(converse, address.hostname, address.port, agent_id)


if __name__ == "__main__":
    trio.run(main)
