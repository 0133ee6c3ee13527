"""Messages, tools and passages in the forms that instrumentations write, as chat messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

MESSAGES_MAX = 1_000
DEPTH_MAX = 32
"""Nesting of a tool's description; what lies deeper is left out."""
NESTED_MAX = 10_000
"""Attributes of one span that are put together to messages."""
ROLES: Mapping[str, str] = {
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "user": "user",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
WRAPPERS = ("messages", "choices", "message", "document", "tool")
"""Members that hold what is looked for, such as those of a provider's request or response."""
TEXTS = ("text", "content", "completion", "output", "answer", "response", "result", "value")


def in_json(value: Any) -> Any:
    """The value, read if it is a text that is JSON's list or object."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def nested(attributes: Mapping[str, Any], prefix: str) -> list[Any]:
    """Attributes such as `prefix.0.message.role` as a list of objects, in the order of numbers."""
    tree: dict[str, Any] = {}
    names = [name for name in attributes if name.startswith(prefix)]
    for name in names[:NESTED_MAX]:
        node, steps = tree, name[len(prefix) :].split(".")
        for step in steps[:-1]:
            inner = node.setdefault(step, {})
            if not isinstance(inner, dict):
                break
            node = inner
        else:
            node[steps[-1]] = attributes[name]
    found = _listed(tree)
    return found if isinstance(found, list) else []


def _listed(node: Any) -> Any:
    """The tree with a list wherever all names are numbers."""
    if not isinstance(node, dict):
        return node
    if node and all(name.isdecimal() and name.isascii() for name in node):
        return [_listed(node[name]) for name in sorted(node, key=lambda name: (len(name), name))]
    return {name: _listed(inner) for name, inner in node.items()}


def messages(value: Any, role: str) -> list[dict[str, Any]]:
    """Chat messages in a value: a text, or messages of any known form, as such or in JSON.

    `role` is of those who do not say theirs. What has no content and no calls is left out.
    """
    read = in_json(value)
    if isinstance(read, Mapping) and not _is_message(read):
        read = value if isinstance(value, str) else _text(read)  # the answer itself is an object
    return list(_messages(read, role))[:MESSAGES_MAX]


def _is_message(value: Mapping[str, Any]) -> bool:
    """Whether an object is a message, or holds some."""
    wraps = any(isinstance(in_json(value.get(name)), Mapping | list) for name in WRAPPERS)
    return wraps or not value.keys().isdisjoint(("role", "parts", "tool_calls", "content"))


def _messages(value: Any, role: str) -> Iterator[dict[str, Any]]:
    match value:
        case None | "":
            return
        case list() if all(isinstance(one, Mapping) for one in value):
            if value and not any("role" in one or "message" in one for one in value):
                # Parts of one message, such as texts.
                yield from _one({"role": role, "content": value}, role)
                return
            for one in value:
                yield from _one(one, role)
        case Mapping():
            yield from _one(value, role)
        case str() | int() | float():
            yield {"role": role, "content": str(value)}
        case _:
            yield {"role": role, "content": _text(value)}


def _one(value: Mapping[str, Any], role: str) -> Iterator[dict[str, Any]]:
    if "role" not in value and "parts" not in value:
        for name in WRAPPERS:
            if isinstance(inner := in_json(value.get(name)), Mapping | list) and inner:
                yield from _messages(inner, role)
                return
    said = ROLES.get(str(value.get("role") or role).lower(), role)
    content = value.get("parts", value.get("content", value.get("contents")))
    if content is None:
        content = value.get("text")
    parts = in_json(content)
    texts, calls, results = _parts(parts if isinstance(parts, list) else content)
    calls += [call for one in _list(value.get("tool_calls")) if (call := _call(one))]
    message: dict[str, Any] = {"role": said, "content": "\n".join(texts)}
    if calls:
        message["tool_calls"] = calls
    if id_ := value.get("tool_call_id") or (said == "tool" and value.get("id")):
        message["tool_call_id"] = str(id_)
    if texts or calls:
        yield message
    yield from results


def _parts(content: Any) -> tuple[list[str], list[dict[str, Any]], list[dict[str, Any]]]:
    """The texts, the calls of tools and the results of tools in a message's content."""
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, Mapping):
            part = part.get("message_content", part)  # noqa: PLW2901  # OpenInference's wrapper
        if not isinstance(part, Mapping):
            texts += [] if part in (None, "") else [_text(part)]
            continue
        match part.get("type"):
            case "tool_call" | "tool_use" | "tool-call" | "server_tool_call":
                calls += [call] if (call := _call(part)) else []
            case "tool_call_response" | "tool_result" | "tool-result":
                said = next((part[one] for one in ("response", *TEXTS) if part.get(one)), "")
                id_ = part.get("id") or part.get("tool_use_id") or part.get("toolCallId") or ""
                result = {"role": "tool", "content": _text(said), "tool_call_id": str(id_)}
                results.append(result)
            case "reasoning" | "thinking" | "compaction":
                pass  # not what was said
            case "blob" | "file" | "uri" | "image" | "image_url":
                texts.append(f"[{part.get('modality') or 'image'}]")
            case _:
                said = next((part[one] for one in TEXTS if part.get(one) is not None), None)
                texts += [] if said in (None, "") else [_text(said)]
    return texts, calls, results


def _call(value: Any) -> dict[str, Any] | None:
    """A call of a tool in the form of chat messages; None if it has no name."""
    if not isinstance(value, Mapping):
        return None
    value = value.get("tool_call", value)
    inner = value.get("function")
    function = inner if isinstance(inner, Mapping) else value
    name = function.get("name") or function.get("toolName")
    if not isinstance(name, str):
        return None
    given: Any = next(
        (function[one] for one in ("arguments", "input", "args") if one in function), {}
    )
    arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    id_ = str(value.get("id") or value.get("toolCallId") or "")
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_list(value: Any) -> list[dict[str, Any]]:
    """The tools that a model could call, in the form of chat requests."""
    found: list[dict[str, Any]] = []
    for one in _list(in_json(value)):
        tool = in_json(one)
        if isinstance(tool, Mapping):
            tool = in_json(tool.get("tool", tool))
        if isinstance(tool, Mapping):
            tool = in_json(tool.get("json_schema", tool))
        if not isinstance(tool, Mapping):
            continue
        if isinstance(tool.get("name"), str) and "function" not in tool:
            kept = {name: in_json(tool[name]) for name in ("name", "description", "parameters")
                    if name in tool}  # fmt: skip
            tool = {"type": "function", "function": kept}
        found.append({name: shallow(inner, DEPTH_MAX) for name, inner in tool.items()})
    return found


def shallow(value: Any, levels: int) -> Any:
    """The value without what lies deeper than so many levels, as `any_value` reads it."""
    match value:
        case dict() | list() if levels == 0:
            return None
        case dict():
            return {name: shallow(inner, levels - 1) for name, inner in value.items()}
        case list():
            return [shallow(inner, levels - 1) for inner in value]
    return value


def passages(value: Any) -> list[str]:
    """The texts of documents that were retrieved."""
    found: list[str] = []
    for one in _list(in_json(value)):
        document = one.get("document", one) if isinstance(one, Mapping) else one
        if isinstance(document, Mapping):
            document = next((document[name] for name in TEXTS if document.get(name)), None)
        if document:
            found.append(_text(document))
    return found


def text_of(value: Any) -> str:
    """A name, such as that of a session; without NUL characters, which no database keeps."""
    return "" if value is None else str(value).replace("\0", "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []
