"""The byte codec and the messages: what travels, and what is refused and why."""

import dataclasses
import math
import re
import time

import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from optimus.wire import (
    MAX_SAMPLE_BYTES,
    CodecError,
    LossReply,
    LossRequest,
    Sample,
    Session,
    check_sample,
    codec,
    decode,
    encode,
    pack,
    unpack,
)

few = settings(max_examples=60, deadline=None)


def bits(array):
    return array.dtype, array.shape, array.tobytes()


# ------------------------------------------------------------------------------------------ arrays


@pytest.mark.parametrize("dtype", sorted(codec.DTYPES))
@few
@given(data=st.data())
def test_arrays_come_back_bit_for_bit(dtype, data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    array = data.draw(hnp.arrays(dtype, shape))
    assert bits(unpack(pack(array))) == bits(array)


def test_the_dtypes_are_those_the_system_uses():
    assert {"bool", "uint64", "int64", "float32", "float64"} <= codec.DTYPES


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0,), np.float32),
        np.zeros((3, 0, 2), np.int8),
        np.array(0.1),
        np.array([np.nan, np.inf, -np.inf, -0.0]),
        np.array([2**64 - 1], np.uint64),
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.arange(12).reshape(3, 4).T,
        np.arange(5)[::-1],
    ],
    ids=["empty", "empty 3-d", "0-d", "nonfinite", "uint64", "strided", "transposed", "reversed"],
)
def test_odd_arrays_come_back(array):
    back = unpack(pack(array))
    assert bits(back) == bits(np.array(array, order="C"))


def test_big_endian_arrays_come_back_native_with_their_values():
    array = np.array([1.5, -2.0, 1e300], ">f8")
    back = unpack(pack(array))
    assert back.dtype == np.dtype(np.float64) and back.dtype.isnative
    np.testing.assert_array_equal(back, array)


def test_arrays_come_back_writable():
    back = unpack(pack(np.zeros(3)))
    back[0] = 1.0
    assert back.tolist() == [1.0, 0.0, 0.0]


def test_numpy_scalars_keep_their_value():
    tree = unpack(pack({"a": np.float32(0.1), "b": np.bool_(True), "c": np.int64(-3)}))
    assert tree["a"] == np.float32(0.1) and tree["a"].dtype == np.float32
    assert tree["b"] == True and tree["c"] == -3  # noqa: E712 - 0-d arrays


# ------------------------------------------------------------------------------------------- trees

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@few
@given(trees)
def test_nested_trees_come_back(tree):
    assert unpack(pack(tree)) == tree


def test_arrays_inside_trees_and_tuples_as_lists():
    back = unpack(pack({"x": [np.arange(3), {"y": (1, 2.0, "z")}]}))
    assert back["x"][0].tolist() == [0, 1, 2]
    assert back["x"][1] == {"y": [1, 2.0, "z"]}


@pytest.mark.parametrize("value", [2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, -(10**40)])
def test_integers_of_any_size_come_back(value):
    back = unpack(pack([value]))
    assert back == [value] and type(back[0]) is int


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_floats_come_back(value):
    assert unpack(pack(value)) == value
    assert math.isnan(unpack(pack(math.nan)))


# ---------------------------------------------------------------------------------------- refusals


class Opaque:
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.array([Opaque()], object), "dtype object"),
        (np.zeros(2, np.complex64), "dtype complex64"),
        (np.array(["a"]), "dtype <U1"),
        (np.zeros(1, "datetime64[s]"), "dtype datetime64"),
        (np.zeros(1, [("a", np.int8)]), "dtype [('a', 'i1')]"),
        (np.complex128(1j), "dtype complex128"),
        (jnp.zeros(3), "ArrayImpl"),
        ({1, 2}, "builtins.set"),
        (1j, "builtins.complex"),
        (Opaque(), "Opaque"),
        (dataclasses.make_dataclass("Point", ["x"])(1), "Point"),
        (len, "builtin_function_or_method"),
    ],
)
def test_what_cannot_travel_is_refused_by_type(value, named):
    for tree in (value, [value], {"a": {"b": (1, value)}}):
        with pytest.raises(CodecError, match="cannot pack") as caught:
            pack(tree)
        assert named in str(caught.value) and "want" in str(caught.value)


