"""The table of bad input: what is wrong, and the line that the command ends with.

``python tests/cli/bad_inputs.py`` prints the page ``docs/bad-input.md``.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
FROZEN, EXPORTED = DATA / "format2.pt", DATA / "format1-pruned.pt"

Content = str | bytes | Callable[[], bytes]


@dataclass(frozen=True)
class Case:
    """A command with bad input.

    Attributes:
        command: its name.
        mistake: what is wrong, in the words of the table.
        arguments: of the command, given in a folder of its own; ``{corpus}`` is a prepared folder,
            ``{frozen}``, ``{exported}``, ``{stock}``, ``{classifier}`` and ``{headless}`` are
            checkpoints.
        message: a part of the line.
        files: what is in the folder.
        status: the exit status.
        stdin: what is piped in.
        disk: how many bytes a file may have, as on a disk that is full.
        data: the data that fairseq-train gets, in the folder (default: a prepared one).
        classifies: whether fairseq-train trains a classifier of sentence pairs.
    """

    command: str
    mistake: str
    arguments: str
    message: str
    files: Mapping[str, Content] = field(default_factory=dict)
    status: int = 1
    stdin: bytes = b""
    disk: int | None = None
    data: str | None = None
    classifies: bool = False


def _half() -> bytes:
    whole = FROZEN.read_bytes()
    return whole[: len(whole) // 2]


def _saved(name: str) -> bytes:
    """A checkpoint of a model without weights."""
    import torch

    file = io.BytesIO()
    torch.save({"cfg": {"model": {"_name": name}}, "model": {}}, file)
    return file.getvalue()


LATIN = "Bücher\n".encode("latin-1")
TEXT = {"a": "no folder\n"}

# ---- recipes and sweeps


@cache
def _prepared() -> Mapping[str, bytes]:
    """The files of a prepared folder of some German and English sentences."""
    from tiny_data import write_data

    with tempfile.TemporaryDirectory() as place:
        folder = write_data(Path(place))
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _data(name: str) -> bytes:
    return _prepared()[name]


RECIPE = """\
name: mine
data: data
train: {arch: dsp_transformer_tiny, optimizer: dsp_adam, num-of-heads: 6, max-tokens: 100}
"""
STORED = "format_version: 1\nthreads: 1\nrecipe: {name: mine, data: data, train: {num-of-heads: 6}}"
PLAIN = {"data/train.de-en.de.bin": b"0", "data/dict.de.txt": "a 1\n"}
READY = {
    f"data/{name}": partial(_data, name)
    for name in (
        *(f"{split}.de-en.{language}.{end}" for split in ("train", "valid", "test")
          for language in ("de", "en") for end in ("bin", "idx")),
        *(f"raw/{split}.{side}" for split in ("valid", "test") for side in ("src", "tgt")),
        *("dict.de.txt", "dict.en.txt", "prep.json"),
    )
}  # fmt: skip
GRID = """\
recipe: mine.yaml
folder: runs
methods: {gumbel: {gate-estimator: gumbel}}
budgets: [6, 12]
seeds: [1]
"""
SWEEP = {"mine.yaml": RECIPE, "grid.yaml": GRID}


def _grid(old: str, new: str) -> dict[str, Content]:
    return {**SWEEP, "grid.yaml": GRID.replace(old, new)}


RUN_CASES = [
    Case("dsp-run", "no such recipe", "no.yaml", "cannot read no.yaml: No such file"),
    Case("dsp-run", "a recipe that is not UTF-8", "a.yaml", "cannot read a.yaml",
         {"a.yaml": LATIN}),
    Case("dsp-run", "an empty recipe", "a.yaml", "must hold 'key: value' lines", {"a.yaml": ""}),
    Case("dsp-run", "a recipe that is not YAML", "a.yaml", "is not YAML", {"a.yaml": "a: [1\n"}),
    Case("dsp-run", "an unknown key in a recipe", "a.yaml", "unknown key 'trian'; known are",
         {"a.yaml": RECIPE + "trian: {}\n"}),
    Case("dsp-run", "a recipe without data", "a.yaml", "'data' is missing",
         {"a.yaml": "name: mine\n"}),
    Case("dsp-run", "a recipe that extends itself", "a.yaml", "extends itself",
         {"a.yaml": "extends: a.yaml\n"}),
    Case("dsp-run", "K above the number of heads", "mine.yaml --num-of-heads 99",
         "--num-of-heads 99 is not a whole number from 0 to 48", {"mine.yaml": RECIPE}),
    Case("dsp-run", "no K", "mine.yaml --set num-of-heads=", "has no budget: give --num-of-heads K",
         {"mine.yaml": RECIPE}),
    Case("dsp-run", "--set without a value", "mine.yaml --set fp16", "write FLAG=VALUE",
         {"mine.yaml": RECIPE}),
    Case("dsp-run", "a flag that fairseq-train does not know", "mine.yaml --set max-updates=9",
         "unrecognized arguments: --max-updates 9", {"mine.yaml": RECIPE}),
    Case("dsp-run", "a seed that is no number", "mine.yaml --set seed=x",
         "seed 'x' is not a whole number", {"mine.yaml": RECIPE}),
    Case("dsp-run", "no processes", "mine.yaml --processes 0",
         "argument --processes: 0 is not 1 or more", {"mine.yaml": RECIPE}, status=2),
    Case("dsp-run", "no data folder", "mine.yaml", "there is no data folder data",
         {"mine.yaml": RECIPE}),
    Case("dsp-run", "a data folder without dictionaries", "mine.yaml", "data holds no dictionaries",
         {"mine.yaml": RECIPE, "data/train.de-en.de.bin": b"0"}),
    Case("dsp-run", "data that data-prep/ did not make", "mine.yaml",
         "data was not made by data-prep/", {"mine.yaml": RECIPE, **PLAIN}),
    Case("dsp-run", "a flag that dsp-run sets itself", "mine.yaml",
         "--save-dir is set by dsp-run",
         {"mine.yaml": RECIPE.replace("max-tokens: 100", "save-dir: x")}),
    Case("dsp-run", "--set with such a flag", "mine.yaml --dry-run --set save-dir=x",
         "--save-dir is set by dsp-run", {"mine.yaml": RECIPE}),
    Case("dsp-run", "an option that pruning does not support",
         "mine.yaml --dry-run --set quant-noise-pq=0.1", "--quant-noise-pq is not supported",
         {"mine.yaml": RECIPE}),
    Case("dsp-run", "a score of which the lowest would be kept",
         "mine.yaml --dry-run --set best-checkpoint-metric=bleu",
         "would keep the worst checkpoint: add --maximize-best-checkpoint-metric",
         {"mine.yaml": RECIPE}),
    Case("dsp-run", "no checkpoint to start from", "mine.yaml",
         "there is no checkpoint no.pt to start from",
         {"mine.yaml": RECIPE + "start: no.pt\n", **READY}),
    Case("dsp-run", "no teacher", "mine.yaml --set distill-from=no.pt "
         "--set criterion=dsp_label_smoothed_cross_entropy",
         "there is no checkpoint no.pt to learn from", {"mine.yaml": RECIPE, **READY}),
    Case("dsp-run", "a folder of another run", "mine.yaml --save-dir run",
         "run holds a run with other settings",
         {"mine.yaml": RECIPE, **READY, "run/run.yaml": STORED}),
    Case("dsp-run", "a run.yaml of a later version", "run/run.yaml",
         "is not a run.yaml that this version of dsp-run can read",
         {"run/run.yaml": "format_version: 99\nrecipe: {}\n"}),
    Case("dsp-run", "a damaged run.yaml", "run/run.yaml", "'threads' must be 1 or more",
         {"run/run.yaml": STORED.replace("threads: 1", "threads: many")}),
    Case("dsp-run", "a flag that is on when left out", "mine.yaml --dry-run",
         "'left-pad-source: false' leaves the flag out, and then it is on",
         {"mine.yaml": RECIPE.replace("heads: 6", "heads: 6, left-pad-source: false")}),
    Case("dsp-run", "a task that cannot be evaluated",
         "mine.yaml --dry-run --set task=translation_multi_simple_epoch",
         "dsp-run can only evaluate translation", {"mine.yaml": RECIPE}),
    Case("dsp-run", "generation in a recipe of classification",
         "mine.yaml --dry-run --set task=dsp_sentence_prediction --set arch=dsp_roberta_tiny "
         "--set criterion=dsp_sentence_prediction --set num-classes=3",
         "'generate' is for translation: leave it out",
         {"mine.yaml": RECIPE + "generate: {beam: 5}\n"}),
    Case("dsp-run", "another direction in evaluation", "mine.yaml --dry-run --set source-lang=de "
         "--set target-lang=en", "'generate' has --source-lang en, and 'train' de: leave it out",
         {"mine.yaml": RECIPE + "generate: {source-lang: en, target-lang: de}\n"}),
    Case("dsp-run", "one language without the other", "mine.yaml --set source-lang=en",
         "--source-lang and --target-lang belong together", {"mine.yaml": RECIPE, **READY}),
    Case("dsp-run", "test sentences that are too long for the model",
         "mine.yaml --set max-source-positions=4",
         "source sentence of 5 tokens, more than --max-source-positions 4",
         {"mine.yaml": RECIPE, **READY}),
    Case("dsp-run", "a split that is not there", "mine.yaml", "data has no test split of de and en",
         {"mine.yaml": RECIPE, **{name: content for name, content in READY.items()
                                  if not name.startswith("data/test.")}}),
    Case("dsp-run", "a list of no splits", "mine.yaml", "'evaluate' must be a list of valid and",
         {"mine.yaml": RECIPE + "evaluate: []\n"}),
    Case("dsp-run", "a flag given twice", "mine.yaml", "is not YAML: it names 'lr' twice",
         {"mine.yaml": RECIPE.replace("max-tokens: 100", "lr: 1, lr: 2")}),
    Case("dsp-run", "a value that is a mapping", "mine.yaml",
         "the value of 'eval-bleu-args' must be text, in quotes",
         {"mine.yaml": RECIPE.replace("max-tokens: 100", "eval-bleu-args: {beam: 5}")}),
    Case("dsp-run", "an output folder that cannot be made", "mine.yaml --save-dir a/run",
         "cannot write to a/run: Not a directory", {"mine.yaml": RECIPE, **READY, **TEXT}),
    Case("dsp-sweep", "no grid", "", "the following arguments are required: grid", status=2),
    Case("dsp-sweep", "a grid that names no recipe", "grid.yaml", "'recipe' is missing",
         _grid("recipe: mine.yaml\n", "")),
    Case("dsp-sweep", "an unknown key in a grid", "grid.yaml", "unknown key 'seed'; known are",
         {**SWEEP, "grid.yaml": GRID + "seed: 1\n"}),
    Case("dsp-sweep", "a score that is a word", "grid.yaml",
         "gumbel: 'rank' must hold 'flag: value' lines",
         _grid("gate-estimator: gumbel", "score: michel")),
    Case("dsp-sweep", "a budget that is no number", "grid.yaml", "must be a list of whole numbers",
         _grid("[6, 12]", "[6, many]")),
    Case("dsp-sweep", "a seed named twice", "grid.yaml", "'seeds' has a number twice",
         _grid("[1]", "[1, 1]")),
    Case("dsp-sweep", "a method named dense", "grid.yaml", "other than dense",
         _grid("gumbel: {", "dense: {")),
    Case("dsp-sweep", "no jobs", "grid.yaml --jobs 0", "argument --jobs: 0 is not 1 or more",
         SWEEP, status=2),
    Case("dsp-sweep", "a damaged runs.jsonl", "grid.yaml", "runs/runs.jsonl is damaged",
         {**SWEEP, **READY, "runs/runs.jsonl": "half a li"}),
    Case("dsp-sweep", "a dense run without a result", "grid.yaml",
         "there is no there/result.json of the dense run",
         {**SWEEP, **READY, "grid.yaml": GRID + "dense: there\n"}),
    Case("dsp-sweep", "a pruned run as the dense one", "grid.yaml",
         "there keeps 12 of 48 heads: the dense run keeps all",
         {**SWEEP, **READY, "grid.yaml": GRID + "dense: there\n",
          "there/result.json": '{"budget": 12, "num_heads": 48}'}),
    Case("dsp-sweep", "a dense run without a test score", "grid.yaml",
         "there/result.json has no score of test",
         {**SWEEP, **READY, "grid.yaml": GRID + "dense: there\n",
          "there/result.json": '{"budget": 48, "num_heads": 48, "scores": {"valid": {}}}'}),
    Case("dsp-sweep", "a recipe that prunes as the dense one", "grid.yaml",
         "the dense run keeps all: give it num-of-heads: 48",
         {**SWEEP, **READY, "grid.yaml": GRID + "dense: {recipe: mine.yaml}\n"}),
    Case("dsp-sweep", "runs that are not evaluated on test", "grid.yaml --dry-run",
         "recipe mine does not evaluate test, which a report is of: add it to 'evaluate'",
         {**SWEEP, "mine.yaml": RECIPE + "evaluate: [valid]\n"}),
    Case("dsp-sweep", "a method with a budget of its own", "grid.yaml --dry-run",
         "method gumbel sets num-of-heads, which 'budgets' says: leave it out",
         _grid("gate-estimator: gumbel", "num-of-heads: 7")),
    Case("dsp-report", "a folder without runs", ". --output report",
         "give the output folder of dsp-sweep"),
    Case("dsp-report", "an empty runs.jsonl", ". --output report",
         "runs.jsonl holds no finished run yet", {"runs.jsonl": ""}),
    Case("dsp-report", "a runs.jsonl that is not UTF-8", ". --output report",
         "cannot read runs.jsonl", {"runs.jsonl": LATIN}),
    Case("dsp-report", "a line that is not JSON", ". --output report",
         "runs.jsonl, line 1 is not JSON", {"runs.jsonl": "what?\n"}),
    Case("dsp-report", "a line that is no result", ". --output report",
         "runs.jsonl, line 1 is not the result of a run", {"runs.jsonl": "{}\n"}),
    Case("dsp-report", "an output folder with other files", ". --output a",
         "which dsp-report did not write", {"runs.jsonl": "", "a/mine.txt": "precious"}),
    Case("dsp-report", "an output that is a file", ". --output a", "a is a file", TEXT),
]  # fmt: skip

# ---- checkpoints

TAKEN = {"taken.pt": "precious"}
OTHER_DATA: dict[str, Content] = {
    **{f"data/dict.{language}.txt": "a 1\n" for language in ("de", "en")},
    "data/train.de-en.de.idx": "",
}
CHECKPOINT_CASES = [
    Case("dsp-average", "no such checkpoint", "no.pt --output out.pt", "cannot read no.pt"),
    Case("dsp-average", "a folder without --last", ". --output out.pt",
         ". is a folder: add --last N"),
    Case("dsp-average", "more checkpoints than there are", ". --last 3 --output out.pt",
         ". has 0 numbered checkpoints, not 3"),
    Case("dsp-average", "a checkpoint cut off in the middle", "{frozen} half.pt --output out.pt",
         "half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
    Case("dsp-average", "checkpoints of different kinds", "{frozen} {exported} --output out.pt",
         "average checkpoints of one kind"),
    Case("dsp-average", "an output that exists", "{frozen} {frozen} --output taken.pt",
         "taken.pt exists: remove it or give another --output", TAKEN),
    Case("dsp-average", "an output folder that cannot be made", "{frozen} --output a/out.pt",
         "cannot write a/out.pt: a is a file", TEXT),
    Case("dsp-average", "a full disk", "{frozen} --output out.pt", "cannot write out.pt",
         disk=5000),
    Case("dsp-average", "the same weights under two names", "{frozen} copy.pt --output out.pt",
         "copy.pt hold the same weights: they would count double",
         {"copy.pt": FROZEN.read_bytes}),
    Case("dsp-export", "no checkpoint, but an empty file", "empty.pt --output out.pt",
         "empty.pt is not a checkpoint that can be loaded", {"empty.pt": ""}),
    Case("dsp-export", "a checkpoint cut off in the middle", "half.pt --output out.pt",
         "half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
    Case("dsp-export", "a text file", "a --output out.pt", "a is not a checkpoint that can be",
         TEXT),
    Case("dsp-export", "a stock transformer", "{stock} --output out.pt",
         "holds no head importance"),
    Case("dsp-export", "an exported model", "{exported} --output out.pt",
         "is exported already"),
    Case("dsp-export", "another K than it is frozen at",
         "{frozen} --num-of-heads 2 --output out.pt", "is frozen at 3 heads"),
    Case("dsp-export", "an unknown format", "{frozen} --format onnx --output out.pt",
         "invalid choice: 'onnx'", status=2),
    Case("dsp-export", "an output that exists", "{frozen} --output taken.pt",
         "taken.pt exists: remove it or give another --output", TAKEN),
    Case("dsp-export", "an output folder that cannot be made", "{frozen} --output a/out.pt",
         "cannot write a/out.pt: a is a file", TEXT),
    Case("dsp-export", "a full disk", "{frozen} --output out.pt", "cannot write out.pt",
         disk=5000),
    Case("dsp-export", "no data to check with", "{frozen} --check no --output out.pt",
         "there is no data folder no"),
    Case("dsp-export", "several folders to check with", "{frozen} --check a:b --output out.pt",
         "--check a:b names several folders: give the one of the test split"),
    Case("dsp-export", "a flag of another format",
         "{frozen} --quantization int8 --output out.pt",
         "--quantization belongs to --format ctranslate2"),
    Case("dsp-export", "several budgets at once", "{frozen} --num-of-heads 3,2 --output out.pt",
         "--num-of-heads 3,2: give one number"),
    Case("dsp-export", "missing dictionaries for CTranslate2",
         "{frozen} --format ctranslate2 --data . --output out",
         ". holds no dictionaries"),
    Case("dsp-export", "a tokenizer for a format that has none",
         "{frozen} --tokenizer . --output out.pt", "--tokenizer belongs to --format huggingface"),
    Case("dsp-export", "heads to remove from a format that has none",
         "{frozen} --remove-heads --output out.pt",
         "--remove-heads belongs to --format huggingface"),
    Case("dsp-export", "a translation model for transformers",
         "{frozen} --format huggingface --output out",
         "--format huggingface holds classifiers of dsp_roberta, not dsp_transformer"),
    Case("dsp-export", "a model without classes for transformers",
         "{headless} --format huggingface --output out", "has no classification head"),
    Case("dsp-export", "a tokenizer of another model",
         "{classifier} --format huggingface --tokenizer . --output out",
         "the tokenizer of . has 6 tokens, and they are not the 15 of",
         {"vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n"}),
    Case("dsp-export", "a folder without a tokenizer",
         "{classifier} --format huggingface --tokenizer . --output out", ". has no vocabulary"),
    Case("dsp-export", "a full disk, of a folder", "{classifier} --format huggingface --output out",
         "cannot write out", disk=5000),
    Case("dsp-heads", "no such checkpoint", "no.pt", "cannot read no.pt"),
    Case("dsp-heads", "a checkpoint cut off in the middle", "half.pt",
         "half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
    Case("dsp-heads", "an unknown picture format", "{frozen} --plot heads.gif",
         "--plot heads.gif must end in one of"),
    Case("dsp-heads", "an output that exists", "{frozen} --json taken.pt",
         "taken.pt exists: give --force to replace it", TAKEN),
    Case("dsp-heads", "an output that is the checkpoint", "taken.pt --force --json taken.pt",
         "cannot write taken.pt: it is the checkpoint", TAKEN),
    Case("dsp-heads", "an output folder that is not there", "{frozen} --json no/heads.json",
         "there is no folder no"),
    Case("dsp-heads", "a full disk", "{frozen} --json heads.json",
         "cannot write heads.json: File too large", disk=100),
    Case("dsp-rank-heads", "an output that exists",
         "{stock} --data . --method random --num-of-heads 3 --output taken.pt",
         "taken.pt exists: remove it or give another --output", TAKEN),
    Case("dsp-rank-heads", "--one-shot with a method that scores once",
         "{stock} --data . --method random --num-of-heads 3 --one-shot --output out.pt",
         "--method random scores once"),
    Case("dsp-rank-heads", "a flag of another method",
         "{stock} --data . --method random --num-of-heads 3 --split valid --output out.pt",
         "--split belongs to --method michel"),
    Case("dsp-rank-heads", "--method learned without a model to learn from",
         "{stock} --data {corpus} --method learned --num-of-heads 3 --output out.pt",
         "takes the heads of another checkpoint: add --heads-of FILE"),
    Case("dsp-rank-heads", "--method learned with a model that has no choice of heads",
         "{stock} --data {corpus} --method learned --heads-of {stock} --num-of-heads 3 "
         "--output out.pt",
         "holds no head importance"),
    Case("dsp-rank-heads", "batches smaller than a sentence",
         "{stock} --data {corpus} --method michel --num-of-heads 3 --max-tokens 2 --output out.pt",
         "--max-tokens 2 is too small"),
    Case("dsp-rank-heads", "K that is no number",
         "{stock} --data . --method random --num-of-heads few --output out.pt",
         "argument --num-of-heads: invalid int value: 'few'", status=2),
    Case("dsp-rank-heads", "a model that is pruned",
         "{frozen} --data . --method random --num-of-heads 3 --output out.pt",
         "is pruned, to 3 of 6 heads"),
    Case("dsp-rank-heads", "missing dictionaries",
         "{stock} --data . --method random --num-of-heads 3 --output out.pt",
         "--data . does not hold the data of this model"),
    Case("dsp-rank-heads", "dictionaries of another model",
         "{stock} --data data --method random --num-of-heads 3 --output out.pt",
         "do not fit the dictionaries of data",
         OTHER_DATA),
    Case("dsp-prune", "an output that exists",
         "{stock} --data . --num-of-heads 3 --output taken.pt",
         "taken.pt exists: remove it or give another --output", TAKEN),
    Case("dsp-prune", "a checkpoint cut off in the middle",
         "half.pt --data {corpus} --num-of-heads 3 --output out.pt",
         "half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
    Case("dsp-prune", "K above the number of heads",
         "{stock} --data {corpus} --num-of-heads 99 --output out.pt",
         "--num-of-heads 99 is not a whole number from 0 to 6"),
    Case("dsp-prune", "a model that is pruned",
         "{frozen} --data {corpus} --num-of-heads 3 --output out.pt",
         "is pruned, to 3 of 6 heads: give a dense checkpoint"),
    Case("dsp-prune", "a model that is exported",
         "{exported} --data {corpus} --num-of-heads 3 --output out.pt",
         "is exported, its heads are chosen: give a dense checkpoint"),
    Case("dsp-prune", "missing dictionaries", "{stock} --data . --num-of-heads 3 --output out.pt",
         "--data . does not hold the data of this model"),
    Case("dsp-prune", "dictionaries of another model",
         "{stock} --data data --num-of-heads 3 --output out.pt",
         "do not fit the dictionaries of data", OTHER_DATA),
    Case("dsp-prune", "a split that is not there",
         "{stock} --data {corpus} --num-of-heads 3 --split dev --output out.pt",
         "has no dev split that fairseq can read"),
    Case("dsp-prune", "batches smaller than a sentence",
         "{stock} --data {corpus} --method random --num-of-heads 3 --max-tokens 2 --output out.pt",
         "--max-tokens 2 is too small"),
    Case("dsp-prune", "a repair that is left out, and batches for it",
         "{stock} --data . --num-of-heads 3 --no-repair --repair-batches 5 --output out.pt",
         "argument --repair-batches: not allowed with argument --no-repair", status=2),
    Case("dsp-prune", "a repair on no batches",
         "{stock} --data . --num-of-heads 3 --repair-batches 0 --output out.pt",
         "argument --repair-batches: 0 is not 1 or more", status=2),
    Case("dsp-prune", "int8 in a format that has none",
         "{stock} --data . --num-of-heads 3 --quantization int8 --output out.pt",
         "--quantization belongs to --format ctranslate2"),
    Case("dsp-prune", "a full disk",
         "{stock} --data {corpus} --method random --num-of-heads 3 --no-repair --output out.pt",
         "cannot write out.pt", disk=1000),
]  # fmt: skip

# ---- scores

PREP = {"subword": "bpe", "target": "en", "tokenized": True, "lowercase": False}
SCORED: dict[str, Content] = {
    "data/prep.json": json.dumps(PREP),
    "data/raw/test.tgt": "A dog runs through the snow.\nTwo men sit on a bench.\n",
}
OUTPUT = """\
T-0\tA dog runs through the snow .
H-0\t-0.1\tA dog runs .
T-1\tTwo men sit on a bench .
H-1\t-0.1\tTwo men sit .
"""
SCORE = "out.txt --data data"
SCORE_CASES = [
    Case("dsp-score", "no such file", SCORE, "cannot read out.txt", SCORED),
    Case("dsp-score", "an empty file", SCORE, "out.txt holds no hypothesis",
         {**SCORED, "out.txt": ""}),
    Case("dsp-score", "a file that is not UTF-8", SCORE, "cannot read out.txt",
         {**SCORED, "out.txt": LATIN}),
    Case("dsp-score", "a hypothesis without its reference", SCORE, "out.txt is incomplete",
         {**SCORED, "out.txt": OUTPUT.replace("T-1", "S-1")}),
    Case("dsp-score", "a reference without its hypothesis", SCORE,
         "out.txt is incomplete: T-1 in line 3 has no H-1",
         {**SCORED, "out.txt": OUTPUT.replace("H-1", "D-1")}),
    Case("dsp-score", "two outputs in one file", SCORE,
         "out.txt, line 5: T-0 is also in line 1", {**SCORED, "out.txt": OUTPUT * 2}),
    Case("dsp-score", "an output that ends within a line", SCORE, "out.txt, line 4 is cut off",
         {**SCORED, "out.txt": OUTPUT[:-5]}),
    Case("dsp-score", "two lines that run into one", SCORE,
         "out.txt, line 2: H-0 runs into another record",
         {**SCORED, "out.txt": OUTPUT.replace("runs .\nT-1", "ruT-1", 1)}),
    Case("dsp-score", "blanks that an editor trimmed", SCORE,
         "out.txt, line 2: H-0 has no text, not even an empty one",
         {**SCORED, "out.txt": OUTPUT.replace("\tA dog runs .", "", 1)}),
    Case("dsp-score", "sentences of other numbers", SCORE, "out.txt is incomplete: it has no T-1",
         {**SCORED, "out.txt": OUTPUT.replace("-1\t", "-2\t")}),
    Case("dsp-score", "an output of which the lines are shifted", SCORE,
         "line 3, T-0, has 'Two men sit on a bench .', and line 1 of data/raw/test.tgt has 'A dog",
         {**SCORED, "out.txt": OUTPUT.replace("-1\t", "-x\t").replace("-0\t", "-1\t")
          .replace("-x\t", "-0\t")}),
    Case("dsp-score", "an unknown tokeniser", f"{SCORE} --tokenize words",
         "argument --tokenize: invalid choice: 'words'", {**SCORED, "out.txt": OUTPUT}, 2),
    Case("dsp-score", "fewer sentences than the data have", SCORE,
         "out.txt has 1 sentences, the test split of data has 2",
         {**SCORED, "out.txt": "".join(OUTPUT.splitlines(True)[:2])}),
    Case("dsp-score", "more sentences than the split has", SCORE,
         "it was made from another split or other data",
         {**SCORED, "out.txt": OUTPUT + OUTPUT.replace("-0\t", "-2\t").replace("-1\t", "-3\t")}),
    Case("dsp-score", "an output of other data", SCORE, "are not those of the test split of data",
         {**SCORED, "out.txt": OUTPUT.replace("dog", "cat").replace("men", "wolves")
          .replace("the snow", "deep water").replace("sit on a bench", "howl at us")}),
    Case("dsp-score", "a folder that was not prepared", "out.txt --data .",
         ". is not a folder that data-prep/ made", {"out.txt": OUTPUT}),
    Case("dsp-score", "a damaged prep.json", SCORE, "data/prep.json is damaged ('subword')",
         {**SCORED, "out.txt": OUTPUT, "data/prep.json": "{}"}),
    Case("dsp-measure", "an output that exists", "{stock} --output taken.pt",
         "taken.pt exists: remove it or give another --output", TAKEN),
    Case("dsp-measure", "a checkpoint cut off in the middle", "half.pt --output costs.yaml",
         "half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
    Case("dsp-measure", "a model that is exported", "{exported} --output costs.yaml",
         "is exported, and lacks heads"),
    Case("dsp-measure", "a classifier", "{classifier} --output costs.yaml",
         "does not translate: all its heads are of one kind"),
    Case("dsp-measure", "sentences that are too long for the model",
         "{stock} --length 9999 --output costs.yaml", "--length 9999: this model takes"),
    Case("dsp-measure", "no repeats", "{stock} --repeats 0 --output costs.yaml",
         "argument --repeats: 0 is not 1 or more", status=2),
    Case("dsp-predict", "a translation model", "{frozen} --data {corpus} --output new.tsv",
         "is no classifier"),
    Case("dsp-predict", "an output that exists",
         "{frozen} --data {corpus} --output taken.tsv", "taken.tsv exists", {"taken.tsv": "x"}),
    Case("dsp-predict", "a comparison with something else",
         "{frozen} --data {corpus} --compare other.tsv",
         "other.tsv holds no predictions of dsp-predict", {"other.tsv": "a\tb\n"}),
    Case("dsp-predict", "a comparison with a file that was cut off",
         "{frozen} --data {corpus} --compare other.tsv", "other.tsv, line 2, is damaged",
         {"other.tsv": "input\tlabel\tprediction\tyes\tno\n0\tyes\tn"}),
    Case("dsp-predict", "a checkpoint cut off in the middle", "half.pt --data {corpus}",
         "half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
]  # fmt: skip

# ---- fairseq's commands with the user-dir

TEXT_IN_DATA = {"data/train.de-en.de.idx": "", "data/train.de-en.en.idx": ""}
PRICED = "--head-costs encoder.self=1,decoder.self=4,decoder.cross=3"
TRAIN_CASES = [
    Case("fairseq-train", mistake, arguments, message, status=status)
    for mistake, arguments, message, status in (
        ("K above the number of heads", "--num-of-heads 99",
         "--num-of-heads 99 is not a whole number from 0 to 24", 1),
        ("K below 0", "--num-of-heads -1", "--num-of-heads -1 is not", 1),
        ("a repair while the weights are trained", "--num-of-heads 6 --repair-batches 3",
         "--repair-batches belongs to --pruning-mode pipelined", 1),
        ("a repair for several sets of heads",
         "--num-of-heads 6,12 --pruning-mode pipelined --repair-batches 3",
         "--repair-batches fits the weights to one set of heads", 1),
        ("importance alone, with layers that are computed again for gradients",
         "--num-of-heads 6 --pruning-mode pipelined --checkpoint-activations",
         "--checkpoint-activations computes layers again", 1),
        ("K and a budget in cost", f"--num-of-heads 6 {PRICED} --cost-budget 9",
         "--num-of-heads and --cost-budget are two budgets", 1),
        ("a budget in cost without prices", "--cost-budget 9", "needs the prices of heads", 1),
        ("prices without a budget", PRICED, "give --cost-budget C", 1),
        ("a kind without a price", "--head-costs decoder.self=1 --cost-budget 9",
         "has no price for encoder.self and decoder.cross", 1),
        ("a price of 0", f"{PRICED.replace('=3', '=0')} --cost-budget 9",
         "a kind has one price above 0", 1),
        ("no file of prices", "--head-costs no.yaml --cost-budget 9",
         "cannot read --head-costs no.yaml: No such file", 1),
        ("more than all heads cost", f"{PRICED} --cost-budget 99",
         "--cost-budget 99 is not a number from 0 to 64", 1),
        ("less than a head costs", f"{PRICED} --cost-budget 0.5",
         "--cost-budget 0.5 pays for no head", 1),
        ("floors that cost more than the budget",
         f"{PRICED} --cost-budget 9 --keep-at-least decoder.self=3",
         "9 is below the 12 that these heads cost", 1),
        ("a budget in cost for an estimator that counts",
         f"{PRICED} --cost-budget 9 --gate-estimator gumbel",
         "gumbel counts heads and cannot keep to a --cost-budget", 1),
        ("K that is no number", "--num-of-heads many", "--num-of-heads 'many' is not", 1),
        ("a temperature of 0", "--initial-temperature 0",
         "--initial-temperature 0 must be a positive number", 1),
        ("a temperature that rises", "--final-temperature 3", "the temperature may only fall", 1),
        ("all heads until the freeze", "--gates-after 6",
         "--gates-after 6 must be before the freeze, which is after 6 updates", 1),
        ("an unknown kind of site", "--keep-at-least cross=1",
         "--keep-at-least 'cross=1': write NAME=COUNT", 1),
        ("ceilings below the budget", "--keep-at-most site=0",
         "--keep-at-most site=0 allows 0 heads, and --num-of-heads is", 1),
        ("another optimizer", "--optimizer adam", "use --optimizer dsp_adam", 1),
        ("a negative learning rate", "--pruning-lr -1",
         "--pruning-lr and --pruning-clip-norm must not be negative", 1),
        ("an option that pruning does not support", "--quant-noise-pq 0.1",
         "--quant-noise-pq is not supported by dsp_transformer", 1),
        ("sharded parameters", "--ddp-backend fully_sharded",
         "--ddp-backend fully_sharded is not supported by dsp_transformer", 1),
        ("no such exported model", "--kept-heads /no.pt", "cannot read /no.pt", 1),
        ("a training checkpoint as exported model", "--kept-heads {frozen}",
         "that is not a checkpoint that dsp-export wrote", 1),
        ("a start from a model that is not there", "--pruning-mode pipelined",
         "name its checkpoint with --finetune-from-model", 1),
        ("a schedule that is no number", "--cooldown-steps soon",
         "argument --cooldown-steps: invalid int value: 'soon'", 2),
        ("an unknown estimator", "--gate-estimator magic",
         "argument --gate-estimator: invalid choice: 'magic'", 2),
        ("another criterion", "--criterion label_smoothed_cross_entropy",
         "use --criterion dsp_label_smoothed_cross_entropy", 1),
        ("a number of heads beside an exported model", "--kept-heads {exported}",
         "leave out --num-of-heads", 1),
        ("a start that is not there", "--finetune-from-model no.pt",
         "there is no checkpoint no.pt to start from", 1),
        ("a checkpoint to continue from that is not there", "--restore-file no.pt",
         "there is no checkpoint no.pt to continue from", 1),
        ("an unknown language", "--source-lang fr",
         "has no dictionary of 'fr' (dict.fr.txt), only of de, en", 1),
        ("a split that is not there", "--train-subset trian", "has no trian split of de and en", 1),
        ("a validation split that is not there", "--valid-subset dev",
         "has no dev split of de and en", 1),
        ("adaptive softmax", "--adaptive-softmax-cutoff 50,100",
         "--adaptive-softmax-cutoff is trained by fairseq's adaptive_loss only", 1),
        ("a score of which the lowest would be kept", "--best-checkpoint-metric bleu",
         "would keep the worst checkpoint: add --maximize-best-checkpoint-metric", 1),
    )
] + [
    Case("fairseq-train", "no such teacher", "--distill-from no.pt",
         "--distill-from: cannot read no.pt: No such file"),
    Case("fairseq-train", "a teacher cut off in the middle", "--distill-from half.pt",
         "--distill-from: half.pt is not a checkpoint that can be loaded", {"half.pt": _half}),
    Case("fairseq-train", "a text file as teacher", "--distill-from a",
         "--distill-from: a is not a checkpoint that can be loaded", TEXT),
    Case("fairseq-train", "a teacher with other dictionaries", "--distill-from {frozen}",
         "do not fit the dictionaries of this training"),
    Case("fairseq-train", "a teacher of another family", "--distill-from bert.pt",
         "bert.pt is of a dsp_roberta_tiny, which is not of the family dsp_transformer",
         {"bert.pt": partial(_saved, "dsp_roberta_tiny")}),
    Case("fairseq-train", "a teacher of no known family", "--distill-from other.pt",
         "lstm is not of a known model family", {"other.pt": partial(_saved, "lstm")}),
    Case("fairseq-train", "a teacher's weight above 1",
         "--distill-from {frozen} --distill-weight 1.5",
         "--distill-weight 1.5 must be from 0 to 1"),
    Case("fairseq-train", "a teacher's temperature of 0",
         "--distill-from {frozen} --distill-temperature 0",
         "--distill-temperature 0 must be a positive number"),
    Case("fairseq-train", "a teacher's weight without a teacher", "--distill-weight 0.3",
         "--distill-weight belongs to --distill-from"),
    Case("fairseq-train", "no data folder", "", "there is no data folder", data="data"),
    Case("fairseq-train", "a data folder without dictionaries", "", "data holds no dictionaries",
         TEXT_IN_DATA, data="data"),
    Case("fairseq-train", "a missing dictionary", "", "data has no dictionary of 'en'",
         {**TEXT_IN_DATA, "data/dict.de.txt": ""}, data="data"),
    Case("fairseq-train", "dictionaries without text", "", "data holds no binarised text",
         {"data/dict.de.txt": "", "data/dict.en.txt": ""}, data="data"),
    Case("fairseq-generate", "K above the number of heads",
         """{frozen} --model-overrides "{{'num_of_heads': '99'}}\"""",
         "--num-of-heads 99 is not a whole number from 0 to 6"),
    Case("fairseq-generate", "another number of heads than an exported model has",
         """{exported} --model-overrides "{{'num_of_heads': '2'}}\"""",
         "--num-of-heads 2: this model was exported with 3 heads"),
]  # fmt: skip

