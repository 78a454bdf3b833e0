"""TensorFlow's event files without TensorFlow: the record framing and the few protobuf fields that carry scalars.

Formats: TFRecord is ``length (8 bytes, little endian), masked CRC-32C of it, data, masked CRC-32C of the data``; the data is an
``Event`` message (wall_time = 1, step = 2, summary = 5), whose ``Summary.Value`` has tag = 1, simple_value = 2, tensor = 8. Field
numbers are those of TensorFlow's published .proto files. Pure functions on bytes; anything malformed is skipped, never believed.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

LARGEST_RECORD: Final = 64 << 20  # bytes; a longer one is taken for damage
HEADER: Final = 12
FOOTER: Final = 4

_FLOATS: Final = {1: "<f", 2: "<d", 19: "<e"}  # DataType number to struct format, for tensor_content
_INTEGERS: Final = {3: "<i", 4: "<B", 5: "<h", 6: "<b", 9: "<q", 10: "<?", 17: "<H", 22: "<I", 23: "<Q"}


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901 - the polynomial division
        table.append(value)
    return tuple(table)


_CRC: Final = _table()


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and offset as TFRecord stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.lru_cache(maxsize=4096)
def _header_length(header: bytes) -> int:
    """The record's length, or -1 when these 12 bytes are no header."""
    length, crc = struct.unpack("<QI", header)
    return length if length <= LARGEST_RECORD and masked_crc(header[:8]) == crc else -1


@dataclass(frozen=True, slots=True)
class Step:
    """Where a scan of a buffer stands: ``used`` bytes are done; ``data`` is a record's content, empty for one not wanted, None for
    damage that was left out."""

    used: int
    data: bytes | None


def records(buffer: bytes, wanted: Callable[[bytes], bool]) -> Iterator[Step]:
    """Complete records that are ``wanted``, in order, with their checksum verified (in Python that is too slow to do for all).

    After damage it goes on at the next valid header; also when a record's length was believed, its checksum is wrong and no record
    follows it. A half record at the end is left for later.
    """
    position = 0
    while position + HEADER <= len(buffer):
        length = _header_length(buffer[position : position + HEADER])
        end = position + HEADER + length + FOOTER
        if length >= 0 and end > len(buffer):
            return
        data = buffer[position + HEADER : end - FOOTER] if length >= 0 else b""
        chosen = length >= 0 and wanted(data)
        follows = end + HEADER > len(buffer) or _header_length(buffer[end : end + HEADER]) >= 0
        if length < 0 or ((chosen or not follows) and not _intact(data, buffer[end - FOOTER : end])):
            position = _next_header(buffer, position + 1)
            yield Step(position, None)
            continue
        position = end
        yield Step(end, data if chosen else b"")


def _intact(data: bytes, checksum: bytes) -> bool:
    expected: int = struct.unpack("<I", checksum)[0]
    return masked_crc(data) == expected


