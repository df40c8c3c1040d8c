"""Users' patterns: the language of `re`, and an end in time."""

from __future__ import annotations

import re
import time

import pytest

from convaid.patterns import PatternTimeout, find_pattern_problem, matches_whole, search_text

ENDLESS = [
    (r"^(a|a)+$", "a" * 60 + "!"),
    (r"(a|aa)+$", "a" * 60 + "!"),
    (r"(?:x|xx)+(?:x|xx)+y?$", "x" * 70 + "!"),
    ("x+" * 10 + "y", "x" * 1000),
]


@pytest.mark.parametrize(("pattern", "text"), ENDLESS)
def test_what_would_take_for_ever_is_stopped(pattern: str, text: str) -> None:
    begin = time.process_time()
    with pytest.raises(PatternTimeout, match=re.escape(f"the pattern {pattern!r} takes too long")) as caught:
        search_text(pattern, text)
    with pytest.raises(PatternTimeout):
        matches_whole(f"{pattern}(?<!b)", text)
    assert time.process_time() - begin < 1
    assert text not in str(caught.value)  # it may be anybody's


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("rome", "In ROME", ()),
        ("(?i:x)|(ß)", "Straße", ("ß",)),
        (r"(\d+) (?P<unit>min)", "30 MIN.", ("30", "MIN")),
        ("^b", "a\nb", None),
        ("a.b", "a\nb", None),
        ('{"day": 1}', '{"day": 1}', ()),
        (r"a{,2}b{1}\{x\}", "AAB{X}", ()),
        ("[^|&~]", "a", ()),
        ("", "", ()),
    ],
)
def test_it_is_searched_for_as_re_does_whatever_the_case(
    pattern: str, text: str, groups: tuple[str, ...] | None
) -> None:
    assert find_pattern_problem(pattern) is None
    found, expected = search_text(pattern, text), re.search(pattern, text, re.IGNORECASE)
    assert (found and found.groups()) == (expected and expected.groups()) == groups
    assert matches_whole(pattern, text) == (re.fullmatch(pattern, text) is not None)


def test_the_whole_of_a_text() -> None:
    assert matches_whole("a.b", "a\nb", dot_is_line_end=True)
    assert not matches_whole("a", "A")
    assert not matches_whole("a", "ab")


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("[", "unterminated character set"),
        ("a**", "multiple repeat"),
        ("(" * 5000 + ")" * 5000, "recursion"),
        ("a{" + "9" * 30 + "}", "too large"),
        (r"\p{L}", "bad escape"),  # what `regex` alone knows
        ("(?V1)a", "unknown extension"),
        ("{day}", r"write \{ for"),  # to `regex`, a deletion
        ("x{e<=1}", r"write \{ for"),
        (r"\\{s}", r"write \{ for"),
        (r"\{day}", None),
        (r"\N{bullet}", None),
    ],
)
def test_what_is_no_pattern_is_told(pattern: str, problem: str | None) -> None:
    found = find_pattern_problem(pattern)
    assert found is None if problem is None else found is not None and problem in found
