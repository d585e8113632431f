"""dsp-rank-heads on checkpoints of fairseq-train, and its output in fairseq's own commands."""

from __future__ import annotations

import re
import shlex

import pytest
import torch

from dsp_fairseq import USER_DIR, progress
from dsp_fairseq.analysis.ranking import RANKINGS, register_ranking
from dsp_fairseq.cli import export as export_command
from dsp_fairseq.cli import heads as heads_command
from dsp_fairseq.cli import rank_heads as rank_heads_command


@pytest.fixture
def score(corpus, folder):
    """Runs dsp-rank-heads; six heads of 24, unless told otherwise."""

    def run_score(checkpoint, output, *flags, method="michel", k="6"):
        rank_heads_command.main(
            [
                *(str(checkpoint), "--data", str(corpus), "--method", method, "--cpu"),
                *("--num-of-heads", k, "--output", str(folder / output), *map(str, flags)),
            ]
        )
        return folder / output

    return run_score


def _mask(path):
    return torch.load(path, weights_only=True)["model"]["head_gates.mask"]


@pytest.mark.slow
def test_from_a_stock_checkpoint_through_every_command(
    dense, score, generate, run, train, corpus, folder, capsys
):
    path = score(dense, "michel.pt", "--max-tokens", "1200")
    out = capsys.readouterr().out
    assert re.search(r"^  encoder\.self +\d \d +of 8", out, re.MULTILINE)
    assert "kept         6 of 24 heads, frozen" in out
    assert f"--finetune-from-model {path}" in out
    assert _mask(path).sum() == 6

    hypotheses = generate(path).hypotheses
    assert len(hypotheses) == 30
    heads_command.main([str(path)])
    assert "6 of 24 heads kept, in [brackets]; frozen" in capsys.readouterr().out
    validated = run(
        *("validate", corpus, "--user-dir", USER_DIR, "--path", path, "--cpu"),
        *("--task", "translation", "--max-tokens", "1200"),
    )
    assert validated.status == 0
    assert re.search(r"\| loss \d", validated.log)

    for form in ("pruned", "fairseq"):
        exported = folder / f"{form}.pt"
        export_command.main([str(path), "--format", form, "--output", str(exported)])
        assert "K:6|N:24|method:michel|frozen:yes|seed:1" in capsys.readouterr().out
        assert generate(exported).hypotheses == hypotheses

    tuned = train(folder / "tuned", "--finetune-from-model", path, "--max-update", "9")
    assert tuned.status == 0
    assert "froze 6" not in tuned.log
    assert "--freeze-heads-after" not in tuned.log
    last = torch.load(folder / "tuned/checkpoint_last.pt", weights_only=True)["model"]
    assert torch.equal(last["head_gates.mask"], _mask(path))
    assert last["head_gates.frozen"] == 1
    before = torch.load(path, weights_only=True)["model"]
    changed = [k for k, v in before.items() if not torch.equal(v, last[k])]
    assert changed
    assert not [k for k in changed if k.startswith("head_gates.")]


def test_the_weights_are_those_of_the_dense_model(dense, score):
    path = score(dense, "weights.pt", method="weight-norm")
    old, new = (torch.load(p, weights_only=True)["model"] for p in (dense, path))
    assert {k for k in new if k not in old} == {k for k in new if k.startswith("head_gates.")}
    assert all(torch.equal(new[k], v) for k, v in old.items())


def test_scoring_repeats_itself_and_steps_matter(dense, score, capsys):
    flags = ("--max-tokens", "800", "--max-batches", "2")
    paths = [score(dense, f"same{i}.pt", *flags, "--heads-per-step", "5") for i in range(2)]
    first, second = (torch.load(p, weights_only=True)["model"] for p in paths)
    assert torch.equal(first["head_gates.importance"], second["head_gates.importance"])
    once = score(dense, "once.pt", *flags, "--one-shot")
    assert not torch.equal(
        torch.load(once, weights_only=True)["model"]["head_gates.importance"],
        first["head_gates.importance"],
    )
    assert "scored once, on up to 2 batches of the train split" in capsys.readouterr().out


