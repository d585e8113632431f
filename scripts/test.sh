#!/usr/bin/env bash
# Sets up what is missing, then lints and runs every test.
#   bash scripts/test.sh                 everything
#   bash scripts/test.sh tests/cli -x    arguments go to pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh
# One thread a process: the tests run in parallel, and sums of floats then have one order.
export OMP_NUM_THREADS=1
.venv/bin/ruff check .
.venv/bin/ruff format --check --quiet .
exec .venv/bin/python -m pytest -q -n 2 --dist worksteal --durations 10 "$@"
