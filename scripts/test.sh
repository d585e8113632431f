#!/usr/bin/env bash
# Sets up what is missing, then lints, checks types and runs every test. From Python 3.12 on they have
# to reach nine tenths of the package's lines; earlier Pythons take twice as long where lines are
# counted.
#   bash scripts/test.sh                 everything
#   bash scripts/test.sh tests/cli -x    arguments go to pytest, which then counts no lines
#   bash scripts/test.sh --cov           counts them on any Python
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' scripts/test.sh
    exit
fi
bash scripts/setup.sh
# One thread a process: the tests run in parallel, and sums of floats then have one order.
export OMP_NUM_THREADS=1
# Hundreds of commands import the package, which is compiled once.
unset PYTHONDONTWRITEBYTECODE
.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
.venv/bin/mypy
# A part of the tests reaches a part of the lines.
coverage=()
if ! (($#)) && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then
    export COVERAGE_CORE=sysmon
    coverage=(--cov --cov-report term)
fi
exec .venv/bin/python -m pytest -q -n 2 --dist worksteal --durations 10 \
    ${coverage[@]+"${coverage[@]}"} "$@"
