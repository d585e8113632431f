#!/usr/bin/env bash
# Prepare IWSLT14 German-English for fairseq-train, as the field does; see --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
python=$here/../.venv/bin/python
[[ -x $python ]] || python=python3
exec "$python" "$here/iwslt14_corpus.py" "$@"
