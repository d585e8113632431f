#!/usr/bin/env bash
# Prepare two text files that match line by line for fairseq-train; see --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
python=$here/../.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" "$here/parallel_corpus.py" "$@"