# ---- data preparation

RAW: dict[str, Content] = {
    f"{split}.{language}": "one two\nthree four\n"
    for split in ("train", "valid", "test")
    for language in ("de", "en")
}
PREPARE = "--train train --valid valid --test test --out data"
LONG = "word " * 9999 + "word\n"


def _raw(**halves: Content) -> dict[str, Content]:
    """The raw text with halves replaced; names as in ``train_de``."""
    return {**RAW, **{name.replace("_", "."): content for name, content in halves.items()}}


PREPARE_CASES = [
    Case("prepare_text.py", mistake, arguments, message, files, 2)
    for mistake, arguments, message, files in (
        ("no such file", PREPARE, "found neither train.de nor train.de.gz", {}),
        ("an empty file", PREPARE, "train.de has no lines", _raw(train_de="")),
        ("text that is not UTF-8", PREPARE, "train.de, line 1: not valid UTF-8",
         _raw(train_de=LATIN)),
        ("UTF-16", PREPARE, "train.de, line 1: not valid UTF-8",
         _raw(train_de="one\ntwo\n".encode("utf-16"))),
        ("halves of different length", PREPARE, "train.de has 2 lines but train.en has 1",
         _raw(train_en="one\n")),
        ("a damaged gzip file", PREPARE, "train.de.gz is not a whole gzip file",
         {**{k: v for k, v in RAW.items() if k != "train.de"}, "train.de.gz": b"\x1f\x8b\x08half"}),
        ("a training text of which nothing can be seen", PREPARE, "no pair is left for train",
         _raw(train_en="\u0001\n\u200b\n")),
        ("too little text", PREPARE, "give another --vocab-size or more text",
         {name: "ab cd\n" if name.endswith("de") else "ef gh\n" for name in RAW}),
        ("a test line of 10,000 tokens", f"{PREPARE} --vocab-size 60",
         "test.de, line 1: 10000 tokens, more than the 1023",
         {**_raw(test_de=LONG, test_en="one\n"), "train.de": "word or two\n" * 9,
          "train.en": "word or two\n" * 9}),
        ("other line counts than expected", f"{PREPARE} --expect-lines train=9",
         "train.de has 2 lines where 9 were expected", RAW),
        ("one language", f"{PREPARE} --target de", "--source and --target are both de", RAW),
        ("a language that is no code", f"{PREPARE} --target en/us",
         "'en/us' is not a plain language code", RAW),
        ("a language that the corpus lacks", f"{PREPARE} --source fr",
         "found neither train.fr nor train.fr.gz", RAW),
        ("no symbols", f"{PREPARE} --vocab-size 0", "'0' is not a whole number above 0", RAW),
        ("an output that exists", PREPARE, "data exists; remove it", {**RAW, "data/x": ""}),
        ("an output folder that cannot be made", PREPARE.replace("data", "a/data"),
         "a: File exists", {**RAW, **TEXT}),
    )
] + [
    Case("prepare_text.py", "a full disk", PREPARE, "File too large",
         {**RAW, "train.de": "one two\n" * 900, "train.en": "one two\n" * 900}, 2, disk=6000),
    Case("encode_text.py", "text that is not UTF-8", "{corpus}", "stdin, line 1: not valid UTF-8",
         status=2, stdin=LATIN),
    Case("encode_text.py", "a folder that was not prepared", ".", ". holds no prep.json", status=2),
    Case("encode_text.py", "a damaged prep.json", ".", "prep.json is not valid JSON",
         {"prep.json": "{"}, 2),
    Case("encode_text.py", "a prep.json of a later version", ".", "is not of format version 1",
         {"prep.json": '{"format_version": 99}'}, 2),
]  # fmt: skip

