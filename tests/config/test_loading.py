"""Loading: what a file means, and every mistake in it, at once, with its place and what to do."""

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convaid.config import (
    ChimesConfig,
    CommandConfig,
    Configuration,
    LimitsConfig,
    ToolPolicy,
    WavConfig,
    load_configuration,
    parse_configuration,
)
from convaid.errors import ConfigurationError, StructureError

MAIN = '[conversations.main]\nagent_id = "agent_x"\n'


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(text, "config.toml")
    assert str(caught.value).startswith("config.toml: ")
    return [str(problem) for problem in caught.value.problems]


def test_one_line_is_enough() -> None:
    configuration = parse_configuration(MAIN, "config.toml")
    (conversation,) = configuration.conversations.values()
    assert conversation.limits == LimitsConfig()
    assert conversation.limits.idle == math.inf
    assert conversation.overrides.text_only is None
    assert configuration.tools.time_limit == 15.0


def test_everything_has_its_place() -> None:
    configuration = parse_configuration(
        """
        [platform]
        base_url = "https://agents.example/base/"
        [conversations.kitchen]
        auth = "signed_url_from"
        signed_url_from = "https://backend.example/url"
        audio = "command"
        command.microphone = ["arecord"]
        overrides.text_only = false
        dynamic_variables = { city = "Rome", floors = 3, ratio = 0.5, nice = true, rooms = ["a", 1] }
        limits.life = 600
        [conversations.office]
        agent_id = "agent_x"
        audio = "wav"
        wav.speaker = "out.wav"
        [tools]
        time_limit = inf
        [tools.add_note]
        enabled = false
        [plugins.notes]
        path = "/var/lib/notes"
        """,
        "config.toml",
    )
    assert configuration.platform.rest_url == "https://agents.example/base"
    kitchen, office = configuration.conversations.values()
    assert kitchen.sound == CommandConfig(microphone=("arecord",))
    assert kitchen.dynamic_variables["floors"] == 3
    assert type(kitchen.dynamic_variables["floors"]) is int
    assert type(kitchen.limits.life) is float
    assert office.sound == WavConfig(speaker=Path("out.wav"))
    assert configuration.tools.time_limit == math.inf
    assert configuration.tools.named == {"add_note": ToolPolicy(enabled=False)}
    assert configuration.plugins == {"notes": {"path": "/var/lib/notes"}}


