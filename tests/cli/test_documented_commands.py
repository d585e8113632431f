"""Every command that README.md and docs/ name is run: as it stands there, but on a tiny corpus.

:data:`PAGE_TESTS` and :data:`ELSEWHERE` say which test runs which.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
import yaml
from documentation import PAGES, ROOT, blocks, commands
from made_up_sweep import make_sweep
from pretrained import LABELS, config_of, tensors_of, write_pretrained
from reader import TINY, Reader
from saved_models import read_head_map

THIS = "tests/cli/test_documented_commands.py"
PAGE_TESTS = {
    "README.md": f"{THIS}::test_readme",
    "docs/data.md": "tests/data_prep/test_data_docs.py::test_every_command_works_as_written",
    "docs/export.md": f"{THIS}::test_the_export_page",
    "docs/methods.md": f"{THIS}::test_the_methods_page",
    "docs/nli.md": f"{THIS}::test_the_nli_page",
    "docs/recipes.md": f"{THIS}::test_the_recipes_page",
    "docs/report.md": f"{THIS}::test_the_report_page",
    "docs/results.md": f"{THIS}::test_the_results_page",
    "docs/speed.md": f"{THIS}::test_a_benchmark",
    "docs/training.md": f"{THIS}::test_the_training_page",
}
"""page -> the test that runs all its commands but those of :data:`ELSEWHERE`."""

ELSEWHERE = {
    "bash scripts/setup.sh": "tests/cli/test_setup_script.py::test_a_second_run_does_nothing",
    "bash scripts/test.sh": f"{THIS}::test_the_test_script",
    "bash data-prep/prepare-multi30k.sh --lowercase --vocab-size 8000 --out data/multi30k-de-en": (
        "tests/data_prep/test_data_docs.py::test_every_command_works_as_written"
    ),
    "dsp-sweep scripts/sweeps/multi30k-pipelined.yaml --launcher submitit --jobs 16": (
        "tests/cli/test_sweep_commands.py::test_submitit_runs_jobs_and_reports_the_failed_one"
    ),
    "dsp-run scripts/recipes/wmt14-joint.yaml --num-of-heads 72 --processes 4 --set "
    "update-freq=32": "tests/cli/test_run_commands.py::test_two_processes_train_one_model",
    "torchrun --nnodes 2 --rdzv-backend c10d --rdzv-endpoint HOST:29500 --nproc-per-node 8 "
    "--no-python fairseq-train ... --distributed-world-size 16": f"{THIS}::test_several_machines",
    "python scripts/bench_estimators.py": f"{THIS}::test_a_benchmark",
    "python scripts/bench_pruning.py dense.pt --data data/multi30k-de-en": (
        f"{THIS}::test_a_benchmark"
    ),
    "python scripts/kill_test.py --kills 20 --other-kills 2": (
        "tests/cli/test_interruption.py::test_a_few_kills"
    ),
    "python tests/cli/bad_inputs.py > docs/bad-input.md": (
        "tests/cli/test_bad_input_table.py::test_the_page_is_the_table"
    ),
}
"""A command whose smallest form another test runs, and that test."""

OWN_DATA = "Train on your own data"


def _script(page: str, section: str | None = None) -> str:
    """All that a reader would paste from a page or a section of it, but for what runs elsewhere."""
    return "\n".join(line for line in commands(page, section) if line not in ELSEWHERE)


def test_every_command_has_its_test():
    found = {page: commands(page) for page in PAGES}
    without = {page for page in PAGES if set(found[page]) - ELSEWHERE.keys()} - PAGE_TESTS.keys()
    assert not without, f"nothing runs the commands of {without}"
    stale = ELSEWHERE.keys() - {line for lines in found.values() for line in lines}
    assert not stale, f"no page names {stale}"
    for test in {*PAGE_TESTS.values(), *ELSEWHERE.values()}:
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_every_file_that_a_page_names_is_there():
    pattern = r"\b(?:tests|scripts|docs|data-prep|dsp_fairseq)/[\w./-]*\w"
    for page in PAGES:
        for name in re.findall(pattern, (ROOT / page).read_text(encoding="utf-8")):
            assert "NAME" in name or (ROOT / name).exists(), f"{page}: {name}"


def test_every_link_leads_somewhere():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
            name, _, anchor = link.partition("#")
            target = (ROOT / page).parent / name if name else ROOT / page
            assert target.exists(), f"{page}: {link}"
            if not anchor:
                continue  # it may be a picture
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings]
            assert anchor in slugs, f"{page}: {link}"


@pytest.fixture(scope="module")
def reader(warm_server, tmp_path_factory):
    """A reader with two text files of their own."""
    folder = tmp_path_factory.mktemp("reader")
    someone = Reader(folder, warm_server)
    subprocess.run(
        [sys.executable, ROOT / "data-prep/toy_corpus.py", "--out", folder / "raw"],
        check=True,
        capture_output=True,
    )
    for code in ("de", "en"):
        shutil.copy(folder / f"raw/test.{code}", folder / f"my.{code}")
    return someone


@pytest.fixture(scope="module")
def mine(reader):
    """What the README says about one's own data; each update leaves a checkpoint."""
    size = f"{TINY} --max-update 8 --cooldown-steps 2 --save-interval-updates 1"
    return reader.paste(_script("README.md", OWN_DATA), size)