def nested(levels):
    tree = 0
    for _ in range(levels):
        tree = [tree]
    return tree


def array_of(count, item):
    return b"\xdd" + count.to_bytes(4, "big") + item * count


@pytest.mark.parametrize("item", [b"\x80", b"\x90", b"\x01"], ids=["maps", "lists", "numbers"])
def test_few_bytes_do_not_become_many_objects(item):
    """15 MiB of one-byte maps took 10 s and 1 GiB before anything was looked at."""
    million = 2**20
    hidden = array_of(60, array_of(60, array_of(60, array_of(60, item))))
    for body in (
        array_of(15 * million, item),
        array_of(240, array_of(2**16, item)),
        msgpack.packb(msgpack.ExtType(1, array_of(million, item))),
        msgpack.packb(msgpack.ExtType(1, hidden)),
        (b"\xdf" + (2**17).to_bytes(4, "big") + b"\xa0\x80" * 2**17) * 50,  # one key all along
        array_of(codec.MAX_VALUES, b"")[:5] * 1000,  # claims, each of which allocates
    ):
        began = time.process_time()
        with pytest.raises(CodecError, match=r"more than 131072 values|exceeds|malformed"):
            unpack(codec.MAGIC + body)
        assert time.process_time() - began < 1.0
    assert len(unpack(pack([0] * codec.MAX_VALUES))) == codec.MAX_VALUES
    with pytest.raises(CodecError, match="131073 values; the limit is 131072"):
        pack([0] * (codec.MAX_VALUES + 1))


def test_what_is_nested_deeply_is_refused_on_both_sides():
    assert unpack(pack(nested(64))) == nested(64)
    for tree in (nested(65), nested(5000), {"a": nested(64)}):
        with pytest.raises(CodecError, match="more than 64 deep"):
            pack(tree)
    for levels in (65, 500, 5000):
        with pytest.raises(CodecError, match=r"more than 64 deep|malformed"):
            unpack(codec.MAGIC + b"\x91" * levels + b"\x00")


@pytest.mark.parametrize("key", [1, 2.0, b"bytes", None, (1, 2)])
def test_keys_that_are_not_strings_are_refused_before_they_travel(key):
    for tree in ({key: 1}, [{"a": {key: 1}}]):
        with pytest.raises(CodecError, match=f"key of type {type(key).__name__}; want str keys"):
            pack(tree)


def test_keys_that_are_not_strings_are_refused_on_arrival():
    with pytest.raises(CodecError, match="malformed message"):
        unpack(codec.MAGIC + msgpack.packb({1: 2}))


def test_a_tree_that_contains_itself_is_refused():
    tree = []
    tree.append(tree)
    with pytest.raises(CodecError, match="nested more than 64 deep"):
        pack(tree)


def test_a_message_over_the_limit_is_refused_on_both_sides(monkeypatch):
    data = pack(b"x" * 200)
    monkeypatch.setattr(codec, "MAX_BYTES", 100)
    with pytest.raises(CodecError, match="the limit is 100"):
        pack(b"x" * 200)
    with pytest.raises(CodecError, match="the limit is 100"):
        unpack(data, 100)


def test_another_format_is_refused_by_its_first_bytes():
    with pytest.raises(CodecError, match=r"starts with b'OPT0', want b'OPT1'"):
        unpack(b"OPT0" + pack(1)[4:])
    with pytest.raises(CodecError, match=r"starts with b''"):
        unpack(b"")


@pytest.mark.parametrize("value", ["text", 3, None, [1], np.zeros(3)])
def test_only_bytes_are_read(value):
    with pytest.raises(CodecError, match=f"want bytes, got {type(value).__name__}"):
        unpack(value)