PARALLEL = "--source-file my.de --target-file my.en --out data"
SCRIPT_CASES = [
    Case("prepare-parallel.sh", mistake, arguments, message, files, 2)
    for mistake, arguments, message, files in (
        ("no such file", PARALLEL, "there is no file my.de", {}),
        ("a file that names no language", PARALLEL.replace("my.de", "my.txt"),
         "my.txt does not end in a language such as .de", {"my.txt": "a\n", "my.en": "a\n"}),
        ("halves of different length", PARALLEL, "my.de has 2 lines but my.en has 1",
         {"my.de": "a\nb\n", "my.en": "a\n"}),
        ("text that is not UTF-8", PARALLEL, "my.de, line 1: not valid UTF-8",
         {"my.de": LATIN, "my.en": "a\n"}),
        ("lines of 10,000 tokens alone", PARALLEL, "pairs", {"my.de": LONG, "my.en": LONG}),
        ("a ratio below 1", f"{PARALLEL} --max-ratio 0.5", "'0.5' is not a number of at least 1",
         {"my.de": "a\n", "my.en": "a\n"}),
    )
] + [
    Case("prepare-iwslt14.sh", "no such archive", "--from no.tgz --out data",
         "there is no no.tgz", status=2),
    Case("prepare-iwslt14.sh", "a damaged archive", "--from a --out data",
         "a is not a whole tar archive", TEXT, 2),
    Case("prepare-iwslt14.sh", "an unknown language", "--source fr --out data",
         "invalid choice: 'fr'", status=2),
    Case("prepare-multi30k.sh", "--from without a folder", "--from", "--from needs a folder",
         status=2),
    Case("prepare-multi30k.sh", "a folder without the corpus", "--from . --out data",
         "found neither", status=2),
    Case("prepare-toy.sh", "no sentences", "--train 0 --out data", "'0' is not", status=2),
    Case("prepare-toy.sh", "an output that exists", "--out a --train 5 --valid 1 --test 1",
         "a exists", TEXT, 2),
]  # fmt: skip