@pytest.fixture(scope="module")
def multi30k(reader):
    """A folder that recipes take for Multi30k."""
    sizes = "--train 300 --valid 20 --test 20"
    reader.paste(f"bash data-prep/prepare-toy.sh --out data/multi30k-de-en {sizes}")


@pytest.fixture(scope="module")
def tanaka(reader):
    """A folder that recipes take for the Tanaka corpus."""
    sizes = "--train 300 --valid 20 --test 20"
    reader.paste(f"bash data-prep/prepare-toy.sh --out data/tanaka-ja-en {sizes}")


@pytest.mark.slow
def test_readme(reader, mine):
    assert "sacrebleu" in mine
    assert "\nH-0\t" in mine, "nothing was translated"
    assert read_head_map(reader.folder / "runs/mine/checkpoint_best.pt").mask.sum() == 18

    start = _script("README.md", "Quick start").replace("--toy ", "--toy 240 ")
    demo = reader.paste(start, "", DEMO_UPDATES="4", DEMO_PAIRS="800")
    assert re.search(r"^   12 heads: froze 12 of 48 heads at update 2", demo, re.M), demo
    assert re.search(r"^12 of 48 .*\d+\.\d\d +\d+ s$", demo, re.M), demo
    assert read_head_map(reader.folder / "toy-nli.pt").mask.sum() == 3

    done = {OWN_DATA, "Quick start"}
    parts = [line for s in done for line in commands("README.md", s)]
    rest = [line for line in commands("README.md") if line not in {*parts, *ELSEWHERE}]
    printed = reader.paste("\n".join(rest))
    assert "hypotheses are the same" in printed
    assert (reader.folder / "heads.png").exists()
    assert (reader.folder / "site/dsp_fairseq/cli/heads.py").exists()
    assert (reader.folder / "runs/toy-joint/report/report.html").exists()


@pytest.mark.slow
def test_the_export_page(reader, mine):
    reader.paste("rm -f pruned.pt; " + _script("docs/export.md"))
    assert (reader.folder / "heads.json").exists()
    assert (reader.folder / "runs/further/checkpoint_best.pt").exists()
    (serve,) = blocks("docs/export.md", "python")
    (reader.folder / "serve.py").write_text(serve)
    assert reader.paste("python serve.py").startswith("[")


