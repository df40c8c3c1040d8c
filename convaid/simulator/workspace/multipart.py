"""Forms with files in them (multipart/form-data, RFC 7578), as browsers and HTTP libraries send them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser

from attrs import field, frozen

__all__ = ["Part", "read_form"]


@frozen
class Part:
    """One field of a form; ``file_name`` is None where it is no file."""

    name: str
    file_name: str | None
    media_type: str
    content: bytes = field(repr=False)


def read_form(content_type: str, body: bytes) -> list[Part]:
    """The fields of a form, in order. Raises ValueError where it is none."""
    header = Message()
    header["content-type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise ValueError("the body is not multipart/form-data with a boundary")
    return list(_read_parts(b"\r\n--" + boundary.encode(), b"\r\n" + body))


def _read_parts(mark: bytes, body: bytes) -> Iterator[Part]:
    _, *pieces = body.split(mark)
    for piece in pieces:
        if piece.startswith(b"--"):
            return
        head, separator, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = BytesHeaderParser().parsebytes(head)
        name = headers.get_param("name", header="content-disposition")
        if not separator or not isinstance(name, str):
            raise ValueError("a part of the form has no name")
        yield Part(name, headers.get_filename(), headers.get_content_type(), content)
    raise ValueError("the form has no end")
