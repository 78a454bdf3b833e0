"""OpenAPI of what is served: for ``kubectl explain``, for clients that validate, and for programs that try every path.

Version 3, one document for each group and version. Our kinds have the schema of their CustomResourceDefinition; the others are described
no further than that they are objects, as they are taken as they come. Version 2 has the schemas alone, and is written as JSON only.
"""

from __future__ import annotations

import functools
import hashlib

from kuttab.api import crd, kinds, meta
from kuttab.apiserver import discovery, patches, targets
from kuttab.base import json_text

_GVK = "x-kubernetes-group-version-kind"
_ACTION = "x-kubernetes-action"
_STATUS = "io.k8s.apimachinery.pkg.apis.meta.v1.Status"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
_DELETE = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
_PATCH = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
_JSON = "application/json"
_FORMS = (_JSON, "application/yaml")
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_MEANINGS = {"name": "name of the object", "namespace": "namespace of the object"}


def index() -> meta.Json:
    """The answer of ``/openapi/v3``: where each document is; the hash changes when the document does."""
    found = {}
    for group, version in _documents():
        path = _path(group, version)
        digest = hashlib.sha256(document(group, version)).hexdigest()[:32].upper()
        found[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": found}


def by_path(steps: list[str]) -> bytes | None:
    """The document of a path below ``/openapi/v3``, None when there is none."""
    place = "/".join(steps)
    return next((document(group, version) for group, version in _documents() if _path(group, version) == place), None)


@functools.cache
def version2() -> bytes:
    """The schemas of everything in version 2, for old clients."""
    definitions: meta.Json = {}
    for group, version in _documents():
        definitions |= json_text.loads(document(group, version))["components"]["schemas"]
    made = {
        "swagger": "2.0",
        "info": {"title": "kuttab", "version": f"v{discovery.DIALECT}"},
        "paths": {},
        "definitions": definitions,
    }
    return json_text.dumps(made).replace(b"#/components/schemas/", b"#/definitions/")


@functools.cache
def document(group: str, version: str) -> bytes:
    """The document of a group and version."""
    paths: meta.Json = {}
    schemas = _shared()
    for kind in targets.of_version(group, version):
        paths |= _kind_paths(kind)
        schemas |= _kind_schemas(kind)
    for plural, name in discovery.REVIEWS.get((group, version), {}).items():
        gvk = {"group": group, "version": version, "kind": name}
        reference = f"{group}.{version}.{name}"
        schemas[reference] = {
            "type": "object",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                **_or_null({"metadata": {"type": "object"}, "spec": dict(_ANYTHING), "status": dict(_ANYTHING)}),
            },
            _GVK: [gvk],
        }
        body = {"content": {_JSON: {"schema": _ref(reference)}}, "required": True}
        post = _operation(f"create{name}", "post", gvk, {"201": _answer(reference)}, body=body)
        paths[f"/apis/{group}/{version}/{plural}"] = {"post": post}
    made = {
        "openapi": "3.0.0",
        "info": {"title": "kuttab", "version": f"v{discovery.DIALECT}"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"BearerToken": []}],
    }
    return json_text.dumps(made)


def _documents() -> list[tuple[str, str]]:
    core = [("", "v1")]
    return core + [(group, version) for group, versions in discovery.groups().items() for version in versions]


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _name(kind: kinds.Kind) -> str:
    """The name of a kind's schema."""
    reverse = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{reverse}.{kind.version}.{kind.kind}"


def _kind_schemas(kind: kinds.Kind) -> meta.Json:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    if kind in crd.KINDS:
        schema = crd.schema(kind)
    else:
        parts = ("spec", "status") if kind.status else ("data",)
        schema = {
            "type": "object",
            "description": f"{kind.kind} of {kind.api_version}, as Kubernetes defines it.",
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                **_or_null({part: dict(_ANYTHING) for part in parts}),
            },
            "x-kubernetes-preserve-unknown-fields": True,
        }
    fixed = {
        "apiVersion": {**schema["properties"]["apiVersion"], "enum": [kind.api_version]},
        "kind": {**schema["properties"]["kind"], "enum": [kind.kind]},
        "metadata": {"allOf": [_ref(_META)]},
    }
    schema = {**schema, "properties": {**schema["properties"], **fixed}, _GVK: [gvk]}
    listed = {
        "type": "object",
        "description": f"A list of {kind.plural}.",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"allOf": [_ref(_LIST_META)]},
            "items": {"type": "array", "items": _ref(_name(kind))},
        },
        _GVK: [{**gvk, "kind": kind.list_kind}],
    }
    return {_name(kind): schema, _name(kind) + "List": listed}


