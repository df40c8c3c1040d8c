"""What stands in a scenario to be filled in, and never would be."""

from __future__ import annotations

import pytest

from convaid.errors import ConfigurationError
from convaid.simulator import parse_scenario
from convaid.simulator.placeholders import list_variables

NOWHERE = "filled in where the agent says something, and nowhere else"
IN_A_BRANCH = 'is filled in in a rule, or in the steps of a branch, by what its "when" has matched; use a branch'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            'steps = [{say = "It is {reslut}."}]',
            'steps[0].say.text: "{reslut}" is never filled in; did you mean',
        ),
        ('steps = [{say = "{name}"}]', 'steps[0].say.text: "{name}" is never filled in; did you mean "{{name}}"?'),
        (
            'steps = [{say = "{zone}"}]',
            'steps[0].say.text: "{zone}" is never filled in; "{result}" is, and the name of',
        ),
        ('rules = [{say = "{now}"}]', 'rules[0].say: "{now}" is never filled in'),
        ('rules = [{when = "a", say = "$1"}]', 'rules[0].say: "$1" is never filled in: "when" has no groups'),
        ('rules = [{when = "(?:a)(b)", say = "$2"}]', 'rules[0].say: "$2" is never filled in: "when" has 1 group'),
        (
            'rules = [{when = "(a)(b)", call = {tool = "$3"}}]',
            'rules[0].call.tool: "$3" is never filled in: "when" has 2 g',
        ),
        ('rules = [{call = {tool = "a", parameters = {b = ["#1"]}}}]', 'rules[0].call.parameters.b[0]: "#1" is never'),
        (
            'rules = [{call = {tool = "a", parameters_json = "{result}"}}]',
            f's_json: "{{result}}" is {NOWHERE}',
        ),
        ('steps = [{branch = [{when = "(a)", steps = [{branch = [{steps = [{say = "$1"}]}]}]}]}]', "has no groups"),
        (
            'steps = [{expect_text = "in (.*)"}, {call = {tool = "a", parameters = {b = "$1"}}}]',
            f'steps[1].call.parameters.b: "$1" {IN_A_BRANCH} instead of expect_text',
        ),
    ],
)
def test_what_would_never_be_filled_in_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_scenario(f'agent.dynamic_variables = {{name = "Ada"}}\n{text}', "story.toml")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        """steps = [{say = 'It costs $5, {result}, {{name}}, {}, {"a": 1}, { a }, #1'}]""",
        """steps = [{call = {tool = "a", parameters = {template = "{name} {x}", b = "#1", c = "$1"}}}]""",
        """rules = [{when = "(a)|(b)", say = "$0 $1 $2 #3", call = {tool = "$1", parameters = {b = "#2"}}}]""",
        """steps = [{raw = "{x} $1"}]""",
    ],
)
def test_what_is_filled_in_or_means_itself_is_not(text: str) -> None:
    parse_scenario(text, "story.toml")


def test_dynamic_variables_are_found_wherever_they_are_filled_in() -> None:
    scenario = parse_scenario(
        """
        steps = [
            {branch = [{steps = [{say = "{{one}}"}]}]},
            {call = {tool = "{{two}}", parameters = {a = ["{{three}}"]}}},
        ]
        rules = [{say = "{{four}}, {{one}}", call = {tool = "a", parameters_json = "{{five}}{{system__time}}"}}]
        """,
        "story.toml",
    )
    assert list_variables(scenario) == ["five", "four", "one", "three", "two"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steps = [{call = {tool = 'a', parameters_json = '{'}}]", "steps[0].call.parameters_json: is not a JSON obj"),
        ("steps = [{call = {tool = 'a', parameters_json = '[1]'}}]", "is not a JSON object: it is a list"),
        ("steps = [{call = {tool = 'a', parameters_json = '{\"b\": $1}'}}]", "is not a JSON object: "),  # no pattern
        ("rules = [{call = {tool = 'a', parameters_json = '{{\"b\": 1}'}}]", "rules[0].call.parameters_json: is not a"),
        ("steps = [{branch = [{steps = [{call = {tool = 'a', parameters_json = '3'}}]}]}]", "it is the number 3"),
    ],
)
def test_parameters_that_can_never_be_json_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_scenario(text, "story.toml")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        """steps = [{call = {tool = "a", parameters_json = '{"b": {"c": 1}}'}}]""",
        """steps = [{call = {tool = "a", parameters_json = '{"b": {{name}}}'}}]""",
        """rules = [{when = "(.*)", call = {tool = "a", parameters_json = "$1"}}]""",
    ],
)
def test_parameters_that_may_become_json_are_taken(text: str) -> None:
    parse_scenario(text, "story.toml")
