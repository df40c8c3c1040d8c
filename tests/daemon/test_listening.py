"""Plugins that listen to microphones: in their own rooms, whether or not the conversation is open."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from convaid import events
from convaid.audio import AudioFormat, make_tone, measure_level
from convaid.config import parse_configuration
from convaid.plugins import Plugin
from convaid.plugins.activation import Activation
from convaid.plugins.listening import Blocks, Listening
from convaid.reloading import reload

from .holding import Held, hold, make_plugin

HEARD = AudioFormat("pcm", 16000)
LISTEN = 'steps = [{say = "Hello."}]\n[[rules]]\nsay = "I see."'
RECORD = """
import sys, time
tone, at = open(sys.argv[1], "rb").read(), time.monotonic()
while True:
    for place in range(0, len(tone), 640):
        sys.stdout.buffer.write(tone[place:place + 640]); sys.stdout.buffer.flush()
        at += 0.02; time.sleep(max(0, at - time.monotonic()))
"""


@pytest.fixture
def kitchen(tmp_path: Path) -> str:
    """A conversation on demand, at whose microphone somebody whistles without end."""
    (tmp_path / "tone.raw").write_bytes(make_tone(1000, 1.0, 16000))
    (tmp_path / "record.py").write_text(RECORD)
    return f"""