def _kind_paths(kind: kinds.Kind) -> meta.Json:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    root = "/" + _path(kind.group, kind.version)
    place = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    scope = ["namespace"] if kind.namespaced else []
    found = {
        place: {
            "parameters": [_in_path(name) for name in scope],
            "get": _list_operation(kind, gvk, "list"),
            "post": _write_operation(kind, gvk, "create", "post"),
            "delete": _delete_operation(kind, gvk, "deletecollection"),
        },
        f"{place}/{{name}}": {
            "parameters": [_in_path(name) for name in [*scope, "name"]],
            "get": _operation(f"read{kind.kind}", "get", gvk, {"200": _answer(_name(kind))}),
            "put": _write_operation(kind, gvk, "replace", "put"),
            "patch": _patch_operation(kind, gvk, "patch"),
            "delete": _delete_operation(kind, gvk, "delete"),
        },
    }
    if kind.namespaced:
        found[f"{root}/{kind.plural}"] = {"get": _list_operation(kind, gvk, "listAll")}
    if kind.status:
        found[f"{place}/{{name}}/status"] = {
            "parameters": [_in_path(name) for name in [*scope, "name"]],
            "get": _operation(f"read{kind.kind}Status", "get", gvk, {"200": _answer(_name(kind))}),
            "put": _write_operation(kind, gvk, "replaceStatus", "put"),
            "patch": _patch_operation(kind, gvk, "patchStatus"),
        }
    if kind == kinds.POD:
        found[f"{place}/{{name}}/log"] = {
            "parameters": [_in_path(name) for name in [*scope, "name"]],
            "get": _log_operation(gvk),
        }
    return found


def _list_operation(kind: kinds.Kind, gvk: meta.Json, verb: str) -> meta.Json:
    parameters = [
        *(_text(name) for name in ("labelSelector", "fieldSelector", "continue", "resourceVersion")),
        _text("resourceVersionMatch", ["NotOlderThan", "Exact"]),
        *(_whole(name) for name in ("limit", "timeoutSeconds")),
        *(_flag(name) for name in ("watch", "allowWatchBookmarks", "sendInitialEvents")),
    ]
    return _operation(f"{verb}{kind.kind}", "list", gvk, {"200": _answer(_name(kind) + "List")}, parameters)


def _write_operation(kind: kinds.Kind, gvk: meta.Json, verb: str, method: str) -> meta.Json:
    body = {"content": {form: {"schema": _ref(_name(kind))} for form in _FORMS}, "required": True}
    code = "201" if method == "post" else "200"
    return _operation(f"{verb}{kind.kind}", method, gvk, {code: _answer(_name(kind))}, _write_options(), body)


def _patch_operation(kind: kinds.Kind, gvk: meta.Json, verb: str) -> meta.Json:
    # Strategic merge patches of built-in kinds are taken too; naming them would let kubectl look for merge keys in these schemas.
    forms = (patches.JSON_PATCH, patches.MERGE_PATCH)
    body = {"content": {form: {"schema": _ref(_PATCH)} for form in forms}, "required": True}
    return _operation(f"{verb}{kind.kind}", "patch", gvk, {"200": _answer(_name(kind))}, _write_options(), body)


def _delete_operation(kind: kinds.Kind, gvk: meta.Json, verb: str) -> meta.Json:
    parameters = [
        _text("dryRun", ["All"]),
        _whole("gracePeriodSeconds"),
        _flag("orphanDependents"),
        _text("propagationPolicy", ["Background", "Foreground", "Orphan"]),
    ]
    if verb == "deletecollection":
        parameters += [_text("labelSelector"), _text("fieldSelector"), _whole("limit"), _text("continue")]
        answer = _name(kind) + "List"
    else:
        answer = _STATUS
    body = {"content": {form: {"schema": _ref(_DELETE)} for form in _FORMS}}
    # An object that something holds is answered as it is then.
    answers = {
        "200": {"description": "OK", "content": {_JSON: {"schema": {"anyOf": [_ref(answer), _ref(_name(kind))]}}}}
    }
    return _operation(f"{verb}{kind.kind}", verb, gvk, answers, parameters, body)


