"""What a scenario expects of a tool call, held against what has come of it. Pure."""

from __future__ import annotations

from convaid.events import NOT_ERRORS
from convaid.simulator.patterns import Mismatch, find_mismatch, match_result
from convaid.simulator.record import CallRecord, Failure
from convaid.simulator.scenario import Call

__all__ = ["find_argument_failure", "find_result_failure"]


def find_argument_failure(step: Call, place: str) -> Failure | None:
    """Hold what a tool is about to be called with against what is expected of it."""
    mismatch = find_mismatch(step.expect_parameters, step.parameters)
    return None if mismatch is None else _describe(mismatch, place, f"the arguments of {step.tool}")


def find_result_failure(step: Call, call: CallRecord, place: str) -> Failure | None:
    """Hold what has come of a call, or that nothing has, against what is expected of it."""
    if call.result is None:
        late = f"{call.tool} did not answer within {step.patience:g} s"
        return Failure(place, late, f"an answer within {step.patience:g} s", "none") if step.needs_result else None
    if step.within_ms is not None and call.seconds is not None and call.seconds * 1000 > step.within_ms:
        took, budget = f"{call.seconds * 1000:.0f} ms", f"{step.within_ms:g} ms"
        words = f"{call.tool} took {took}, and has {budget}"
        return Failure(place, words, f"an answer within {budget}", f"one after {took}")
    if step.expect_error not in (None, call.is_error):
        kind = "an error" if step.expect_error else "a result"
        return Failure(place, f"expected {kind} of {call.tool}, got {call.result!r}", kind, call.result)
    if step.expect_outcome is not None and (failure := _find_outcome_failure(step, call, place)):
        return failure
    mismatch = None if step.expect_result is None else match_result(step.expect_result, call.result)
    return None if mismatch is None else _describe(mismatch, place, f"the result of {call.tool}")


def _find_outcome_failure(step: Call, call: CallRecord, place: str) -> Failure | None:
    if call.outcome is not None:
        fits, got = call.outcome == step.expect_outcome, f'"{call.outcome}"'
    else:
        fits = call.is_error == (step.expect_outcome not in NOT_ERRORS)
        got = "an error" if call.is_error else "a result"
    expected = f'"{step.expect_outcome}"'
    words = f"expected the outcome {expected} of {call.tool}, got {got}: {call.result!r}"
    return None if fits else Failure(place, words, expected, f"{got}: {call.result}")


def _describe(mismatch: Mismatch, place: str, what: str) -> Failure:
    return Failure(place, f"{what}: {mismatch}", mismatch.expected, mismatch.got)
