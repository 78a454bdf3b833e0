"""The committed descriptor and the message classes made of it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from kuttab.rpc import generate, messages


def test_generated_file_is_fresh() -> None:
    """Compiling the proto again gives the committed file."""
    assert generate.TARGET.read_text() == generate.text(), "run python -m kuttab.rpc.generate"


def test_same_wire_as_a_stranger(stranger: Any) -> None:
    """Every message and field of the stranger's contract exists here with the same number and type; ours adds one field only."""
    theirs = stranger.pb.DESCRIPTOR
    seen = 0
    for name, message in theirs.message_types_by_name.items():
        ours = messages._POOL.FindMessageTypeByName(f"api.v1.beta1.{name}")
        stack = [(message, ours)]
        while stack:
            one, two = stack.pop()
            fields = {f.name: (f.number, f.type, f.is_repeated) for f in one.fields}
            own = {f.name: (f.number, f.type, f.is_repeated) for f in two.fields}
            extra = {"request_number"} if name == "GetSuggestionsRequest" else set()
            assert {key: value for key, value in own.items() if key not in extra} == fields, name
            stack += [(nested, two.nested_types_by_name[nested.name]) for nested in one.nested_types]
            seen += len(fields)
    assert seen > 90
    for name, enum in theirs.enum_types_by_name.items():
        assert messages._enum(name) == {v.name: v.number for v in enum.values}
    for name, service in theirs.services_by_name.items():
        assert set(messages.METHODS[f"api.v1.beta1.{name}"]) == {m.name for m in service.methods}


def test_other_classes_of_the_same_names_may_be_loaded(stranger: Any) -> None:
    """A process that has loaded another build of the contract can use both, in either order."""
    ours = messages.Trial(name="a")
    theirs = stranger.pb.Trial.FromString(ours.SerializeToString())
    assert theirs.name == "a"


def test_import_is_not_reached_by_the_package() -> None:
    """Importing kuttab does not load gRPC."""
    code = "import sys, kuttab; sys.exit('grpc' in sys.modules or 'google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
