"""TensorFlow event files, written here by the protobuf library from the published field numbers."""

# ruff: noqa: ASYNC230 - small files, written while nothing else waits

from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from kuttab.api.metrics import Row
from kuttab.collector import tfevent, tfrecords
from kuttab.ports.observations import Position

FIELD = descriptor_pb2.FieldDescriptorProto


def _messages() -> dict[str, Any]:
    """Event, Summary and TensorProto, as far as they matter here."""
    file = descriptor_pb2.FileDescriptorProto(name="events.proto", package="t", syntax="proto3")

    def message(name: str, **fields: tuple[int, int, str]) -> None:
        made = file.message_type.add(name=name)
        for field, (number, kind, of) in fields.items():
            label = FIELD.LABEL_REPEATED if of.endswith("*") else FIELD.LABEL_OPTIONAL
            added = made.field.add(name=field, number=number, type=kind, label=label)
            if kind == FIELD.TYPE_MESSAGE:
                added.type_name = f".t.{of.rstrip('*')}"

    message("Dim", size=(1, FIELD.TYPE_INT64, ""))
    message("Shape", dim=(2, FIELD.TYPE_MESSAGE, "Dim*"))
    message(
        "Tensor",
        dtype=(1, FIELD.TYPE_INT32, ""),
        tensor_shape=(2, FIELD.TYPE_MESSAGE, "Shape"),
        version_number=(3, FIELD.TYPE_INT32, ""),
        tensor_content=(4, FIELD.TYPE_BYTES, ""),
        float_val=(5, FIELD.TYPE_FLOAT, "*"),
        double_val=(6, FIELD.TYPE_DOUBLE, "*"),
        int_val=(7, FIELD.TYPE_INT32, "*"),
        string_val=(8, FIELD.TYPE_BYTES, "*"),
        int64_val=(10, FIELD.TYPE_INT64, "*"),
        bool_val=(11, FIELD.TYPE_BOOL, "*"),
        half_val=(13, FIELD.TYPE_INT32, "*"),
    )
    message(
        "Value",
        tag=(1, FIELD.TYPE_STRING, ""),
        simple_value=(2, FIELD.TYPE_FLOAT, ""),
        image=(4, FIELD.TYPE_BYTES, ""),
        tensor=(8, FIELD.TYPE_MESSAGE, "Tensor"),
    )
    made = next(each for each in file.message_type if each.name == "Value")
    made.oneof_decl.add(name="value")
    for field in made.field[1:]:
        field.oneof_index = 0
    message("Summary", value=(1, FIELD.TYPE_MESSAGE, "Value*"))
    message(
        "Event",
        wall_time=(1, FIELD.TYPE_DOUBLE, ""),
        step=(2, FIELD.TYPE_INT64, ""),
        file_version=(3, FIELD.TYPE_STRING, ""),
        summary=(5, FIELD.TYPE_MESSAGE, "Summary"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))
        for name in ("Event", "Summary", "Value", "Tensor", "Shape", "Dim")
    }


PB = _messages()


def event(tag: str, *, time: float = 1_700_000_000.5, step: int = 1, **value: Any) -> bytes:
    """An Event with one value."""
    return PB["Event"](
        wall_time=time, step=step, summary=PB["Summary"](value=[PB["Value"](tag=tag, **value)])
    ).SerializeToString()


def tensor(dtype: int, shape: tuple[int, ...] = (), **content: Any) -> Any:
    """A TensorProto."""
    return PB["Tensor"](dtype=dtype, tensor_shape=PB["Shape"](dim=[PB["Dim"](size=size) for size in shape]), **content)


def framed(data: bytes) -> bytes:
    """A TFRecord."""
    length = struct.pack("<Q", len(data))
    return (
        length + struct.pack("<I", tfrecords.masked_crc(length)) + data + struct.pack("<I", tfrecords.masked_crc(data))
    )


VERSION = framed(PB["Event"](wall_time=1.0, file_version="brain.Event:2").SerializeToString())


async def whole(root: Path, *metrics: str) -> list[tuple[str, str]]:
    """Name and value of every row below a folder."""
    return [
        (row.metric, row.value) for row in await tfevent.TensorFlowEvents(root, metrics or ["acc"]).close(clean=True)
    ]


