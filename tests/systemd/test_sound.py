"""Voice as a service: a user's own unit at that user's PipeWire, and the machine's confined one at a shared server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trio
from attrs import define

from convaid.simulator import SimulatorSettings, open_simulator, parse_scenario

from ..sound.conversing import GOODBYE, GREETING, TALE, is_over, measure_speech, reckon_seconds, write_scenario
from ..soundservers import PIPEWIRE_DEVICES, find_sounds, needs_pipewire, synthesise
from .box import Box
from .services import Service

pytestmark = [pytest.mark.xdist_group("systemd"), needs_pipewire]

ROOT = Path(__file__).parents[2]
CONVAID = "/opt/convaid/bin/convaid"
CALL = '{tool = "linger", parameters = {seconds = 0.1}, expect_result = "lingered"}'
CONFIGURATION = """
[platform]
base_url = "{base_url}"
[conversations.main]
agent_id = "agent_test"
start = "{start}"
audio = "device"
echo = "none"
"""
ON_WAKE_WORD = """
[plugins.wakeword]
words = {hey_jarvis = {}}
"""

FORM = "--raw --format=s16le --channels=1 --rate=16000 --latency-msec=20"
HEARD = "/tmp/heard.raw"
"""What the speaker plays, as 16 kHz mono s16le."""


@define
class Desk:
    """A user who is there from boot on, with PipeWire as Debian starts it, a speaker and a microphone."""

    box: Box
    session: Mapping[str, str]

    def run(self, command: str) -> str:
        return self.box.run(command, user="joan", variables=self.session)

    def look(self, command: str) -> str:
        """What a command prints, also where it fails."""
        return self.box.call("bash", "-c", command, user="joan", variables=self.session).stdout

    def wait_for_sound(self) -> None:
        """Wait for the sound server, connect its devices, and begin to record the speaker anew."""
        self.box.wait(lambda: "Default Source: mic\n" in self.look("pactl info"), what=lambda: self.look("pactl info"))
        self.box.wait(lambda: "mic:input_MONO" in self.look("pw-link room:monitor_MONO mic:input_MONO; pw-link -l -o"))
        self.look("systemctl --user stop ear")
        self.run(f"rm -f {HEARD}")
        ear = f"parec --device=spk.monitor {FORM}"
        self.run(f"systemd-run --user --quiet --collect --unit=ear --property=StandardOutput=file:{HEARD} {ear}")
        self.box.wait(lambda: self.listen() is not None)

    def listen(self) -> bytes | None:
        """All that has been recorded of the speaker; None for nothing."""
        path = self.box.path(HEARD)
        return (path.read_bytes() if path.exists() else b"") or None

    def speak(self, words: str) -> None:
        """Speak into the microphone; returns when it is spoken."""
        self.box.path("/tmp/said.raw").write_bytes(synthesise(words))
        self.run(f"pacat --device=room {FORM} /tmp/said.raw")

    def wait_for_speech(self, seconds: float, start: int = 0) -> float:
        """Wait until so much has been heard since ``start`` bytes, and then nothing more; returns how much it was."""

        def look() -> bytes | None:
            pcm = (self.listen() or b"")[start:]
            return pcm if is_over(pcm, seconds) else None

        pcm = self.box.wait(look, what=lambda: find_sounds((self.listen() or b"")[start:]))
        return measure_speech(pcm or b"")


@pytest.fixture(scope="module")
def desk(box: Box) -> Iterator[Desk]:
    """The one whose sound is used; the sound server of the machine's is PipeWire, and it is shared."""
    box.run(
        "useradd -m joan; for kind in service socket; do ln -sfn /dev/null /etc/systemd/user/pulseaudio.$kind; done"
    )
    session = {"XDG_RUNTIME_DIR": f"/run/user/{box.run('id -u joan').strip()}"}
    box.write("/home/joan/.config/pipewire/pipewire.conf.d/devices.conf", f"context.objects = [{PIPEWIRE_DEVICES}]\n")
    (sharing,) = re.findall(r"```\n(pulse.properties.*?)```", (ROOT / "docs" / "service.md").read_text(), re.DOTALL)
    box.write("/home/joan/.config/pipewire/pipewire-pulse.conf.d/shared.conf", sharing)
    (folder,) = re.findall(r"```\n(d /run/convaid-sound.*?)```", (ROOT / "docs" / "service.md").read_text(), re.DOTALL)
    box.write("/etc/tmpfiles.d/convaid-sound.conf", folder.replace("ada", "joan"))
    box.run("chown -R joan:joan /home/joan; systemd-tmpfiles --create convaid-sound.conf; loginctl enable-linger joan")
    box.wait(lambda: box.path(f"{session['XDG_RUNTIME_DIR']}/systemd/private").exists())
    desk = Desk(box, session)
    yield desk
    box.call("loginctl", "terminate-user", "joan")


