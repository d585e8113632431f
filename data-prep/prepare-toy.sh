#!/usr/bin/env bash
# Make the toy German-English corpus and prepare it for fairseq-train; see --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

usage() {
    cat <<'HELP'
usage: prepare-toy.sh --out DIR [--train N] [--valid N] [--test N] [--seed N]
                      [prepare_text.py options]

Make a small German-English corpus from a grammar and prepare it for fairseq-train. It
needs no download and takes less than a minute.

  --out DIR             folder to make
  --train, --valid, --test N
                        sentence pairs in the splits (default 20000, 500, 500)
  --seed N              which sentences are drawn (default 1)
  --source, --target    the direction (default de, en)
  --vocab-size N        symbols to learn from both languages (default 1000)
  --subword KIND        bpe (default) or sentencepiece
  --if-missing          leave a folder alone that was made with these settings and inputs
Other options go to prepare_text.py; see its --help.

example:
  bash data-prep/prepare-toy.sh --out data/toy-de-en
  fairseq-train data/toy-de-en --arch transformer ...
HELP
}

fail() {
    echo "prepare-toy.sh: error: $*" >&2
    exit 2
}

corpus_options=()
options=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --train | --valid | --test | --seed)
            (($# > 1)) || fail "$1 needs a number; see --help"
            corpus_options+=("$1" "$2")
            shift 2
            ;;
        --train=* | --valid=* | --test=* | --seed=*) corpus_options+=("$1"); shift ;;
        *) options+=("$1"); shift ;;
    esac
done

python=$here/../.venv/bin/python
[[ -x $python ]] || python=python3

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
raw=$scratch/toy
echo "drawing the sentences"
"$python" "$here/toy_corpus.py" --out "$raw" ${corpus_options[@]+"${corpus_options[@]}"} >/dev/null
"$python" "$here/prepare_text.py" --source de --target en --vocab-size 1000 \
    --train "$raw/train" --valid "$raw/valid" --test "$raw/test" \
    ${options[@]+"${options[@]}"}