# ---- classification

BERT = {
    "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 32, "intermediate_size": 64,
    "num_attention_heads": 4, "max_position_embeddings": 32, "type_vocab_size": 2,
    "vocab_size": 15,
}  # fmt: skip
IMPORT = "m --output new.pt"


def _bert_weights() -> bytes:
    from pretrained import tensors_of
    from safetensors.torch import save

    return save(tensors_of(BERT))


def _bert(weights: Content = _bert_weights, **config: object) -> dict[str, Content]:
    """The files of a small BERT, of which something is wrong."""
    words = "[PAD] a [UNK] [CLS] [SEP] [MASK] b c d e f g h i j"
    return {
        "m/config.json": json.dumps(BERT | config),
        "m/model.safetensors": weights,
        "m/vocab.txt": words.replace(" ", "\n") + "\n",
    }


def _without(files: dict[str, Content], name: str, **more: Content) -> dict[str, Content]:
    return {path: content for path, content in files.items() if path != name} | more


IMPORT_CASES = [
    Case("dsp-import-bert", mistake, arguments, message, files, status)
    for mistake, arguments, message, files, status in (
        ("no such folder", IMPORT, "m is not a folder", {}, 1),
        ("no output", "m", "the following arguments are required: --output", {}, 2),
        ("an output that exists", "m --output a", "a exists", TEXT, 1),
        ("a folder without a configuration", IMPORT, "cannot read m/config.json",
         _without(_bert(), "m/config.json"), 1),
        ("a configuration that is not JSON", IMPORT, "m/config.json is not JSON",
         {**_bert(), "m/config.json": "{"}, 1),
        ("another architecture", IMPORT, "model_type 'albert' is none of bert, roberta",
         _bert(model_type="albert"), 1),
        ("a decoder", IMPORT, "is_decoder True is not supported", _bert(is_decoder=True), 1),
        ("no weights", IMPORT, "m has no model.safetensors",
         _without(_bert(), "m/model.safetensors"), 1),
        ("weights in a pickle", IMPORT, "a pickle, which can run code",
         _without(_bert(), "m/model.safetensors", **{"m/pytorch_model.bin": "x"}), 1),
        ("weights that are cut off", IMPORT, "cannot read m/model.safetensors",
         _bert(lambda: _bert_weights()[:1000]), 1),
        ("weights of fewer layers", IMPORT,
         "m/model.safetensors lacks encoder.layer.2.attention.self.query.weight",
         _bert(num_hidden_layers=3), 1),
        ("weights of other shapes", IMPORT, "m/model.safetensors does not fit config.json",
         _bert(intermediate_size=48), 1),
        ("no vocabulary", IMPORT, "m has no vocabulary", _without(_bert(), "m/vocab.txt"), 1),
        ("two vocabularies", IMPORT,
         "m/tokenizer.json and vocab.txt are of different models",
         {**_bert(), "m/tokenizer.json": '{"model": {"vocab": {"a": 0}}, "added_tokens": []}'}, 1),
        ("a vocabulary of another model", IMPORT, "the vocabulary of m lacks [SEP]",
         {**_bert(), "m/vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[MASK]\n"}, 1),
    )
]  # fmt: skip

