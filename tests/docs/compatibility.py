"""What in a newer OpenAPI document breaks clients of an older one (docs/upgrading.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


class Comparison:
    """Two documents; each fault is a sentence that begins with its place."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self.old, self.new = old, new
        self._found: dict[tuple[str, str, bool], list[str]] = {}

    def faults(self) -> Iterator[str]:
        for path, operations in self.old["paths"].items():
            for method, operation in operations.items():
                at = f"{method.upper()} {path}"
                kept = self.new["paths"].get(path, {}).get(method)
                if kept is None:
                    yield f"{at}: the operation is gone"
                    continue
                yield from self._request(operation, kept, at)
                yield from self._responses(operation["responses"], kept["responses"], at)

    def _request(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        before, after = (
            {(one["in"], one["name"]): one for one in operation.get("parameters", [])}
            for operation in (old, new)
        )
        for key, one in after.items():
            if one.get("required") and not before.get(key, {}).get("required"):
                yield f"{at}: the parameter {key[1]} is required"
        for key, one in before.items():
            if key not in after:
                yield f"{at}: the parameter {key[1]} is gone"
            else:
                where = f"{at} {key[1]}"
                yield from self._schema(one["schema"], after[key]["schema"], where, taken=True)
        body, body_after = old.get("requestBody", {}), new.get("requestBody", {})
        if body_after.get("required") and not body.get("required"):
            yield f"{at}: the body is required"
        for kind, content in body.get("content", {}).items():
            if kind not in body_after.get("content", {}):
                yield f"{at}: {kind} is not taken"
                continue
            after_schema = body_after["content"][kind].get("schema", {})
            yield from self._schema(
                content.get("schema", {}), after_schema, f"{at} request", taken=True
            )

    def _responses(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        for status, response in old.items():
            if not status.startswith("2"):
                continue
            if status not in new:
                yield f"{at}: {status} is not answered"
                continue
            for name in response.get("headers", {}).keys() - new[status].get("headers", {}).keys():
                yield f"{at}: the header {name} is gone"
            for kind, content in response.get("content", {}).items():
                if kind not in new[status].get("content", {}):
                    yield f"{at}: {kind} is not answered"
                    continue
                after = new[status]["content"][kind].get("schema", {})
                yield from self._schema(
                    content.get("schema", {}), after, f"{at} {status}", taken=False
                )

    def _schema(self, old: Schema, new: Schema, at: str, taken: bool) -> list[str]:
        """The faults of a schema. Those of a pair of references are looked for once."""
        names = [schema.get("$ref", "").rpartition("/")[2] for schema in (old, new)]
        check = self._taken if taken else self._given
        if not any(names):
            return [*check(old, new, at), *self._parts(old, new, at, taken)]
        key = (names[0] or at, names[1] or at, taken)
        if key not in self._found:
            self._found[key] = []  # a schema that holds itself
            sides = zip((self.old, self.new), names, (old, new), strict=True)
            old, new = (
                document["components"]["schemas"][name] if name else schema
                for document, name, schema in sides
            )
            self._found[key] = self._schema(old, new, names[0] or at, taken)
        return self._found[key]

    def _taken(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        """Every value that was taken still is."""
        if lost := types(old) - types(new):
            yield f"{at}: the types {sorted(lost)} are not taken"
        if values(new) and (not values(old) or values(old) - values(new)):
            yield f"{at}: the values {sorted(values(old) - values(new))} are not taken"
        for bound in (*LOWER, *UPPER):
            if bound in new and (bound not in old or tighter(bound, old[bound], new[bound])):
                yield f"{at}: {bound} is {new[bound]}"
        for word in ("pattern", "format", "uniqueItems"):
            if word in new and new[word] != old.get(word):
                yield f"{at}: {word} is {new[word]}"
        for name in set(new.get("required", ())) - set(old.get("required", ())):
            yield f"{at}.{name}: the field is required"
        if new.get("additionalProperties") is False:
            for name in old.get("properties", {}).keys() - new.get("properties", {}).keys():
                yield f"{at}.{name}: the field is not taken"

    def _given(self, old: Schema, new: Schema, at: str) -> Iterator[str]:
        """Every value that is given has what clients read from it. New values may be given."""
        if more := types(new) - types(old):
            yield f"{at}: the types {sorted(more)} are given"
        for name in old.get("properties", {}):
            if name not in new.get("properties", {}):
                yield f"{at}.{name}: the field is gone"
            elif name in old.get("required", ()) and name not in new.get("required", ()):
                yield f"{at}.{name}: the field may be missing"

    def _parts(self, old: Schema, new: Schema, at: str, taken: bool) -> Iterator[str]:
        """Members, items, and variants: each old variant has a new one that serves its clients."""
        for name, part in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                yield from self._schema(part, new["properties"][name], f"{at}.{name}", taken)
        for word in ("items", "additionalProperties"):
            if isinstance(old.get(word), dict) and isinstance(new.get(word), dict):
                yield from self._schema(old[word], new[word], f"{at}[]", taken)
        for number, one in enumerate(variants(old)):
            others = variants(new) or [new]
            others = sorted(others, key=lambda other, one=one: other.get("$ref") != one.get("$ref"))
            best: list[str] | None = None
            for other in others:
                found = self._schema(one, other, f"{at}|{number}", taken)
                best = found if best is None or len(found) < len(best) else best
                if not best:
                    break
            yield from best or ()


def variants(schema: Schema) -> list[Schema]:
    found: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return found


def types(schema: Schema) -> set[str]:
    """The types that a schema names; `number` holds `integer`, and none stands for all."""
    every = {"array", "boolean", "integer", "null", "number", "object", "string"}
    if (parts := variants(schema)) and "type" not in schema:
        return set().union(*map(types, parts)) if not any("$ref" in p for p in parts) else every
    told = schema.get("type", every)
    named = {told} if isinstance(told, str) else set(told)
    return named | {"integer"} if "number" in named else named


def values(schema: Schema) -> set[str]:
    return set(map(str, schema.get("enum", [schema["const"]] if "const" in schema else [])))


def tighter(bound: str, old: float, new: float) -> bool:
    return new > old if bound in LOWER else new < old


def breaks(old: Schema, new: Schema) -> list[str]:
    """What clients of the old document cannot do, or do not find, with the new one."""
    return list(dict.fromkeys(Comparison(old, new).faults()))