[conversations.kitchen]
agent_id = "agent_test"
start = "on_demand"
audio = "command"
echo = "none"
[conversations.kitchen.command]
microphone = ["{sys.executable}", "{tmp_path}/record.py", "{tmp_path}/tone.raw"]
"""


def activating(activate: Callable[[Activation], Any], loop: Any = "trio") -> Plugin:
    return attrs.evolve(make_plugin("listener"), activate=activate, loop=loop)


async def wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await trio.sleep(0.005)


def find_ear(held: Held) -> Any:
    sound = held.daemon.conversations["kitchen"].sound
    assert sound is not None
    return sound.ear


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
@pytest.mark.parametrize("rate", [16000, 24000])
async def test_a_plugin_hears_the_microphone_of_a_closed_conversation(kitchen: str, loop: str, rate: int) -> None:
    heard = bytearray()

    async def listen(activation: Activation) -> None:
        with activation.listen("kitchen") as blocks:
            async for block in blocks:
                heard.extend(block)
                if len(heard) >= HEARD.bytes_for(0.5):
                    return

    configuration = f"{kitchen}[conversations.kitchen.speech]\nrate = {rate}\n"
    async with hold(LISTEN, configuration=configuration, others=[activating(listen, loop)]) as held:
        await wait_until(lambda: len(heard) >= HEARD.bytes_for(0.5))
        await wait_until(lambda: not find_ear(held).is_wanted)
        assert not held.simulator.conversations
    assert measure_level(bytes(heard)) == pytest.approx(-12, abs=1)
    crossings = sum((first < 0) != (second < 0) for first, second in pairwise(memoryview(bytes(heard)).cast("h")))
    assert crossings == pytest.approx(2 * 1000 * HEARD.seconds_of(len(heard)), rel=0.02)


async def test_a_microphone_that_is_muted_is_closed_for_plugins_too(kitchen: str) -> None:
    count, is_muted = 0, []

    async def listen(activation: Activation) -> None:
        nonlocal count
        async for _ in activation.listen("kitchen"):
            count += 1
            if count == 5:
                activation.mute("kitchen", True)
                while not activation.is_muted("kitchen"):
                    await trio.sleep(0.001)
                is_muted.append(True)

    async with hold(LISTEN, configuration=kitchen, others=[activating(listen)]) as held:
        await held.wait_for(events.Muted)
        ear = find_ear(held)
        assert (ear.is_muted, ear.is_wanted) == (True, False)
        await wait_until(lambda: bool(is_muted))
        before = -1
        while count != before:  # for what waited already
            before = count
            await trio.sleep(0.1)
        await trio.sleep(0.2)
        assert count == before
        held.daemon.conversations["kitchen"].mute(False)
        await wait_until(lambda: count > before + 5)


async def test_listening_goes_on_after_a_reload(kitchen: str) -> None:
    count = 0

    async def listen(activation: Activation) -> None:
        nonlocal count
        async for _ in activation.listen("kitchen"):
            count += 1

    async with hold(LISTEN, configuration=kitchen, others=[activating(listen)]) as held:
        await wait_until(lambda: count > 5)
        ear = find_ear(held)
        changed = f"{kitchen}[conversations.kitchen.limits]\nidle = 5\n"
        assert (await reload_with(held, changed)).restarted == ("kitchen",)
        assert find_ear(held) is not ear
        assert not ear.is_wanted
        before = count
        await wait_until(lambda: count > before + 10)


async def test_a_daemon_that_ends_lets_go_of_a_plugin_that_listens_and_is_stuck(kitchen: str) -> None:
    is_stuck, may_end = threading.Event(), threading.Event()

    async def listen(activation: Activation) -> None:
        async for _ in activation.listen("kitchen"):
            is_stuck.set()
            may_end.wait(15)

    async with hold(LISTEN, configuration=kitchen, others=[activating(listen)]) as held:
        await wait_until(is_stuck.is_set)
        ear = find_ear(held)
        held.daemon.stop.set()
        await held.over.wait()
        assert not ear.is_wanted
        may_end.set()


async def test_a_conversation_that_a_reload_removes_and_brings_back_is_heard_again(kitchen: str) -> None:
    count = 0

    async def listen(activation: Activation) -> None:
        nonlocal count
        async for _ in activation.listen("kitchen"):
            count += 1

    office = '[conversations.office]\nagent_id = "agent_test"\nstart = "on_demand"\n'
    async with hold(LISTEN, configuration=kitchen, others=[activating(listen)]) as held:
        await wait_until(lambda: count > 5)
        ear = find_ear(held)
        assert (await reload_with(held, office)).closed == ("kitchen",)
        assert not ear.is_wanted
        assert list(held.daemon.troubles) == ["listening to kitchen"]
        before = count
        assert (await reload_with(held, kitchen + office)).opened == ("kitchen",)
        await wait_until(lambda: count > before + 10)
        assert held.daemon.troubles == {}


async def test_where_nobody_listens_any_more_the_microphone_is_closed(kitchen: str) -> None:
    async def listen(activation: Activation) -> None:
        async for _ in activation.listen("kitchen"):
            break

    async with hold(LISTEN, configuration=kitchen, others=[activating(listen)]) as held:
        await wait_until(lambda: bool(held.daemon.conversations) and find_ear(held).is_wanted)
        await wait_until(lambda: not find_ear(held).is_wanted)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kitschen", "did you mean kitchen?"),
        ("office", "office has no microphone: set audio in [conversations.office]"),
    ],
)
async def test_what_cannot_be_heard_is_in_the_log_and_the_status(
    kitchen: str, name: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def listen(activation: Activation) -> None:
        async for _ in activation.listen(name):
            raise AssertionError("there is nothing to be heard")

    office = '[conversations.office]\nagent_id = "agent_test"\nstart = "on_demand"\n'
    async with hold(LISTEN, configuration=kitchen + office, others=[activating(listen)]) as held:
        await wait_until(lambda: words in caplog.text)
        assert list(held.daemon.troubles) == [f"listening to {name}"]


async def test_a_plugin_speaks_and_interrupts(kitchen: str, tmp_path: Path) -> None:
    async def act(activation: Activation) -> None:
        activation.start("kitchen")
        while activation.find_state("kitchen") != "connected":
            await trio.sleep(0.001)
        activation.tell_context("kitchen", "It is night.")
        activation.say("kitchen", "Tell me a story.")

    speaking: list[bool] = []

    def observe(event: events.Event) -> None:
        if isinstance(event, events.AgentSpeaking):
            speaking.append(event.is_speaking)

    async def cut_in(activation: Activation) -> None:
        activation.interrupt("kitchen")  # nobody speaks: nothing happens
        while True not in speaking:
            await trio.sleep(0.001)
        await trio.sleep(0.3)
        activation.interrupt("kitchen")

    scenario = 'steps = [{silence = 0.5}]\n[[rules]]\nsay = "It was a dark and stormy night, and nobody was about."'
    loud = kitchen + f'speaker = ["sh", "-c", "cat > {tmp_path}/heard.raw"]\n'
    others = [activating(act), attrs.evolve(activating(cut_in), name="button", observe=observe)]
    async with hold(scenario, configuration=loud, others=others) as held:
        (interrupted,) = await held.wait_for(events.SpeechInterrupted)
        assert interrupted.seconds > 0.5
        sent = [event.message for event in held.of_kind(events.MessageSent)]
        assert [getattr(message, "text", "") for message in sent] == ["It is night.", "Tell me a story."]
        assert len(held.of_kind(events.SpeechInterrupted)) == 1


async def test_what_a_plugin_cannot_do_is_in_the_log(kitchen: str, caplog: pytest.LogCaptureFixture) -> None:
    async def act(activation: Activation) -> None:
        activation.say("kitchen", "Is anybody there?")
        activation.mute("cellar", True)

    async with hold(LISTEN, configuration=kitchen, others=[activating(act)]):
        await wait_until(lambda: "wish to say something: conversation kitchen is not connected" in caplog.text)
        await wait_until(lambda: 'wish to mute a conversation: there is no conversation "cellar"' in caplog.text)


MISTAKES: dict[str, Callable[[Any], object]] = {
    "a conversation without a name": lambda activation: activation.start(None),
    "a number to be said": lambda activation: activation.say("kitchen", 5),
    "bytes to be known": lambda activation: activation.tell_context("kitchen", b"It is night."),
    "a trouble of several": lambda activation: activation.report(["button", "lamp"], "the cable is loose"),
    "ears everywhere": lambda activation: activation.listen(["kitchen", "office"]).close(),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("is_ready", [True, False])
async def test_a_plugin_that_asks_for_nonsense_does_not_end_the_daemon(
    kitchen: str, mistake: str, is_ready: bool, caplog: pytest.LogCaptureFixture
) -> None:
    acted = trio.Event()

    async def act(activation: Activation) -> None:
        activation.start("kitchen")
        while is_ready and activation.find_state("kitchen") != "connected":
            await trio.sleep(0.001)
        if not acted.is_set():
            token.run_sync_soon(acted.set)
            MISTAKES[mistake](activation)

    token = trio.lowlevel.current_trio_token()
    async with hold(LISTEN, configuration=kitchen, others=[activating(act)]) as held:
        await acted.wait()
        await held.wait_for(events.Connected)
        await wait_until(lambda: any(record.levelname == "ERROR" for record in caplog.records))
        assert (await reload_with(held, kitchen)).unchanged == ("kitchen",)
        assert held.daemon.conversations["kitchen"].is_connected


async def reload_with(held: Held, configuration: str) -> Any:
    text = f'{configuration}\n[platform]\nbase_url = "{held.simulator.base_url}"\n'
    held.daemon.read_configuration = lambda: parse_configuration(text, "test")
    return await reload(held.daemon)


async def test_a_plugin_tells_of_its_trouble_until_it_is_over(kitchen: str, caplog: pytest.LogCaptureFixture) -> None:
    async def act(activation: Activation) -> None:
        for _ in range(3):
            activation.report("button", "its cable is loose")
        while "cable" not in caplog.text:
            await trio.sleep(0.001)
        activation.report("button", "")
        activation.report("button", "")

    caplog.set_level("INFO")
    async with hold(LISTEN, configuration=kitchen, others=[activating(act)]) as held:
        await wait_until(lambda: "button works again" in caplog.text)
        assert held.daemon.troubles == {}
    assert caplog.text.count("button: its cable is loose") == 1


def test_the_oldest_goes_when_too_much_waits() -> None:
    blocks = Blocks("kitchen")
    for number in range(250):
        blocks.put(bytes([number]) * HEARD.bytes_for(0.02), HEARD)
    assert blocks.lost_seconds == pytest.approx(3.0, abs=0.05)
    taken = blocks.take(lambda: None)
    assert taken is not None
    assert taken[0][0] in (150, 151)


def test_whoever_listens_under_asyncio_is_woken_and_can_leave() -> None:
    left: list[Blocks] = []

    async def run() -> list[bytes]:
        blocks = Blocks("kitchen")
        listening = Listening(blocks, left.append)
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, blocks.put, b"ab", HEARD)
        loop.call_later(0.02, listening.close)
        return [block async for block in listening]

    assert asyncio.run(run()) == [b"ab"]
    assert len(left) == 1
