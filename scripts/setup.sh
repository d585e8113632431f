#!/usr/bin/env bash
# Makes .venv with everything this project needs. Safe to run again; does nothing when all is there.
#   PYTHON=python3.12 bash scripts/setup.sh    uses that interpreter (3.10 to 3.13)
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' scripts/setup.sh
    exit
fi

torch_version=2.13.0
fairseq_version=0.12.3.1
stamp=.venv/dsp-setup.stamp
log=.venv/setup.log

fail() {
    echo "setup.sh: error: $*" >&2
    exit 1
}

supported() { # PYTHON
    "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

has_torch() { # PYTHON
    "$1" -c '
import sys, torch
sys.exit(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6))' 2>/dev/null
}

find_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.10 to 3.13: name one that is"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.12 python3.11 python3.13 python3.10; do
        if supported "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.10 to 3.13 found ($(python3 --version 2>&1 || true)):" \
        "install one, or name it with PYTHON=/path/to/python bash scripts/setup.sh"
}

check_compiler() {
    local header
    # There is a ready wheel for Python 3.12.
    if .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))'; then
        return
    fi
    header=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
    command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        fail "fairseq needs a C++ compiler: install one (Debian, Ubuntu: apt-get install g++)" \
            "and run this again"
    [[ -f $header ]] || fail "fairseq needs Python's headers, and there is no $header: install" \
        "them (Debian, Ubuntu: apt-get install python3-dev) and run this again"
}

run() { # what it is, then the command
    echo "setup: $1"
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "this failed: $* (whole log: $log)"
    fi
}

# The folder is part of the key: scripts in a virtual environment name their interpreter in full.
key=$(pwd; cat pyproject.toml scripts/setup.sh)
key=$(cksum <<<"$key")
[[ -f $stamp && $(<"$stamp") == "$key" ]] && exit 0

is_of_here() { # whether .venv was made in this folder, by whatever name of it
    local python
    # Of a long path, or one with spaces, the second line names the interpreter.
    python=$(head -n 2 .venv/bin/pip 2>/dev/null | grep -oE '/[^"]*/python[0-9.]*' | tail -n 1)
    [[ -x .venv/bin/python && $(.venv/bin/python -c 'import sys; print(sys.prefix)') -ef .venv ]] &&
        [[ -n $python && ${python%/*} -ef .venv/bin ]]
}

if ! is_of_here; then
    python=$(find_python)
    rm -rf .venv
    options=()
    if has_torch "$python"; then
        echo "setup: keeping the torch of $(command -v "$python")"
        options=(--system-site-packages)
    fi
    "$python" -m venv ${options[@]+"${options[@]}"} .venv || fail "could not make .venv:" \
        "install Python's venv module (Debian, Ubuntu: apt-get install python3-venv)"
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check install)

has_fairseq() {
    .venv/bin/python -m pip --disable-pip-version-check show -q fairseq-fixed 2>/dev/null
}

has_fairseq || check_compiler
run "build tools" "${pip[@]}" setuptools wheel cython 'numpy>=2'
has_torch .venv/bin/python || run "torch $torch_version" "${pip[@]}" "torch==$torch_version"
if ! has_fairseq; then
    # Without isolation, or the build would fetch a torch of its own; with CUDA_HOME set it looks
    # for CUDA sources that the package lacks.
    run "fairseq-fixed $fairseq_version (compiles for 2 to 6 minutes)" \
        env -u CUDA_HOME "${pip[@]}" --no-build-isolation "fairseq-fixed==$fairseq_version"
fi
run "dsp-fairseq and its tools" "${pip[@]}" --no-build-isolation --editable '.[dev]'
run "check" .venv/bin/python -m dsp_fairseq
echo "$key" >"$stamp"
echo "setup: done; activate it with: source .venv/bin/activate"
