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
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore

train() { # K FOLDER
    mkdir -p "$2"
    # fairseq-train, started again at its end, would make one more update.
    grep -qs "done training in" "$2/train.log" && return
    fairseq-train $data --user-dir dsp_fairseq --arch dsp_transformer_tiny --share-all-embeddings \
        --criterion dsp_label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer dsp_adam \
        --adam-betas '(0.9, 0.98)' --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 200 \
        --dropout 0.1 --max-tokens 2048 --max-update $updates --seed 1 --num-workers 0 --cpu --distributed-world-size 1 \
        --num-of-heads "$1" --pruning-lr 0.2 --cooldown-steps $((updates / 2)) \
        --no-epoch-checkpoints --save-dir "$2" --log-format json --log-interval 25 \
        2>"$2/errors.log" | tee -a "$2/train.log" | progress || show_error "$2/errors.log"
}

progress() { # fairseq's log -> one short line now and then
    sed -unE \
        -e 's/.*train_inner \| .*"loss": "([^"]*)".*"temperature": "([^"]*)".*"num_updates": "([^"]*)".*/   update \3 of '$updates'   loss \1   temperature \2/p' \
        -e 's/.*dsp_fairseq\.pruning\.gates \| (froze [^:]*):.*/   \1/p'
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

echo "== prepare $pairs German-English sentence pairs, made from a grammar"
bash data-prep/prepare-toy.sh --out $data --if-missing \
    --train "$pairs" --valid $((pairs / 40)) --test $((pairs / 40))
for k in 48 "$budget"; do
    echo "== train with $k of 48 heads"
    train "$k" "runs/demo/k$k"
    echo "== translate the test sentences with $k heads"
    translate "runs/demo/k$k"
done
echo
python scripts/demo_table.py --data $data runs/demo/k48 "runs/demo/k$budget"
