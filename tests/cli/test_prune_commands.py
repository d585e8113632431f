"""dsp-prune from a stock checkpoint to every format, and what its repair is worth."""

from __future__ import annotations

import re
import shutil
from argparse import Namespace

import pytest
import torch
from fairseq.data.indexed_dataset import make_builder

from dsp_fairseq import USER_DIR
from dsp_fairseq.analysis.ranking import LEARNED, RANKINGS
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.checkpoints.weights import expand_weights
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.cli import prune as prune_command
from dsp_fairseq.cli import rank_heads as rank_heads_command


@pytest.fixture
def dense(train, folder):
    """A stock checkpoint of fairseq's own transformer that has learned something."""
    path = folder / "dense/checkpoint_last.pt"
    if not path.exists():
        assert train(path.parent, "--max-update", "40", gated=False).status == 0
    return path


@pytest.fixture
def prune(dense, corpus, folder):
    """Runs dsp-prune to twelve heads of 24, unless told otherwise."""

    def run_prune(output, *flags, k="12", checkpoint=dense):
        prune_command.main(
            [
                *(str(checkpoint), "--data", str(corpus), "--num-of-heads", k, "--cpu"),
                *("--output", str(folder / output), "--max-tokens", "1200", *map(str, flags)),
            ]
        )
        return folder / output

    return run_prune


@pytest.fixture
def loss(run, corpus):
    """The validation loss that fairseq-validate prints."""

    def validate(path):
        done = run(
            *("validate", corpus, "--user-dir", USER_DIR, "--path", path, "--cpu"),
            *("--task", "translation", "--max-tokens", "1200"),
        )
        assert done.status == 0, done.message or done.log
        return float(re.findall(r"\| loss (\d\S*)", done.log)[-1])

    return validate


def test_repair_lowers_the_loss_and_the_line_says_what_it_did(prune, loss, dense, capsys):
    closed = prune("closed.pt", "--method", "random", "--no-repair")
    printed = capsys.readouterr().out
    assert "repair" not in printed
    assert "|method:random|frozen:yes|seed:1|" in printed
    repaired = prune("repaired.pt", "--method", "random")
    printed = capsys.readouterr().out
    assert "K:12|N:24|method:random|repair:13x1200|frozen:yes|seed:1|sha256:" in printed
    assert re.search(r"^parameters .* -> .* x 0\.\d+$", printed, re.MULTILINE)
    found = re.search(
        r"^repaired +\d+ sublayers on 13 batches, relative squared error (0\.\d+) -> (0\.\d+) "
        r"\(mean\), \d+\.\d s$",
        printed,
        re.MULTILINE,
    )
    assert float(found[1]) > float(found[2])
    assert loss(dense) < loss(repaired) < loss(closed)


def test_formats_and_further_training(prune, generate, train, corpus, folder, capsys):
    flags = ("--repair-batches", "2")
    pruned = prune("pruned.pt", *flags)
    assert "method:fisher|repair:2x1200|" in capsys.readouterr().out
    stock = prune("stock.pt", *flags, "--format", "fairseq")
    one, other = load_checkpoint(pruned), load_checkpoint(stock)
    head_map = one.head_map()
    for name, value in expand_weights(one.weights, head_map.layout, head_map.mask).items():
        assert torch.equal(value, other.weights[name])
    assert len(generate(stock, "--beam", "1").hypotheses) == 30
    tuned = train(
        *(folder / "tuned", "--kept-heads", pruned, "--finetune-from-model", pruned),
        *("--user-dir", USER_DIR, "--arch", "dsp_transformer_tiny", "--max-update", "1"),
        gated=False,
    )
    assert tuned.status == 0, tuned.message


def test_the_format_ctranslate2(prune, corpus, folder):
    pytest.importorskip("ctranslate2")
    parts = ("--data", f"{corpus}:{corpus}")  # as a training takes data in parts
    few = ("--repair-batches", "2")
    prune("ct2", *few, *parts, "--format", "ctranslate2", "--quantization", "int8")
    assert (folder / "ct2/model.bin").exists()


def test_all_heads_are_the_dense_model(prune, dense, capsys):
    weights = load_checkpoint(prune("all.pt", "--format", "fairseq", k="24")).weights
    assert "repaired     no head is closed: nothing to repair" in capsys.readouterr().out
    old = load_checkpoint(dense).weights
    assert all(torch.equal(weights[name], value) for name, value in old.items())


@pytest.mark.parametrize("method", sorted({*RANKINGS} - {LEARNED}))
def test_every_ranking_keeps_exactly_k(prune, method):
    few = ("--repair-batches", "2", "--keep-at-least", "decoder.cross=2")
    head_map = load_checkpoint(prune(f"{method}.pt", "--method", method, *few)).head_map()
    assert head_map.mask.sum() == 12
    assert head_map.count("decoder.cross")[0] >= 2


