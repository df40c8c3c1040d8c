"""``convaid serve-signed-url`` as a user runs it, and docs/signed-urls.md, which cannot lie."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from convaid.cli import convaid
from convaid.config import parse_configuration
from convaid.config.api_key import CREDENTIAL as KEY
from convaid.config.api_key import find_api_key
from convaid.errors import ConfigurationError
from convaid.signed_urls.serving import CREDENTIAL as SECRET
from convaid.signed_urls.serving import make_office
from tests.cli.running import run_convaid, start_convaid
from tests.strangers.programs import require

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "signed-urls.md").read_text()
LIMIT = 20.0  # seconds for a process to end
MAIN = '[conversations.main]\nagent_id = "agent_demo"\n'


def find_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@contextmanager
def serve(folder: Path, *arguments: str, **settings: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the command; yields the address that it tells. It must end well."""
    (folder / "config.toml").write_text((ROOT / "config.toml").read_text())
    process = start_convaid("serve-signed-url", *arguments, folder=folder, **settings)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"handing out signed URLs at (http://\S+)/signed-url, conversations: main\n", line)
        assert found, (line, process.stderr and process.stderr.read())
        yield found[1], process
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, log
        assert "conversation_signature" not in log
    finally:
        process.kill()
        process.communicate()


def test_the_commands_of_the_page_answer_as_it_says(tmp_path: Path) -> None:
    require(shutil.which("curl") is not None, "curl", "apt-get install curl")
    start, asking = find_blocks("bash")
    _, command, *_ = shlex.split(start)
    with serve(tmp_path, "--port", "0") as (address, _):
        for line in asking.splitlines():
            called, _, expected = line.partition(" # ")
            done = subprocess.run(
                [*shlex.split(called.replace("http://127.0.0.1:8700", address)), "--silent", "--show-error"],
                capture_output=True,
                text=True,
                timeout=LIMIT,
                check=True,
            )
            if "health" in line:
                assert done.stdout == expected
            else:
                assert json.loads(done.stdout)["signed_url"].startswith("ws://127.0.0.1:")
    assert command in convaid.list_commands(click.Context(convaid))


def test_it_is_not_served_to_everybody(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(MAIN)
    done = run_convaid("serve-signed-url", "--host", "0.0.0.0", folder=tmp_path)
    assert done.returncode == 78
    assert done.stderr.startswith("the configuration: signed_urls.host: leads to requests from elsewhere")
    assert "Traceback" not in done.stderr
    with serve(tmp_path, "--host", "0.0.0.0", "--port", "0", CONVAID_SIGNED_URLS_SECRET="a-secret-of-some-length"):
        pass


def test_a_secret_that_is_named_must_be_there(tmp_path: Path) -> None:
    table = '[conversations.main]\nauth = "signed_url_from"\nsigned_url_from = "https://app.example.com/signed-url"\n'
    (tmp_path / "config.toml").write_text(f'{table}signed_url_secret_env = "NOT_THERE"\n')
    done = run_convaid("check", folder=tmp_path)
    assert done.returncode == 78
    place = "config.toml: conversations.main.signed_url_secret_env"
    assert f"{place}: there is no environment variable NOT_THERE, or it is empty; set it, or remove this" in done.stderr
    assert run_convaid("check", folder=tmp_path, NOT_THERE="a-secret-of-some-length").returncode == 0
    with pytest.raises(ConfigurationError, match="has no effect without signed_url_from"):
        parse_configuration(f'{MAIN}signed_url_secret_env = "A"\n', "test")


def test_the_configurations_of_the_page_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_0123456789")
    blocks = find_blocks("toml")
    assert len(blocks) == 3
    for block in blocks:
        text = block if "[conversations" in block else MAIN + block
        configuration = parse_configuration(text + '[platform]\nbase_url = "eu"\n', "docs/signed-urls.md")
        if "[signed_urls]" in block:
            make_office(configuration, find_api_key(configuration.platform), None)


def test_the_unit_of_the_page_runs_the_command_with_the_right_credentials() -> None:
    (unit,) = find_blocks("ini")
    assert f"LoadCredential={KEY}:" in unit
    assert f"LoadCredential={SECRET}:" in unit
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(unit)
    _, command, *options = parser["Service"]["ExecStart"].split()
    found = convaid.get_command(click.Context(convaid), command)
    assert found is not None
    assert options[0] in {name for parameter in found.params for name in parameter.opts}


def test_the_table_of_the_page_has_every_refusal() -> None:
    source = "".join(path.read_text() for path in (ROOT / "convaid" / "signed_urls").glob("*.py"))
    codes = set(re.findall(r'Refusal\(\s*\d+, "(\w+)"', source)) | {"not_found", "wrong_method", "too_many"}
    rows = re.findall(r"^\| (?:\d+) \| (.*?) \|", PAGE, re.MULTILINE)
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == codes
