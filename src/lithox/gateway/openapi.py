"""The OpenAPI 3.1 document, generated from the routing table and the body classes.

It describes what is really there: a route, field or error code that is not in the tables cannot be
in the document, and a test walks the document against the live application.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from lithox.errors import TABLE
from lithox.gateway.bodies import ErrorAnswer
from lithox.gateway.metrics import CONTENT_TYPE
from lithox.gateway.process_routes import WAIT_MS_MAX
from lithox.gateway.routes import CALL, PAGE_LIMIT_MAX, Route
from lithox.modules.code import KINDS
from lithox.node.moving_imports import MODES

OPENAPI_VERSION: Final = "3.1.0"
API_VERSION: Final = "1"
_JSON: Final = "application/json"
_SEGMENT: Final = r"[A-Za-z0-9_.~@-]{1,64}"
_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "entity": {
        "description": "Entity path: 1-16 segments joined by '/'",
        "schema": {"type": "string", "pattern": f"^{_SEGMENT}(/{_SEGMENT}){{0,15}}$"},
    },
    "handler": {
        "description": "Handler name",
        "schema": {"type": "string", "pattern": "^[a-z_][a-z0-9_]{0,63}$"},
    },
    "key": {
        "description": "State key, percent-encoded",
        "schema": {"type": "string", "minLength": 1, "maxLength": 512},
    },
    "check": {
        "description": "Only says what a deploy would come to; nothing is stored",
        "schema": {"type": "boolean"},
    },
    "pid": {"description": "Process number", "schema": {"type": "integer", "minimum": 0}},
    "id": {
        "description": "Request id",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
    },
    "timer": {
        "description": "Id or name of a timer",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
    },
    "kind": {
        "description": "Which store of code",
        "schema": {"type": "string", "enum": list(KINDS)},
    },
    "name": {
        "description": "Name of a program, library or runtime",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"},
    },
    "version": {
        "description": "Which version; the newest if left out, the package's copy for 0",
        "schema": {"type": "integer", "minimum": 0},
    },
    "before": {
        "description": "Only versions below this one",
        "schema": {"type": "integer", "minimum": 0},
    },
    "history": {
        "description": "Forget the versions before, too",
        "schema": {"type": "boolean", "default": False},
    },
    "pattern": {
        "description": "Entity path, or a pattern: '*' for one segment, '**' for the rest",
        "schema": {"type": "string", "pattern": r"^[A-Za-z0-9_.~@*/-]+$"},
    },
    "mode": {
        "description": "What to do with an entity that is there already",
        "schema": {"type": "string", "enum": list(MODES), "default": MODES[0]},
    },
    "prefix": {"description": "Only what begins with this", "schema": {"type": "string"}},
    "from": {"description": "Only keys from this one on", "schema": {"type": "string"}},
    "to": {"description": "Only keys before this one", "schema": {"type": "string"}},
    "after": {"description": "Only what follows this, in order", "schema": {"type": "string"}},
    "limit": {
        "description": "Most items in one answer",
        "schema": {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT_MAX, "default": 100},
    },
    "wait_ms": {
        "description": "How long to wait for something to tell",
        "schema": {"type": "integer", "minimum": 0, "maximum": WAIT_MS_MAX, "default": 0},
    },
    "seen": {
        "description": "`changes` as last shown; the answer waits for another",
        "schema": {"type": "integer", "minimum": 0},
    },
    "lines": {
        "description": "The last so many lines",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 100},
    },
    "read_logs.after": {
        "description": "Offset from which to read, `next` of an answer before",
        "schema": {"type": "integer", "minimum": 0},
    },
    "read_output.after": {
        "description": "Offset from which to read; what lies before counts as read",
        "schema": {"type": "integer", "minimum": 0, "default": 0},
    },
}
"""By name, or by operation and name where a route means something of its own."""
_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Request id: the same id runs once and gets the recorded answer again",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
}
_PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`respond-async`: answered 202 once the request is accepted durably",
    "schema": {"type": "string"},
}


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """Returns the OpenAPI document of `routes`, ready for a JSON encoder."""
    listed = tuple(routes)
    shapes = {
        one
        for route in listed
        for one in (route.body, route.answer, route.later)
        if one is not None
    }
    ordered = sorted(shapes | {ErrorAnswer}, key=lambda one: one.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for route in listed:
        path = _public_path(route)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, path)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "lithox",
            "version": API_VERSION,
            "description": "Runs code its operator did not write, next to state nobody may lose.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # An empty requirement beside the token: a node on loopback only may ask for none.
        "security": [{"token": []}, {}],
    }


def _public_path(route: Route) -> str:
    return "/v1/entities/{entity}:{handler}" if route.name == CALL.name else route.path


def _operation(route: Route, path: str) -> dict[str, Any]:
    names = re.findall(r"\{([a-z]+)\}", path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, **_PARAMETERS[name]} for name in names
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, **_described(route, name)}
        for name in route.query
    ]
    if route.body is not None and route.later is not None:
        parameters += [_IDEMPOTENCY_KEY, _PREFER]
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": _responses(route),
    }
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        is_optional = route.name == CALL.name
        operation["requestBody"] = {
            "required": not is_optional,
            "content": {_JSON: {"schema": schema}},
        }
    if route.takes is not None:
        body: dict[str, Any] = operation.setdefault(
            "requestBody", {"required": True, "content": {}}
        )
        body["content"][route.takes] = _BINARY
    if route.is_public:
        operation["security"] = []
    return operation


def _described(route: Route, name: str) -> dict[str, Any]:
    return _PARAMETERS.get(f"{route.name}.{name}") or _PARAMETERS[name]


def _responses(route: Route) -> dict[str, Any]:
    error = {
        "description": "Refused or failed; `status` is one of: " + ", ".join(sorted(TABLE)),
        "content": {_JSON: {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}},
    }
    if route.status == 501:
        return {"501": {**error, "description": "request.not_available"}, "default": error}
    done: dict[str, Any] = {"description": "Done"}
    if route.answer is not None:
        schema: dict[str, Any] = {"$ref": f"#/components/schemas/{route.answer.__name__}"}
        done["content"] = {_JSON: {"schema": schema}}
    if route.gives is not None:
        done.setdefault("content", {})[route.gives] = _BINARY
    elif route.answer is not None:
        pass
    elif route.name == "metrics":
        done["content"] = {CONTENT_TYPE: {"schema": {"type": "string"}}}
    elif route.status == 200:
        done["content"] = {_JSON: {"schema": {"type": "object"}}}
    responses = {str(route.status): done, "default": error}
    if route.later is not None:
        later = {"$ref": f"#/components/schemas/{route.later.__name__}"}
        responses["202"] = {"description": "Later", "content": {_JSON: {"schema": later}}}
    return responses
