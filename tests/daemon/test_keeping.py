"""Which conversations are open: on demand, by the clock, within the pool; and a configuration that changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
import trio

from convaid import events, keeper
from convaid.config import Configuration, parse_configuration
from convaid.daemon import reload_by_signal
from convaid.errors import ConfigurationError, Problem
from convaid.keeper import Keeping, Refused, State, UnknownConversation
from convaid.protocol.endings import Cause
from convaid.reloading import Reload, reload
from convaid.supervisor import NotConnected

from .holding import Held, hold

LISTEN = 'steps = [{say = "Hello."}]\n[[rules]]\nsay = "I see."'
HANG_UP = 'steps = [{say = "Hello."}, {end = {}}]'
ON_DEMAND = '[conversations.NAME]\nagent_id = "agent_test"\nstart = "on_demand"\n'


def on_demand(*names: str) -> str:
    return "".join(ON_DEMAND.replace("NAME", name) for name in names)


def find(held: Held, name: str) -> Keeping:
    assert held.daemon.keeper is not None
    return held.daemon.keeper.find(name)


async def wait_ready(held: Held) -> None:
    while held.daemon.keeper is None:
        await trio.sleep(0.001)


async def wait_state(held: Held, name: str, state: State) -> None:
    """Bounded by the test's own limit."""
    await wait_ready(held)
    while find(held, name).state != state:
        await trio.sleep(0.001)


