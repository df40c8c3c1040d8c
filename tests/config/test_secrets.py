"""Secrets: found where they are said to be, and shown nowhere."""

import copy
import pickle
import tomllib
from pathlib import Path

import attrs
import pytest

from convaid.config import (
    Configuration,
    PlatformConfig,
    Secret,
    describe_configuration,
    find_api_key,
    mask_text,
    mask_url,
    parse_configuration,
    require_api_key,
)
from convaid.errors import ConfigurationError

KEY = "sk_" + "0123456789abcdef" * 3
FULL = """
[platform]
base_url = "sg"
[conversations.main]
auth = "signed_url_from"
signed_url_from = "https://ada:pa55word@backend.example/url?token=t0p%2Fsecret&agent=agent_0123456789abcdef&k=0123456789abcdef"
[conversations.main.overrides]
prompt = "Say \\"hello\\" \\\\ and\\u007f ünïcode 😀"
[conversations.main.dynamic_variables]
secret__door = "1234-5678"
city = "Rome"
n = 3
[conversations.main.initiation.source_info]
api_key = "hidden-1"
other = "a sk_0123456789abcdef b"
[conversations.text]
agent_id = "agent_x"
audio = "wav"
wav.microphone = "in.wav"
[tools.get_token]
enabled = true
time_limit = inf
[plugins.weather]
api_key = "hidden-2"
"odd name" = { tokens = ["a"], password = ["hidden-3"], port = 80, at = 2026-11-22T18:30:00Z, on = 18:30:00 }
places = [{ name = "Rome", secret = "hidden-4" }, {}]
"""
SECRETS = ("pa55word", "t0p", "0123456789abcdef", "1234-5678", "hidden")


@pytest.fixture
def full() -> Configuration:
    return parse_configuration(FULL, "config.toml")


def test_a_secret_is_seen_only_when_asked_for() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    assert KEY not in f"{secret} {secret!r} {secret!s:>9} {[secret]}"
    assert secret == Secret(KEY) != Secret("x")
    assert len({secret, Secret(KEY)}) == 1
    for write in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="not to be written"):
            write(secret)


def test_the_description_is_toml_without_secrets(full: Configuration) -> None:
    text = describe_configuration(full)
    for secret in SECRETS:
        assert secret not in text.replace("agent_0123456789abcdef", "")
        assert secret not in repr(full)
    tables = tomllib.loads(text)
    assert tables["platform"] == {"base_url": "sg", "api_key_env": "ELEVENLABS_API_KEY"}
    main = tables["conversations"]["main"]
    assert main["signed_url_from"] == "https://***@backend.example/url?token=***&agent=***&k=***"
    assert main["overrides"] == {"prompt": 'Say "hello" \\ and\x7f ünïcode 😀'}
    assert main["dynamic_variables"] == {"secret__door": "***", "city": "Rome", "n": 3}
    assert main["initiation"] == {"source_info": {"api_key": "***", "other": "a sk_*** b"}}
    assert tables["tools"]["get_token"] == {"enabled": True, "time_limit": float("inf")}
    weather = tables["plugins"]["weather"]
    assert weather["api_key"] == "***"
    assert weather["odd name"]["password"] == ["***"]
    assert weather["odd name"]["tokens"] == ["a"]
    assert weather["odd name"]["port"] == 80
    assert weather["places"] == [{"name": "Rome", "secret": "***"}, {}]
    assert tables == full.masked()


def test_the_description_means_the_same_where_nothing_is_secret(full: Configuration) -> None:
    harmless = attrs.evolve(full, conversations={"text": full.conversations["text"]}, plugins={"x": {"a": [1.5, True]}})
    assert parse_configuration(describe_configuration(harmless), "config.toml") == harmless


