"""Trees of plain values and arrays <-> bytes: the only form in which data crosses a server.

A Courier call whose argument holds a NumPy array or scalar never returns, so arrays are packed here
and the adapters refuse anything but bytes. The format is MessagePack behind a four-byte header;
decoding yields data, never code.
"""

import functools
import math
from typing import Any

import msgpack
import numpy as np

from optimus.files import DEEPEST, levels

MAGIC = b"OPT1"  # raised when the format changes; a peer of another version is refused
MAX_BYTES = 256 * 1024 * 1024
MAX_VALUES = 2**17  # in lists and dicts; 20,000 members have 100,000
DTYPES = frozenset(
    ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
    + ("float16", "float32", "float64")
)
_ARRAY = 1
_BIG_INT = 2


class CodecError(ValueError):
    """A value that cannot be packed, or bytes that cannot be read."""


def _default(value: Any) -> msgpack.ExtType:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray):
        if value.dtype.name not in DTYPES:
            known = ", ".join(sorted(DTYPES))
            raise CodecError(f"cannot pack an array of dtype {value.dtype}; want one of {known}")
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        body = (value.dtype.name, list(value.shape), np.ascontiguousarray(little).tobytes())
        return msgpack.ExtType(_ARRAY, msgpack.packb(body))
    if isinstance(value, int):  # outside 64 bits: MessagePack itself calls us
        return msgpack.ExtType(_BIG_INT, str(value).encode())
    kind = f"{type(value).__module__}.{type(value).__name__}"
    known = "None, bool, int, float, str, bytes, list, tuple, dict with str keys, or a NumPy array"
    raise CodecError(f"cannot pack a {kind}; want {known}")


def _ext_hook(code: int, data: bytes) -> Any:
    if code == _BIG_INT:
        return int(data)
    if code != _ARRAY:
        raise CodecError(f"unknown extension type {code}")
    take = functools.partial(_take, [0])
    dtype, shape, raw = msgpack.unpackb(data, list_hook=take, max_array_len=64, max_map_len=0)
    if dtype not in DTYPES or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise CodecError(f"bad array header: dtype {dtype!r}, shape {shape!r}")
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    if len(raw) != expected:
        raise CodecError(f"array of {dtype}{shape} needs {expected} bytes, got {len(raw)}")
    return np.frombuffer(raw, np.dtype(dtype).newbyteorder("<")).reshape(shape).astype(dtype)


def _check(tree: Any) -> None:
    """Raises `CodecError` for what must not travel though MessagePack could write it."""
    values = 0
    for depth, inner in enumerate(levels(tree), 1):
        keys = (key for each in inner if isinstance(each, dict) for key in each)
        odd = [type(key).__name__ for key in keys if not isinstance(key, str)]
        values += sum(len(each) or 1 for each in inner)
        if odd:
            raise CodecError(f"a dict has a key of type {odd[0]}; want str keys")
        if values > MAX_VALUES:
            raise CodecError(f"{values} values; the limit is {MAX_VALUES}")
        if depth > DEEPEST:
            raise CodecError(f"lists and dicts are nested more than {DEEPEST} deep")


def _take(seen: list[int], container: Any) -> Any:
    """Counts each list and dict while it is read: a message of few bytes may hold many."""
    seen[0] += len(container) or 1
    if seen[0] > MAX_VALUES:
        raise CodecError(f"more than {MAX_VALUES} values")
    return container


def pack(tree: Any) -> bytes:
    """Packs a tree; raises `CodecError` naming what it cannot carry. Tuples come back as lists."""
    try:
        _check(tree)
        body: bytes = msgpack.packb(tree, default=_default, strict_types=False)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError(f"cannot pack: {error}") from None
    if len(body) > MAX_BYTES:
        raise CodecError(f"message of {len(body)} bytes; the limit is {MAX_BYTES}")
    return MAGIC + body


def unpack(data: bytes, most: int = MAX_BYTES) -> Any:
    """Inverse of `pack`; raises `CodecError` on anything that `pack` did not write, and on more
    than `most` bytes, which are not looked into."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise CodecError(f"want bytes, got {type(data).__name__}")
    data = bytes(data)
    if len(data) > most + len(MAGIC):
        raise CodecError(f"message of {len(data)} bytes; the limit is {most}")
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError(f"not a message of this format: starts with {data[:4]!r}, want {MAGIC!r}")
    try:
        take = functools.partial(_take, [0])
        hooks = {"ext_hook": _ext_hook, "list_hook": take, "object_hook": take}
        limits = {"max_array_len": MAX_VALUES, "max_map_len": MAX_VALUES}
        tree = msgpack.unpackb(data[len(MAGIC) :], **hooks, **limits)
        _check(tree)
        return tree
    except CodecError:
        raise
    except Exception as error:  # msgpack raises many types on malformed input
        raise CodecError(f"malformed message: {type(error).__name__}: {error}") from None