def test_any_buffer_of_bytes_is_read():
    data = pack([1])
    assert unpack(bytearray(data)) == unpack(memoryview(data)) == [1]


def test_every_truncation_is_refused():
    data = pack({"x": np.arange(5.0), "n": 2**80, "s": "text"})
    for length in range(len(data)):
        with pytest.raises(CodecError):
            unpack(data[:length])
    with pytest.raises(CodecError):
        unpack(data + b"\0")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_raises_nothing_but_codec_errors(body):
    for data in (body, codec.MAGIC + body):
        try:
            unpack(data)
        except CodecError:
            continue
        assert data.startswith(codec.MAGIC)


def array_bytes(dtype, shape, raw):
    return codec.MAGIC + msgpack.packb(msgpack.ExtType(1, msgpack.packb((dtype, shape, raw))))


@pytest.mark.parametrize(
    ("dtype", "shape", "raw", "message"),
    [
        ("float32", [2], b"1234567", "needs 8 bytes, got 7"),
        ("float32", [2], b"123456789", "needs 8 bytes, got 9"),
        ("float64", [], b"", "needs 8 bytes, got 0"),
        ("float32", [-1], b"1234", "bad array header"),
        ("float32", [1.0], b"1234", "bad array header"),
        ("object", [1], b"12345678", "bad array header: dtype 'object'"),
        ("complex64", [1], b"12345678", "bad array header"),
        ("float32", [2**32, 2**32], b"", "needs 73786976294838206464 bytes, got 0"),
        ("float32", [0, 2**63], b"", "malformed"),
        (["float32"], [1], b"1234", "malformed"),
        ("float32", 1, b"1234", "malformed"),
        ("uint8", [2], "ab", "malformed"),
    ],
)
def test_a_forged_array_is_refused(dtype, shape, raw, message):
    with pytest.raises(CodecError, match=message):
        unpack(array_bytes(dtype, shape, raw))


def test_an_unknown_extension_is_refused():
    with pytest.raises(CodecError, match="unknown extension type 9"):
        unpack(codec.MAGIC + msgpack.packb(msgpack.ExtType(9, b"")))


# ---------------------------------------------------------------------------------------- messages


def sample(**changes):
    values = dict(
        run_id="0123456789ab",
        actor=0,
        incarnation="ba9876543210",
        episode=7,
        window=1,
        versions=[[1, 0], [1, 1]],
        losses=np.array([[0.5, -1.0], [0.25, np.nan]], np.float32),
        mask=np.array([True, False]),
        last=False,
        failed=True,
        evaluations=4,
        seconds=0.5,
        noise_checksum=2**32 - 1,
    )
    return Sample(**{**values, **changes})


MESSAGES = [
    LossRequest(3, 12.5, "physics", "abc", 7, b"walk", np.arange(3.0)),
    LossReply(3, "ok", 1.5, np.arange(3.0), 0.1),
    LossReply(3, "error", message="clip 'wlak' is unknown"),
    sample(),
    Session("0123456789ab", "fedc", [2, 40], 2**63),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_come_back(message):
    back = decode(type(message), encode(message))
    for field in dataclasses.fields(message):
        sent, received = getattr(message, field.name), getattr(back, field.name)
        assert type(received) is type(sent), field.name
        np.testing.assert_array_equal(received, sent, err_msg=field.name)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_missing_and_extra_fields_are_refused(message):
    tree = unpack(encode(message))
    for wrong in ({**tree, "extra": 1}, dict(list(tree.items())[1:]), {}, [1], None):
        with pytest.raises(CodecError, match=f"not a {type(message).__name__}: fields"):
            decode(type(message), pack(wrong))


def test_field_names_of_any_kind_are_only_an_error():
    with pytest.raises(CodecError, match="key of type bytes; want str keys"):
        decode(Session, codec.MAGIC + msgpack.packb({b"a": 1, "b": 2}))


def test_one_message_is_not_taken_for_another():
    with pytest.raises(CodecError, match="not a Sample"):
        decode(Sample, encode(MESSAGES[0]))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("episode", "7", r"Sample.episode: got str, want int"),
        ("episode", 7.0, r"Sample.episode: got float, want int"),
        ("episode", True, r"Sample.episode: got bool, want int"),
        ("seconds", "fast", r"Sample.seconds: got str, want float"),
        ("seconds", True, r"Sample.seconds: got bool, want float"),
        ("last", 1, r"Sample.last: got int, want bool"),
        ("versions", {"a": 1}, r"Sample.versions: got dict, want list"),
        ("losses", [[1.0], [2.0]], r"Sample.losses: got list, want ndarray"),
        ("run_id", None, r"Sample.run_id: got NoneType, want str"),
        ("mask", b"11", r"Sample.mask: got bytes, want ndarray"),
    ],
)
def test_a_wrongly_typed_field_is_refused_by_name(field, value, message):
    tree = {**unpack(encode(sample())), field: value}
    with pytest.raises(CodecError, match=message):
        decode(Sample, pack(tree))


