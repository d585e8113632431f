"""Exported checkpoints in fairseq's own commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from dsp_fairseq import USER_DIR
from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.cli import rank_heads as rank_command
from dsp_fairseq.data.dataspec import DataSpec
from dsp_fairseq.errors import CommandExit
from dsp_fairseq.export.ctranslate2 import translate_with_ctranslate2
from dsp_fairseq.export.parity import agree, translate


@pytest.fixture
def pruned(trained, folder):
    path = folder / "pruned.pt"
    if not path.exists():
        export_command.main([str(trained), "--format", "pruned", "--output", str(path)])
    return path


def test_export_prints_a_table_and_checks_itself(trained, folder, corpus, capsys):
    arguments = [str(trained), "--output", str(folder / "checked.pt"), "--check", str(corpus)]
    export_command.main(arguments)
    out = capsys.readouterr().out
    assert re.search(r"encoder\.self +\d \d +of 8", out)
    assert re.search(r"parameters +[\d,]+ -> +[\d,]+ +x 0\.\d{3}", out)
    assert re.search(
        r"signature +K:6\|N:24\|method:sigmoid\|frozen:yes\|seed:1\|sha256:\w{12}", out
    )
    assert "30 of 30 hypotheses are the same" in out


def test_pruned_generates_validates_and_joins_ensembles(trained, pruned, generate, run, corpus):
    original = generate(trained)
    assert original.hypotheses
    assert generate(pruned).hypotheses == original.hypotheses
    assert len(generate(f"{pruned}:{trained}").hypotheses) == 30
    losses = [
        re.findall(
            r"\| loss (\S+)",
            run(
                *("validate", corpus, "--user-dir", USER_DIR, "--path", path, "--cpu"),
                *("--task", "translation", "--max-tokens", "1200"),
            ).log,
        )
        for path in (trained, pruned)
    ]
    assert losses[0]
    assert losses[0] == losses[1]


def test_pruned_trains_further_from_the_command_line(train, pruned, generate, folder):
    outcome = train(
        *(folder / "further", "--kept-heads", pruned, "--finetune-from-model", pruned),
        *("--max-update", "4"),
    )
    assert outcome.status == 0
    assert "exported model: it has 6 of 24 heads" in outcome.log
    assert len(generate(folder / "further/checkpoint_last.pt").hypotheses) == 30


def test_pruned_loads_through_the_hub_interface(pruned, corpus):
    from fairseq.models.transformer import TransformerModel

    hub = TransformerModel.from_pretrained(
        str(pruned.parent), pruned.name, str(corpus), user_dir=str(USER_DIR)
    )
    assert isinstance(hub.translate("der Hund"), str)


@pytest.mark.slow
def test_the_dense_shape_generates_without_user_dir(trained, generate, corpus, folder, warm):
    stock = folder / "stock.pt"
    export_command.main([str(trained), "--format", "fairseq", "--output", str(stock)])
    # In a process of its own, where this package is not imported and allows no types.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fairseq_cli.generate", str(corpus), "--path", str(stock)),
            *("--cpu", "--beam", "3", "--max-len-b", "20", "--remove-bpe"),
            *("--required-batch-size-multiple", "1"),
        ],
        capture_output=True,
        text=True,
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("TORCH_FORCE")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    hypotheses = dict(re.findall(r"^H-(\d+)\t\S+\t(.*)$", done.stdout, re.MULTILINE))
    expected = generate(trained).hypotheses
    assert {int(k): v for k, v in hypotheses.items()} == expected


@pytest.mark.parametrize("quantization", ["float32", "int8"])
def test_ctranslate2(trained, corpus, folder, capsys, quantization):
    pytest.importorskip("ctranslate2")
    output = folder / f"ct2-{quantization}"
    export_command.main(
        [
            *(str(trained), "--format", "ctranslate2", "--output", str(output)),
            *("--data", str(corpus), "--quantization", quantization, "--check", str(corpus)),
        ]
    )
    same = int(re.search(r"(\d+) of 30 hypotheses are the same", capsys.readouterr().out)[1])
    assert same >= (27 if quantization == "float32" else 10)


def test_the_stock_converter_takes_the_dense_shape(trained, corpus, folder):
    pytest.importorskip("ctranslate2")
    from ctranslate2.converters import FairseqConverter

    stock = folder / "for-converter.pt"
    export_command.main([str(trained), "--format", "fairseq", "--output", str(stock)])
    FairseqConverter(str(stock), str(corpus), source_lang="de", target_lang="en").convert(
        str(folder / "converted")
    )
    assert (folder / "converted/model.bin").exists()


LEARNED = ("--encoder-learned-pos", "--decoder-learned-pos")
POSITIONS = ("--max-source-positions", "--max-target-positions")
SHORT = [part for flag in POSITIONS for part in (flag, "60")]


@pytest.mark.parametrize(
    "flags",
    [
        ("--decoder-output-dim", "16"),
        (*LEARNED, *SHORT),
        ("--encoder-attention-heads", "2", "--decoder-attention-heads", "8"),
        ("--no-decoder-final-norm", "--encoder-normalize-before", "--decoder-normalize-before"),
    ],
    ids=["output", "positions", "other number of heads", "no final norm"],
)
def test_ctranslate2_takes_other_shapes(train, folder, corpus, capsys, flags):
    pytest.importorskip("ctranslate2")
    run = folder / flags[0]
    # Tied, the output would have the width of the embedding.
    assert train(run, *flags, "--max-update", "60", tied=False).status == 0
    export_command.main(
        [
            *(str(run / "checkpoint_last.pt"), "--format", "ctranslate2"),
            *("--output", str(run / "ct2"), "--check", str(corpus)),
        ]
    )
    out = capsys.readouterr().out
    assert re.search(r"^padding +heads per sublayer: encoder \d, decoder \d", out, re.MULTILINE)
    assert int(re.search(r"(\d+) of 30 hypotheses are the same", out)[1]) >= 27


@pytest.mark.parametrize("format", ["pruned", "ctranslate2"])
def test_sentences_that_are_too_long_are_counted(trained, folder, corpus, capsys, format):
    pytest.importorskip("ctranslate2")
    state = torch.load(trained, weights_only=True)
    limits = {"max_source_positions": 20, "max_target_positions": 20}
    vars(state["cfg"]["model"]).update(limits)
    state["cfg"]["task"].update(limits)
    torch.save(state, folder / "short.pt")
    output = folder / f"short-{format}"
    export_command.main(
        [
            *(str(folder / "short.pt"), "--format", format, "--output", str(output)),
            *("--check", str(corpus)),
        ]
    )
    found = re.search(
        r"(\d+) of (\d+) hypotheses are the same.*; (\d+) of 30 sentences are too long",
        capsys.readouterr().out,
    )
    same, compared, left_out = map(int, found.groups())
    assert compared + left_out == 30 and 0 < left_out < 30
    assert same >= compared - 3


@pytest.mark.slow
@pytest.mark.parametrize("format", ["pruned", "ctranslate2"])
def test_multilingual_models_are_checked_in_one_direction(train, folder, corpus, capsys, format):
    pytest.importorskip("ctranslate2")
    run = folder / "multilingual"
    if not run.exists():
        outcome = train(
            *(run, "--task", "translation_multi_simple_epoch", "--lang-pairs", "de-en,en-de"),
            *("--langs", "de,en", "--encoder-langtok", "tgt", "--decoder-langtok"),
            *("--sampling-method", "temperature", "--max-update", "40"),
        )
        assert outcome.status == 0, outcome.log
    output = run / format
    export_command.main(
        [
            *(str(run / "checkpoint_last.pt"), "--format", format, "--output", str(output)),
            *("--check", str(corpus)),
        ]
    )
    out = capsys.readouterr().out
    same = int(re.search(r"(\d+) of 30 hypotheses .*; direction de-en$", out, re.MULTILINE)[1])
    if format == "pruned":
        assert same == 30
        return
    # In beam search fairseq counts the language's token in the score of a hypothesis, CTranslate2
    # does not; without a beam there is nothing to rank.
    direction = {"source_lang": "de", "target_lang": "en"}
    greedy = translate(run / "checkpoint_last.pt", corpus, direction, beam=1)
    assert agree(greedy, translate_with_ctranslate2(output, greedy, beam=1)).equal >= 29


def test_a_check_that_cannot_be_run_leaves_no_export(trained, folder, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(CommandExit, match="holds no dictionaries"):
        export_command.main(
            [str(trained), "--output", str(folder / "unchecked.pt"), "--check", f"{tmp_path}/data"]
        )
    assert not (folder / "unchecked.pt").exists()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--encoder-normalize-before", None, "wants --encoder-normalize-before and --decoder-"),
        ("--activation-fn", "tanh", "no counterpart of --activation-fn tanh"),
    ],
)
def test_ctranslate2_refuses_what_it_cannot_hold(train, folder, corpus, flag, value, message):
    pytest.importorskip("ctranslate2")
    path = folder / flag / "checkpoint_last.pt"
    given = [flag] if value is None else [flag, value]
    assert train(path.parent, *given, "--max-update", "2").status == 0
    with pytest.raises(SystemExit, match=message):
        export_command.main([str(path), "--format", "ctranslate2", "--output", str(folder / "no")])
    assert not (folder / "no").exists()


REVERSED = ("--source-lang", "en", "--target-lang", "de", "--left-pad-source")


@pytest.mark.parametrize("format", ["fairseq", "ctranslate2"])
def test_the_check_translates_in_the_direction_of_the_model(train, corpus, folder, capsys, format):
    """The files of the corpus are named the other way round."""
    if format == "ctranslate2":
        pytest.importorskip("ctranslate2")
    checkpoint = folder / "reversed/checkpoint_last.pt"
    if not checkpoint.exists():
        assert train(checkpoint.parent, *REVERSED, "--max-update", "100").status == 0
    output = folder / f"reversed-{format}"
    export_command.main(
        [
            *(str(checkpoint), "--format", format, "--output", str(output)),
            *("--check", str(corpus)),
        ]
    )
    same = int(re.search(r"(\d+) of 30 hypotheses are the same", capsys.readouterr().out)[1])
    assert same >= 27


def test_heads_are_ranked_in_the_direction_of_the_model(train, corpus, tmp_path):
    flags = ("--num-of-heads", "24", "--max-update", "2")
    assert train(tmp_path / "dense", *REVERSED, *flags).status == 0
    ranked = tmp_path / "ranked.pt"
    rank_command.main(
        [
            *(str(tmp_path / "dense/checkpoint_last.pt"), "--data", str(corpus), "--cpu"),
            *("--method", "michel", "--num-of-heads", "6", "--output", str(ranked)),
        ]
    )
    spec = DataSpec.of(load_checkpoint(ranked).config("task"))
    assert spec.direction(corpus) == ("en", "de")
    assert spec.arguments()["left-pad-source"] is True
