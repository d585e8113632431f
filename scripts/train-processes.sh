#!/usr/bin/env bash
# Trains one model in several processes of this machine, one a GPU, or on the CPU if there is none.
set -euo pipefail

usage() {
    cat <<'HELP'
usage: train-processes.sh PROCESSES DATA [fairseq-train flags]

Trains one model in several processes of this machine: one a GPU, or on the CPU where there is no
GPU or --cpu is given. It ends with status 0 only if all processes trained the one model to its
end: fairseq-train by itself can end so without having trained.

example:
  bash scripts/train-processes.sh 4 data/mine --user-dir "$(python -m dsp_fairseq)" \
      --arch dsp_transformer_iwslt_de_en --share-all-embeddings --num-of-heads 18 \
      --criterion dsp_label_smoothed_cross_entropy --label-smoothing 0.1 --dropout 0.3 \
      --optimizer dsp_adam --adam-betas '(0.9, 0.98)' --lr 5e-4 --lr-scheduler inverse_sqrt \
      --warmup-updates 4000 --max-tokens 4096 --max-update 50000 --save-dir runs/mine

P processes with --update-freq U train as one process with --update-freq P*U does. Several machines:
see docs/recipes.md.
HELP
}

fail() {
    echo "train-processes.sh: error: $*" >&2
    exit 1
}

[[ ${1:-} == -h || ${1:-} == --help ]] && { usage; exit; }
(($# >= 2)) || fail "give a number of processes and a data folder; see --help"
processes=$1
shift
[[ $processes =~ ^[1-9][0-9]*$ ]] || fail "'$processes' is not a number of processes; see --help"
[[ -d $1 ]] || fail "there is no data folder $1"
for flag in "$@"; do
    [[ $flag != --distributed-* ]] || fail "$flag: leave that to this script"
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$PATH:$root/.venv/bin"
torchrun=$(command -v torchrun) || fail "there is no torchrun: run 'bash scripts/setup.sh'"
# Without it, each process takes all cores.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# fairseq says at this level that the processes train together, and when training ends.
export LOGLEVEL=INFO

# The Python of the torch which will train counts the GPUs, and says how dsp-run would start them.
mapfile -d '' command < <(PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" "$(dirname "$torchrun")/python" - "$processes" "$@" <<'PYTHON'
import sys
import torch
from dsp_fairseq.experiments.commands import training_in_processes
gpus = 0 if "--cpu" in sys.argv else torch.cuda.device_count()
if 0 < gpus < int(sys.argv[1]):
    error = f"{sys.argv[1]} processes need as many GPUs, and there are {gpus}"
    sys.exit(f"train-processes.sh: error: {error}")
print(*training_in_processes(int(sys.argv[1]), sys.argv[2:], gpus == 0), sep="\0", end="\0")
PYTHON
)
((${#command[@]})) || exit 1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
"${command[@]}" 2>&1 | tee "$log" || fail "a process failed; its words are above"
grep -q "training on $processes devices (GPUs/TPUs)" "$log" ||
    fail "the processes did not train together"
grep -q "done training in [0-9.]* seconds" "$log" ||
    fail "the processes ended, but nothing was trained to its end"
