"""What every object has: the base model, metadata, and safe ways to read and change frozen objects.

Three promises:

* round trip: ``dump(load(document)) == document``, because only what was set is written and unknown fields are kept
  (admission refuses them; reading never loses them);
* values in, values out: objects are frozen and changed by shallow copy, never in place;
* strict: ``"10"`` is no number and ``1.5`` no integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Self, TypeVar

import pydantic
from pydantic import alias_generators

Json = dict[str, Any]


class Model(pydantic.BaseModel):
    """Base of every API type: camelCase on the wire, snake_case in Python."""

    model_config = pydantic.ConfigDict(
        alias_generator=alias_generators.to_camel,
        extra="allow",
        frozen=True,
        populate_by_name=True,
        protected_namespaces=(),
        strict=True,
        ser_json_inf_nan="constants",
    )


class OwnerReference(Model):
    """Who owns an object; when every owner is gone, the object goes too."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """Metadata of an object."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[OwnerReference] | None = None
    managed_fields: list[Json] | None = None
    self_link: str | None = None

    def label(self, key: str) -> str:
        """A label's value, empty when absent."""
        return (self.labels or {}).get(key, "")

    def annotation(self, key: str) -> str:
        """An annotation's value, empty when absent."""
        return (self.annotations or {}).get(key, "")

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that controls this object, if one does."""
        return next((owner for owner in self.owner_references or () if owner.controller), None)


class Object(Model):
    """An object of any kind. Kinds without a type of their own keep ``spec``, ``status``, ``data`` ... as plain JSON."""

    api_version: str
    kind: str
    metadata: ObjectMeta = ObjectMeta()

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace; empty for cluster-scoped kinds."""
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        """The object's identity: never reused, unlike its name."""
        return self.metadata.uid

    @property
    def revision(self) -> int:
        """The resourceVersion as the number it is in our own store; 0 when absent."""
        return int(self.metadata.resource_version or 0)

    @property
    def deleting(self) -> bool:
        """Whether deletion has been asked for and finalizers hold the object."""
        return self.metadata.deletion_timestamp is not None

    def section(self, name: str) -> Any:
        """A top-level field by its JSON name, for kinds without a type: ``job.section("status")``; ``{}`` when absent."""
        return (self.model_extra or {}).get(name) or {}


class Resource(Object):
    """An object whose kind has no type of its own here: jobs, pods, ConfigMaps, foreign kinds."""


M = TypeVar("M", bound=Model)
O = TypeVar("O", bound=Object)  # noqa: E741


class _Null:
    """The wish for an explicit JSON null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL"


NULL: Final = _Null()
"""Pass to :func:`evolve` for a field that must be written as JSON ``null``."""


_EMPTYABLE: Final = (str, list, dict)


def evolve(model: M, **changes: Any) -> M:
    """A shallow copy with fields replaced, by Python name.

    ``None``, ``""`` and empty lists or maps *unset* a field, so it disappears from the JSON; :data:`NULL` writes null. Raises
    TypeError for a name the model does not have. No validation: callers pass values of the right type.
    """
    kind = type(model)
    copy = _shallow(model)
    fields = kind.__pydantic_fields__
    for name, value in changes.items():
        field = fields.get(name)
        if field is None:
            extra = copy.__pydantic_extra__
            if not isinstance(model, Resource) or extra is None:
                raise TypeError(f"{kind.__name__} has no field {name!r}")
            if value is None:
                extra.pop(name, None)
            else:
                extra[name] = value
            continue
        if value is NULL:
            copy.__dict__[name] = None
            copy.__pydantic_fields_set__.add(name)
        elif value is None or (not value and isinstance(value, _EMPTYABLE)):
            copy.__dict__[name] = field.get_default(call_default_factory=True)
            copy.__pydantic_fields_set__.discard(name)
        else:
            copy.__dict__[name] = value
            copy.__pydantic_fields_set__.add(name)
    return copy


def at_revision(obj: O, revision: int) -> O:
    """A shallow copy with another resourceVersion: what every write ends with."""
    copy, metadata = _shallow(obj), _shallow(obj.metadata)
    metadata.__dict__["resource_version"] = str(revision)
    metadata.__pydantic_fields_set__.add("resource_version")
    copy.__dict__["metadata"] = metadata
    copy.__pydantic_fields_set__.add("metadata")
    return copy


def _shallow(model: M) -> M:
    """What ``model_copy()`` does, without its detours: this is the inner loop of every change."""
    kind = type(model)
    copy = kind.__new__(kind)
    extra = model.__pydantic_extra__
    object.__setattr__(copy, "__dict__", model.__dict__.copy())
    object.__setattr__(copy, "__pydantic_extra__", None if extra is None else extra.copy())
    object.__setattr__(copy, "__pydantic_fields_set__", model.__pydantic_fields_set__.copy())
    object.__setattr__(copy, "__pydantic_private__", None)
    return copy


def dump(model: Model) -> Json:
    """The JSON document of a model: what was set, under its wire names."""
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def dump_bytes(model: Model) -> bytes:
    """The same as UTF-8 JSON text."""
    return model.__pydantic_serializer__.to_json(model, by_alias=True, exclude_unset=True)


class Kinded(Object):
    """Base of the typed kinds: fixes apiVersion and kind."""

    API_VERSION: ClassVar[str]
    KIND: ClassVar[str]

    @classmethod
    def load(cls, document: Mapping[str, Any]) -> Self:
        """Read a document; raises pydantic.ValidationError with every problem."""
        return cls.model_validate(document)


def map_texts(node: Any, change: Callable[[str], str]) -> Any:
    """A new tree with every text in it, keys included, changed; the tree must be of bounded depth."""
    if isinstance(node, str):
        return change(node)
    if isinstance(node, dict):
        return {change(key) if isinstance(key, str) else key: map_texts(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [map_texts(item, change) for item in node]
    return node
