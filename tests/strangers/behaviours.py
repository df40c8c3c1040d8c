"""What strangers are seen doing: each behaviour is a scenario, a plan for the stranger, and what is made of both sides.

A cell of the table is "yes" where the stranger does what the platform's documents say, "–" where it offers no such
thing, and otherwise what it does instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from attrs import evolve, frozen

from convaid.audio import AudioFormat
from convaid.protocol.to_agent import MultimodalMessage
from convaid.simulator import Agent, ConversationRecord, Scenario, Step, Voice
from convaid.simulator.scenario import Call, Drop, End, ExpectAudio, ExpectText, Fail, Raw, Refuse, Say, Silence

__all__ = ["BEHAVIOURS", "LACKS", "YES", "Behaviour", "Meeting"]

YES = "yes"
LACKS = "–"
PLAIN = Agent(ping_interval=math.inf)  # a pong may cross the end, of which some strangers then tell otherwise
PINGING = evolve(PLAIN, ping_interval=0.3)
POLITE = evolve(PLAIN, client_events=[event for event in Agent().client_events if event != "interruption"])
UNHEARD_OF = {"unknown field", "unknown type"}  # the simulator knows all that strangers send
SOUND, QUIET = 0.7, 1.5  # seconds of the recording that the microphone plays over and over
LONG = "So much to say that nobody would listen to the end of it. " * 4  # some 15 s
SHORT = "Glad to hear it"  # 1 s
NO_SUCH_AGENT = "The AI agent you are trying to reach does not exist."


@frozen
class Meeting:
    """A stranger and the simulator after a conversation: what either has seen of the other."""

    seen: dict[str, Any]
    record: ConversationRecord | None
    agent: Agent

    @property
    def held(self) -> ConversationRecord:
        """The simulator's side of a conversation that must have been."""
        assert self.record is not None, self.seen
        return self.record

    def has(self, kind: str) -> bool:
        """Did the simulator receive a message of this type?"""
        return bool(self.held.received[kind])

    @property
    def end(self) -> str:
        """How the stranger was told of the end."""
        return ", ".join(str(part) for part in self.seen["ended"] if part is not None and part != "")

    @property
    def result(self) -> str:
        """What came of the one tool call."""
        if self.held.ending and self.held.ending.code == 1008:
            return "sends what is no string: 1008"
        (call,) = self.held.calls
        if call.result is None:
            return "answers nothing"
        return f"{'error' if call.is_error else 'result'} `{call.result}`"

    @property
    def plays(self) -> bool:
        """Did the stranger play, or hand on, all that the agent said?"""
        if "volume" in self.seen:
            return bool(self.seen["volume"] > 0.01 and self.seen["modes"][-2:] == ["speaking", "listening"])
        seconds = len(SHORT) / Voice().pace
        return bool(self.seen["sound"] == AudioFormat.parse(self.agent.agent_output_audio_format).bytes_for(seconds))


@frozen
class Behaviour:
    """One row of the table."""

    name: str
    steps: Sequence[Step]
    observe: Callable[[Meeting], str]
    do: Sequence[tuple[str, Any]] = ()
    agent: Agent = PLAIN
    voice: bool = False
    webrtc: bool = False
    override: str | None = None
    is_signed: bool = False
    has_wrong_key: bool = False

    def make_scenario(self, agent: Agent) -> Scenario:
        return Scenario(self.name, agent, steps=self.steps)

    def judge(self, meeting: Meeting) -> str:
        """The cell."""
        if meeting.record:
            assert not UNHEARD_OF & meeting.record.counts.keys(), meeting.record
        return LACKS if meeting.seen["lacks"] else self.observe(meeting)


def expect(is_so: Callable[[Meeting], object], otherwise: Callable[[Meeting], str] = lambda it: it.end) -> Any:
    """Yes if it is so."""
    return lambda meeting: YES if is_so(meeting) else otherwise(meeting)


def converse(*steps: Step) -> Sequence[Step]:
    """Steps after the user's first words: what comes in one piece with the metadata, strangers may lose."""
    return [ExpectText("hello", within_ms=15_000), *steps]


def call(tool: str, **options: Any) -> Sequence[Step]:
    parameters = {"a": 2, "b": 3} if tool == "add" else {}
    return converse(Call(tool, parameters, response_timeout_secs=2, **options), Say("Done."), End())


def gives(result: str) -> Any:
    return expect(lambda it: it.result == f"result `{result}`", lambda it: it.result)


def gives_error(text: str) -> Any:
    return expect(lambda it: it.result.startswith("error ") and text in it.result, lambda it: it.result)


def is_connected(meeting: Meeting) -> bool:
    return meeting.seen.get("connected") in (True, meeting.held.conversation_id)


def is_told(*words: str) -> Any:
    """Yes if the stranger tells the code and the reason of an end; else what it does tell."""
    return expect(lambda it: all(word in f"{it.end} {it.seen.get('errors')}" for word in words))