def test_the_checksum_is_the_published_one() -> None:
    """CRC-32C of "123456789" is E3069283; the header of a 24-byte record is the one that every event file of TensorFlow begins with."""
    crc = 0xE3069283
    assert tfrecords.masked_crc(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert struct.pack("<I", tfrecords.masked_crc(struct.pack("<Q", 24))) == b"\xa3\x7fK\x22"
    assert VERSION[:12] == b"\x18\x00\x00\x00\x00\x00\x00\x00\xa3\x7fK\x22"


FLOAT = struct.pack("<f", 0.9395)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"simple_value": 0.9395}, "0.9395"),
        ({"simple_value": 1e-7}, "1e-07"),
        ({"simple_value": 100000.0}, "100000.0"),
        ({"simple_value": float("nan")}, "nan"),
        ({"simple_value": float("-inf")}, "-inf"),
        ({"tensor": tensor(1, float_val=[0.9395])}, "0.9395"),
        ({"tensor": tensor(1, tensor_content=FLOAT)}, "0.9395"),
        ({"tensor": tensor(1, (1,), tensor_content=FLOAT)}, "0.9395"),
        ({"tensor": tensor(1, (1, 1), float_val=[3.4028234663852886e38])}, "3.4028235e+38"),
        ({"tensor": tensor(2, double_val=[0.1])}, "0.1"),
        ({"tensor": tensor(2, tensor_content=struct.pack("<d", 0.1))}, "0.1"),
        ({"tensor": tensor(3, int_val=[-7])}, "-7"),
        ({"tensor": tensor(9, int64_val=[-(2**62)])}, str(-(2**62))),
        ({"tensor": tensor(9, tensor_content=struct.pack("<q", 5))}, "5"),
        ({"tensor": tensor(10, bool_val=[True])}, "1"),
        ({"tensor": tensor(14, tensor_content=struct.pack("<f", 1.5)[2:])}, "1.5"),
        ({"tensor": tensor(19, half_val=[0x3E00])}, "1.5"),
    ],
)
async def test_scalars_of_old_and_new_style(tmp_path: Path, value: dict[str, Any], text: str) -> None:
    """simple_value and tensors of one number are read, with the shortest text that is that number."""
    (tmp_path / "events").write_bytes(VERSION + framed(event("acc", **value)))
    assert await whole(tmp_path) == [("acc", text)]


@pytest.mark.parametrize(
    "value",
    [
        {"image": b"\x89PNG"},
        {"tensor": tensor(1, (2,), float_val=[1.0, 2.0])},
        {"tensor": tensor(1, (0,))},
        {"tensor": tensor(7, string_val=[b"0.5"])},
        {"tensor": tensor(1, tensor_content=b"\0\0\0")},
        {"tensor": tensor(99, tensor_content=b"\0\0\0\0")},
        {},
    ],
)
async def test_what_is_no_scalar_is_left_out(tmp_path: Path, value: dict[str, Any]) -> None:
    """Images, histograms, text and tensors of several numbers are no rows."""
    (tmp_path / "events").write_bytes(VERSION + framed(event("acc", **value)))
    assert await whole(tmp_path) == []


async def test_tags_and_folders(tmp_path: Path) -> None:
    """``train/acc`` reads tags that begin with acc in folders that end with train; plain ``acc`` reads every file."""
    for folder, value in (("train", 1.0), ("test", 2.0), ("deep/train", 3.0)):
        (tmp_path / folder).mkdir(parents=True)
        body = framed(event("acc", time=value, simple_value=value)) + framed(
            event("acc_1", time=value, simple_value=value + 0.5)
        )
        (tmp_path / folder / "events.out").write_bytes(VERSION + body + framed(event("loss/acc", simple_value=9.0)))
    assert await whole(tmp_path, "train/acc") == [("train/acc", text) for text in ("1.0", "1.5", "3.0", "3.5")]
    assert [value for _, value in await whole(tmp_path, "acc")] == ["1.0", "1.5", "2.0", "2.5", "3.0", "3.5"]
    assert await whole(tmp_path, "Acc") == []


async def test_rows_carry_the_wall_time(tmp_path: Path) -> None:
    """The wall time becomes RFC3339 in UTC with its fraction; one that is none becomes no time."""
    body = framed(event("acc", simple_value=1.0)) + framed(event("acc", time=float("nan"), simple_value=2.0))
    (tmp_path / "e").write_bytes(body)
    rows = await tfevent.TensorFlowEvents(tmp_path, ["acc"]).close(clean=True)
    assert {row.value: row.time for row in rows} == {"1.0": "2023-11-14T22:13:20.5Z", "2.0": ""}


async def test_files_are_followed_while_they_grow(tmp_path: Path) -> None:
    """Every fifth poll looks; half a record waits for its other half; a new file is found."""
    source = tfevent.TensorFlowEvents(tmp_path, ["acc"])
    first = framed(event("acc", simple_value=1.0))
    with open(tmp_path / "a", "wb") as file:
        for cut in (5, 20, len(first) - 1):
            file.seek(0)
            file.write(first[:cut])
            file.flush()
            assert [row for _ in range(5) for row in await source.poll()] == []
        file.seek(0)
        file.write(first)
        file.flush()
        (tmp_path / "b").write_bytes(framed(event("acc", time=2.0, simple_value=2.0)))
        assert [row.value for _ in range(5) for row in await source.poll()] == ["2.0", "1.0"]
    assert await source.close(clean=True) == []