async def test_on_demand_is_open_from_the_request_to_its_end_and_again() -> None:
    async with hold(HANG_UP, LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        kitchen = find(held, "kitchen")
        assert kitchen.state == "closed"
        assert not held.simulator.conversations
        kitchen.start()
        (ended,) = await held.wait_for(events.Ended)
        assert ended.end.cause is Cause.ENDED_BY_AGENT
        await wait_state(held, "kitchen", "closed")
        kitchen.start()
        await wait_state(held, "kitchen", "connected")
        kitchen.stop()
        await wait_state(held, "kitchen", "closed")
        assert not held.over.is_set()
        assert len(held.simulator.conversations) == 2
    assert [event.end.cause for event in held.of_kind(events.Ended)] == [Cause.ENDED_BY_AGENT, Cause.ENDED_BY_USER]


async def test_whoever_asks_again_while_it_closes_gets_a_new_one() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        find(held, "kitchen").start()
        await wait_state(held, "kitchen", "connected")
        find(held, "kitchen").stop()
        find(held, "kitchen").start()
        await held.wait_for(events.Connected, 2)
        await wait_state(held, "kitchen", "connected")


async def test_what_has_to_be_repaired_first_is_not_tried_again_on_demand() -> None:
    async with hold("steps = [{refuse = {}}]", configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        find(held, "kitchen").start()
        await held.wait_for(events.Ended)
        await wait_state(held, "kitchen", "closed")
        last_end = held.daemon.conversations["kitchen"].last_end
        assert last_end is not None
        assert last_end.cause is Cause.REFUSED
        assert not held.of_kind(events.RetryPlanned)


async def test_the_pool_and_its_queue_are_bounded() -> None:
    configuration = on_demand("a", "b", "c") + "[daemon]\npool_size = 1\nqueue_size = 1\n"
    async with hold(LISTEN, configuration=configuration) as held:
        await wait_ready(held)
        for name in ("a", "b"):
            find(held, name).start()
            await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(Refused, match="1 conversations are open and 1 wait: end one, or raise pool_size"):
            find(held, "c").start()
        await wait_state(held, "a", "connected")
        assert find(held, "b").state == "queued"
        find(held, "a").stop()
        await wait_state(held, "b", "connected")
        find(held, "c").start()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert find(held, "c").state == "queued"
        find(held, "c").stop()
        await wait_state(held, "c", "closed")
        with pytest.raises(UnknownConversation, match="there are: a, b, c"):
            find(held, "kitchen")


async def test_stopped_and_started_in_the_queue_is_still_in_its_place() -> None:
    async with hold(LISTEN, configuration=on_demand("a", "b") + "[daemon]\npool_size = 1\n") as held:
        await wait_ready(held)
        find(held, "a").start()
        await wait_state(held, "a", "connected")
        find(held, "b").start()
        await wait_state(held, "b", "queued")
        find(held, "b").stop()
        find(held, "b").start()
        await trio.testing.wait_all_tasks_blocked(0.01)
        find(held, "a").stop()
        await wait_state(held, "b", "connected")
        assert [event.conversation for event in held.of_kind(events.Ended)] == ["a"]


async def test_one_that_was_for_once_is_not_begun_again() -> None:
    text = on_demand("kitchen") + '[conversations.main]\nagent_id = "agent_test"\nstart = "once"\n'
    async with hold(HANG_UP, configuration=text) as held:
        await wait_ready(held)
        with trio.fail_after(5):
            await find(held, "main").closed.wait()
        with pytest.raises(Refused, match="main was to be held once"):
            find(held, "main").start()
        assert not held.over.is_set()


async def test_hours_open_and_close_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        moment = datetime(2026, 11, 23, 7, 59)

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls.moment

    monkeypatch.setattr(keeper, "datetime", Clock)
    monkeypatch.setattr(keeper, "TIMETABLE_INTERVAL", 0.002)
    text = '[conversations.kitchen]\nagent_id = "agent_test"\nstart = "schedule"\nschedule = ["Mon 08:00-09:00"]\n'
    async with hold(LISTEN, configuration=text) as held:
        await wait_state(held, "kitchen", "closed")
        Clock.moment += timedelta(minutes=1)
        await wait_state(held, "kitchen", "connected")
        find(held, "kitchen").stop()  # by hand: it stays closed until its hours begin again
        await wait_state(held, "kitchen", "closed")
        Clock.moment += timedelta(minutes=10)
        await trio.sleep(0.02)
        assert find(held, "kitchen").state == "closed"
        Clock.moment += timedelta(days=1)
        await trio.sleep(0.02)
        Clock.moment += timedelta(days=6)
        await wait_state(held, "kitchen", "connected")
        Clock.moment -= timedelta(days=1)  # the clock was set
        await wait_state(held, "kitchen", "closed")


async def test_a_conversation_can_be_silenced_here_and_muted() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        conversation = held.daemon.conversations["kitchen"]
        with pytest.raises(NotConnected, match="kitchen is not connected"):
            conversation.interrupt()
        conversation.mute(True)
        find(held, "kitchen").start()
        await wait_state(held, "kitchen", "connected")
        assert conversation.session is not None
        assert conversation.is_muted
        assert conversation.interrupt() == 0.0
        await held.wait_for(events.SpeechInterrupted)


# --- a configuration that changes ------------------------------------------------------------------------------------


async def take_on(held: Held, change: Any) -> Reload:
    """Reload with what ``change`` makes of the configuration."""
    held.daemon.read_configuration = lambda: change(held.daemon.configuration)
    return await reload(held.daemon)


def with_conversations(configuration: Configuration, text: str) -> Configuration:
    return attrs.evolve(configuration, conversations=parse_configuration(text, "test").conversations)


async def test_what_did_not_change_keeps_its_connection() -> None:
    before = on_demand("kept", "changed", "removed")
    after = (
        on_demand("kept") + on_demand("changed") + 'user_id = "ada"\n' + on_demand("new").replace("on_demand", "always")
    )
    async with hold(LISTEN, configuration=before) as held:
        await wait_ready(held)
        for name in ("kept", "changed", "removed"):
            find(held, name).start()
            await wait_state(held, name, "connected")
        session = held.daemon.conversations["kept"].session
        done = await take_on(held, lambda configuration: with_conversations(configuration, after))
        assert done == Reload(("new",), ("changed",), ("removed",), ("kept",))
        assert str(done) == "new: new; changed and begun anew: changed; closed: removed; unchanged: kept"
        assert held.daemon.conversations["kept"].session is session
        assert session is not None
        assert session.end is None
        await wait_state(held, "changed", "connected")
        await wait_state(held, "new", "connected")
        assert held.daemon.conversations["changed"].settings.user_id == "ada"
        assert "removed" not in held.daemon.conversations


@pytest.mark.parametrize("after", [on_demand("hall"), on_demand("kitchen") + 'user_id = "ada"\n'])
async def test_the_only_conversation_can_be_exchanged(after: str) -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        await take_on(held, lambda configuration: with_conversations(configuration, after))
        name = next(iter(held.daemon.conversations))
        find(held, name).start()
        await wait_state(held, name, "connected")
        assert not held.over.is_set()


async def test_a_reload_opens_nothing_that_was_stopped_or_has_no_hours_now() -> None:
    settings = '[conversations.NAME]\nagent_id = "agent_test"\nstart = "always"\n'
    before = settings.replace("NAME", "stopped") + settings.replace("NAME", "timed")
    today = datetime.now().weekday()
    another_day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[(today + 3) % 7]
    after = before.replace('"always"', '"always"\nuser_id = "ada"', 1)
    head, tail = after.rsplit('"always"', 1)
    after = f'{head}"schedule"\nschedule = ["{another_day} 08:00-09:00"]{tail}'
    async with hold(LISTEN, configuration=before) as held:
        for name in ("stopped", "timed"):
            await wait_state(held, name, "connected")
        find(held, "stopped").stop()
        held.daemon.conversations["stopped"].mute(True)
        await wait_state(held, "stopped", "closed")
        done = await take_on(held, lambda configuration: with_conversations(configuration, after))
        assert done.restarted == ("stopped", "timed")
        assert list(held.daemon.conversations) == ["stopped", "timed"]
        assert held.daemon.conversations["stopped"].is_muted  # nobody is heard who did not want to be
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (find(held, "stopped").state, find(held, "timed").state) == ("closed", "closed")


async def test_a_smaller_pool_cuts_nobody_off() -> None:
    async with hold(LISTEN, configuration=on_demand("a", "b", "c")) as held:
        await wait_ready(held)
        for name in ("a", "b"):
            find(held, name).start()
            await wait_state(held, name, "connected")
        await take_on(held, lambda now: attrs.evolve(now, daemon=attrs.evolve(now.daemon, pool_size=1)))
        find(held, "c").start()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert [find(held, name).state for name in "abc"] == ["connected", "connected", "queued"]
        find(held, "a").stop()
        await wait_state(held, "a", "closed")
        assert find(held, "c").state == "queued"
        find(held, "b").stop()
        await wait_state(held, "c", "connected")
        assert len(held.simulator.conversations) == 3


async def test_a_stop_counts_for_what_a_reload_is_just_adding() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        find(held, "kitchen").start()
        await wait_state(held, "kitchen", "connected")
        after = on_demand("kitchen").replace("on_demand", "always")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_on, held, lambda configuration: with_conversations(configuration, after))
            while not find(held, "kitchen").conversation.stop.is_set():
                await trio.lowlevel.checkpoint()
            held.daemon.stop.set()
        await held.over.wait()
        assert len(held.of_kind(events.Connecting)) == 1
        with pytest.raises(ConfigurationError, match="the daemon ends"):
            await reload(held.daemon)


async def test_many_signals_are_few_reloads() -> None:
    reads = 0

    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)

        def read_again() -> Configuration:
            nonlocal reads
            reads += 1
            return held.daemon.configuration

        held.daemon.read_configuration = read_again
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(reload_by_signal, held.daemon)
    assert 1 <= reads <= 2


async def test_a_configuration_that_cannot_be_used_changes_nothing() -> None:
    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        find(held, "kitchen").start()
        await wait_state(held, "kitchen", "connected")

        def refuse() -> Configuration:
            raise ConfigurationError("config.toml", [Problem("conversations", "is gone")])

        held.daemon.read_configuration = refuse
        with pytest.raises(ConfigurationError, match="is gone"):
            await reload(held.daemon)
        assert find(held, "kitchen").state == "connected"
        assert list(held.daemon.conversations) == ["kitchen"]


async def test_a_reload_says_what_only_a_restart_takes_on() -> None:
    def change(configuration: Configuration) -> Configuration:
        return attrs.evolve(
            configuration, plugins={"lamp": {"room": "attic"}}, tools=attrs.evolve(configuration.tools, parallel=7)
        )

    async with hold(LISTEN, configuration=on_demand("kitchen")) as held:
        await wait_ready(held)
        done = await take_on(held, change)
    assert done.needs_restart == ("[plugins.lamp]", "[tools] parallel")
