#!/usr/bin/env bash
# The main job on a small embedded corpus: prepare, train a dense and a pruned model, freeze,
# generate, score. Needs no download besides the set-up; a run that was interrupted is continued,
# one that is finished is not repeated.
#   bash scripts/demo.sh        keeps 12 of 48 heads; takes 10 minutes or less on 2 cores
#   bash scripts/demo.sh 6      keeps 6
# A smaller demo: DEMO_UPDATES (default 800) updates, DEMO_PAIRS (20000) sentence pairs to train on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' scripts/demo.sh
    exit
fi
budget=${1:-12}
updates=${DEMO_UPDATES:-800}
pairs=${DEMO_PAIRS:-20000}
data=data/toy-de-en
if ! [[ $budget =~ ^[0-9]+$ ]] || ((budget > 48)); then
    echo "demo.sh: error: '$budget' is not a number of heads from 0 to 48" >&2
    exit 2
fi
if ! [[ $updates$pairs =~ ^[0-9]+$ ]] || ((updates < 2 || pairs < 40)); then
    echo "demo.sh: error: DEMO_UPDATES must be 2 or more, DEMO_PAIRS 40 or more" >&2
    exit 2
fi
budget=$((10#$budget))
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore
# One thread for each of the two models: more would wait for each other where other work shares the
# machine. Huge pages save a fifth of an update.
export OMP_NUM_THREADS=1 THP_MEM_ALLOC_ENABLE=1
# fairseq says at this level when training ends.
export LOGLEVEL=INFO

train() { # K FOLDER
    mkdir -p "$2"
    local of
    of="$updates updates, data $(cksum <$data/prep.json)"
    if [[ -f $2/demo && $(<"$2/demo") != "$of" ]]; then
        echo "demo.sh: error: $2 is of a demo with other DEMO_UPDATES or DEMO_PAIRS: remove it" >&2
        exit 1
    fi
    echo "$of" >"$2/demo"
    # fairseq-train, started again at its end, would make one more update. A log whose checkpoints
    # are gone says nothing of those to come.
    [[ -f $2/checkpoint_last.pt ]] || rm -f "$2/train.log"
    grep -qs "done training in" "$2/train.log" && return
    fairseq-train $data --user-dir dsp_fairseq --arch dsp_transformer_tiny --share-all-embeddings \
        --criterion dsp_label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer dsp_adam \
        --adam-betas '(0.9, 0.98)' --lr 5e-3 --lr-scheduler polynomial_decay \
        --warmup-updates $((updates / 4)) --total-num-update $updates \
        --dropout 0.1 --max-tokens 2048 --max-update $updates --seed 1 --num-workers 0 --cpu --distributed-world-size 1 \
        --num-of-heads "$1" --pruning-lr 0.2 --cooldown-steps $((updates / 2)) \
        --no-epoch-checkpoints --save-dir "$2" --log-format json --log-interval 25 \
        2>"$2/errors.log" | tee -a "$2/train.log" | progress "$1" || show_error "$2/errors.log"
}

progress() { # K; fairseq's log -> one short line now and then
    sed -unE \
        -e 's/.*train_inner \| .*"loss": "([^"]*)".*"temperature": "([^"]*)".*"num_updates": "([^"]*)".*/   '"$1"' heads: update \3 of '$updates'   loss \1   temperature \2/p' \
        -e 's/.*dsp_fairseq\.pruning\.gates \| (froze [^:]*):.*/   '"$1"' heads: \1/p'
}

translate() { # FOLDER
    fairseq-generate $data --user-dir dsp_fairseq --path "$1/checkpoint_best.pt" --beam 5 --cpu \
        --remove-bpe --required-batch-size-multiple 1 >"$1/test.out" 2>"$1/errors.log" ||
        show_error "$1/errors.log"
}

show_error() { # FILE
    tail -n 5 "$1" >&2
    echo "demo.sh: error: this step failed; the whole output is in $1" >&2
    exit 1
}

make_model() { # K
    train "$1" "runs/demo/k$1"
    translate "runs/demo/k$1"
    echo "   $1 heads: translated the test sentences"
}

echo "== prepare $pairs German-English sentence pairs, made from a grammar"
bash data-prep/prepare-toy.sh --out $data --if-missing \
    --train "$pairs" --valid $((pairs / 40)) --test $((pairs / 40))
echo "== train with 48 and with $budget of 48 heads, side by side, and translate the test sentences"
# A group of processes for each, which an interruption ends whole.
set -m
models=()
for k in $(printf '%s\n' 48 "$budget" | uniq); do
    make_model "$k" &
    models+=($!)
done
set +m
trap 'kill -- "${models[@]/#/-}" 2>/dev/null' EXIT
for model in "${models[@]}"; do wait "$model"; done
trap - EXIT
echo
python scripts/demo_table.py --data $data runs/demo/k48 "runs/demo/k$budget"
