#!/bin/sh
# Makes requirements/*.txt from requirements/*.in: exact versions with hashes, no index address. Versions already in a
# .txt are kept where they still fit; pass --upgrade to take the newest. Needs uv.
set -eu
cd "$(dirname -- "$0")/../requirements"
command -v uv >/dev/null 2>&1 || { echo 'lock: error: uv is not installed; see its documentation, or pip install uv' >&2; exit 1; }

lock() {
    uv pip compile -q --generate-hashes --no-strip-extras --only-binary :all: \
        --no-header --no-emit-index-url --no-emit-build-options "$@"
}
# Stack S: one Python, one platform. The others: one file with markers for CPython 3.11 and newer.
lock "$@" --python-version 3.10 --python-platform x86_64-manylinux_2_28 stack.in -o stack.txt
lock "$@" --python-version 3.10 --python-platform x86_64-manylinux_2_28 -c stack.txt hosts.in -o hosts.txt
lock "$@" --python-version 3.11 --universal base.in -o base.txt
lock "$@" --python-version 3.10 --universal installer.in -o installer.txt
lock "$@" --python-version 3.10 --python-platform x86_64-manylinux_2_28 wheel.in -o wheel.txt
lock "$@" --python-version 3.10 --universal docs.in -o docs.txt