CLASSIFIER_CASES = [
    Case("fairseq-train", mistake, arguments, message, status=1, classifies=True, data=data)
    for mistake, arguments, message, data in (
        ("another number of classes than the labels", "--num-classes 2",
         "has 3 labels (entailment, neutral, contradiction)", None),
        ("a classifier of numbers", "--regression-target",
         "--regression-target is not supported by dsp_sentence_prediction", None),
        ("a loss of which the highest would be kept", "--best-checkpoint-metric loss",
         "would keep the worst checkpoint: leave out --maximize-best-checkpoint-metric", None),
        ("metrics of labels that are numbers", "--report-mcc",
         "--report-mcc is not supported by dsp_sentence_prediction", None),
        ("sentences that are too long", "--max-positions 8",
         "are longer than --max-positions 8, up to 15 tokens", None),
        ("a split of sentences that is not there", "--train-subset trian",
         "has no trian split (input0/trian.*)", None),
        ("data that is not for classification", "", "has no dictionary input0/dict.txt", "."),
        ("fairseq's own criterion of classes", "--criterion sentence_prediction",
         "use --criterion dsp_sentence_prediction", None),
        ("fairseq's own criterion, by default", "--criterion cross_entropy",
         "use --criterion dsp_sentence_prediction", None),
        ("fairseq's own task of classes", "--task sentence_prediction",
         "use --task dsp_sentence_prediction", None),
        ("batches that are smaller than an input", "--max-tokens-valid 3",
         "should not exceed max_tokens=3: give a larger --max-tokens", None),
        ("fairseq's own pruning of heads", "--mha-heads-to-keep 2",
         "--mha-heads-to-keep is not supported by dsp_roberta", None),
        ("a start from a model that translates", "--finetune-from-model {frozen}",
         "the checkpoint has 6 heads, this model 8 heads", None),
        ("importance of heads before there are classes",
         "--finetune-from-model {headless} --pruning-mode pipelined",
         "starts from a model that can do its task", None),
    )
]  # fmt: skip

