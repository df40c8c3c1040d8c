"""How often something may be done, by whom (pure: the caller brings the time)."""

from __future__ import annotations

from attrs import define, field

from convaid.config import Rate

__all__ = ["Allowance"]

TOLERANCE = 1e-6  # seconds that rounding may cost


@define(eq=False)
class Allowance:
    """So many in so much time for each name: all of them at once, or one after the other as time goes by."""

    _rate: Rate
    _most_names: int = 10_000
    """Those seen last are remembered: whoever comes under ever new names costs no more memory."""
    _due: dict[str, float] = field(init=False, factory=dict)
    """When each name has regained all that it has used up; the name seen last is the last."""

    def take(self, name: str, now: float) -> float:
        """Use up one, or return the seconds until there is one again. ``now`` is of any clock that goes forward."""
        step = self._rate.seconds / self._rate.calls
        due = max(self._due.pop(name, now), now)
        wait = due + step - self._rate.seconds - now
        if wait > TOLERANCE:
            self._due[name] = due
            return wait
        self._due[name] = due + step
        if len(self._due) > self._most_names:
            del self._due[next(iter(self._due))]
        return 0.0
