#!/usr/bin/env bash
# BLEU of a fairseq-generate output: scripts/score.sh OUT.txt --data DATA  (see --help)
set -euo pipefail
python=$(dirname "${BASH_SOURCE[0]}")/../.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" -m dsp_fairseq.cli.score "$@"
