"""The REST calls of files that a user shows the agent in a conversation."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from convaid.simulator.answers import Answer, Request, Route, refuse
from convaid.simulator.record import ConversationRecord, UploadedFile
from convaid.simulator.workspace.checks import Fault, refuse_faults
from convaid.simulator.workspace.multipart import read_form

__all__ = ["FileRoutes"]

FindRecord = Callable[[str], ConversationRecord | None]


class FileRoutes:
    """``/v1/convai/conversations/…/files``. Files are kept in memory, with the record of their conversation."""

    def __init__(self, find_record: FindRecord, not_found: Callable[[str], Answer]) -> None:
        self._find_record = find_record
        self._not_found = not_found

    @property
    def routes(self) -> Sequence[Route]:
        files = "/v1/convai/conversations/([^/]+)/files"
        return [
            # The official JavaScript client sends no key here.
            Route("POST", files, self.take_file, needs_key=False),
            Route("GET", f"{files}/([^/]+)", self.give_file),
            Route("DELETE", f"{files}/([^/]+)", self.delete_file),
        ]

    def take_file(self, request: Request, conversation_id: str) -> Answer:
        """Take an image or a PDF file, as many as the agent's settings allow. The words of refusals are guesses."""
        record = self._find_record(conversation_id)
        if record is None:
            return self._not_found(conversation_id)
        try:
            form = read_form(request.headers.get("content-type", ""), request.body)
        except ValueError as error:
            return refuse_faults([Fault(("body",), str(error), "value_error")])
        part = next((part for part in form if part.name == "file" and part.file_name is not None), None)
        if part is None:
            return refuse_faults([Fault(("body", "file"), "Field required", "missing")])
        if not (part.media_type.startswith("image/") or part.media_type == "application/pdf"):
            words = f"Files are images or PDF, and {part.file_name} is {part.media_type}."
            return refuse(400, "unsupported_file_type", words)
        if record.ended.is_set():
            return refuse(400, "conversation_ended", "The conversation has ended.")
        if record.max_files is not None and len(record.files) >= record.max_files:
            words = f"The agent takes {record.max_files} files in a conversation, and no more."
            return refuse(400, "too_many_files", words)
        file = UploadedFile(f"file_{secrets.token_hex(14)}", part.file_name or "file", part.media_type, part.content)
        record.files[file.file_id] = file
        return Answer(200, {"file_id": file.file_id})

    def give_file(self, request: Request, conversation_id: str, file_id: str) -> Answer:
        record = self._find_record(conversation_id)
        file = None if record is None else record.files.get(file_id)
        return self._not_found(file_id) if file is None else Answer(200, file.content, media_type=file.media_type)

    def delete_file(self, request: Request, conversation_id: str, file_id: str) -> Answer:
        record = self._find_record(conversation_id)
        if record is None or record.files.pop(file_id, None) is None:
            return self._not_found(file_id)
        return Answer(200, {"file_id": file_id})
