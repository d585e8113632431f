#!/usr/bin/env bash
# The Multi30k table of the README: trains one model per budget, one thread each, side by side,
# translates test_2016_flickr and scores it. About 50 minutes on 2 cores; an interrupted run is
# continued.
#   bash scripts/multi30k.sh --from FOLDER         dense (48 heads) and 12 heads
#   bash scripts/multi30k.sh --from FOLDER 24 8    other budgets
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
from=()
if [[ ${1:-} == --from ]]; then
    from=(--from "${2:?--from needs a folder}")
    shift 2
fi
budgets=("${@:-48}")
(($#)) || budgets=(48 12)
for k in "${budgets[@]}"; do
    if ! [[ $k =~ ^[0-9]+$ ]] || ((k > 48)); then
        echo "multi30k.sh: error: '$k' is not a number of heads from 0 to 48" >&2
        exit 2
    fi
done
bash scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
data=data/multi30k-de-en
runs=runs/multi30k
bash data-prep/prepare-multi30k.sh ${from[@]+"${from[@]}"} --lowercase --vocab-size 8000 \
    --out $data --if-missing

run() { # K
    fairseq-train $data --user-dir dsp_fairseq --arch dsp_transformer_tiny --share-all-embeddings \
        --criterion dsp_label_smoothed_cross_entropy --label-smoothing 0.1 --optimizer dsp_adam \
        --adam-betas '(0.9, 0.98)' --lr 5e-3 --lr-scheduler inverse_sqrt --warmup-updates 1000 \
        --dropout 0.3 --weight-decay 1e-4 --max-tokens 4096 --clip-norm 0 --max-update 2000 \
        --num-of-heads "$1" --pruning-lr 0.2 --cooldown-steps 1000 --freeze-heads-after 1000 \
        --seed 1 --num-workers 0 --cpu --distributed-world-size 1 --no-epoch-checkpoints --save-dir $runs/k"$1" \
        --log-format simple --log-interval 50 >>$runs/k"$1".log 2>&1
    fairseq-generate $data --user-dir dsp_fairseq --path $runs/k"$1"/checkpoint_best.pt --beam 5 \
        --batch-size 32 --remove-bpe --required-batch-size-multiple 1 --cpu \
        >$runs/k"$1"/test.out 2>>$runs/k"$1".log
}

mkdir -p $runs
declare -A jobs
for k in "${budgets[@]}"; do
    echo "training with $k of 48 heads; progress: tail -f $runs/k$k.log"
    run "$k" &
    jobs[$k]=$!
done
trap 'kill "${jobs[@]}" 2>/dev/null || true' INT TERM
for k in "${budgets[@]}"; do
    if ! wait "${jobs[$k]}"; then
        tail -n 3 $runs/k"$k".log >&2
        echo "multi30k.sh: error: the run with $k heads failed; see $runs/k$k.log" >&2
        exit 1
    fi
    echo "== $k of 48 heads"
    dsp-score $runs/k"$k"/test.out --data $data
done