@pytest.mark.slow
def test_the_methods_page(reader, mine):
    training = commands("README.md", OWN_DATA)[1]
    _, _, flags = training.partition("dsp_transformer_iwslt_de_en")
    flags = "--arch dsp_transformer_iwslt_de_en" + flags.replace("--num-of-heads 18", "")
    flags, _, _ = flags.partition("--save-dir")
    dense = training.replace("--num-of-heads 18", "--num-of-heads 36").replace("runs/mine", "dense")
    reader.paste(dense + "; cp dense/checkpoint_last.pt dense.pt")

    page, folder = "docs/methods.md", reader.folder
    sections = (
        *("Joint or pipelined", "Pruning without training", "One training, several budgets"),
        *("Budgets in cost", "Distillation"),
    )
    pipelined, ranking, many, priced, taught = (_script(page, section) for section in sections)
    assert "\n".join((pipelined, ranking, many, priced, taught)) == _script(page)
    reader.paste(ranking)
    for name in ("pruned18.pt", "michel.pt", "fisher.pt", "rewound.pt"):
        assert read_head_map(folder / name).mask.sum() == 18

    short = "--cooldown-steps 4 --finetune-updates 3 --max-update 7 --save-dir runs/pipelined"
    reader.paste(pipelined.replace("...", flags), f"{TINY} {short}")
    head_map = read_head_map(folder / "runs/pipelined/checkpoint_last.pt")
    assert head_map.frozen and head_map.budget == 18

    short = f"{TINY} --cooldown-steps 4 --max-update 8"
    assert "\nH-0\t" in reader.paste(many.replace("...", flags), short)
    state = torch.load(folder / "runs/many/checkpoint_last.pt", weights_only=True)
    budgets = state["model"]["head_gates.budgets"].nonzero().flatten().tolist()
    assert budgets == [6, 12, 18]
    assert read_head_map(folder / "pruned12.pt").mask.sum() == 12
    reader.paste(priced.replace("...", flags), short)
    head_map = read_head_map(folder / "runs/priced/checkpoint_last.pt")
    assert head_map.frozen and head_map.cost <= 18
    reader.paste(taught.replace("...", flags), short)
    assert read_head_map(folder / "runs/taught/checkpoint_last.pt").budget == 18


@pytest.mark.slow
def test_the_report_page(reader, mine):
    run = reader.folder / "runs/mine"
    make_sweep(reader.folder / "made", ("gumbel",), (6,), (1,), sentences=12)
    shutil.copytree(reader.folder / "made", run, dirs_exist_ok=True)
    reader.paste(_script("docs/report.md"))
    assert (run / "report/report.html").exists()
    translated = re.findall(r"^H-", (run / "average.out").read_text(), re.MULTILINE)
    record = json.loads((reader.folder / "data/mine/prep.json").read_text())
    assert len(translated) == record["lines_test"] > 0
    assert (run / "average-pruned.pt").exists()


@pytest.mark.slow
def test_the_nli_page(reader):
    config = config_of("bert")
    write_pretrained(reader.folder / "models/minilm", config, tensors_of(config))
    (reader.folder / "text/lingnli").mkdir(parents=True)
    pairs = "entailment\ta b c\td e\nneutral\td e\ta\ncontradiction\tf g\tc d e\n"
    for split in ("train", "dev", "test"):
        (reader.folder / f"text/lingnli/{split}.tsv").write_text(pairs * 8)
    (reader.folder / "text/multinli_1.0").mkdir()
    lines = (f"{pairs}-\tb\tc\n" * 8).splitlines()
    names = ("gold_label", "sentence1", "sentence2")
    objects = (json.dumps(dict(zip(names, line.split("\t"), strict=True))) for line in lines)
    text = "".join(f"{line}\n" for line in objects)
    for split in ("train", "dev_matched", "dev_mismatched"):
        (reader.folder / f"text/multinli_1.0/multinli_1.0_{split}.jsonl").write_text(text)
        (reader.folder / f"text/multinli_1.0/multinli_1.0_{split}.txt").write_text("not this\n")
    shape = "--encoder-layers 2 --encoder-embed-dim 32 --encoder-ffn-embed-dim 64"
    size = f"--cpu --num-workers 0 {shape} --encoder-attention-heads 4 --max-positions 32"
    size += " --cooldown-steps 2 --max-update 4 --warmup-updates 1 --total-num-update 4"
    script = _script("docs/nli.md").replace("--num-of-heads 72", "--num-of-heads 8")
    printed = reader.paste(script.replace("--num-of-heads 18", "--num-of-heads 2"), size)
    assert "--arch dsp_roberta_tiny --layer-norm-eps 1e-12 --token-types 2" in printed
    for name in ("runs/nli18/checkpoint_best.pt", "nli18.pt", "nli-michel.pt", "nli-pruned18.pt"):
        assert read_head_map(reader.folder / name).mask.sum() == 2
    assert re.search(r"accuracy \d", printed)
    assert re.search(r"^compared .* \(McNemar, exact\)$", printed, re.M)
    assert re.search(r"^3 of 8 heads,", printed, re.M)
    report = (reader.folder / "runs/lingnli-pruned/report/report.md").read_text()
    assert "| joint | 2 of 8 | 1 |" in report
    assert (reader.folder / "nli-transformers/vocab.txt").exists()
    hub, serve = blocks("docs/nli.md", "python")
    (reader.folder / "hub.py").write_text(hub)
    (reader.folder / "serve.py").write_text(serve)
    assert reader.paste("python hub.py").split()[-1] in LABELS
    if find_spec("transformers"):
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        said = reader.paste("python serve.py", PYTHONPATH=path, HF_HUB_OFFLINE="1")
        assert said.split()[-1] in LABELS


