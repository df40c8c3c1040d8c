"""What a scenario expects of a tool call, held against what has come of it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from convaid.events import NOT_ERRORS
from convaid.patterns import PatternTimeout
from convaid.simulator.patterns import Mismatch, find_mismatch, match_result
from convaid.simulator.record import CallRecord, Failure
from convaid.simulator.scenario import Call

__all__ = ["find_argument_failure", "find_result_failure"]


def find_argument_failure(step: Call, place: str) -> Failure | None:
    """Hold what a tool is about to be called with against what is expected of it."""
    what = f"the arguments of {step.tool}"
    return _describe(lambda: find_mismatch(step.expect_parameters, step.parameters), place, what)


def find_result_failure(step: Call, call: CallRecord, place: str) -> Failure | None:
    """Hold what has come of a call, or that nothing has, against what is expected of it."""
    if call.result is None:
        is_budget = step.within_ms is not None and step.within_ms <= call.patience * 1000
        limit = f"{step.within_ms:g} ms" if is_budget else f"{call.patience:g} s"
        late = f"{call.tool} did not answer within {limit}"
        return Failure(place, late, f"an answer within {limit}", "none") if step.needs_result else None
    if step.within_ms is not None and call.seconds is not None and call.seconds * 1000 > step.within_ms:
        took, budget = f"{call.seconds * 1000:.0f} ms", f"{step.within_ms:g} ms"
        words = f"{call.tool} took {took}, and has {budget}"
        return Failure(place, words, f"an answer within {budget}", f"one after {took}")
    if step.expect_error not in (None, call.is_error):
        kind = "an error" if step.expect_error else "a result"
        return Failure(place, f"expected {kind} of {call.tool}, got {call.result!r}", kind, call.result)
    if step.expect_outcome is not None and (failure := _find_outcome_failure(step, call, place)):
        return failure
    if step.expect_result is None:
        return None
    result = call.result
    return _describe(lambda: match_result(step.expect_result, result), place, f"the result of {call.tool}")


def _find_outcome_failure(step: Call, call: CallRecord, place: str) -> Failure | None:
    if call.outcome is not None:
        fits, got = call.outcome == step.expect_outcome, f'"{call.outcome}"'
    else:
        fits = call.is_error == (step.expect_outcome not in NOT_ERRORS)
        got = "an error" if call.is_error else "a result"
    expected = f'"{step.expect_outcome}"'
    words = f"expected the outcome {expected} of {call.tool}, got {got}: {call.result!r}"
    return None if fits else Failure(place, words, expected, f"{got}: {call.result}")


def _describe(find: Callable[[], Mismatch | None], place: str, what: str) -> Failure | None:
    try:
        mismatch = find()
    except PatternTimeout as error:
        return Failure(place, f"{what}: {error}")
    return None if mismatch is None else Failure(place, f"{what}: {mismatch}", mismatch.expected, mismatch.got)
