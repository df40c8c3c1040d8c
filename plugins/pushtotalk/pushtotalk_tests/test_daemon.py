"""From a key to a conversation that is open and hears: daemon, simulator, and a FIFO as keyboard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from convaid_pushtotalk.key_codes import KEY_CODES

from convaid import events

from .test_keys import plug_in, write_key

F13 = KEY_CODES["f13"]
SPEAK = (
    "import sys, time\nwhile True: sys.stdout.buffer.write(b'\\x10\\x20' * 320); sys.stdout.flush(); time.sleep(0.02)"
)


async def test_a_key_opens_the_conversation_and_is_held_to_be_heard(hold_daemon: Any, tmp_path: Path) -> None:
    (tmp_path / "speak.py").write_text(SPEAK)
    configuration = f"""
[conversations.kitchen]
agent_id = "agent_test"
start = "on_demand"
audio = "command"
[conversations.kitchen.command]
microphone = ["{sys.executable}", "{tmp_path}/speak.py"]
[[plugins.pushtotalk.buttons]]
key = "F13"
device = "{tmp_path}/event7"
"""
    with plug_in(tmp_path / "event7") as write:
        async with hold_daemon(configuration, "steps = [{silence = 30}]") as held:
            kitchen = held.daemon.keeper.find("kitchen")
            await held.wait_until(lambda: kitchen.conversation.is_muted)
            assert not held.simulator.conversations
            write(write_key(F13, 1))
            await held.wait_for(events.Connected)
            await held.wait_for(events.DeviceChanged)
            assert not kitchen.conversation.is_muted
            write(write_key(F13, 0))
            await held.wait_until(lambda: kitchen.conversation.is_muted)
            assert kitchen.state == "connected"
            write(write_key(F13, 1))
            await held.wait_until(lambda: not kitchen.conversation.is_muted)


async def test_a_missing_keyboard_is_in_the_status(hold_daemon: Any, tmp_path: Path) -> None:
    configuration = f"""
[conversations.kitchen]
agent_id = "agent_test"
start = "on_demand"
[[plugins.pushtotalk.buttons]]
key = "F13"
device = "{tmp_path}/event7"
"""
    async with hold_daemon(configuration, "steps = [{silence = 30}]") as held:
        await held.wait_until(lambda: bool(held.daemon.troubles))
        source = "pushtotalk, key F13"
        assert held.daemon.troubles == {source: f'{source}: there is no input device "{tmp_path}/event7"'}
        with plug_in(tmp_path / "event7"):
            await held.wait_until(lambda: not held.daemon.troubles)
