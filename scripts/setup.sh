#!/bin/sh
# Makes .venv with everything pinned, then installs the project itself in place. Idempotent: a second call costs a
# fraction of a second unless a requirement file, setup.cfg, the interpreter or the folder's place has changed.
#
#   scripts/setup.sh                  CPython 3.10 with the distributed stack; else CPython >= 3.11, in process only
#   PYTHON=python3.12 scripts/setup.sh    choose the interpreter (3.10: stack; 3.11 and newer: base); kept for later
#                                     calls without PYTHON, until `make clean`
#   scripts/setup.sh newest           makes .venv-newest instead, CPython >= 3.12 with the newest JAX, beside .venv; ends
#                                     with 3 and one line where there is no such interpreter
#   scripts/setup.sh docs             makes .venv-docs instead, what builds the documentation, with any CPython >= 3.10
#
# .venv/environment then says `stack` (requirements/stack.txt) or `base` (requirements/base.txt).
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$ROOT"
# What a user's shell may carry and would leak into the new environment.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV 2>/dev/null || true

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
case "${1:-}" in
    '') VENV=$ROOT/.venv ;;
    newest) VENV=$ROOT/.venv-newest ;;
    docs) VENV=$ROOT/.venv-docs ;;
    *) fail "unknown argument $1; want none, newest or docs" ;;
