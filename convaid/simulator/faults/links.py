"""What happens on the way, and what is right but too much, too late or too early."""

from __future__ import annotations

import orjson

from convaid.protocol.endings import Cause, Retry
from convaid.simulator.faults.fault import COUNT, NOW, WAIT, Fault, write_frame
from convaid.simulator.scenario import Call, ExpectResults, Freeze, Interrupt, Raw, Say, Silence
from convaid.simulator.wire import WirePlan

__all__ = ["AMOUNTS", "LINKS", "TIMES"]

LOST, SOON = Cause.LINK_LOST, Retry.SOON
CALL = b'"client_tool_call"'
MEGABYTE = 2**20
HEARD = [Say("Now."), Silence(3)]
LONG_SPEECH = "This is a long sentence which takes its time to be spoken, and it will not be heard to its end."


LINKS = [
    Fault("link-stall", "the link goes dead in both directions, half-open", HEARD, LOST, SOON, "link_silence",
          wire=WirePlan("stall", NOW)),
    Fault("link-mute", "nothing more comes from the platform, which goes on listening", HEARD, LOST, SOON,
          "link_silence", wire=WirePlan("mute", NOW)),
    Fault("link-deaf", "the platform reads nothing more, and goes on sending pings", [Say("Now.")],
          Cause.OPERATIONAL, SOON, "answer", wire=WirePlan("deaf", NOW)),
    Fault("link-hiccup", "the link is dead for a moment, and lives again", [Say("Now.")],
          wire=WirePlan("stall", NOW, lasts=0.3)),
    Fault("link-freeze", "the platform stands still for a moment", [Freeze(0.3)]),
    Fault("link-reset-in-frame", "a reset in the middle of a tool call's frame", cause=LOST, retry=SOON,
          wire=WirePlan("reset", CALL, after=30)),
    Fault("link-close-in-frame", "the end of the stream in the middle of a tool call's frame", cause=LOST, retry=SOON,
          wire=WirePlan("close", CALL, after=30)),
    Fault("link-close-in-tool", "the end of the stream, without a close frame, while a tool runs",
          [Say("Now."), Call(WAIT, {"seconds": 0.3}, wait=False), Silence(3)], LOST, SOON,
          wire=WirePlan("close", NOW, after=400)),
    Fault("link-stall-in-frame", "the link goes dead in the middle of a frame", cause=LOST, retry=SOON,
          limit="link_silence", wire=WirePlan("stall", CALL, after=30)),
    Fault("link-drip", "everything comes at 5 bytes a second", [], Cause.OPERATIONAL, SOON, "answer",
          wire=WirePlan("drip", b'"agent_tool_response"', rate=5)),
    Fault("link-slow", "everything comes at 10 kB a second", [Say("Now.")], wire=WirePlan("drip", NOW, rate=10_000)),
    Fault("link-latency", "everything takes 20 to 60 ms longer", wire=WirePlan(latency=0.02, jitter=0.04, seed=1)),
]  # fmt: skip


def call_many(name: str, words: str, tool: str, number: int) -> Fault:
    """Many calls at once."""
    if tool == WAIT:
        calls = [Call(WAIT, {"seconds": 0.1}, wait=False) for _ in range(number)]
    else:
        calls = [Call(COUNT, {"number": each}, wait=False, expect_result=f"^{each}$") for each in range(number)]
    return Fault(name, words, [*calls, ExpectResults(10_000)], is_heavy=True)


AMOUNTS = [
    Fault("calls-twice", "the same tool call twice", [Call(COUNT, {"number": 7}, copies=2)]),
    Fault("calls-ten-times", "the same tool call ten times while it runs", [Call(WAIT, {"seconds": 0.2}, copies=10)]),
    Fault("call-unknown", "a call of a tool that nobody has", [Call("fly_to_the_moon")]),
    Fault("call-wrong", "a call whose arguments do not fit", [Call(COUNT, {"number": "seven", "colour": "red"})]),
    Fault("call-late", "a tool that the agent does not wait for",
          [Call(WAIT, {"seconds": 0.3}, response_timeout_secs=0.1), Silence(0.4)]),
    call_many("calls-300", "300 tool calls at once", COUNT, 300),
    call_many("calls-100-slow", "100 calls of a slow tool at once", WAIT, 100),
    Fault("frame-15-mb", "a message of 15 MB", [Raw(write_frame("x", "x", "x" * (15 * MEGABYTE)))], is_heavy=True),
    Fault("frame-20-mb", "a message of 20 MB", [Raw(write_frame("x", "x", "x" * (20 * MEGABYTE))), Silence(3)],
          Cause.OPERATIONAL, SOON, is_heavy=True),
    Fault("result-1-mb", "a tool call with an argument of 1 MB",
          [Raw(write_frame("client_tool_call", "client_tool_call", {
              "tool_name": COUNT, "tool_call_id": "raw_big", "parameters": {"number": "x" * MEGABYTE}, "event_id": 1,
          }))], extra_results=1, is_heavy=True),
    Fault("flood-pings", "1000 pings at once",
          [Raw(write_frame("ping", "ping_event", {"event_id": 500, "ping_ms": 20}), times=1000)], is_heavy=True),
    Fault("flood-unknown", "1000 frames of an unknown type", [Raw('{"type": "noise"}', times=1000)], is_heavy=True),
    Fault("flood-nonsense", "1000 frames that are not JSON", [Raw("nonsense " * 20, times=1000)], is_heavy=True),
]  # fmt: skip


def hear(sound: str, event_id: int) -> Raw:
    """A chunk of speech."""
    return Raw(orjson.dumps({"type": "audio", "audio_event": {"audio_base_64": sound, "event_id": event_id}}).decode())


TIMES = [
    Fault("audio-after-interruption", "audio of what was interrupted", [Say(LONG_SPEECH), Interrupt(), hear("AAAA", 1)],
          is_voice=True),
    Fault("correction-after-interruption", "a correction after the interruption, and another one",
          [Say(LONG_SPEECH), Interrupt(), Raw(write_frame(
              "agent_response_correction", "agent_response_correction_event",
              {"original_agent_response": "x", "corrected_agent_response": "", "event_id": 1}))],
          is_voice=True),
    Fault("interruption-of-nothing", "an interruption when nothing is said",
          [Raw(write_frame("interruption", "interruption_event", {"event_id": 0}))], is_voice=True),
    Fault("clock-forward", "the wall clock jumps an hour ahead", [Silence(0.2)], clock_steps=[3600]),
    Fault("clock-back", "the wall clock jumps a day back", [Silence(0.2)], clock_steps=[-86400]),
    Fault("clock-to-and-fro", "the wall clock jumps to 1970 and back", [Silence(0.2)], clock_steps=[-1.7e9, 1.7e9]),
]  # fmt: skip