def _next_header(buffer: bytes, start: int) -> int:
    """The next place with a valid header, or where one could begin when more bytes come."""
    position = start
    while position + HEADER <= len(buffer):
        zeros = buffer.find(b"\0\0\0\0", position + 4)  # the upper half of every plausible length
        if zeros < 0:
            return max(position, len(buffer) - HEADER + 1)
        position = zeros - 4
        if position + HEADER > len(buffer):
            break
        if _header_length(buffer[position : position + HEADER]) >= 0:
            return position
        position += 1
    return min(position, len(buffer))


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value of an event: ``time`` in seconds since 1970, ``text`` as a program would print it."""

    tag: str
    text: str
    time: float


def scalars(data: bytes) -> list[Scalar]:
    """The scalar values of an Event message; ValueError when it is malformed."""
    time = 0.0
    found: list[tuple[str, str]] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, bytes) and len(value) == 8:
            time = struct.unpack("<d", value)[0]
        elif number == 5 and isinstance(value, bytes):
            found += [each for inner, part in _fields(value) if inner == 1 and (each := _value(part))]
    return [Scalar(tag, text, time) for tag, text in found]


def _value(message: bytes | int) -> tuple[str, str] | None:
    if not isinstance(message, bytes):
        return None
    tag = text = ""
    for number, value in _fields(message):
        if not isinstance(value, bytes):
            continue
        if number == 1:
            tag = value.decode(errors="replace")
        elif number == 2 and len(value) == 4:
            text = _float32(value)
        elif number == 8:
            text = _tensor(value) or text
    return (tag, text) if tag and text else None


def _tensor(message: bytes) -> str:
    """A tensor of exactly one number; empty text for everything else."""
    kind = 0
    elements = 1
    content = b""
    typed: dict[int, list[bytes | int]] = {}
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, bytes):
            elements = _elements(value)
        elif number == 4 and isinstance(value, bytes):
            content = value
        else:
            typed.setdefault(number, []).append(value)
    if elements != 1:
        return ""
    if content:
        return _from_content(kind, content)
    return _from_typed(kind, typed)


def _from_content(kind: int, content: bytes) -> str:
    form = _FLOATS.get(kind) or _INTEGERS.get(kind)
    if kind == 14 and len(content) == 2:  # bfloat16: the upper half of a float32
        return _float32(b"\0\0" + content)
    if form is None or struct.calcsize(form) != len(content):
        return ""
    if kind == 1:
        return _float32(content)
    value = struct.unpack(form, content)[0]
    return repr(value) if kind in _FLOATS else str(int(value))


def _from_typed(kind: int, typed: dict[int, list[bytes | int]]) -> str:
    """float_val = 5, double_val = 6, int_val = 7, int64_val = 10, bool_val = 11, half_val = 13; packed or not."""
    if kind == 1 and len(packed := _joined(typed, 5)) == 4:
        return _float32(packed)
    if kind == 2 and len(packed := _joined(typed, 6)) == 8:
        return repr(struct.unpack("<d", packed)[0])
    field = {3: 7, 4: 7, 5: 7, 6: 7, 17: 7, 9: 10, 10: 11, 14: 13, 19: 13}.get(kind)
    if field is None or field not in typed:
        return ""
    numbers = [each for value in typed[field] for each in (_varints(value) if isinstance(value, bytes) else [value])]
    if len(numbers) != 1:
        return ""
    number = numbers[0]
    if kind in (14, 19):
        return _from_content(kind, struct.pack("<H", number & 0xFFFF))
    return str(number - (1 << 64) if number >= 1 << 63 else number)


def _joined(typed: dict[int, list[bytes | int]], field: int) -> bytes:
    return b"".join(value for value in typed.get(field, ()) if isinstance(value, bytes))


def _elements(shape: bytes) -> int:
    """Product of the dimensions (TensorShapeProto.dim = 2, Dim.size = 1)."""
    total = 1
    for number, value in _fields(shape):
        if number == 2 and isinstance(value, bytes):
            size = next((inner for index, inner in _fields(value) if index == 1 and isinstance(inner, int)), 0)
            total *= min(size, 1 << 32)
    return total


def _float32(data: bytes) -> str:
    """The shortest decimal that is this float32 again, as numpy prints it."""
    value: float = struct.unpack("<f", data)[0]
    for digits in range(1, 10):
        text = repr(float(f"{value:.{digits}g}"))
        try:
            if struct.pack("<f", float(text)) == data:
                return text
        except OverflowError:  # rounded up beyond the largest float32
            continue
    return repr(value)


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Field number and value: an int for varints, else bytes. ValueError when it is malformed."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            size, position = _varint(message, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} is not used")
        if position + size > len(message):
            raise ValueError("a field is cut off")
        yield number, message[position : position + size]
        position += size


def _varints(data: bytes) -> list[int]:
    found: list[int] = []
    position = 0
    while position < len(data) and len(found) < 2:
        value, position = _varint(data, position)
        found.append(value)
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("a number is cut off")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