def test_all_mistakes_are_told_at_once() -> None:
    problems = problems_of(
        """
        [platform]
        base_url = "EU"
        api_key = "sk_0123456789"
        api_key_env = "sk_0123456789"
        [conversations.Main]
        agentid = "agent_x"
        [conversations.b]
        agent_id = "agent_x"
        limits.life = -1
        echo = "gates"
        [tools]
        paralel = 3
        [tools.x]
        time_limit = 0
        [plugins]
        clock = true
        notes.enabled = "no"
        [logs]
        [log]
        level = "warn"
        """
    )
    assert sorted(problems) == [
        'conversations.Main.agentid: is not known; did you mean "agent_id"?',
        "conversations.Main: has a name with more than a-z, 0-9, _ and -; rename it",
        'conversations.b.echo: expected one of "auto", "system", "aec", "gate", "duck", "none", got the text "gates"; '
        'did you mean "gate"?',
        "conversations.b.limits.life: must be longer than 0 seconds, not -1; inf stands for no limit",
        'log.level: expected one of "debug", "info", "warning", "error", got the text "warn"; did you mean "warning"?',
        'logs: is not known; did you mean "log"?',
        'platform.api_key: is not known; did you mean "api_key_env"?',
        "platform.api_key_env: is the name of an environment variable; the key itself never stands in this file",
        'platform.base_url: is not an https:// URL; did you mean "eu"?',
        "plugins.clock: expected a table (object), got true",
        'plugins.notes.enabled: expected true or false, got the text "no"',
        'tools.paralel: is not known; did you mean "parallel"?',
        "tools.x.time_limit: must be longer than 0 seconds, not 0; inf stands for no limit",
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('agent_id = ""', 'agent_id: is required with auth = "public"; the dashboard shows it as agent_…'),
        ('auth = "signed_url_from"', 'signed_url_from: is required with auth = "signed_url_from"'),
        (
            'signed_url_from = "https://b.example/"',
            'signed_url_from: has no effect with auth = "public"; set auth = "signed_url_from", or remove it',
        ),
        (
            'auth = "signed_url_from"\nsigned_url_from = "http://b.example/?token=t0psecret"',
            "signed_url_from: is plain http://, which may only lead to this machine (127.0.0.1, ::1, localhost); "
            "expected an https:// URL of yours that answers with a signed URL",
        ),
        ('audio = "wav"', 'wav: needs a microphone, a speaker or both with audio = "wav"'),
        (
            'audio = "command"\ncommand = {microphone = [], speaker = []}',
            'command: needs a microphone, a speaker or both with audio = "command"',
        ),
        (
            'audio = "wav"\nwav.speaker = "a.wav"\noverrides.text_only = true',
            'overrides.text_only: cannot be true with audio = "wav"; remove one of them',
        ),
        (
            "speech.rate = 22050",
            "speech.rate: must be one of 8000, 16000, 24000, 32000, 48000 samples per second, not 22050",
        ),
        ("command.rate = 44", "command.rate: must be between 8000 and 192000 samples per second, not 44"),
        (
            'command.microphone = "arecord -q"',
            'command.microphone: expected a list or nothing (null), got the text "arecord -q"',
        ),
        (
            "limits.ping_interval = 9",
            "limits.link_silence: must be longer than ping_interval (9 s): pings are what breaks the silence",
        ),
        ("limits.chunk = 1", "limits.chunk: must be between 0.01 and 0.25 seconds, not 1"),
        ("limits.chunk = nan", "limits.chunk: must be longer than 0 seconds, not nan; inf stands for no limit"),
        (
            "dynamic_variables.system__time = 1",
            "dynamic_variables.system__time: cannot be set: names with system__ belong to the platform",
        ),
        (
            "dynamic_variables.a = {}",
            "dynamic_variables.a: expected text or a number or true or false or a list, got a table (object)",
        ),
        (
            "initiation.a = [{ b = 2026-11-22 }]",
            "initiation: a[0].b is a date, which JSON does not have; write it as text, in quotes",
        ),
        (
            "custom_llm_extra_body.limit = inf",
            "custom_llm_extra_body: limit is inf, which JSON does not have; write it as text, in quotes",
        ),
    ],
)
def test_contradictions_are_refused(lines: str, problem: str) -> None:
    agent_id = "" if lines.startswith("agent_id") else 'agent_id = "agent_x"\n'
    assert problems_of(f"[conversations.main]\n{agent_id}{lines}") == [f"conversations.main.{problem}"]


def test_a_contradiction_cannot_be_made_in_code_either() -> None:
    with pytest.raises(StructureError, match="link_silence: must be longer than ping_interval"):
        LimitsConfig(link_silence=1.0)