def judge_needless_answer(meeting: Meeting) -> str:
    return "answers all the same" if meeting.has("client_tool_result") else "answers nothing"


def judge_hearing(meeting: Meeting) -> str:
    """Was the recording heard twice as it is, and did it come without a pause?"""
    if meeting.held.problem:
        return "is not heard"
    first, second = (line for line in meeting.held.transcript if line.speaker == "user")
    assert all("speech of 0." in line.text for line in (first, second)), meeting.held.transcript
    return YES if second.at - first.at < SOUND + QUIET + 0.8 else "is heard, with pauses"


def judge_interruption(meeting: Meeting) -> str:
    """Was the agent cut off, and all of it that was still to be heard?"""
    seen = meeting.seen
    if meeting.held.problem or not meeting.held.sent["interruption"]:
        return "does not"
    if "interruptions" not in seen:
        return "takes the corrected text, no more" if LONG.startswith(seen["agent"][-1]) else "is not told"
    is_quiet = not seen.get("sound_after_interruption") and seen.get("last_volume", 0) < 0.001
    return YES if seen["interruptions"] and seen["corrections"] and is_quiet else "goes on playing"


def judge_ulaw(meeting: Meeting) -> str:
    if "volume" in meeting.seen:
        return YES if meeting.plays and meeting.held.problem is None else meeting.end
    warning = ", with a warning" if any("differs from" in error for error in meeting.seen.get("errors", ())) else ""
    sent = "sends PCM" if meeting.held.problem else "sends it"
    return f"{sent}, gives what comes on undecoded{warning}" if meeting.plays else f"{sent}, loses some{warning}"


def judge_end_by_user(meeting: Meeting) -> str:
    ending = meeting.held.ending
    assert ending is not None
    told = f"{ending.code} {ending.reason}".strip()
    return YES if ending.closed_by == "user" and ending.code == 1000 else f"{ending.closed_by}: {told}"


def judge_going_on(meeting: Meeting) -> str:
    return YES if meeting.seen["agent"][-1:] == ["Still here."] else "hangs up"


