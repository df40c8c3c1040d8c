"""What arrives at the server, and what the agent gets of its answer."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .serving import Server, ask, load_webhook, text, write_answer

SECRET = 's3cr3t"/+ä'


async def test_a_booking_as_in_the_readme(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOOKING_TOKEN", "abc123")
    server.answers = [write_answer("201 Created", '{"booking": {"id": "B-7", "when": [1, 2]}}')]
    tool = {
        "method": "POST",
        "url": f"http://127.0.0.1:{server.port}/rooms/{{room}}/bookings?lang=en",
        "headers": {"Authorization": "Bearer ${env:BOOKING_TOKEN}", "X-Note": "for {name}"},
        "json": {
            "persons": "{persons}",
            "name": "Table for {name} ({persons})",
            "tags": ["phone", "{tag}"],
            "vip": False,
        },
        "result": "booking.id",
        "parameters": {
            "room": text(),
            "name": text(),
            "persons": {"type": "integer", "description": "how many"},
            "tag": text(optional=True),
        },
    }
    answer = await ask(tool, room="a/b c?d", name="Ådå", persons=3)
    assert (answer.outcome, answer.result) == ("ok", "B-7")
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/rooms/a%2Fb%20c%3Fd/bookings?lang=en")
    assert json.loads(request.body) == {
        "persons": 3,
        "name": "Table for Ådå (3)",
        "tags": ["phone"],
        "vip": False,
    }
    assert request.headers["authorization"] == "Bearer abc123"
    assert request.headers["x-note"] == "for Ådå"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["accept-encoding"] == "identity"


async def test_query_and_form_are_encoded(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/find?a={{words}}"
    parameters = {
        "words": text(),
        "ids": {"type": "array", "description": "which", "items": {"type": "integer", "description": "one"}},
        "flag": {"type": "boolean", "description": "whether", "optional": True},
    }
    query = {"b": "{words}", "id": "{ids}", "flag": "{flag}", "fixed": 1.5, "on": True}
    await ask({"url": url, "query": query, "parameters": parameters}, words="x&y=#ü", ids=[1, 2])
    form = {"method": "POST", "url": url, "form": query, "parameters": parameters}
    await ask(form, words="x&y=#ü", ids=[], flag=True)
    first, second = server.requests
    assert first.target == "/find?a=x%26y%3D%23%C3%BC&b=x%26y%3D%23%C3%BC&id=1&id=2&fixed=1.5&on=true"
    assert (first.body, "content-type" in first.headers) == ("", False)
    assert second.body == "b=x%26y%3D%23%C3%BC&flag=true&fixed=1.5&on=true"
    assert second.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_body_may_have_a_type_of_its_own(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/"
    await ask({"method": "POST", "url": url, "json": [1], "headers": {"content-type": "application/vnd.x+json"}})
    assert server.requests[0].headers["content-type"] == "application/vnd.x+json"


@pytest.mark.parametrize("value", ["..", ".", "../admin", "a/../..", "..\\admin", "", "x/."])
async def test_an_argument_cannot_leave_its_step_of_the_path(server: Server, value: str) -> None:
    url = f"http://127.0.0.1:{server.port}/rooms/{{room}}/x"
    answer = await ask({"url": url, "parameters": {"room": text()}}, room=value)
    assert answer.is_error
    assert "cannot" in answer.result
    assert server.requests == []


async def test_a_dot_that_completes_a_step_is_seen(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/rooms/.{{room}}/x"
    assert (await ask({"url": url, "parameters": {"room": text()}}, room=".")).is_error
    assert (await ask({"url": url, "parameters": {"room": text()}}, room="hidden")).outcome == "ok"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(min_size=1))
def test_whatever_the_argument_the_rest_of_the_address_stays(value: str) -> None:
    from urllib.parse import unquote, urlsplit

    import httpx
    from convaid_webhook.sending import build_request

    from convaid import ToolError

    table: dict[str, Any] = {
        "description": "Go",
        "url": "https://example.com/rooms/{room}/x?q={room}",
        "query": {"r": "{room}"},
        "headers": {"X-Room": "{room}"},
        "parameters": {"room": text()},
    }
    (plugin,) = load_webhook({"tools": {"go": table}})
    http = httpx.AsyncClient(transport=httpx.AsyncBaseTransport())
    try:
        request = build_request(plugin.settings.tools["go"], {"room": value}, http)
    except ToolError:
        return
    target = urlsplit(str(request.url))
    assert (request.url.scheme, request.url.host, target.fragment) == ("https", "example.com", "")
    raw_path, _, raw_query = request.url.raw_path.decode().partition("?")
    assert [unquote(step) for step in raw_path.split("/")] == [
        "",
        "rooms",
        value.encode("utf-8", "replace").decode(),
        "x",
    ]
    assert raw_query.count("&") == 1


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\x7f"])
async def test_headers_cannot_be_injected(server: Server, value: str) -> None:
    tool = {"url": f"http://127.0.0.1:{server.port}/", "headers": {"X-A": "{a}"}, "parameters": {"a": text()}}
    answer = await ask(tool, a=value)
    assert "cannot stand in the header X-A" in answer.result
    assert server.requests == []


@pytest.mark.parametrize(
    ("body", "path", "result"),
    [
        ("plain words", "", "plain words"),
        ("", "", "Done. There is nothing to report."),
        ('{"a": [{"b": 1}]}', "", '{"a": [{"b": 1}]}'),
        ('{"a": [{"b": 1}]}', "a.0", '{"b":1}'),
        ('{"a": [{"b": 0}]}', "a.0.b", "0"),
        ('{"a": {"0": false}}', "a.0", "false"),
        ('\ufeff{"a": 1}', "a", "1"),
    ],
)
async def test_the_result_is_all_of_the_answer_or_what_the_path_leads_to(
    server: Server, body: str, path: str, result: str
) -> None:
    server.answers = [write_answer(body=body)]
    answer = await ask({"url": f"http://127.0.0.1:{server.port}/", "result": path})
    assert (answer.outcome, answer.result) == ("ok", result)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (write_answer("404 Not Found", "no\nsuch  room"), "127.0.0.1 answers 404 Not Found: no such room"),
        (write_answer("500 Internal Server Error"), "127.0.0.1 answers 500 Internal Server Error."),
        (write_answer("400 Bad Request", "x" * 10_000), "x" * 350),
        (write_answer("302 Found", Location="http://10.0.0.1/?t=1"), "302 Found and refers to http://10.0.0.1/, which"),
        (write_answer("302 Found", Location="https://x.org/a#t=1"), "302 Found and refers to https://x.org/a, which"),
        (write_answer("304 Not Modified"), "answers 304 Not Modified."),
        (write_answer("500 Oops", "\x1f\x8b", Content_Encoding="gzip"), "127.0.0.1 answers 500 Oops."),
        (b"HTTP/1.1 400 \xc2\x9b31m\r\nContent-Length: 2\r\n\r\n\x1b[", "\\x1b["),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}", "broke: conflicting Content-Length"),
        (write_answer(body="{}"), 'its answer has no "a.b"'),
        (write_answer(body='{"a": []}'), 'its answer has no "a.b"'),
        (write_answer(body='{"a": "b"}'), 'its answer has no "a.b"'),
        (write_answer(body="[" * 900), "its answer is not JSON"),
        (write_answer(body='{"a"'), "its answer is not JSON"),
        (write_answer(body="x" * 1001), "its answer is longer than 1000 bytes"),
        (write_answer(body="x", Content_Encoding="gzip"), "its answer is compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "broke"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "broke"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "broke"),
    ],
)
async def test_what_goes_wrong_is_said(server: Server, answer: bytes, words: str) -> None:
    async def answer_and_hang_up(stream: Any) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    server.behave = answer_and_hang_up
    told = await ask({"url": f"http://127.0.0.1:{server.port}/", "result": "a.b", "answer_size": 1000})
    assert told.is_error
    assert words in told.result
    assert "fault" not in told.result


async def test_what_is_not_listening_is_said() -> None:
    answer = await ask({"method": "POST", "url": "http://127.0.0.1:1/"})
    assert answer.result == "127.0.0.1 cannot be reached: Connection refused. Nothing was sent."


async def test_a_secret_is_seen_by_the_server_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(SECRET + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    tool = {
        "method": "POST",
        "url": f"http://127.0.0.1:{server.port}/",
        "headers": {"X-Key": "${file:token}"},
        "query": {"q": f"${{file:{tmp_path}/token}}"},
        "json": {"secret": "${file:token}"},
    }
    echo = json.dumps({"ascii": SECRET, "text": "T"}) + json.dumps(SECRET, ensure_ascii=False)
    server.answers = [write_answer(body=echo), write_answer("403 Forbidden", f"{echo} s3cr3t%22%2F%2B%C3%A4")]
    told = [await ask(tool) for _ in range(2)]
    assert [request.headers["x-key"] for request in server.requests] == [SECRET] * 2
    assert json.loads(server.requests[0].body) == {"secret": SECRET}
    assert "s3cr3t%22%2F%2B%C3%A4" in server.requests[0].target
    (plugin,) = load_webhook({"tools": {"go": {"description": "Go", **tool}}, "allow_local": True})
    assert "***" in told[0].result
    for seen in (*(answer.result for answer in told), repr(plugin), repr(plugin.settings), repr(plugin.tools)):
        assert "s3cr3t" not in seen
    assert "s3cr3t" not in "".join(record.getMessage() for record in caplog.records if record.name[:4] != "http")


@pytest.mark.parametrize(
    ("body", "result", "told"),
    [
        (r'{"a": "key ab\/c+d"}', "", '{"a": "key ***"}'),
        (r'{"a": "key ab\u002fc+d"}', "a", "key ***"),
        (r'{"a": [{"ab\/c+d": 1}]}', "a", '[{"***":1}]'),
        ('{"a": "ab/c%2Bd"}', "", '{"a": "***"}'),
    ],
)
async def test_a_secret_is_masked_however_json_writes_it(
    server: Server, monkeypatch: pytest.MonkeyPatch, body: str, result: str, told: str
) -> None:
    monkeypatch.setenv("KEY", "ab/c+d")
    server.answers = [write_answer(body=body)]
    url = f"http://127.0.0.1:{server.port}/"
    assert (await ask({"url": url, "headers": {"X-Key": "${env:KEY}"}, "result": result})).result == told


async def test_a_number_that_is_a_secret_leaves_json_what_it_is(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIN", "4711")
    server.answers = [write_answer(body='{"pin": 4711, "size": 2}')]
    tool = {"url": f"http://127.0.0.1:{server.port}/{{door}}", "headers": {"X-Pin": "${env:PIN}"}}
    tool["parameters"] = {"door": text()}
    for result, told in (("pin", "***"), ("size", "2")):
        assert (await ask({**tool, "result": result}, door="x")).result == told


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("env:NO_SUCH", "the environment variable NO_SUCH is not set"),
        ("env:EMPTY", "there is nothing in it"),
        ("env:LINES", "there is more in it than one line of text"),
        ("file:/nowhere", "/nowhere cannot be read: No such file or directory"),
        ("file:token", "there is no $CREDENTIALS_DIRECTORY"),
    ],
)
async def test_a_tool_without_its_secret_is_out_of_order_and_the_log_says_why(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reference: str, reason: str
) -> None:
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.setenv("LINES", "a\nb")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    answer = await ask({"url": f"http://127.0.0.1:{server.port}/", "headers": {"X-Key": f"${{{reference}}}"}})
    assert (answer.is_error, server.requests) == (True, [])
    assert answer.result == "This is out of order: a secret is missing. The log says which."
    said = [
        record.getMessage()
        for record in caplog.records
        if f"${{{reference}}} is missing: {reason}" in record.getMessage()
    ]
    assert len(said) == 2  # when the daemon starts, and at the call
    assert said[0].startswith('the tool "go" is out of order: ')


async def test_a_secret_in_a_file_may_change(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    tool = {"url": f"http://127.0.0.1:{server.port}/", "headers": {"X-Key": f"${{file:{tmp_path}/token}}"}}
    await ask(tool)
    (tmp_path / "token").write_text("two\n")
    await ask(tool)
    assert [request.headers["x-key"] for request in server.requests] == ["one", "two"]


async def test_cookies_are_not_kept(server: Server) -> None:
    from convaid_webhook.connecting import open_http

    server.answers = [write_answer(Set_Cookie="session=1; Path=/")]
    async with open_http(lambda host: True) as http:
        for _ in range(2):
            await http.get(f"http://127.0.0.1:{server.port}/")
    assert all("cookie" not in request.headers for request in server.requests)
    assert server.connections == 1


async def test_proxies_of_the_environment_are_not_used(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert (await ask({"url": f"http://127.0.0.1:{server.port}/"})).outcome == "ok"


@pytest.mark.parametrize(("method", "sent"), [("GET", 3), ("PUT", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)])
async def test_only_what_may_be_repeated_is(server: Server, method: str, sent: int) -> None:
    server.answers = [write_answer("503 Service Unavailable", "later")]
    answer = await ask({"method": method, "url": f"http://127.0.0.1:{server.port}/"})
    assert "answers 503 Service Unavailable: later" in answer.result
    assert len(server.requests) == sent


async def test_a_repetition_that_works_is_the_answer(server: Server) -> None:
    server.answers = [write_answer("502 Bad Gateway"), write_answer(body="at last")]
    assert (await ask({"url": f"http://127.0.0.1:{server.port}/"})).result == "at last"
    server.answers = [write_answer("500 Internal Server Error"), write_answer(body="never")]
    assert (await ask({"url": f"http://127.0.0.1:{server.port}/"})).is_error
    server.answers = [write_answer("502 Bad Gateway"), write_answer(body="never")]
    assert (await ask({"url": f"http://127.0.0.1:{server.port}/", "retries": 0})).is_error
