"""The REST document of the platform, where a copy of it lies beside the repository, held against what is answered."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
from referencing import Registry
from referencing.jsonschema import DRAFT202012

DOCUMENT = Path(__file__).parents[3] / "shared" / "protocol" / "rest-openapi-subset.json"


@cache
def load_document() -> Any:
    """The document. It is cut to a part; where it names a form of a schema that it lacks, that schema stands for it."""
    text = DOCUMENT.read_text()
    document = json.loads(text)
    schemas = document["components"]["schemas"]
    for name in set(re.findall(r"#/components/schemas/([\w-]+)", text)) - schemas.keys():
        schemas[name] = schemas.get(re.sub("-(Input|Output)$", "", name), {})
    return document


@cache
def load_registry() -> Any:
    return Registry().with_resource("rest", DRAFT202012.create_resource(load_document())).crawl()


@cache
def find_validator(pointer: str) -> Any:
    """What holds a value against the schema at this place of the document."""
    return jsonschema.Draft202012Validator({"$ref": f"rest#{pointer}"}, registry=load_registry())


def find_operation(method: str, path: str) -> tuple[str, Any] | None:
    for template, operations in load_document()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) and method.lower() in operations:
            return template, operations[method.lower()]
    return None


async def check_answer(response: httpx.Response) -> None:
    """Hold one answer against the document, where that is there and knows the call: a hook for httpx."""
    await response.aread()
    if not DOCUMENT.exists() or (found := find_operation(response.request.method, response.url.path)) is None:
        return
    template, operation = found
    assert str(response.status_code) in operation["responses"] or response.status_code >= 400
    content = operation["responses"].get(str(response.status_code), {}).get("content", {})
    if "application/json" in content:
        place = template.replace("~", "~0").replace("/", "~1")
        pointer = f"/paths/{place}/{response.request.method.lower()}/responses/{response.status_code}"
        find_validator(f"{pointer}/content/application~1json/schema").validate(response.json())