@pytest.mark.slow
def test_the_training_page(reader, mine, multi30k):
    printed = reader.paste(_script("docs/training.md"))
    assert "--cooldown-steps COOLDOWN_STEPS" in printed
    assert "training on 4 devices" in printed
    assert (reader.folder / "checkpoints/checkpoint_best.pt").exists()
    assert read_head_map(reader.folder / "runs/four/checkpoint_best.pt").mask.sum() == 18


@pytest.mark.slow
def test_the_results_page(reader, multi30k, tanaka):
    reader.paste(_script("docs/results.md"))
    made = {path.parent.name for path in reader.folder.glob("runs/multi30k-*/*/result.json")}
    assert {"gumbel-k12-s1", "sigmoid-floor-k4-s1", "all-heads-k48-s1", "k12-s1"} <= made
    assert {"by-cost-c13-s1", "taught-k12-s1", "closed-k6-s1", "fisher-k24-s1"} <= made
    assert (reader.folder / "runs/tanaka-from-dense/sigmoid-k12-s1/result.json").exists()


@pytest.mark.slow
def test_the_recipes_page(reader, multi30k):
    printed = reader.paste(_script("docs/recipes.md"))
    scores, scores_again = (
        json.loads((reader.folder / run / "result.json").read_text())["scores"]
        for run in ("runs/multi30k-joint/k12-s1", "runs/again")
    )
    assert scores == scores_again
    assert "fairseq-train data/iwslt14-de-en" in printed


@pytest.mark.slow
def test_several_machines(reader, multi30k):
    """The launch of docs/recipes.md, twice on this machine, and what it says to do afterwards."""
    run = "dsp-run scripts/recipes/multi30k-joint.yaml --num-of-heads 12 --save-dir runs/machines "
    run += "--processes 2 --set ddp-backend=legacy_ddp"
    launch = next(line for line in commands("docs/recipes.md") if line.startswith("torchrun"))
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    launch = launch.replace("HOST:29500", f"localhost:{port}").replace("node 8", "node 1")
    rendezvous, _, _ = launch.partition(" --no-python")
    training = reader.paste(f"{run} --dry-run").splitlines()[0]
    training = re.sub(r"^torchrun .* --no-python", f"{rendezvous} --no-python", training)
    reader.paste("mkdir -p runs/machines")
    reader.paste(f"{training} & first=$!; {training}; wait $first", "")
    reader.paste(run)
    record = yaml.safe_load((reader.folder / "runs/machines/run.yaml").read_text())
    assert record["continued_from_unknown"] is True