def test_by_default_a_sample_is_scored_on_and_a_log_says_how_far_it_is(
    dense, score, capsys, monkeypatch
):
    # 400 sentences make more than 20 batches of this size.
    monkeypatch.setattr(progress, "EVERY", 0.0)
    score(dense, "sample.pt", "--max-tokens", "100", "--one-shot")
    captured = capsys.readouterr()
    assert "on up to 20 batches of the train split" in captured.out
    assert "scoring 24 heads: 19 of 20 batches done" in captured.err
    score(dense, "all.pt", "--max-tokens", "100", "--one-shot", "--max-batches", "all")
    captured = capsys.readouterr()
    assert "on all batches of the train split" in captured.out
    done = re.findall(r"scoring 24 heads: (\d+) of (\d+) batches done", captured.err)
    assert int(done[-1][1]) == int(done[-1][0]) + 1 > 20


def test_a_ranking_is_one_function_and_one_registration(dense, score, monkeypatch, capsys):
    monkeypatch.setitem(RANKINGS, "by-number", None)  # so that it is gone afterwards

    @register_ranking("by-number", "the last heads are the best")
    def by_number(subject):
        return lambda left: torch.arange(subject.layout.num_heads).double()

    path = score(dense, "by-number.pt", method="by-number")
    assert _mask(path).tolist() == [0.0] * 18 + [1.0] * 6
    assert "method       by-number\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="by-number scores once"):
        score(dense, "x", "--one-shot", method="by-number")
    with pytest.raises(SystemExit):
        rank_heads_command.main(["--help"])
    assert "by-number    the last heads are the best" in capsys.readouterr().out


def test_what_it_says_to_do_next_can_be_pasted(dense, score, capsys):
    path = score(dense, "a 'b' c.pt", method="random")
    lines = capsys.readouterr().out.splitlines()
    (first,) = (line for line in lines if line.startswith("next "))
    assert shlex.split(first)[-1] == str(path)
    assert shlex.split(lines[-1].partition(";")[0]) == ["dsp-heads", str(path)]


def test_random_goes_by_its_seed_and_keeps_floors(dense, score):
    masks = [
        _mask(score(dense, f"random{i}.pt", "--seed", seed, method="random"))
        for i, seed in enumerate((1, 1, 2))
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    floored = score(dense, "floor.pt", "--keep-at-least", "encoder.self=5", method="random")
    assert _mask(floored).sum() == 6
    assert _mask(floored)[:8].sum() >= 5


def test_the_heads_of_another_checkpoint_begin_anew_from_the_dense_weights(
    dense, score, folder, capsys, caplog
):
    source = score(dense, "source.pt", "--seed", "4", method="random")
    exported = folder / "exported.pt"
    export_command.main([str(source), "--output", str(exported)])
    before = torch.load(dense, weights_only=True)["model"]
    for number, file in enumerate((source, exported)):
        path = score(dense, f"learned{number}.pt", "--heads-of", file, method="learned")
        assert torch.equal(_mask(path), _mask(source))
        weights = torch.load(path, weights_only=True)["model"]
        assert all(torch.equal(weights[name], value) for name, value in before.items())
        assert f"method       learned, the heads of {file}\n" in capsys.readouterr().out
    for k in ("3", "9"):
        path = score(dense, f"learned-k{k}.pt", "--heads-of", source, method="learned", k=k)
        best = torch.load(source, weights_only=True)["model"]["head_gates.importance"].topk(int(k))
        assert set(_mask(path).nonzero().flatten().tolist()) == set(best.indices.tolist())
    state = torch.load(source, weights_only=False)
    state["model"]["head_gates.frozen"].zero_()
    torch.save(state, folder / "open.pt")
    score(dense, "early.pt", "--heads-of", folder / "open.pt", method="learned")
    assert "open.pt are not frozen: the top by importance so far" in caplog.text
    with pytest.raises(SystemExit, match=r"has no importance, .* keep as many as it does, 6, or"):
        score(dense, "x", "--heads-of", exported, method="learned", k="3")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--method", "learned", "--num-of-heads", "6"), "add --heads-of FILE"),
        (("--method", "michel", "--num-of-heads", "6", "--heads-of", "x.pt"), "not to michel"),
        (("--method", "learned", "--cost-budget", "6", "--head-costs", "encoder.self=1",
          "--heads-of", "x.pt"), "goes by --num-of-heads, not by --cost-budget"),
        (("--method", "learned", "--num-of-heads", "6", "--heads-of", "x.pt"), "x.pt"),
    ],
)  # fmt: skip
def test_heads_of_another_checkpoint_are_asked_for_in_full(dense, corpus, folder, flags, said):
    output = folder / "refused.pt"
    command = [str(dense), "--data", str(corpus), *flags, "--output", str(output), "--cpu"]
    with pytest.raises(SystemExit, match=said):
        rank_heads_command.main(command)
    assert not output.exists()


