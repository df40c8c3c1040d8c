"""A tool's code at work: what happens on the plugin's side of the wall (floor 5).

All of this runs in the plugin's thread, or in its process. Reading the arguments and writing the result belong there
too: both call code of the plugin's (validators, properties), and a large result takes its time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from convaid.calls.answers import Ending, describe_fault, describe_stop
from convaid.calls.results import UnsendableResult, cut_text, write_result
from convaid.calls.run import Run
from convaid.errors import StructureError, ToolError
from convaid.events import Outcome
from convaid.plugins.tool import ToolContext

__all__ = ["perform", "perform_async"]

logger = logging.getLogger(__name__)


def perform(run: Run) -> Ending:
    """Run a sync tool to its ending, in this thread. Raises nothing."""
    run.thread = threading.get_ident()
    try:
        arguments = _read_arguments(run)
        return _describe_dry_run(run) if run.is_dry else _succeed(run, run.offer.tool.function(**arguments))
    except BaseException as error:  # noqa: BLE001  # plugin code runs here: SystemExit is its answer, too
        return _fail(run, error)


async def perform_async(run: Run, is_cancellation: Callable[[BaseException], bool]) -> Ending:
    """Run an async tool to its ending, in this task. Raises nothing, not even when it is cancelled.

    ``is_cancellation`` tells what the loop raises in a task that is to end from everything else.
    """
    try:
        return _succeed(run, await run.offer.tool.function(**_read_arguments(run)))
    except BaseException as error:  # noqa: BLE001  # as above
        return _fail(run, error, is_cancellation)


class _WrongArguments(Exception):
    """The arguments do not fit. Tells the reader's StructureError from one that the tool itself raises."""


def _read_arguments(run: Run) -> dict[str, Any]:
    tool = run.offer.tool
    try:
        arguments = tool.read_arguments(run.call.parameters)
    except StructureError as error:
        raise _WrongArguments(str(error)) from None
    if tool.context_parameter is not None:
        arguments[tool.context_parameter] = ToolContext(
            conversation=run.conversation,
            conversation_id=run.conversation_id,
            tool_call_id=run.call.tool_call_id,
            settings=run.offer.plugin.settings,
            state=run.state,
            deadline=run.deadline,
            log=run.offer.log,
            defer=run.ask_to_defer,
            activation=run.activation,
        )
    return arguments


def _succeed(run: Run, value: object) -> Ending:
    return "ok", write_result(value, run.offer.result_size)


def _fail(run: Run, error: BaseException, is_cancellation: Callable[[BaseException], bool] | None = None) -> Ending:
    """Return the ending of a run that has raised. To describe that may run code of the plugin's, too, and fail."""
    try:
        if is_cancellation is not None and is_cancellation(error):
            return describe_stop(run)
        return _describe_failure(run, error)
    except BaseException as another:  # noqa: BLE001  # as above
        name, kind = run.offer.tool.name, type(another).__name__
        logger.error('the tool "%s" failed, and to describe its exception failed, too (%s)', name, kind)
        return "error", describe_fault(name, another)


def _describe_failure(run: Run, error: BaseException) -> Ending:
    name = run.offer.tool.name
    kind: Outcome = "error"
    match error:
        case _WrongArguments():
            kind = "invalid"
            text = f'The arguments do not fit the tool "{name}": {error}. Correct them and call it again.'
        case ToolError():
            text = str(error) or f'The tool "{name}" could not do it.'
        case UnsendableResult():
            run.offer.log.error('the tool "%s" returned what cannot be sent: %s', name, error)
            text = (
                f'The tool "{name}" has run, but its result cannot be sent: {error}. '
                "Do not call it again for this: its work may have been done."
            )
        case _:
            run.offer.log.error('the tool "%s" failed', name, exc_info=error)
            text = describe_fault(name, error)
    return kind, cut_text(text, run.offer.result_size)


def _describe_dry_run(run: Run) -> Ending:
    logger.info('%s: the tool "%s" would have run with %s', run.conversation, run.offer.tool.name, run.arguments)
    text = run.offer.policy.mock
    if text is None:
        text = f'This is a rehearsal: the tool "{run.offer.tool.name}" was not run.'
    return "dry run", cut_text(text, run.offer.result_size)
