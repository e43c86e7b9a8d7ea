"""Pickles of arrays are read; whatever else a pickle wants to call is refused before it runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from workers.physics.formats import FormatError, safe_pickle

VALUES = {
    "floats": np.arange(12.0).reshape(3, 4),
    "single": np.float32([[1, 2]]),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big": np.arange(3, dtype=">f8"),
    "empty": np.zeros((0, 3)),
    "flags": np.array([True, False]),
    "texts": np.array(["a", "bc"]),
    "scalar": np.float64(2.5),
    "list": [1, "x", (2.0, None)],
    "nested": {"S9": {"a": np.ones(2)}},
    "view": np.arange(10)[::3],
}


def assert_same(a, b):
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            assert_same(a[key], b[key])
    else:
        np.testing.assert_array_equal(np.asarray(a, object), np.asarray(b, object))
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol(protocol):
    for name, value in VALUES.items():
        assert_same(safe_pickle.loads(pickle.dumps(value, protocol), name), value)


def test_names_since_numpy_2():
    data = pickle.dumps(VALUES["floats"], 2)
    for old in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        other = data.replace(b"numpy.core.multiarray", old).replace(b"numpy._core.multiarray", old)
        assert_same(safe_pickle.loads(other, "x"), VALUES["floats"])


class Call:
    """A pickle that calls a function when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda evil: evil,
        lambda evil: {"keypoints3d": [evil]},
        lambda evil: np.array([evil, 1], object),
    ],
)
def test_code_does_not_run(wrap, protocol, tmp_path):
    trace = tmp_path / "was-here"
    for evil, named in (
        (Call(os.system, f"touch {trace}"), "posix.system"),
        (Call(eval, f"open({str(trace)!r}, 'w')"), "builtins"),
        (Call(np.savez, str(trace)), "numpy"),
    ):
        path = tmp_path / "bad.pkl"
        path.write_bytes(pickle.dumps(wrap(evil), protocol))
        with pytest.raises(
            FormatError, match="which is no part of a NumPy array; nothing was run"
        ) as caught:
            safe_pickle.load(path)
        message = str(caught.value)
        assert str(path) in message and "\n" not in message
        assert named in message or "__builtin__" in message
        assert list(tmp_path.iterdir()) == [path]


def test_code_inside_npz_does_not_run(tmp_path):
    trace, path = tmp_path / "was-here", tmp_path / "bad.npz"
    np.savez(path, positions_3d=np.array({"S9": Call(os.system, f"touch {trace}")}, object))
    with pytest.raises(FormatError, match=r"positions_3d: names posix.system"):
        safe_pickle.read_npz(path, "positions_3d")
    assert not trace.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cnumpy\nndarray\n(tR.",  # call ndarray
        b"cnumpy.core.multiarray\n_reconstruct\n}(S'__call__'\nNdb.",  # change a function
        b"cnumpy.core.multiarray\n_reconstruct\n(N}S'x'\nNsdtb.",  # ... through slots
        b"cnumpy.core.multiarray\n_reconstruct\n.",  # a function as the result
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR.",  # no contents
        b"Pother\n.",
        b"",
        b"garbage",
        pickle.dumps(np.arange(9.0))[:-20],
    ],
)
def test_damaged_pickles(program):
    with pytest.raises(FormatError, match=r"^file\.pkl: ") as caught:
        safe_pickle.loads(program, "file.pkl")
    assert "\n" not in str(caught.value)


def test_shape_that_does_not_fit():
    data = pickle.dumps(np.arange(6.0).reshape(2, 3), 2).replace(b"K\x02K\x03", b"K\x02K\x09")
    with pytest.raises(FormatError, match=r"an array of 6 entries that says its shape is \(2, 9\)"):
        safe_pickle.loads(data, "x")


def test_npz_members(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(
        path,
        plain=np.arange(6).reshape(2, 3),
        fortran=np.asfortranarray(np.eye(2)),
        packed=np.array(VALUES["nested"], object),
    )
    np.testing.assert_array_equal(safe_pickle.read_npz(path, "plain"), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(safe_pickle.read_npz(path, "fortran"), np.eye(2))
    assert_same(safe_pickle.read_npz(path, "packed"), VALUES["nested"])
    with pytest.raises(FormatError, match="no array 'other'; there are: plain, fortran, packed"):
        safe_pickle.read_npz(path, "other")


def test_damaged_npz(tmp_path):
    path = tmp_path / "data.npz"
    path.write_bytes(b"PK no zip")
    with pytest.raises(FormatError, match=r"not a complete \.npz"):
        safe_pickle.read_npz(path, "x")
    with pytest.raises(FormatError, match="cannot be read"):
        safe_pickle.read_npz(tmp_path / "nowhere.npz", "x")
    array = io.BytesIO()
    np.save(array, np.arange(4.0))
    for cut, message in ((-8, "truncated, 24 bytes"), (20, "not a complete array")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", array.getvalue()[:cut])
        with pytest.raises(FormatError, match=message):
            safe_pickle.read_npz(path, "x")