HELLO = ("say", "hello")
SPEAK = ("speak", None)  # for strangers whose microphone is not always on
BEHAVIOURS = [
    # --- connecting
    Behaviour("connects to a public agent", converse(End()), expect(is_connected), [HELLO]),
    Behaviour(
        "offers the sub-protocol `convai`",
        converse(End()),
        expect(lambda it: it.held.subprotocols == ("convai",), lambda it: "offers none"),
        [HELLO],
    ),
    Behaviour(
        "connects by a signed URL",
        converse(End()),
        expect(lambda it: is_connected(it) and "conversation_signature" in it.held.query),
        [HELLO],
        agent=evolve(PLAIN, requires_authorization=True),
        is_signed=True,
    ),
    Behaviour("tells of a wrong API key", [End()], is_told("Invalid API key"), has_wrong_key=True),
    Behaviour(
        "tells code and reason of a refused start",
        [Refuse(3000, NO_SUCH_AGENT, after_ms=300)],
        is_told("3000", NO_SUCH_AGENT),
        [("await", 1)],
    ),
    Behaviour("tells why there is no WebRTC", [End()], is_told("WebSocket only"), voice=True, webrtc=True),
    Behaviour(
        "tells of an override that is not allowed",
        [End()],
        is_told("1008", "first_message"),
        [("await", 1)],
        override="Ahoy",
    ),
    Behaviour(
        "sends dynamic variables",
        converse(Say("Hello {{name}}."), End()),
        expect(lambda it: it.seen["agent"] == ["Hello Ada."]),
        [HELLO],
    ),
    # --- in writing
    Behaviour(
        "writes, and gets the answer",
        converse(Say("Hi."), End()),
        expect(lambda it: (it.seen["user"], it.seen["agent"]) == (["hello"], ["Hi."])),
        [HELLO],
    ),
    Behaviour(
        "gets the answer in parts",
        converse(Say("One two three."), End()),
        expect(
            lambda it: "".join(text for _, text in it.seen.get("parts", ())) == "One two three.",
            lambda it: "loses parts" if "parts" in it.seen else LACKS,
        ),
        [HELLO],
    ),
    Behaviour(
        "updates the context",
        converse(End()),
        expect(lambda it: it.has("contextual_update")),
        [("update", "It rains."), HELLO],
    ),
    Behaviour(
        "says that the user is active",
        converse(End()),
        expect(lambda it: it.has("user_activity")),
        [("activity", None), HELLO],
    ),
    Behaviour(
        "gives feedback in the conversation",
        converse(Say("Hi."), ExpectText("bye", within_ms=15_000), End()),
        expect(lambda it: it.has("feedback")),
        [HELLO, ("await", 1), ("like", None), ("say", "bye")],
    ),
    Behaviour(
        "gives feedback by REST",
        converse(Say("Hi."), ExpectText("bye", within_ms=15_000), End()),
        expect(lambda it: it.seen.get("rated") == 200 and it.held.feedback["feedback"] == "like"),
        [HELLO, ("await", 1), ("rate", None), ("say", "bye")],
    ),
    Behaviour(
        "uploads a file and shows it",
        converse(Say("Hi."), ExpectText("What is this", within_ms=15_000), End()),
        expect(lambda it: it.seen.get("file") in tell_files(it)),
        [HELLO, ("await", 1), ("show", "no picture")],
    ),
    # --- tools
    Behaviour("runs a tool", call("add"), gives("5"), [HELLO]),
    Behaviour(
        "runs two tools at once",
        converse(
            Call("add", {"a": 2, "b": 3}, wait=False),
            Call("add", {"a": 3, "b": 4}, expect_result="^7$", within_ms=5000),
            Say("Done."),
            End(),
        ),
        expect(lambda it: [each.result for each in it.held.calls] == ["5", "7"], lambda it: "answers nothing"),
        [HELLO],
    ),
    Behaviour(
        "tells the error of a tool that fails",
        call("get_stuck"),
        gives_error("the volume is stuck"),
        [HELLO],
    ),
    Behaviour(
        "tells that there is no such tool",
        call("fly"),
        gives_error("fly"),
        [HELLO],
    ),
    Behaviour("sends an object as JSON in a string", call("describe"), gives('{"level":7}'), [HELLO]),
    Behaviour("sends 0 as it is", call("count"), gives("0"), [HELLO]),
    Behaviour(
        "keeps quiet where no result is expected",
        converse(Call("add", {"a": 2, "b": 3}, expects_response=False), Silence(0.5), Say("Done."), End()),
        expect(lambda it: not it.has("client_tool_result") and it.seen["agent"] == ["Done."], judge_needless_answer),
        [HELLO],
    ),
    # --- voice
    Behaviour(
        "is heard",
        [ExpectAudio(within_ms=12_000), ExpectAudio(within_ms=12_000), End()],
        judge_hearing,
        [SPEAK, SPEAK],
        agent=POLITE,
        voice=True,
    ),
    Behaviour(
        "plays the agent's voice",
        [Silence(0.3), Say(SHORT), Silence(2.0), End()],
        expect(lambda it: it.plays, lambda it: "loses some"),
        agent=POLITE,
        voice=True,
    ),
    Behaviour(
        "interrupts the agent, and stops playing",
        [ExpectAudio(within_ms=12_000), Say(LONG), ExpectAudio(within_ms=12_000), Silence(1.5), End()],
        judge_interruption,
        [SPEAK, ("await", 1), SPEAK],
        voice=True,
    ),
    Behaviour(
        "speaks and plays μ-law",
        [Silence(0.3), Say(SHORT), Silence(2.0), ExpectAudio(within_ms=4_000), End()],
        judge_ulaw,
        [("await", 1), SPEAK],
        agent=evolve(POLITE, user_input_audio_format="ulaw_8000", agent_output_audio_format="ulaw_8000"),
        voice=True,
    ),
    # --- keeping it up
    Behaviour(
        "answers pings",
        converse(Silence(1.5), Say("Hi."), End()),
        expect(lambda it: it.held.received["pong"] >= 2, lambda it: "too few"),
        [HELLO],
        agent=PINGING,
    ),
    Behaviour(
        "tells the latency",
        converse(Silence(1.0), Say("Hi."), End()),
        expect(lambda it: it.seen.get("latencies"), lambda _: LACKS),
        [HELLO],
        agent=PINGING,
    ),
    Behaviour(
        "goes on after an event of an unknown type",
        converse(Raw('{"type": "from_the_future", "future_event": {"event_id": 1}}'), Say("Still here."), End()),
        judge_going_on,
        [HELLO],
    ),
    Behaviour(
        "goes on after a frame that is no JSON",
        converse(Raw("{no JSON"), Say("Still here."), End()),
        judge_going_on,
        [HELLO],
    ),
    # --- ends
    Behaviour(
        "tells that the agent hung up",
        converse(Say("Bye."), End()),
        expect(lambda it: it.seen["ended"][0] == "agent"),
        [HELLO],
    ),
    Behaviour(
        "hangs up with 1000",
        converse(Say("Hi."), Silence(10)),
        judge_end_by_user,
        [HELLO, ("await", 1), ("end", None)],
    ),
    Behaviour(
        "tells that the time is up",
        [Silence(10)],
        expect(lambda it: "max" in it.end),
        agent=evolve(PLAIN, max_duration=1.0),
    ),
    Behaviour(
        "tells an error of the platform's",
        converse(Fail(1002, "llm_timeout", "The language model took too long.")),
        is_told("1002", "took too long"),
        [HELLO],
    ),
    Behaviour("tells that the link was lost", converse(Drop()), is_told("1006"), [HELLO]),
]


def tell_files(meeting: Meeting) -> list[str]:
    """The ids of the files that the user has shown."""
    shown = [message for message in meeting.held.messages if isinstance(message, MultimodalMessage)]
    return [file.file_id for message in shown for file in message.files or ()]