@pytest.mark.parametrize("damage", ["flip length", "flip length checksum", "flip data", "cut", "insert", "zeros"])
async def test_f17_damage_costs_only_its_own_record(tmp_path: Path, damage: str) -> None:
    """F17: after a damaged record reading goes on at the next valid one."""
    parts = [framed(event("acc", time=float(index), simple_value=float(index))) for index in range(5)]
    bad = bytearray(parts[2])
    if damage.startswith("flip"):
        bad[{"flip length": 0, "flip length checksum": 9, "flip data": 20}[damage]] ^= 0x10
    parts[2] = {"cut": parts[2][:-7], "insert": parts[2][:20] + b"xxxx" + parts[2][20:], "zeros": bytes(5000)}.get(
        damage, bytes(bad)
    )
    (tmp_path / "e").write_bytes(VERSION + b"".join(parts))
    source = tfevent.TensorFlowEvents(tmp_path, ["acc"])
    assert [row.value for row in await source.close(clean=True)] == ["0.0", "1.0", "3.0", "4.0"]
    assert "damaged places" in source.remarks()[0]


async def test_f17_half_a_record_at_the_end(tmp_path: Path) -> None:
    """F17: a record that was being written when the process died is left out."""
    (tmp_path / "e").write_bytes(
        VERSION + framed(event("acc", simple_value=1.0)) + framed(event("acc", simple_value=2.0))[:-3]
    )
    assert await whole(tmp_path) == [("acc", "1.0")]


async def test_f17_large_records_and_files_that_are_none(tmp_path: Path) -> None:
    """F17: a record of megabytes is stepped over; text, links and devices beside it do no harm."""
    big = framed(event("image", image=b"\x89" * 3_000_000))
    (tmp_path / "e").write_bytes(
        VERSION + big + framed(event("acc", simple_value=1.0)) + big + framed(event("acc", simple_value=2.0))
    )
    (tmp_path / "notes.txt").write_text("acc=5\n" * 100_000)
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "self").symlink_to(tmp_path)
    assert await whole(tmp_path) == [("acc", "1.0"), ("acc", "2.0")]


async def test_f17_caps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F17: thousands of files, deep folders and huge files end at their limits, with a remark."""
    monkeypatch.setattr(tfevent, "MOST_FILES", 10)
    monkeypatch.setattr(tfevent, "LARGEST_FILE", 200)
    for index in range(20):
        (tmp_path / f"e{index:02d}").write_bytes(framed(event("acc", simple_value=1.0)) * 20)
    deep = tmp_path
    for _ in range(20):
        deep = deep / "d"
        deep.mkdir()
    source = tfevent.TensorFlowEvents(tmp_path, ["acc"])
    assert len(await source.close(clean=True)) == 10 * 20  # a look may finish the piece that it began
    assert any("more than 10 files" in remark for remark in source.remarks())
    assert any("larger than 200 bytes" in remark for remark in source.remarks())


async def test_a_folder_that_leads_outside_is_not_read(tmp_path: Path) -> None:
    """F03: a folder of the trial that is a link to elsewhere opens nothing elsewhere."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "e").write_bytes(framed(event("acc", simple_value=1.0)))
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "logs").symlink_to(tmp_path / "out")
    source = tfevent.TensorFlowEvents(tmp_path / "trial" / "logs", ["acc"], inside=tmp_path / "trial")
    assert await source.close(clean=True) == []
    assert "leads outside" in source.remarks()[0]


async def test_a_reader_that_starts_again_stores_nothing_twice(tmp_path: Path) -> None:
    """After a crash of ours rows that are stored are left out once each, in whatever order files are read."""
    for name in ("a", "b"):
        body = b"".join(framed(event("acc", time=float(step), simple_value=float(step % 3))) for step in range(10))
        (tmp_path / name).write_bytes(VERSION + body)
    rows = await tfevent.TensorFlowEvents(tmp_path, ["acc"]).poll()
    stored = random.Random(5).sample(rows, 7)
    again = tfevent.TensorFlowEvents(tmp_path, ["acc"])
    again.resume(Position(7, False, tuple(stored)))
    rest = await again.poll()
    assert sorted(rest + stored, key=repr) == sorted(rows, key=repr)


async def test_no_file_at_all(tmp_path: Path) -> None:
    """F04: a folder that never appears ends with a remark."""
    source = tfevent.TensorFlowEvents(tmp_path / "none", ["acc"])
    assert await source.close(clean=True) == []
    assert source.remarks() == [f"no event file has appeared below {tmp_path / 'none'}"]


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    """No content makes the readers raise anything but ValueError, nor loop."""
    for step in tfrecords.records(data, lambda _: True):
        assert 0 <= step.used <= len(data)
    with contextlib.suppress(ValueError):
        tfrecords.scalars(data)


@given(st.floats(width=32, allow_nan=False))
def test_float_text_is_exact(value: float) -> None:
    """The text of a float32 is that float32 again."""
    data = struct.pack("<f", value)
    assert struct.pack("<f", float(tfrecords._float32(data))) == data


async def test_rows_have_the_name_as_requested(tmp_path: Path) -> None:
    """The row's metric is the declared name, not the tag."""
    (tmp_path / "e").write_bytes(framed(event("acc_epoch", simple_value=1.0)))
    rows = await tfevent.TensorFlowEvents(tmp_path, ["acc"]).close(clean=True)
    assert rows == [Row("acc", "1.0", "2023-11-14T22:13:20.5Z")]