def test_names_the_secrets_of_the_file_for_the_log(full: Configuration) -> None:
    assert {secret.reveal() for secret in full.secrets()} == {
        "pa55word",
        "t0p%2Fsecret",
        "t0p/secret",
        "0123456789abcdef",
        "1234-5678",
        *(f"hidden-{number}" for number in range(1, 5)),
    }


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"key {KEY}.", "key sk_***."),
        (f"('xi-api-key', '{KEY[3:]}')", "('xi-api-key', '***')"),
        (f"[(b'xi-api-key', b'{KEY[3:]}')]", "[(b'xi-api-key', b'***')]"),
        ('{"Xi-Api-Key": "0123", "a": 1}', '{"Xi-Api-Key": "***", "a": 1}'),
        ("xi-api-key: 0123\r\nhost: h", "xi-api-key: ***\r\nhost: h"),
        ("Authorization: Bearer ab.cd", "Authorization: Bearer ***"),
        (
            "wss://h/v1/convai/conversation?agent_id=agent_x&conversation_signature=cvtkn_01ab%3D&source=x",
            "wss://h/v1/convai/conversation?agent_id=agent_x&conversation_signature=***&source=x",
        ),
        ("GET /x?token=abc HTTP/1.1", "GET /x?token=*** HTTP/1.1"),
        ("https://ada:pa55@h/x", "https://***@h/x"),
        ("a token is a word, sk_short too; mail ada@h.example", "a token is a word, sk_short too; mail ada@h.example"),
    ],
)
def test_masks_what_looks_like_a_secret(text: str, masked: str) -> None:
    assert mask_text(text) == masked
    assert mask_text(masked) == masked


def test_masks_every_value_of_a_url() -> None:
    assert mask_url("https://h.example:8/a/b?x=1&y=&z#f") == "https://h.example:8/a/b?x=***&y=***&z#f"
    assert mask_url("") == ""


def test_the_key_comes_from_the_first_place_that_has_one(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    environ = {"ELEVENLABS_API_KEY": " from-environment\n", "CREDENTIALS_DIRECTORY": str(credentials)}
    assert find_api_key(PlatformConfig(), {}) is None
    assert find_api_key(PlatformConfig(), {"ELEVENLABS_API_KEY": ""}) is None
    assert find_api_key(PlatformConfig(), environ) == Secret("from-environment")
    assert find_api_key(PlatformConfig(api_key_env="OTHER"), environ | {"OTHER": "o"}) == Secret("o")
    (credentials / "elevenlabs_api_key").write_text("from-systemd\n")
    assert find_api_key(PlatformConfig(), environ) == Secret("from-systemd")
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert find_api_key(PlatformConfig(api_key_file=file), environ) == Secret("from-file")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty; it holds the API key and nothing else"),
        (b"half-a\nkey", "holds something else than one API key on one line"),
        (b"\xff\xfe", "holds something else than one API key on one line"),
    ],
)
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        find_api_key(PlatformConfig(api_key_file=file), {})
    assert str(caught.value).startswith("platform.api_key_file: ")
    assert str(caught.value).endswith(problem)
    assert "half" not in str(caught.value)


def test_an_environment_variable_that_holds_no_key_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"^\$ELEVENLABS_API_KEY: holds something else"):
        find_api_key(PlatformConfig(), {"ELEVENLABS_API_KEY": "two words"})


def test_a_key_is_required_by_those_who_use_it() -> None:
    configuration = parse_configuration(
        '[conversations]\na = { agent_id = "x" }\nb = { agent_id = "x", auth = "signed_url" }', "config.toml"
    )
    with pytest.raises(ConfigurationError) as caught:
        require_api_key(configuration, {})
    assert str(caught.value) == (
        "API key: conversations.b.auth: needs the API key, and there is none; set the environment variable "
        "ELEVENLABS_API_KEY, platform.api_key_file or a systemd credential elevenlabs_api_key"
    )
    assert require_api_key(configuration, {"ELEVENLABS_API_KEY": KEY}) == Secret(KEY)
    harmless = attrs.evolve(configuration, conversations={"a": configuration.conversations["a"]})
    assert require_api_key(harmless, {}) is None


def test_masking_takes_time_in_proportion() -> None:
    text = "?" + "a." * 500_000  # quadratic time would be minutes: the test's own limit says no
    assert mask_text(text) == text