BENCHMARKS = {
    "scripts/bench_classification.py": (
        "--shape tiny --num-of-heads 2 --masks even --inputs 2 --length 4 --vocabulary 50",
        ("dense", "frozen", "exported", "none", "ideal"),
    ),
    "scripts/bench_estimators.py": ("--heads 8", ("gumbel", "sigmoid")),
    "scripts/bench_generation.py": (
        "--shape tiny --masks even --sentences 2 --beam 2 --length 2 --vocabulary 50",
        ("dense", "masked", "frozen", "exported", "none", "of ct2 dense int8", "ideal"),
    ),
    "scripts/bench_processes.py": (
        "--shape tiny --tokens 64 --vocabulary 50",
        ("gated, legacy_ddp", "gated, pytorch_ddp", "frozen, legacy_ddp", "frozen, pytorch_ddp"),
    ),
    "scripts/bench_pruning.py": (
        "--num-of-heads 12 --methods fisher random --repair-batches 2 --max-tokens 600",
        ("dense", "fisher", "random"),
    ),
    "scripts/bench_training.py": (
        "--shape tiny --tokens 64 --vocabulary 50",
        ("stock", "gated", "frozen", "gated, taught", "frozen, taught"),
    ),
}
"""script -> flags for its smallest size, and what it prints lines of."""


def _benchmarks() -> list[str]:
    pages = ("docs/speed.md", "docs/methods.md", "docs/results.md")
    return [line for page in pages for line in commands(page) if "scripts/bench_" in line]


def test_the_pages_name_every_benchmark():
    named = {shlex.split(line)[1] for line in _benchmarks()}
    there = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("bench_*.py")}
    assert named == BENCHMARKS.keys() == there


@pytest.mark.slow
@pytest.mark.parametrize("line", _benchmarks())
def test_a_benchmark(reader, multi30k, line):
    script = shlex.split(line)[1]
    smaller, sides = BENCHMARKS[script]
    if "--device cuda" in line and not torch.cuda.is_available():
        line = line.replace("--device cuda", "--device cpu")
        if script == "scripts/bench_training.py":
            line = line.replace("--precision fp16", "")
    if "--ctranslate2" not in line:
        sides = [side for side in sides if not side.startswith("of ct2")]
    if "dense.pt" in line:
        flags = "--arch transformer --share-all-embeddings --optimizer adam --save-dir small"
        train = f"fairseq-train data/multi30k-de-en {flags}; cp small/checkpoint_last.pt dense.pt"
        reader.paste(train, f"{TINY} --max-update 2")
    if "--heads-of" in line:
        # The runs of the results page are not made here.
        line = re.sub(r"runs/\S+/", "pruned/", line)
        flags = "--arch dsp_transformer_tiny --num-of-heads 12 --optimizer dsp_adam --cpu"
        flags += " --criterion dsp_label_smoothed_cross_entropy --user-dir dsp_fairseq"
        size = "--max-update 1 --cooldown-steps 1 --max-tokens 600 --num-workers 0"
        reader.paste(f"fairseq-train data/multi30k-de-en {flags} --save-dir pruned", size)
    printed = reader.paste(f"{line} {smaller} --repeats 1 --threads 1 --json figures.json")
    for side in sides:
        assert side in printed
    figures = reader.folder / "figures.json"
    assert json.loads(figures.read_text())["figures"]
    figures.unlink()


@pytest.mark.slow
def test_the_test_script(reader):
    """It checks style and types, then hands its arguments to pytest."""
    for tool in ("ruff", "mypy"):
        path = reader.bin / tool
        path.write_text(f'#!/bin/sh\necho {tool} "$@"\n')
        path.chmod(0o755)
    (reader.folder / "tests").mkdir()
    (reader.folder / "tests/test_it.py").write_text("def test_it():\n    assert 1 + 1 == 2\n")
    out = reader.paste("bash scripts/test.sh tests/test_it.py --durations 0")
    assert out.startswith("ruff check .\nruff format --check --quiet .\nmypy\n")
    assert "1 passed" in out


@pytest.mark.parametrize("size", [{"DEMO_UPDATES": "many"}, {"DEMO_PAIRS": "3"}])
def test_a_demo_of_a_wrong_size(size, tmp_path):
    done = subprocess.run(
        ["bash", ROOT / "scripts/demo.sh"], capture_output=True, text=True, env=size
    )
    assert done.returncode == 2
    assert done.stderr == "demo.sh: error: DEMO_UPDATES must be 2 or more, DEMO_PAIRS 40 or more\n"
