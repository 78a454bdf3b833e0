"""Stands for Katib's TensorFlow MNIST program: writes event files as TensorFlow would, without TensorFlow and without training."""

import argparse
import math
import os
import struct
import time

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--learning-rate", type=float, default=0.001)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--log-interval", type=int, default=100)
parser.add_argument("--log-path", required=True)
args = parser.parse_args()


def checksum(data):
    """CRC-32C, masked as event files want it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    """A number in base 128."""
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def part(number, data):
    """A field that holds bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(event):
    """An event with its frame."""
    head = struct.pack("<Q", len(event))
    return head + struct.pack("<I", checksum(head)) + event + struct.pack("<I", checksum(event))


def scalar(step, tag, value):
    """An event with one number, as TensorFlow 2 writes it: a tensor of one float."""
    tensor = b"\x08\x01" + part(2, b"") + part(5, struct.pack("<f", value))
    metadata = part(9, part(1, part(1, b"scalars")))
    summary = part(1, part(1, tag.encode()) + metadata + part(8, tensor))
    return record(b"\x09" + struct.pack("<d", time.time()) + b"\x10" + varint(step) + part(5, summary))


files = {}
for name in ("train", "test"):
    folder = os.path.join(args.log_path, name)
    os.makedirs(folder, exist_ok=True)
    files[name] = open(os.path.join(folder, f"events.out.tfevents.{int(time.time())}.here.{os.getpid()}.v2"), "wb")  # noqa: SIM115
    files[name].write(record(b"\x09" + struct.pack("<d", time.time()) + part(3, b"brain.Event:2")))

for epoch in range(args.epochs):
    loss = 0.05 + (math.log10(args.learning_rate) + 1.5) ** 2 + math.exp(-epoch - 1) + args.batch_size / 10000
    accuracy = 1 / (1 + loss)
    for name, file in files.items():
        worse = 1.0 if name == "train" else 1.1
        file.write(scalar(epoch, "loss", loss * worse))
        file.write(scalar(epoch, "accuracy", accuracy / worse))
        file.flush()
    print(f"Train Epoch: {epoch + 1} [60000/60000 (100%)]\tloss={loss:.4f}, accuracy={100 * accuracy:.4f}")
    print(f"Test Loss: {loss * 1.1:.4f}, Test Accuracy: {100 * accuracy / 1.1:.4f}")