def _log_operation(gvk: meta.Json) -> meta.Json:
    parameters = [
        _text("container"),
        *(_flag(name) for name in ("follow", "previous", "timestamps")),
        *(_whole(name) for name in ("tailLines", "sinceSeconds", "limitBytes")),
    ]
    answers = {"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    return _operation("readPodLog", "get", gvk, answers, parameters)


def _operation(
    name: str,
    action: str,
    gvk: meta.Json,
    answers: meta.Json,
    parameters: list[meta.Json] | None = None,
    body: meta.Json | None = None,
) -> meta.Json:
    made: meta.Json = {
        "operationId": name,
        "parameters": [*(parameters or []), _text("pretty")],
        "responses": {**answers, "default": _answer(_STATUS, "anything else")},
        _ACTION: action,
        _GVK: gvk,
    }
    if body is not None:
        made["requestBody"] = body
    return made


def _write_options() -> list[meta.Json]:
    return [
        _text("dryRun", ["All"]),
        _text("fieldManager"),
        _text("fieldValidation", ["Ignore", "Warn", "Strict"]),
    ]


def _answer(schema: str, text: str = "OK") -> meta.Json:
    return {"description": text, "content": {_JSON: {"schema": _ref(schema)}}}


def _ref(name: str) -> meta.Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(properties: meta.Json) -> meta.Json:
    """The same properties, which may be null: that is one that was not given."""
    return {name: {**schema, "nullable": True} for name, schema in properties.items()}


def _in_path(name: str) -> meta.Json:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": _MEANINGS[name], "schema": schema}


def _asked(name: str, schema: meta.Json) -> meta.Json:
    """A parameter of the query, which may be empty (:mod:`kuttab.apiserver.queries`)."""
    return {"name": name, "in": "query", "allowEmptyValue": True, "schema": schema}


def _text(name: str, allowed: list[str] | None = None) -> meta.Json:
    return _asked(name, {"type": "string", **({"enum": allowed} if allowed else {})})


def _whole(name: str) -> meta.Json:
    return _asked(name, {"type": "integer", "minimum": 0, "maximum": 2147483647})


def _flag(name: str) -> meta.Json:
    return _asked(name, {"type": "boolean"})


def _shared() -> meta.Json:
    """Schemas that every document needs."""
    text, texts = {"type": "string"}, {"type": "object", "additionalProperties": {"type": "string"}}
    metadata = {
        "name": {**text, "description": "Unique within its namespace and kind; cannot be changed."},
        "generateName": {**text, "description": "Beginning of a name that the server completes when name is empty."},
        "namespace": {**text, "description": "Where the object lives."},
        "labels": {**texts, "description": "What selectors choose by."},
        "annotations": {**texts, "description": "Free texts of tools and people."},
        "finalizers": {"type": "array", "items": text, "description": "Who must agree before a deleted object goes."},
        "ownerReferences": {"type": "array", "items": dict(_ANYTHING), "description": "Objects it goes with."},
        "uid": {**text, "description": "Identity, never used again; set by the server."},
        "resourceVersion": {**text, "description": "State of the object; set by the server."},
        "generation": {
            "type": "integer",
            "format": "int64",
            "description": "Grows with every change of what is wanted.",
        },
        "creationTimestamp": {**text, "format": "date-time", "description": "Set by the server."},
        "deletionTimestamp": {**text, "format": "date-time", "description": "Set by the server."},
    }
    status = {
        "apiVersion": text, "kind": text, "metadata": dict(_ANYTHING), "status": text, "message": text, "reason": text,
        "code": {"type": "integer", "format": "int32"}, "details": dict(_ANYTHING),
    }  # fmt: skip
    delete = {
        "apiVersion": text, "kind": text, "dryRun": {"type": "array", "items": text},
        "gracePeriodSeconds": {"type": "integer", "format": "int64"}, "orphanDependents": {"type": "boolean"},
        "propagationPolicy": text,
        "preconditions": {"type": "object", "properties": _or_null({"uid": text, "resourceVersion": text})},
    }  # fmt: skip
    return {
        _META: {
            "type": "object",
            "description": "Metadata of an object.",
            "properties": _or_null(metadata),
            "x-kubernetes-preserve-unknown-fields": True,
        },
        _LIST_META: {"type": "object", "properties": {"resourceVersion": text, "continue": text}},
        _STATUS: {"type": "object", "description": "The outcome of a request.", "properties": status},
        _DELETE: {"type": "object", "description": "How to delete.", "properties": _or_null(delete)},
        _PATCH: {"description": "A patch, as its media type says."},
    }
