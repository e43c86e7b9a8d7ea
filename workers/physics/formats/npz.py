"""Reads .npz files, those with pickled dictionaries inside included, without running code."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from workers.physics.formats import safe_pickle
from workers.physics.formats.errors import FormatError


def read_member(path: str | Path, name: str) -> Any:
    """Array `name` of an .npz; of a 0-dimensional object array what it holds.

    FormatError when file or member is missing, damaged, or names code.
    """
    where = f"{path}: {name}"
    try:
        with zipfile.ZipFile(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                there = ", ".join(n.removesuffix(".npy") for n in archive.namelist())
                raise FormatError(f"{path}: no array {name!r}; there are: {there or 'none'}")
            with archive.open(f"{name}.npy") as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
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
        array = safe_pickle.loads(data, where)
        return array[()] if isinstance(array, np.ndarray) and array.ndim == 0 else array
    if len(data) != dtype.itemsize * int(np.prod(shape)):
        raise FormatError(f"{where}: truncated, {len(data)} bytes for shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