@pytest.mark.parametrize(
    "url",
    ["simulator", "global", "https://h.example", "http://127.0.0.1:8000", "http://[::1]:8000/base", "http://localhost"],
)
def test_places_that_a_secret_may_go_to(url: str) -> None:
    assert parse_configuration(f'platform.base_url = "{url}"\n{MAIN}', "config.toml").platform.base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mars",
        "h.example",
        "http://h.example",
        "http://localhost.example",
        "ftp://localhost",
        "https://",
        "https://h:x",
        "https://[::1",
        "https://user:t0psecret@h.example",
        "https://h.example/?token=t0psecret",
        "wss://h.example",
    ],
)
def test_places_that_no_secret_may_go_to(url: str) -> None:
    (problem,) = problems_of(f'platform.base_url = "{url}"\n{MAIN}')
    assert problem.startswith("platform.base_url: ")
    assert "https://" in problem
    assert "t0psecret" not in problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "conversations: is empty; add a table such as [conversations.main]"),
        ("conversations = 3", "conversations: expected a table (object), got the number 3"),
        ("tools = 3\n" + MAIN, "tools: expected a table (object), got the number 3"),
        ("plugins = 3\n" + MAIN, "plugins: expected a table (object), got the number 3"),
        (
            "\n[log]\nlevel = info\n",
            "line 3, column 12: is not TOML (expected newline or end of document after a statement): "
            "one setting stands on one line, and text in quotes",
        ),
        (
            "\n[log]\nlevel = debug\n",
            "line 3, column 9: is not TOML (invalid value): "
            'text stands in quotes, as in name = "value"; true, false and inf do not',
        ),
        (
            '[log]\nlevel = "info"\nlevel = "debug"\n\n',
            "line 3, column 16: is not TOML (cannot overwrite a value): "
            "this name is already set in this table; remove one of the two",
        ),
        (
            f"{MAIN}[conversations.main]\n",
            "line 3, column 20: is not TOML (cannot declare ('conversations', 'main') twice): "
            "this table already exists; put both parts together",
        ),
    ],
)
def test_a_file_that_is_no_configuration(text: str, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_nesting_without_end_is_refused() -> None:
    assert problems_of("a = " + "[" * 100_000) == ["is nested too deeply"]


def test_a_whole_number_may_be_too_long_for_python() -> None:
    (problem,) = problems_of(f"daemon.stop_grace = {'9' * 5000}\n{MAIN}")
    assert problem == "has a whole number with thousands of digits in it; text stands in quotes"


def test_some_commands_need_no_conversation() -> None:
    configuration = parse_configuration("[plugins.a]\nb = 1", "config.toml", needs_conversations=False)
    assert (configuration.conversations, configuration.plugins) == ({}, {"a": {"b": 1}})


def test_paths_start_at_the_files_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    file = tmp_path / "config.toml"
    file.write_text(
        f'platform.api_key_file = "key"\n{MAIN}wav.microphone = "~/in.wav"\nwav.speaker = "/tmp/out.wav"\n'
        'chimes = {activation = "default", end = "end.wav"}\n',
        encoding="utf-8-sig",  # some editors begin a file with a mark
    )
    configuration = load_configuration(file)
    assert configuration.platform.api_key_file == tmp_path / "key"
    assert configuration.conversations["main"].wav == WavConfig(Path("/home/ada/in.wav"), Path("/tmp/out.wav"))
    assert configuration.conversations["main"].chimes == ChimesConfig("default", "none", str(tmp_path / "end.wav"))


def test_the_home_of_nobody_is_a_name_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'{MAIN}chimes = {{end = "~nosuchuser/end.wav"}}\n')
    path = load_configuration(file).conversations["main"].chimes.end
    assert path == str(tmp_path / "~nosuchuser/end.wav")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read: No such file or directory; start from"):
        load_configuration(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigurationError, match=r"latin\.toml: is not UTF-8 text"):
        load_configuration(tmp_path / "latin.toml")


@given(
    st.text() | st.lists(st.sampled_from(re.findall(r"\S+|\s", MAIN + "[tools]\nx = 3\n[plugins.a]\n"))).map("".join)
)
def test_any_text_is_a_configuration_or_a_configuration_error(text: str) -> None:
    try:
        configuration = parse_configuration(text, "config.toml")
    except ConfigurationError:
        return
    assert isinstance(configuration, Configuration)


def test_a_wrong_setting_hides_no_contradiction_of_others() -> None:
    problems = problems_of(
        """
        [conversations.main]
        agent_id = 5
        auth = "signed_url_from"
        audio = "wav"
        limits = {idle = -1, link_silence = 2.0}
        """
    )
    assert sorted(problem.partition(":")[0] for problem in problems) == [
        "conversations.main.agent_id",
        "conversations.main.limits.idle",
        "conversations.main.limits.link_silence",
        "conversations.main.signed_url_from",
        "conversations.main.wav",
    ]
