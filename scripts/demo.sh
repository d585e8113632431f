#!/usr/bin/env bash
# The main job on a small embedded corpus: prepare, train a dense and a pruned model, freeze,
# generate, score. Needs no download besides the set-up. Finished steps are not repeated.
#   bash scripts/demo.sh          10 minutes or less on 2 cores
#   bash scripts/demo.sh 6        keeps 6 heads instead of 12
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
budget=${1:-12}
[[ $budget =~ ^[0-9]+$ ]] || {
    echo "demo.sh: error: '$budget' is not a number of heads; usage: bash scripts/demo.sh [K]" >&2
    exit 2
}
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH"
data=data/toy-de-en
runs=runs/demo

echo "== 1. prepare 21,000 German-English sentence pairs from a grammar"
bash data-prep/prepare-toy.sh --out $data --if-missing

train() { # K FOLDER
    mkdir -p "$2"
    # A finished or an interrupted run is taken up where it stopped.
    fairseq-train $data --user-dir dsp_fairseq --arch dsp_transformer_tiny --share-all-embeddings \
        --criterion dsp_label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer dsp_adam \
        --adam-betas '(0.9, 0.98)' --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 150 \
        --dropout 0.1 --max-tokens 2048 --max-update 500 --seed 1 --cpu --num-workers 0 \
        --num-of-heads "$1" --cooldown-steps 250 --pruning-lr 0.2 \
        --no-epoch-checkpoints --save-dir "$2" --log-file "$2/train.log" \
        --log-format tqdm 2>"$2/progress.log" | cat || return 1
}

translate() { # FOLDER
    fairseq-generate $data --user-dir dsp_fairseq --path "$1/checkpoint_best.pt" --beam 5 --cpu \
        --remove-bpe --max-tokens 4000 --required-batch-size-multiple 1 >"$1/test.out" 2>"$1/test.log"
}
echo todo
