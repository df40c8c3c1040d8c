"""Who is let in, decided without a socket."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from convaid.config import Rate, Secret, SignedUrlsConfig, parse_configuration
from convaid.errors import ConfigurationError
from convaid.signed_urls.admission import Admission, Refusal
from convaid.signed_urls.rates import Allowance

PAGE = "https://app.example.com"
SECRET = "a-secret-of-some-length"
LOCAL = {"host": "127.0.0.1:8700"}
SHOWN = {"authorization": f"Bearer {SECRET}"}
OPEN = SignedUrlsConfig()
PAGES = SignedUrlsConfig(host="0.0.0.0", origins=[PAGE])


def ask(config: SignedUrlsConfig, headers: dict[str, str], secret: str = "") -> str:
    """Return the code of the refusal, or "" for who is let in."""
    try:
        Admission(config, Secret(secret) if secret else None).check(Headers(headers))
    except Refusal as refusal:
        return refusal.code
    return ""


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (LOCAL, ""),
        ({"host": "localhost:8700"}, ""),
        ({"host": "[::1]:8700"}, ""),
        (LOCAL | {"sec-fetch-site": "none"}, ""),  # typed into the address bar
        (LOCAL | {"origin": PAGE}, "origin_refused"),
        (LOCAL | {"origin": "null"}, "origin_refused"),
        (LOCAL | {"sec-fetch-site": "cross-site"}, "origin_missing"),  # an image of somebody's page
        (LOCAL | {"sec-fetch-site": "same-origin"}, "origin_missing"),
        ({"host": "evil.example:8700", "sec-fetch-site": "same-origin"}, "origin_missing"),  # DNS rebinding
        ({"host": "evil.example:8700"}, "origin_missing"),
        ({"host": "[::1"}, "origin_missing"),
        ({}, "origin_missing"),
        (LOCAL | {"x-forwarded-for": "203.0.113.9"}, "origin_missing"),  # a proxy that nobody has told us of
        (LOCAL | {"via": "1.1 proxy"}, "origin_missing"),
    ],
)
def test_programs_of_this_machine_alone_by_default(headers: dict[str, str], code: str) -> None:
    assert ask(OPEN, headers) == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"origin": PAGE}, ""),
        ({"origin": PAGE.upper()}, "origin_refused"),
        ({"origin": f"{PAGE}.evil.example"}, "origin_refused"),
        ({"origin": f"{PAGE}:8443"}, "origin_refused"),
        ({"origin": "http://app.example.com"}, "origin_refused"),
        ({"origin": ""}, "origin_refused"),
        ({}, "origin_missing"),
        (LOCAL, "origin_missing"),
        # A page of this very server: browsers name no origin there.
        ({"host": "app.example.com", "sec-fetch-site": "same-origin"}, ""),
        ({"host": "app.example.com", "sec-fetch-site": "cross-site"}, "origin_missing"),
        ({"host": "evil.example", "sec-fetch-site": "same-origin"}, "origin_missing"),
    ],
)
def test_pages_of_listed_origins(headers: dict[str, str], code: str) -> None:
    assert ask(PAGES, headers) == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (SHOWN, ""),
        ({"authorization": f"bearer  {SECRET}"}, ""),
        (SHOWN | {"origin": PAGE}, ""),
        (SHOWN | {"origin": "https://evil.example"}, "origin_refused"),
        ({"origin": PAGE}, "secret_refused"),
        (LOCAL, "secret_refused"),
        ({"authorization": SECRET}, "secret_refused"),
        ({"authorization": f"Basic {SECRET}"}, "secret_refused"),
        ({"authorization": f"Bearer {SECRET}x"}, "secret_refused"),
        ({"authorization": "Bearer "}, "secret_refused"),
        ({"authorization": "Bearer \xe9"}, "secret_refused"),
    ],
)
def test_a_secret_is_asked_for_always(headers: dict[str, str], code: str) -> None:
    assert ask(PAGES, headers, SECRET) == code


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours: it may say what it likes
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.7", "198.51.100.1"),  # the first was written by whoever asks
        ("127.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("::ffff:127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("", "198.51.100.1", ""),
    ],
)
def test_whom_a_request_is_counted_for(peer: str, forwarded: str, address: str) -> None:
    admission = Admission(SignedUrlsConfig(proxies=["127.0.0.1", "10.0.0.0/8"]))
    assert admission.find_address(peer, Headers({"x-forwarded-for": forwarded})) == address


def test_an_allowance_is_used_up_and_comes_back() -> None:
    allowance = Allowance(Rate.parse("3/min"))
    assert [allowance.take("a", 0.0) for _ in range(4)] == [0, 0, 0, pytest.approx(20.0)]
    assert allowance.take("b", 0.0) == 0
    assert allowance.take("a", 19.0) == pytest.approx(1.0)
    assert [allowance.take("a", 20.0), allowance.take("a", 20.0)] == [0, pytest.approx(20.0)]
    assert [allowance.take("a", 1000.0) for _ in range(4)] == [0, 0, 0, pytest.approx(20.0)]


def test_an_allowance_forgets_whom_it_has_not_seen_for_long() -> None:
    allowance = Allowance(Rate.parse("1/day"), most_names=100)
    for number in range(1000):
        assert allowance.take(str(number), 0.0) == 0
    assert allowance.take("999", 0.0) > 0
    assert allowance.take("0", 0.0) == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ('origins = ["*"]', "would let in the pages of anybody"),
        ('origins = ["null"]', "would let in the pages of anybody"),
        ('origins = ["https://*.example.com"]', "would let in the pages of anybody"),
        ('origins = ["app.example.com"]', "is not an origin; expected what browsers send, such as"),
        ('origins = ["https://app.example.com/"]', "has more than a scheme, a host and a port"),
        ('origins = ["https://a:b@app.example.com"]', "has more than a scheme, a host and a port"),
        ('origins = ["https://App.example.com"]', "is not written as browsers write it"),
        ('origins = ["https://app.example.com:443"]', "without the port that goes without saying"),
        ('origins = ["https://[::1"]', "is not an origin"),
        ('proxies = ["nginx"]', "expected addresses or networks"),
        ('rate = "many"', "expected a number of calls and a unit"),
        ("port = 70000", "must be between 0"),
        ('secret_env = "sk_0123456789abcdef"', "is the name of an environment variable"),
    ],
)
def test_what_would_be_a_hole_or_a_mistake_is_refused(setting: str, words: str) -> None:
    text = f'[conversations.main]\nagent_id = "a"\n[signed_urls]\n{setting}\n'
    with pytest.raises(ConfigurationError, match=words):
        parse_configuration(text, "test")
