"""Makes gen/ from proto/. For developers: needs grpcio-tools, which running kuttab does not.

What is kept is the compiled descriptor, not protoc's Python code: that code works with one or two major versions of protobuf only,
and it puts its names into the process-wide registry, where they would clash with those of the kubeflow-katib SDK.
"""

from __future__ import annotations

import base64
import pathlib
import tempfile
import textwrap

from google.protobuf import descriptor_pb2

FOLDER = pathlib.Path(__file__).parent
TARGET = FOLDER / "gen" / "api_descriptor.py"


def text() -> str:
    """The text of gen/api_descriptor.py; equal on every run."""
    raw = base64.b64encode(descriptor()).decode()
    lines = "\n".join(f'    "{line}"' for line in textwrap.wrap(raw, 120))
    return f'"""Made from proto/api.proto by kuttab.rpc.generate; not to be edited."""\n\nFILE = (\n{lines}\n)\n'


def descriptor() -> bytes:
    """The serialized FileDescriptorProto of proto/api.proto, without comments and positions."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # noqa: PLC0415 - for developers only

    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "set.bin"
        proto = FOLDER / "proto"
        code = protoc.main(["protoc", f"--proto_path={proto}", f"--descriptor_set_out={out}", str(proto / "api.proto")])
        if code != 0:
            raise SystemExit("protoc refused proto/api.proto; its message is above")
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    raw: bytes = found.file[0].SerializeToString(deterministic=True)
    return raw


def write() -> None:
    """Write gen/ again."""
    TARGET.write_text(text())


if __name__ == "__main__":
    write()
