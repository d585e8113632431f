#!/usr/bin/env bash
# Prepare labelled sentences or pairs of sentences for classification; see --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
python=$here/../.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" "$here/nli_corpus.py" "$@"