PAIRS = "neutral\tOne.\tTwo.\n-\tThree.\tFour.\nyes\tOne.\tThree.\n"
LABELLED: dict[str, Content] = {"train.tsv": PAIRS, "dev.tsv": PAIRS, "my.jsonl": "[]\n"}
NLI, NLI_FILE = "--from . --out data", "--from my.tsv --out data"
OBJECT = '{"gold_label": "yes", "sentence1": "One.", "sentence2": "Two."}\n'

NLI_CASES = [
    Case("prepare-nli.sh", mistake, arguments, message, files, 2)
    for mistake, arguments, message, files in (
        ("no text", "--out data", "say where the text is: --from, --train and --valid, or --toy",
         {}),
        ("two texts", f"{NLI} --toy", "say where the text is", LABELLED),
        ("no such file", "--from my.tsv --out data", "there is no folder or file my.tsv", {}),
        ("no such split", "--train train.tsv --valid no.tsv --out data",
         "there is no file no.tsv; give another --valid", LABELLED),
        ("training text alone", "--train train.tsv --out data", "give --train and --valid, or",
         LABELLED),
        ("a folder without training text", NLI, "has no file that is called train",
         {"dev.tsv": PAIRS}),
        ("several files for a split", NLI, "several files for train: train.tsv, train_2.tsv; give",
         {**LABELLED, "train_2.tsv": PAIRS}),
        ("a file that is split, and a split", f"{NLI_FILE} --test dev.tsv",
         "is a file, which is split here: leave out --test", {**LABELLED, "my.tsv": PAIRS}),
        ("an empty file", NLI, "train.tsv has no lines", {**LABELLED, "train.tsv": ""}),
        ("labels that are not UTF-8", NLI, "dev.tsv, line 1: not valid UTF-8",
         {**LABELLED, "dev.tsv": LATIN}),
        ("a damaged gzip file", "--from my.tsv.gz --out data", "my.tsv.gz is not a whole gzip file",
         {"my.tsv.gz": b"\x1f\x8b\x08half"}),
        ("a line with a column too many", NLI,
         "train.tsv, line 4: 4 columns between tabs, where the first line has 3",
         {**LABELLED, "train.tsv": f"{PAIRS}yes\tOne.\tTwo.\tThree.\n"}),
        ("a first line of four columns", NLI_FILE,
         "my.tsv, line 1: 4 columns between tabs, where 2",
         {"my.tsv": "yes\tOne.\tTwo.\tThree.\n"}),
        ("a header of names that are not known", NLI_FILE,
         "no other line has the label category. If this line names the columns",
         {"my.tsv": "category\tmessage\n" + "good\tYes.\nbad\tNo.\n" * 10}),
        ("JSON lines by another name", "--from my.json --out data",
         "JSON; call a file of JSON lines .jsonl", {"my.json": OBJECT}),
        ("a header that does not name the sentences", NLI_FILE,
         "my.tsv, line 1: none of the names label, first, second are known",
         {"my.tsv": "label\tfirst\tsecond\n"}),
        ("no label", NLI, "train.tsv, line 1: the label is empty; give one, or - for none",
         {**LABELLED, "train.tsv": f" \tOne.\tTwo.\n{PAIRS}"}),
        ("a line that is not JSON", "--from my.jsonl --out data", "my.jsonl, line 2: not JSON",
         {"my.jsonl": f"{OBJECT}what?\n"}),
        ("a line that is no JSON object", "--from my.jsonl --out data",
         "my.jsonl, line 1: no JSON object", LABELLED),
        ("half a character", "--from my.jsonl --out data",
         "my.jsonl, line 1: sentence1 has half a character",
         {"my.jsonl": OBJECT.replace("One", r"One \ud83d")}),
        ("a label that is a symbol of fairseq's", NLI, "label '<s>' is a symbol of fairseq's",
         {**LABELLED, "train.tsv": PAIRS.replace("neutral", "<s>")}),
        ("an object without a sentence", "--from my.jsonl --out data",
         "my.jsonl, line 2: sentence2 is null, where text has to be",
         {"my.jsonl": OBJECT + OBJECT.replace("sentence2", "sentence3")}),
        ("pairs here and sentences there", NLI, "some files have single sentences and others pairs",
         {**LABELLED, "dev.tsv": "yes\tOne.\n"}),
        ("a split without labels", NLI, "no example is left for valid",
         {**LABELLED, "dev.tsv": "-\tOne.\tTwo.\n"}),
        ("an unknown label", NLI,
         "dev.tsv, line 4: label 'no' is none of the classes neutral, yes",
         {**LABELLED, "dev.tsv": f"{PAIRS}no\tOne.\tTwo.\n"}),
        ("one class", NLI, "the only label is yes",
         {**LABELLED, "train.tsv": PAIRS.replace("neutral", "-")}),
        ("one class named", f"{NLI} --labels yes", "'yes' is not like entailment,neutral,",
         LABELLED),
        ("sentences in the place of labels", NLI_FILE,
         "my.tsv has 1,200 different labels; give the label",
         {"my.tsv": "".join(f"One {n}.\tTwo.\tyes\n" for n in range(1200))}),
        ("too few premises to split", NLI_FILE, "2 examples of 1 premises are too few",
         {"my.tsv": "yes\tOne.\tTwo.\nno\tOne.\tThree.\n"}),
        ("no such model", f"{NLI} --model m", "there is no folder m; give another --model",
         LABELLED),
        ("a model of another architecture", f"{NLI} --model m",
         "model_type 'albert' is none of bert, roberta", LABELLED | _bert(model_type="albert")),
        ("a tokenizer that is cut off", f"{NLI} --model m", "m/tokenizer.json is not JSON",
         {**LABELLED, **_bert(), "m/tokenizer.json": "{"}),
        ("the tokenizer of another model", f"{NLI} --model m",
         "the vocabulary of m lacks [CLS], [PAD]", {**LABELLED, **_bert(), "m/vocab.txt": "a\n"}),
        ("longer inputs than the model takes", f"{NLI} --model m --max-length 99",
         "--max-length 99 is more than the 32 tokens that the model takes", LABELLED | _bert()),
        ("inputs without room", f"{NLI} --max-length 4", "--max-length 4 leaves no room", LABELLED),
        ("too many toy pairs", "--toy 99999999 --out data", "99999999 toy pairs are too many", {}),
        ("an output that exists", "--toy 30 --out a", "a exists; remove it", TEXT),
        ("data that was made otherwise", "--toy 30 --out data --if-missing",
         "data exists but was made with another toy (20, now 30)",
         {"data/prep.json": '{"format_version": 1, "kind": "classification", "labels_given": null, '
                            '"max_length": null, "toy": 20}'}),
    )
] + [
    Case("prepare-nli.sh", "a full disk", "--toy 3000 --out data", "File too large", status=2,
         disk=6000),
]  # fmt: skip

CASES = [
    *RUN_CASES, *CHECKPOINT_CASES, *SCORE_CASES, *TRAIN_CASES, *CLASSIFIER_CASES,
    *IMPORT_CASES, *PREPARE_CASES, *SCRIPT_CASES, *NLI_CASES,
]  # fmt: skip


def page() -> str:
    """The table as a page of the documentation."""
    commands = {case.command for case in CASES}
    lines = [
        "# Bad input",
        "",
        f"{len(CASES)} mistakes over {len(commands)} commands. Each ends the command with one line "
        "of error and the",
        "exit status below. Existing files stay unchanged, and nothing is left half-made.",
        "`pytest tests/cli/test_bad_input_table.py` checks every row;",
        "`python tests/cli/bad_inputs.py > docs/bad-input.md` writes this page.",
        "",
        "| command | what is wrong | the line says | status |",
        "|---|---|---|---|",
    ]
    for case in CASES:
        message = case.message.replace("|", "\\|")
        lines.append(f"| `{case.command}` | {case.mistake} | `…{message}…` | {case.status} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
