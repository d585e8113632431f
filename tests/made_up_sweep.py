"""Made-up sweeps: real text and scores computed from it, without any training."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

SUBJECTS = [
    "A man",
    "Two dogs",
    "The young girl",
    "A group of people",
    "An old woman",
    "Three children",
]
VERBS = ["is running", "are playing", "sits quietly", "stands", "walks slowly", "looks around"]
PLACES = ["in the park", "on a red bench", "near the river", "behind the house", "at the beach"]
ENDS = ["today", "with a ball", "in the sun", "while it rains", ", smiling", "for the camera"]
OTHER = ["cat", "car", "blue", "jumps", "under", "green", "tree", "street", "over", "child"]


def _references(sentences: int, rng: np.random.Generator) -> list[str]:
    """Tokenised as the data are: a space before every mark."""
    parts = [[options[i] for i in rng.integers(len(options), size=sentences)]
             for options in (SUBJECTS, VERBS, PLACES, ENDS)]  # fmt: skip
    return [" ".join(words) + " ." for words in zip(*parts, strict=True)]


def _corrupt(line: str, share: float, rng: np.random.Generator) -> str:
    words = line.split()
    return " ".join(
        OTHER[rng.integers(len(OTHER))] if rng.random() < share and word != "." else word
        for word in words
    )


def _plain(line: str) -> str:
    return line.replace(" .", ".").replace(" ,", ",")


def _scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict:
    result = {}
    plain = [_plain(line) for line in hypotheses], [[_plain(line) for line in references]]
    tokens = list(hypotheses), [list(references)]
    for name, metric, texts in (
        ("sacrebleu", BLEU(), plain),
        ("chrf", CHRF(), plain),
        ("tokenised_bleu", BLEU(tokenize="none", force=True), tokens),
    ):
        score = round(metric.corpus_score(*texts).score, 2)
        kind = "chrF2" if name == "chrf" else "BLEU"
        result[name] = {"score": score, "signature": f"{kind}|{metric.get_signature()}"}
    return result


def _generated(hypotheses: Sequence[str], references: Sequence[str]) -> str:
    """As fairseq-generate prints, the longest sentences first."""
    order = sorted(range(len(references)), key=lambda i: -len(references[i]))
    return "".join(
        f"S-{i}\tquelle\nT-{i}\t{references[i]}\nH-{i}\t-0.5\t{hypotheses[i]}\n"
        f"D-{i}\t-0.5\t{hypotheses[i]}\n"
        for i in order
    )


def _train_log(updates: int, rng: np.random.Generator, growth: float) -> str:
    lines, margin = ["2026-01-01 00:00:00 | INFO | fairseq_cli.train | training"], 0.0
    cooldown = updates // 2
    for update in range(updates // 40, updates + 1, updates // 40):
        frozen = update >= cooldown
        if not frozen:
            margin = abs(growth * update / cooldown + 0.25 * growth * rng.normal())
        share = min(update / cooldown, 1.0)
        temperature = math.exp((1 - share) * math.log(0.1) + share * math.log(1e-8))
        values = {
            "epoch": 1,
            "loss": f"{4 + rng.random():.3f}",
            "temperature": f"{temperature:.6g}",
            "margin": f"{margin:.6g}",
            "frozen": str(int(frozen)),
            "num_updates": str(update),
        }
        lines.append(f"2026-01-01 00:00:00 | INFO | train_inner | {json.dumps(values)}")
    lines.append("2026-01-01 00:00:00 | INFO | train | " + json.dumps({"train_loss": "4.1"}))
    return "\n".join(lines) + "\n"


def _kept(budget: int, heads: dict[str, int], layers: int, rng: np.random.Generator) -> dict:
    sizes = [(kind, layer, number) for kind, number in heads.items() for layer in range(layers)]
    names = [(kind, layer, head) for kind, layer, n in sizes for head in range(n)]
    fixed = np.random.default_rng(5).normal(size=len(names))
    liking = {"encoder.self": 0.3, "decoder.self": -0.4, "decoder.cross": 0.8}
    worth = [
        liking[kind] + 0.35 * layer * (kind == "decoder.cross") + value + 0.7 * rng.normal()
        for (kind, layer, _), value in zip(names, fixed, strict=True)
    ]
    chosen = {names[i] for i in np.argsort(worth)[len(worth) - budget :]}
    return {
        kind: [[h for h in range(n) if (kind, i, h) in chosen] for i in range(layers)]
        for kind, n in heads.items()
    }


def make_sweep(
    folder: Path,
    methods: Sequence[str] = ("gumbel", "ste"),
    budgets: Sequence[int] = (6, 12),
    seeds: Sequence[int] = (1, 2, 3),
    dense_seeds: Sequence[int] = (1,),
    heads: int = 4,
    layers: int = 4,
    sentences: int = 48,
    updates: int = 400,
    recipe: str = "multi30k-joint",
    data: bool = True,
) -> Path:
    """Writes the folder of a sweep, and beside it its data and its dense runs."""
    per_layer = dict.fromkeys(("encoder.self", "decoder.self", "decoder.cross"), heads)
    n = 3 * heads * layers
    texts = {
        split: _references(sentences, np.random.default_rng(i))
        for i, split in enumerate(("valid", "test"))
    }
    prepared = folder.parent / "data"
    if data:
        (prepared / "raw").mkdir(parents=True)
        settings = {"subword": "bpe", "tokenized": True, "lowercase": False, "target": "en"}
        (prepared / "prep.json").write_text(json.dumps(settings))
        for split, references in texts.items():
            text = "\n".join(_plain(line) for line in references) + "\n"
            (prepared / "raw" / f"{split}.tgt").write_text(text)
    folder.mkdir(parents=True)
    jobs = [("dense", n, seed) for seed in dense_seeds]
    jobs += [(method, k, seed) for method in methods for k in budgets for seed in seeds]
    lines = []
    for method, k, seed in jobs:
        number = ["dense", *methods].index(method)
        rng = np.random.default_rng([number, k, seed])
        name = f"dense-s{seed}" if method == "dense" else f"{method}-k{k}-s{seed}"
        run = folder.parent / name if method == "dense" else folder / name
        run.mkdir()
        share = 0.10 + 0.3 * (1 - k / n) ** 3 * (1 + 0.25 * number) + 0.006 * rng.normal()
        scores = {}
        for split, references in texts.items():
            hypotheses = [_corrupt(line, share, rng) for line in references]
            scores[split] = _scores(hypotheses, references)
            (run / f"{split}.out").write_text(_generated(hypotheses, references))
        (run / "train.log").write_text(_train_log(updates, rng, 0.4 + 0.5 * number))
        (run / "run.yaml").write_text(f"data: {prepared}\nseed: {seed}\n")
        line = {
            "id": name,
            "recipe": recipe,
            "method": method,
            "budget": k,
            "num_heads": n,
            "seed": seed,
            "folder": f"../{name}" if method == "dense" else name,
            "parameters": 1_531_000 + 16_512 * k,
            "parameters_dense": 1_531_000 + 16_512 * n,
            "train_seconds": 1200.0 + seed,
            "generate_seconds": 12.0 + 8.0 * k / n,
            "tokens_per_second": round(1500 - 700 * k / n + 20 * rng.normal(), 1),
            "valid_loss": 4.0 + share,
            "scores": scores,
            "kept": _kept(k, per_layer, layers, rng),
            "heads_per_layer": per_layer,
        }
        (run / "result.json").write_text(json.dumps(line))
        lines.append(json.dumps(line))
    (folder / "runs.jsonl").write_text("\n".join(lines) + "\n")
    return folder