esac
NAME=${VENV##*/}

have() { command -v "$1" >/dev/null 2>&1; }
have_uv() { uv --version >/dev/null 2>&1; }  # a shim of a version manager may be there and not work

# ---------------------------------------------------------------------------------------------- interpreters

# Prints the real path of interpreter $1 if it is a working CPython of version $2, where $2 is an expression over `v`
# (major, minor); follows pyenv's shims and virtual environments to the interpreter behind them.
cpython() {
    "$1" -I -c "
import os, sys
v = sys.version_info[:2]
if sys.implementation.name != 'cpython' or not ($2):
    sys.exit(1)
real = os.path.join(sys.base_prefix, 'bin', 'python%d.%d' % v)
print(real if os.path.exists(real) else sys.executable)" 2>/dev/null
}

# True if interpreter $1 was built with a shared libpython and the library is really there (Courier links to it).
has_libpython() {
    "$1" -I -c "
import os, sys, sysconfig
name = sysconfig.get_config_var('INSTSONAME') or ''
folders = (sysconfig.get_config_var('LIBDIR') or '', os.path.join(sys.base_prefix, 'lib'))
sys.exit(not ('.so' in name and any(os.path.exists(os.path.join(f, name)) for f in folders)))" 2>/dev/null
}

# True if a virtual environment can be made with $1 (Debian splits ensurepip off).
can_venv() { have_uv || "$1" -I -c 'import ensurepip, venv' 2>/dev/null; }

pyenv_versions() {
    root=${PYENV_ROOT:-}
    if [ -z "$root" ] && have pyenv; then root=$(pyenv root 2>/dev/null || true); fi
    root=${root:-${HOME:-}/.pyenv}
    printf '%s\n' "$root"/versions/"$1"*/bin/python"$1" | sort -rV
}

# Every interpreter of minor version $1 that might exist, one a line, the likeliest first.
candidates() {
    command -v "python$1" 2>/dev/null || true
    pyenv_versions "$1"
    if have_uv; then uv python find --no-python-downloads --no-project "$1" 2>/dev/null || true; fi
}

# Prints the first CPython of minor version $1 that can serve; $2 = shared if it needs libpython.
find_minor() {
    candidates "$1" | while IFS= read -r candidate; do
        real=$(cpython "$candidate" "v == (${1%%.*}, ${1#*.})") || continue
        can_venv "$real" || continue
        if [ "$2" = shared ] && ! has_libpython "$real"; then continue; fi
        printf '%s\n' "$real"
        break
    done
}

stack_platform() { [ "$(uname -s)" = Linux ] && [ "$(uname -m)" = x86_64 ]; }

choose_newest() {  # sets PY and KIND
    KIND=base
    CHOSEN=''
    PY=''
    for minor in 3.13 3.12 3.14; do
        PY=$(find_minor "$minor" any)
        [ -z "$PY" ] || return 0
    done
    say 'no CPython 3.12 or newer was found (pyenv install 3.12, or uv python install 3.12)'
    exit 3
}

choose_docs() {  # sets PY and KIND
    KIND=docs
    CHOSEN=''
    PY=''
    for minor in 3.10 3.12 3.13 3.11 3.14; do
        PY=$(find_minor "$minor" any)
        [ -z "$PY" ] || return 0
    done
    fail 'no usable CPython 3.10 or newer was found (uv python install 3.10, or pyenv install 3.10)'
}

WITHOUT=''  # why there is no distributed run, when there is none
choose() {  # sets PY and KIND
    CHOSEN=${PYTHON:-$(cat "$VENV/.chosen" 2>/dev/null || true)}
    if [ -z "${PYTHON:-}" ] && [ -n "$CHOSEN" ] && ! have "$CHOSEN"; then CHOSEN=''; fi  # it was removed since
    if [ -n "$CHOSEN" ]; then
        have "$CHOSEN" || fail "PYTHON=$CHOSEN is no program; give the path of a CPython 3.10 or newer"
        PY=$(cpython "$CHOSEN" 'v >= (3, 10)') || fail "PYTHON=$CHOSEN is no working CPython 3.10 or newer"
        can_venv "$PY" || fail "$PY has no ensurepip; install python3-venv (Debian) or choose another PYTHON"
        KIND=base
        if cpython "$PY" 'v == (3, 10)' >/dev/null; then
            stack_platform || fail "CPython 3.10 is for the distributed stack (Linux x86_64); here use CPython >= 3.11"
            has_libpython "$PY" || fail "$PY has no shared libpython; use a CPython 3.10 built with --enable-shared, or CPython >= 3.11"
            KIND=stack
        else
            WITHOUT="PYTHON=$CHOSEN was chosen; make clean forgets that"
        fi
        return
    fi
    KIND=stack
    PY=''
    if stack_platform; then
        PY=$(find_minor 3.10 shared)
        if [ -z "$PY" ] && [ "$(cat "$VENV/environment" 2>/dev/null)" != base ] && have_uv; then
            say 'no CPython 3.10 here; asking uv for one'
            uv python install -q 3.10 >/dev/null 2>&1 || true
            PY=$(find_minor 3.10 shared)
        fi
        WITHOUT='none was found'
    else
        WITHOUT="and Linux x86_64; this is $(uname -s) $(uname -m)"
    fi
    if [ -z "$PY" ]; then
        KIND=base
        for minor in 3.12 3.13 3.11 3.14; do
            PY=$(find_minor "$minor" any)
            [ -z "$PY" ] || break
        done
    fi
    [ -n "$PY" ] || fail 'no usable CPython found; install 3.10 (uv python install 3.10, or PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.10), or any CPython >= 3.11 with its venv module (Debian: apt-get install python3-venv)'
}

# ---------------------------------------------------------------------------------------------- installation

hash_of() { cat "$@" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c1-64; }

# uv installs in a sixth of pip's time, so it is brought where it is missing. pip's settings (index, certificates,
# proxies) are the user's and uv does not read them all: where uv fails, pip installs the same file.
# --no-deps: the file is complete, and there is nothing to resolve.
UV=''
bring_uv() {  # sets UV, or leaves it empty
    if have_uv; then UV=uv; return; fi
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes \
        -r requirements/installer.txt >/dev/null 2>&1 && UV=$VENV/bin/uv || say 'no uv could be had; pip installs (slower)'
}

install_pins() {
    bring_uv
    if [ -n "$UV" ]; then
        if "$UV" pip install -q --python "$VENV/bin/python" --no-deps --require-hashes -r "$1" 2>/dev/null; then return; fi
        say 'uv could not install the pins; pip tries (slower)'
    fi
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 || fail "uv could not install the pins and $NAME has no pip; see uv pip install -r $1"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r "$1" ||
        fail "could not install $1 (reason above); mend the network or the package index and run it again"
}

make_environment() {
    pins=requirements/$KIND.txt
    count=$(grep -c '==' "$pins")
    say "making $NAME with $("$PY" -V 2>&1) and $count pinned packages (${KIND}; a quarter of a minute with uv, two minutes with pip)"
    rm -rf "$VENV"
    if "$PY" -I -c 'import ensurepip' 2>/dev/null; then "$PY" -m venv "$VENV"; else uv venv -q --seed --python "$PY" "$VENV"; fi ||
        fail "could not make $VENV with $PY"
    install_pins "$pins"
    "$VENV/bin/python" -m pip check >/dev/null 2>&1 || fail "the packages of $pins do not fit together; see $NAME/bin/python -m pip check"
    printf '%s\n' "$KIND" > "$VENV/environment"
    [ -z "$CHOSEN" ] || printf '%s\n' "$PY" > "$VENV/.chosen"
    printf '%s\n' "$pins_key" > "$VENV/.pins"
}

install_project() {
    say "installing the project into $NAME"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . ||
        fail 'could not install the project itself (reason above)'
    printf '%s\n' "$project_key" > "$VENV/.project"
}

[ "$NAME" = .venv-docs ] || have "${CXX:-g++}" || fail "no C++ compiler (${CXX:-g++}); install one (Debian: apt-get install g++)"
case "$NAME" in
    .venv) choose ;;
    .venv-newest) choose_newest ;;
    .venv-docs) choose_docs ;;
esac
if have flock; then  # two setups at once would build into each other
    mkdir -p build
    exec 9> build/setup.lock
    flock -w 600 9 || fail 'another setup of this folder has run for 10 minutes; end it and try again'
fi

pins_key="$(hash_of "requirements/$KIND.txt") $PY $ROOT"
project_key="$(hash_of setup.py setup.cfg pyproject.toml) $pins_key"
if [ "$(cat "$VENV/.pins" 2>/dev/null)" != "$pins_key" ] || ! "$VENV/bin/python" -c '' 2>/dev/null; then
    make_environment
fi
if [ "$KIND" != docs ] && [ "$(cat "$VENV/.project" 2>/dev/null)" != "$project_key" ]; then
    install_project
fi
if [ "$KIND" = base ] && [ "$NAME" = .venv ]; then
    say "the job runs in process: the distributed run needs CPython 3.10 with a shared libpython ($WITHOUT); get it with uv python install 3.10, or pyenv (PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.10), then run make again"
fi
