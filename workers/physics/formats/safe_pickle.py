"""Reads pickles of NumPy arrays, and .npz files with pickles inside, without running their code.

A pickle may name any callable of any module, and loading it calls it. Here the few names that
NumPy arrays need lead to functions of this file, which check their arguments and build arrays from
the bytes themselves; every other name is refused before anything is called.
"""

import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from workers.physics.formats import FormatError, read_bytes, want

_CODE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU]\d{1,6}|O8?)")


class _Named(NamedTuple):
    """What a pickle gets for a name: it can be called, and nothing changes a tuple."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


class _Dtype:
    """A dtype in the making: its code now, its byte order by BUILD."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any) -> None:
        known = isinstance(code, str) and _CODE.fullmatch(code)
        want(known, f"holds an array of dtype {code!r}")
        self.code = code.lstrip("<>|=")
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        order: Any = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        want(order in ("<", ">", "|", "="), "holds a damaged dtype")
        self.order = order

    def dtype(self) -> np.dtype:
        return np.dtype(("" if self.order == "|" else self.order) + self.code)


class _Array:
    """An array in the making; `value` after BUILD."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        want(isinstance(state, tuple) and len(state) == 5, "holds a damaged array")
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    whole = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
    objects = isinstance(dtype, _Dtype) and dtype.code.startswith("O")
    sound = isinstance(dtype, _Dtype) and whole and order in ("C", "F")
    sound = sound and isinstance(data, list if objects else bytes | bytearray)
    want(sound, "holds a damaged array")
    if objects:
        flat = np.empty(len(data), object)
        flat[:] = [_plain(each) for each in data]
    else:
        flat = np.frombuffer(bytes(data), dtype.dtype())
    fits = flat.size == int(np.prod(shape, dtype=object))
    want(fits, f"holds an array of {flat.size} entries that says its shape is {shape}")
    return flat.reshape(shape, order=order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return _array(data, dtype, (), "C")[()]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocol 2 spells bytes."""
    known = isinstance(text, str) and encoding == "latin1"
    want(known, "holds text in another encoding")
    return text.encode("latin1")


def _no_bytes(*arguments: Any) -> bytes:
    """How protocols 0 to 2 spell b""."""
    want(not arguments, "makes bytes in an unknown way")
    return b""


def _refuse(*_: Any) -> Any:
    raise FormatError("makes an array in an unknown way")


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _refuse,  # only ever an argument of _reconstruct
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    ("builtins", "bytes"): _no_bytes,
}
for _package in ("numpy.core", "numpy._core"):  # before and since NumPy 2
    _NAMES[_package + ".multiarray", "_reconstruct"] = lambda *_: _Array()
    _NAMES[_package + ".multiarray", "scalar"] = _scalar
    _NAMES[_package + ".numeric", "_frombuffer"] = _array


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        what = f"{module}.{name}, which is no part of a NumPy array"
        want((module, name) in _NAMES, f"names {what}; nothing was run")
        return _Named(_NAMES[module, name])

    def persistent_load(self, pid: Any) -> Any:
        raise FormatError("refers to another file")


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        want(value.value is not None, "holds an array without contents")
        return value.value
    want(not isinstance(value, _Dtype | _Named), "holds something that is no array")
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(each) for each in value)
    return value


def loads(data: bytes, where: str | Path) -> Any:
    """The numbers, texts, lists, dicts and arrays of a pickle; FormatError for all else."""
    try:
        return _plain(_Unpickler(io.BytesIO(data)).load())
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except Exception as error:  # a damaged pickle fails in many ways
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise FormatError(f"{where}: not a complete pickle ({reason})") from None


def load(path: str | Path) -> Any:
    """As `loads`, of a file."""
    return loads(read_bytes(path), path)


def read_npz(path: str | Path, name: str) -> Any:
    """Array `name` of an .npz; of a 0-dimensional object array what it holds.

    FormatError when file or member is missing, damaged, or names code.
    """
    where = f"{path}: {name}"
    try:
        with zipfile.ZipFile(path) as archive:
            there = [each.removesuffix(".npy") for each in archive.namelist()]
            known = f"there are: {', '.join(there) or 'none'}"
            want(name in there, f"{path}: no array {name!r}; {known}")
            with archive.open(f"{name}.npy") as file:
                read = np.lib.format.read_array_header_2_0
                if np.lib.format.read_magic(file) == (1, 0):
                    read = np.lib.format.read_array_header_1_0
                shape, fortran, dtype = read(file)
                data = file.read()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise FormatError(f"{path}: not a complete .npz ({error})") from None
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{where}: not a complete array ({error})") from None
    if dtype.hasobject:
        array = loads(data, where)
        return array[()] if isinstance(array, np.ndarray) and array.ndim == 0 else array
    fits = len(data) == dtype.itemsize * int(np.prod(shape))
    want(fits, f"{where}: truncated, {len(data)} bytes for shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
