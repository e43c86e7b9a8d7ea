"""Paths and JSON files as people and crashes leave them: each fault is one line that names it."""

import ast
import errno
import json
import os
import pathlib

import pytest

from optimus.errors import LONGEST, ConfigError, UserError, printable
from optimus.files import DEEPEST, parse_json, path_of, read_json, refused

ROOT = pathlib.Path(__file__).resolve().parents[2]
DAMAGED = {
    "empty": b"",
    "half": b'{"a": 1',
    "lists nested deep": b"[" * 100_000,
    "objects nested deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "closed and deep": b"[" * 300 + b"]" * 300,
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": bytes(100),
    "a huge number": b'{"a": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"updates": 5, "updates": 80}',
    "a key twice, deeper": b'{"a": [{"b": 1, "b": 1}]}',
    "two values": b"{} {}",
}


def one_line(error):
    text = str(error.value)
    assert text.isprintable() and len(text) <= LONGEST + 10
    return text


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, case):
    path = tmp_path / "some.json"
    path.write_bytes(DAMAGED[case])
    with pytest.raises(ConfigError) as error:
        read_json(path)
    assert one_line(error).startswith(f"{path} is not JSON: ")
    with pytest.raises(ValueError):
        parse_json(DAMAGED[case])


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        read_json(tmp_path / "nothing.json")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        read_json(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot read .*: File name too long"):
        read_json(tmp_path / ("x" * 300))
    (tmp_path / "large.json").write_bytes(b" " * 100)
    with pytest.raises(ConfigError, match=r"large\.json is larger than"):
        read_json(tmp_path / "large.json", largest=99)


def test_what_is_right_is_read(tmp_path):
    value = {"name": "größe", "a": [1, -2.5, None, True], "b": {"c": {}}, "n": 10**999}
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(value).encode())
    assert read_json(tmp_path / "a.json") == value
    nested = "[" * DEEPEST + "]" * DEEPEST
    assert json.dumps(parse_json(nested)) == nested
    assert parse_json('["' + "[" * 200 + '"]') == ["[" * 200]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "got nothing, want a path"),
        ("x" * 256, "a part has 256 bytes, want at most 255"),
        (f"runs/{'é' * 128}/config.json", "a part has 256 bytes"),
        ("x/" * 2000, "4000 bytes, want at most"),
        ("a\0b", "no file can have a NUL in its name"),
        ("\ud800", "no file can have this name"),
    ],
)
def test_a_path_that_no_file_can_have_is_one_line(text, words):
    with pytest.raises(ConfigError) as error:
        path_of(text, "--out")
    assert one_line(error).startswith("--out") and words in str(error.value)
    assert error.value.exit_code == 2


def test_links_in_a_circle_are_one_line(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    try:
        (tmp_path / "a").resolve()
    except RuntimeError:  # before Python 3.13
        with pytest.raises(ConfigError, match=r"^path '.*a': "):
            path_of(tmp_path / "a")


def test_a_path_that_a_file_can_have_is_taken_as_it_is(tmp_path):
    for text in ("a", "a b", "größe", "x" * 255, os.fsdecode(b"\xff"), "a\nb"):
        (tmp_path / text).mkdir()
        assert path_of(tmp_path / text).is_dir()
    assert path_of("runs/größe") == pathlib.Path("runs/größe")


def test_a_message_is_one_line_whatever_is_in_it():
    error = UserError("\x1b[31mred\r\n\u202ebackwards\udcff and \u2028 more")
    assert str(error) == r"\x1b[31mred\r\n\u202ebackwards\udcff and \u2028 more"
    assert str(UserError("x" * 10**6)).startswith("xxx") and len(str(UserError("x" * 10**6))) < 5000
    assert printable("a\tb\nc\x1b") == "a\tb\nc\\x1b"


# Text is UTF-8 whatever the locale: https://peps.python.org/pep-0597/ is of the same opinion.


def unspecified(tree):
    """Line numbers of calls that read or write text in the locale's encoding."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        keywords = {word.arg: word.value for word in node.keywords}
        if "encoding" in keywords or "errors" in keywords:
            continue
        plain_open = name == "open" and isinstance(function, ast.Name)
        if plain_open or name == "fdopen":
            mode = node.args[1] if len(node.args) > 1 else keywords.get("mode")
            if not (isinstance(mode, ast.Constant) and "b" in str(mode.value)):
                yield node.lineno
        elif name in ("read_text", "write_text") or (
            name in ("run", "Popen") and "text" in keywords
        ):
            yield node.lineno


@pytest.mark.parametrize("package", ["optimus", "workers", "learner", "launch"])
def test_text_is_utf_8_whatever_the_locale(package):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in unspecified(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found, "give encoding='utf-8'"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="it is no ordinary file"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EBUSY, 2), (errno.EEXIST, 2), (errno.ENOSPC, 1), (errno.EIO, 1)]
)
def test_a_wrong_path_is_2_and_a_full_disk_1(number, code):
    error = refused(pathlib.Path("out"), OSError(number, os.strerror(number)))
    assert error.exit_code == code and str(error).startswith("cannot write out: ")