@pytest.mark.slow
@pytest.mark.parametrize("k", ["0", "24"])
def test_no_head_and_all_heads(dense, score, generate, k):
    path = score(dense, f"k{k}.pt", "--one-shot", "--max-tokens", "1200", k=k)
    assert _mask(path).sum() == int(k)
    hypotheses = generate(path).hypotheses
    assert len(hypotheses) == 30
    if k == "24":
        assert hypotheses == generate(dense).hypotheses


def test_a_gated_model_that_was_trained_dense(train, score, generate, folder):
    dense = folder / "gated/checkpoint_last.pt"
    assert train(dense.parent, "--num-of-heads", "24", "--max-update", "3").status == 0
    path = score(dense, "from-gated.pt", "--split", "valid", "--max-tokens", "1200")
    assert _mask(path).sum() == 6
    assert len(generate(path).hypotheses) == 30
    # The output is pruned itself.
    with pytest.raises(SystemExit, match="is pruned, to 6 of 24 heads"):
        score(path, "again.pt")


def test_a_checkpoint_of_an_old_fairseq(dense, score, generate, folder):
    """Those have all flags in one namespace, and no config."""
    state = torch.load(dense, weights_only=True)
    old = {**state, "args": state["cfg"]["model"]}
    del old["cfg"]
    torch.save(old, folder / "old.pt")
    paths = [
        score(path, f"{path.stem}-norm.pt", method="weight-norm")
        for path in (folder / "old.pt", dense)
    ]
    assert torch.equal(_mask(paths[0]), _mask(paths[1]))
    assert generate(paths[0]).hypotheses == generate(paths[1]).hypotheses


def test_mistakes_are_one_line_and_leave_nothing(dense, score, corpus, folder, tmp_path):
    taken = folder / "taken.pt"
    taken.write_text("precious")
    (tmp_path / "empty").mkdir()
    (folder / "text.pt").write_text("no checkpoint")
    before = {p.name for p in folder.iterdir()}
    for message, call in {
        "exists: remove it": lambda: score(dense, "taken.pt"),
        "--num-of-heads 25 is not a whole number from 0 to 24": lambda: score(dense, "x", k="25"),
        "--keep-at-least 'cross=1': write NAME": lambda: score(
            dense, "x", "--keep-at-least", "cross=1"
        ),
        "has no dev split": lambda: score(dense, "x", "--split", "dev"),
        "random scores once": lambda: score(dense, "x", "--one-shot", method="random"),
        "is not a checkpoint that can be loaded": lambda: score(folder / "text.pt", "x"),
        "does not hold the data of this model: [Errno 2]": lambda: score(
            dense, "x", "--data", tmp_path / "nowhere"
        ),
        "does not hold the data of this model: Could not infer": lambda: score(
            dense, "x", "--data", tmp_path / "empty"
        ),
    }.items():
        with pytest.raises(SystemExit) as stop:
            call()
        assert message in str(stop.value)
        assert "\n" not in str(stop.value)
    assert {p.name for p in folder.iterdir()} == before
    assert taken.read_text() == "precious"


def test_other_dictionaries_are_refused(dense, score, corpus, tmp_path):
    for path in corpus.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    for path in tmp_path.glob("dict.*.txt"):
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(True)[:-9]))
    with pytest.raises(SystemExit, match="has other symbols or another order of them"):
        score(dense, "misfit.pt", "--data", tmp_path)
