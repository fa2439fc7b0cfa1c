"""Writers of event files and `.wandb` files, independent of the readers' code."""

import json
import struct
import zlib


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def sub(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def fixed(number: int, data: bytes) -> bytes:
    return varint(number << 3 | (5 if len(data) == 4 else 1)) + data


def scalar(tag: bytes, value: float) -> bytes:
    return sub(1, tag) + fixed(2, struct.pack("<f", value))


def event(step: int, *values: bytes, wall: float = 100.0) -> bytes:
    return record(fixed(1, struct.pack("<d", wall)) + (varint(16) + varint(step) if step else b"") + sub(5, b"".join(sub(1, v) for v in values)))


def num(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def item(key: str, value: object, *, nested: bool = True) -> bytes:
    return sub(1, sub(2 if nested else 1, key.encode()) + sub(16, json.dumps(value).encode()))


def row(step: int, **values: object) -> bytes:
    items = b"".join(item(k.replace("__", "/"), v) for k, v in values.items())
    return sub(2, item("_step", step, nested=False) + item("_timestamp", 1000.0 + step) + items)


def framed(*records: bytes) -> bytes:
    out = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    for data in records:
        rest, first = data, True
        while first or rest:
            room = 32768 - len(out) % 32768
            if room < 7:
                out += bytes(room)
                room = 32768
            part, rest = rest[: room - 7], rest[room - 7 :]
            kind = (1 if not rest else 2) if first else (4 if not rest else 3)
            out += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            first = False
    return out