def wake_up(desk: Desk, is_connected: Callable[[], bool]) -> None:
    """Say the wake word to who listens for it, after other words that do not matter."""
    desk.box.wait(lambda: 'application.name = "convaid"' in desk.look("pactl list source-outputs"))
    desk.speak("The gardener has bought seven apples.")
    assert not is_connected()
    desk.speak("Hey Jarvis!")
    desk.box.wait(is_connected)


def converse(desk: Desk, start: Callable[[], object], journal: Callable[[], str]) -> None:
    """Be the user in a conversation, from the greeting to the goodbye."""
    box = desk.box
    desk.wait_for_sound()
    start()
    assert desk.wait_for_speech(reckon_seconds(GREETING)) == pytest.approx(reckon_seconds(GREETING), abs=0.2)

    begun = len(desk.listen() or b"")
    desk.speak("What time is it?")
    box.wait(lambda: find_sounds((desk.listen() or b"")[begun:]), what=journal)
    desk.speak("Stop it!")
    box.wait(lambda: "cut in" in journal(), what=journal)
    assert desk.wait_for_speech(0.3, begun) < reckon_seconds(TALE) - 2

    desk.run("systemctl --user kill --signal=KILL pipewire.service")
    desk.wait_for_sound()
    for role in ("microphone", "speaker"):
        box.wait(lambda role=role: find_told(journal(), role)[-2:] == ["lost", "open"])  # type: ignore[misc]

    begun = len(desk.listen() or b"")
    desk.speak("Still there?")
    assert desk.wait_for_speech(reckon_seconds(GOODBYE), begun) == pytest.approx(reckon_seconds(GOODBYE), abs=0.2)


def find_told(journal: str, role: str) -> list[str]:
    """What the journal says of a device, one thing after the other."""
    return re.findall(rf"the {role} .*?is (lost|open)\b", journal)


async def hold_conversation(
    desk: Desk, start: Callable[[str], object], journal: Callable[[], str], *, is_woken: bool = False
) -> None:
    """Play the agent, and the user, in a conversation of a daemon that ``start`` starts with a configuration.

    ``is_woken``: it begins with a wake word.
    """
    settings = SimulatorSettings([parse_scenario(write_scenario(CALL), "test")], None)
    with trio.fail_after(55):
        async with open_simulator(settings) as simulator:
            configuration = CONFIGURATION.format(
                base_url=simulator.base_url, start="on_demand" if is_woken else "once"
            ) + (ON_WAKE_WORD if is_woken else "")

            def begin() -> None:
                start(configuration)
                if is_woken:
                    wake_up(desk, lambda: bool(simulator.conversations))

            await trio.to_thread.run_sync(converse, desk, begin, journal)
            (record,) = simulator.conversations
            await record.ended.wait()
    assert record.problem is None
    assert record.is_played


async def test_a_users_own_unit_holds_a_voice_conversation_on_a_wake_word_through_that_users_pipewire(
    desk: Desk,
) -> None:
    def start(configuration: str) -> None:
        desk.run(f"{CONVAID} service install --user")
        desk.box.write("/home/joan/.config/convaid/config.toml", configuration)
        desk.run("systemctl --user start convaid")

    def read_journal() -> str:
        return desk.box.read_messages("_SYSTEMD_USER_UNIT=convaid.service")

    await hold_conversation(desk, start, read_journal, is_woken=True)
    desk.run("systemctl --user stop convaid")


async def test_the_machines_confined_unit_speaks_through_a_sound_server_that_is_shared(
    desk: Desk, service: Service
) -> None:
    (sharing,) = re.findall(r"^Environment=PULSE_SERVER=.*$", (ROOT / "docs" / "service.md").read_text(), re.MULTILINE)
    service.set(sharing)

    def start(configuration: str) -> None:
        service.configure(text=configuration)
        service.start()

    await hold_conversation(desk, start, service.messages)