def test_a_ranked_checkpoint_can_be_repaired_and_is_the_same_model(
    prune, dense, corpus, folder, capsys
):
    pruned = prune("same.pt", "--repair-batches", "2")
    ranked = folder / "ranked.pt"
    rank_heads_command.main(
        [
            *(str(dense), "--data", str(corpus), "--method", "fisher", "--num-of-heads", "12"),
            *("--max-tokens", "1200", "--repair-batches", "2", "--output", str(ranked), "--cpu"),
        ]
    )
    assert "\nrepaired " in capsys.readouterr().out
    # The file that the dense model's embeddings once came from is not needed any more.
    state = torch.load(ranked, weights_only=False)
    state["cfg"]["model"].encoder_embed_path = "gone.txt"
    torch.save(state, ranked)
    exported = folder / "exported.pt"
    export_command.main([str(ranked), "--output", str(exported), "--check", str(corpus)])
    printed = capsys.readouterr().out
    assert "method:fisher|repair:2x1200|" in printed
    assert "30 of 30 hypotheses are the same" in printed
    one, other = (load_checkpoint(path).weights for path in (pruned, exported))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_split_without_sentences_is_refused(prune, corpus, folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    for language in ("de", "en"):
        prefix = data / f"none.de-en.{language}"
        make_builder(f"{prefix}.bin", impl="mmap", vocab_size=10).finalize(f"{prefix}.idx")
    before = set(folder.iterdir())
    for flags in ((), ("--method", "random")):
        with pytest.raises(SystemExit, match="has no none split that fairseq can read"):
            prune("none.pt", "--data", data, "--split", "none", *flags)
    assert set(folder.iterdir()) == before


def _changed(dense, folder, name, change):
    state = torch.load(dense, weights_only=False)
    change(state)
    torch.save(state, folder / name)
    return folder / name


def test_a_checkpoint_of_an_older_fairseq_is_pruned_all_the_same(prune, dense, folder):
    """Up to 0.12.2 sinusoidal positions stored a buffer, and arguments were a namespace."""

    def age(state):
        own = {"criterion": "label_smoothed_cross_entropy", "task": "translation"}
        state["args"] = Namespace(**{**vars(state["cfg"]["model"]), **own})
        state["cfg"] = None
        for side in ("encoder", "decoder"):
            state["model"][f"{side}.embed_positions._float_tensor"] = torch.zeros(1)

    old = _changed(dense, folder, "old.pt", age)
    made = [
        load_checkpoint(prune(name, "--method", "weight-norm", "--repair-batches", 2, **given))
        for name, given in (("of-new.pt", {}), ("of-old.pt", {"checkpoint": old}))
    ]
    one, other = (checkpoint.weights for checkpoint in made)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def _other_order(corpus, folder):
    """The same data folder with as many symbols in another order."""
    data = folder / "data"
    shutil.copytree(corpus, data)
    for path in data.glob("dict.*.txt"):
        first, *others = path.read_text().splitlines()
        path.write_text("\n".join([*others, first]) + "\n")
    return data


def test_data_with_other_dictionaries_are_refused(prune, dense, corpus, folder, tmp_path):
    data = _other_order(corpus, tmp_path)
    pruned = prune("right.pt", "--method", "random", "--no-repair")
    ranked = folder / "ranked-for-dictionaries.pt"
    common = [str(dense), "--num-of-heads", "12", "--method", "random"]
    rank_heads_command.main([*common, "--data", str(corpus), "--output", str(ranked)])
    before = set(folder.iterdir())
    with pytest.raises(SystemExit, match="has other symbols or another order of them"):
        prune("wrong.pt", "--data", data, "--method", "random")
    for flags in (("--check", data), ("--format", "ctranslate2", "--data", data)):
        with pytest.raises(SystemExit, match="has other symbols or another order of them"):
            export_command.main([str(ranked), "--output", str(folder / "no.pt"), *map(str, flags)])
    assert set(folder.iterdir()) == before
    assert pruned.exists()


def test_a_model_without_cross_attention_is_ranked(train, prune, tmp_path):
    """Nothing reads its encoder: those heads are worth nothing."""
    model = tmp_path / "model/checkpoint_last.pt"
    flags = ("--no-cross-attention", "--max-update", "4")
    assert train(model.parent, *flags, gated=False).status == 0
    pruned = prune("alone.pt", k="6", checkpoint=model)
    kept = {site.kind: 0 for site in load_checkpoint(pruned).layout.sites}
    for site, heads in load_checkpoint(pruned).head_map().kept.items():
        kept[site.kind] += len(heads)
    assert kept == {"encoder.self": 0, "decoder.self": 6}


def test_what_a_ranking_cannot_read_is_said(prune, dense, folder, tmp_path):
    def rename(state):
        state["cfg"]["task"]["_name"] = "my_translation"

    def cut_off(state):
        state["cfg"]["model"].adaptive_softmax_cutoff = "50,100"

    for change, message in (
        (rename, "is of the task my_translation, which is not known here: give the package"),
        (cut_off, "--method fisher needs gradients .* use --method weight-norm, random or learned"),
    ):
        path = _changed(dense, tmp_path, "changed.pt", change)
        with pytest.raises(SystemExit, match=message):
            prune("none.pt", checkpoint=path)