@pytest.mark.parametrize("status", ["great", 3, ["ok"], np.zeros(2)])
def test_a_named_choice_must_be_one_of_its_names(status):
    tree = {**unpack(encode(LossReply(3, "ok"))), "status": status}
    with pytest.raises(CodecError, match=r"LossReply.status: got .* want one of 'ok', 'nonfin"):
        decode(LossReply, pack(tree))


def test_an_integer_may_stand_for_a_float():
    assert decode(Sample, encode(sample(seconds=2))).seconds == 2


def test_the_largest_sample_stays_under_the_bound():
    big = 2**64 - 1
    largest = sample(
        actor=big,
        episode=big,
        window=9,
        versions=[[big, big]] * 10,
        losses=np.full((2, 5), np.nan, np.float32),
        mask=np.zeros(5, bool),
        evaluations=big,
        seconds=1e300,
    )
    assert check_sample(largest, truncation=5, windows=10) is None
    assert len(encode(largest)) <= MAX_SAMPLE_BYTES == 2048


def test_a_sample_of_the_run_is_fine():
    assert check_sample(sample(), truncation=2, windows=3) is None
    assert check_sample(sample(episode=2**64 - 1), truncation=2, windows=2) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": "es/2"}, "schema 'es/2', want 'es/1'"),
        ({"losses": np.zeros((2, 3), np.float32)}, r"losses float32\(2, 3\), want float32\(2, 2\)"),
        ({"losses": np.zeros(2, np.float32)}, r"losses float32\(2,\)"),
        ({"losses": np.zeros((2, 2))}, r"losses float64\(2, 2\)"),
        ({"mask": np.ones(3, bool)}, r"mask bool\(3,\)"),
        ({"mask": np.ones(2, np.int8)}, r"mask int8\(2,\)"),
        ({"window": 3, "versions": [[1, 0]] * 4}, "window 3 of episode 7: out of range"),
        ({"window": -1, "versions": []}, "window -1 of episode 7: out of range"),
        ({"episode": -1}, "episode -1: out of range"),
        ({"episode": 2**64}, "episode 18446744073709551616: out of range"),
        ({"versions": [[1, 0]]}, "1 versions for window 1"),
        ({"versions": [[1, 0], [1]]}, r"version \[1\], want \[epoch, step\]"),
        ({"versions": [[1, 0], 5]}, "version 5, want"),
        ({"versions": [[1, 0], "ab"]}, "version 'ab', want"),
        ({"versions": [[1, 0], [1, "1"]]}, r"version \[1, '1'\], want"),
        ({"versions": [[True, 0], [1, 1]]}, r"version \[True, 0\], want"),
    ],
)
def test_a_malformed_sample_is_explained(changes, reason):
    arrived = decode(Sample, encode(sample(**changes)))
    found = check_sample(arrived, truncation=2, windows=3)
    assert found is not None and re.search(reason, found), found
