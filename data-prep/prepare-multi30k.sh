#!/usr/bin/env bash
# Prepare Multi30k (German-English image captions) for fairseq-train; see --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
url=${MULTI30K_URL:-https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw}
prefixes=(train val test_2016_flickr)

usage() {
    cat <<'HELP'
usage: prepare-multi30k.sh --out DIR [--from FOLDER] [prepare_text.py options]

Prepare Multi30k, 29,000 German-English image captions, for fairseq-train.

  --out DIR             folder to make
  --from FOLDER         take train, val and test_2016_flickr .de and .en (plain or .gz)
                        from here; without it they are downloaded from GitHub
  --source, --target    the direction (default de, en)
  --lowercase           lowercase everything
  --subword KIND        bpe (default) or sentencepiece
  --vocab-size N        symbols to learn from both languages (default 8000)
  --if-missing          leave a folder alone that was made with these settings and inputs
Other options go to prepare_text.py; see its --help. MULTI30K_URL names another download
folder.

example:
  bash data-prep/prepare-multi30k.sh --lowercase --out data/multi30k-de-en
  fairseq-train data/multi30k-de-en --arch transformer ...
HELP
}

fail() {
    echo "prepare-multi30k.sh: error: $*" >&2
    exit 2
}

fetch() {  # URL FILE
    if command -v curl >/dev/null; then
        curl --fail --silent --location --connect-timeout 20 --output "$2" "$1"
    elif command -v wget >/dev/null; then
        wget --quiet --tries=2 --timeout=20 --output-document="$2" "$1"
    else
        fail "neither curl nor wget is installed; install one or give --from FOLDER"
    fi
}

download() {  # FOLDER
    local name
    for name in "${prefixes[@]/%/.de.gz}" "${prefixes[@]/%/.en.gz}"; do
        echo "downloading $name"
        fetch "$url/$name" "$1/$name" || fail "could not download $url/$name;" \
            "get the six files another way and give their folder with --from FOLDER"
    done
}

from=
options=()
while (($#)); do
    case $1 in
        -h | --help) usage; exit ;;
        --from) from=${2:-}; [[ $from ]] || fail "--from needs a folder; see --help"; shift 2 ;;
        --from=*) from=${1#*=}; shift ;;
        *) options+=("$1"); shift ;;
    esac
done

if [[ -z $from ]]; then
    from=$(mktemp -d)
    trap 'rm -rf "$from"' EXIT
    download "$from"
elif [[ ! -d $from ]]; then
    fail "there is no folder $from; give another --from"
fi

python=$here/../.venv/bin/python
[[ -x $python ]] || python=python3
"$python" "$here/prepare_text.py" --source de --target en \
    --train "$from/train" --valid "$from/val" --test "$from/test_2016_flickr" \
    --expect-lines train=29000,valid=1014,test=1000 ${options[@]+"${options[@]}"}
