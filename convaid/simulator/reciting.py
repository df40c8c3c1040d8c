"""The user's part of a scenario, said for somebody who tests or demonstrates it: the examples, on one of the ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field

from convaid.simulator.scenario import Alternative, Rule

__all__ = ["Reciter", "order_rules"]


@define
class Reciter:
    """Says the user's lines in one conversation, each when the agent listens for it.

    Where the scenario branches, one alternative that leads on is taken: ``way`` has its number for each branch that is
    come to, 0 beyond its end, and `find_next_way` leads through them all. Those that come back to the branch are taken
    before the first of these.
    """

    say: Callable[[str], None]
    """Takes what the user says; the line is on its way at once."""
    way: Sequence[int] = ()
    _taken: list[tuple[int, int]] = field(factory=list, init=False)

    def plan_branch(self, among: Sequence[Alternative]) -> list[Alternative]:
        """What to choose at a branch, turn by turn; nothing where no alternative that leads on has an example."""
        exits = [alternative for alternative in among if alternative.example and not alternative.again]
        if not exits:
            return []
        number = self.way[len(self._taken)] if len(self._taken) < len(self.way) else 0
        self._taken.append((number, len(exits)))
        loops = [alternative for alternative in among if alternative.example and alternative.again]
        return [exits[number]] if number else [*loops, exits[0]]

    def find_next_way(self) -> list[int] | None:
        """The way to take the next time; None when all have been taken."""
        for place in reversed(range(len(self._taken))):
            number, count = self._taken[place]
            if number + 1 < count:
                return [taken for taken, _ in self._taken[:place]] + [number + 1]
        return None


def order_rules(rules: Sequence[Rule]) -> list[Rule]:
    """The rules that have an example, in the order in which to try them: the one that hangs up comes last."""
    endings = [rule for rule in rules if rule.example and rule.end]
    return [rule for rule in rules if rule.example and not rule.end] + endings[:1]
