"""``dsp-score`` of what fairseq-generate printed."""

from __future__ import annotations

import json
import re

from dsp_fairseq.cli import heads as heads_command
from dsp_fairseq.cli import score as score_command


def test_heads_and_score_tools(trained, generate, corpus, folder, capsys):
    heads_command.main([str(trained), "--json", "-"])
    assert json.loads(capsys.readouterr().out)["budget"] == 6
    output = folder / "test.out"
    output.write_text(generate(trained).out)
    score_command.main([str(output), "--data", str(corpus)])
    out = capsys.readouterr().out
    assert re.search(r"^sacrebleu +\d+\.\d\d +BLEU\|nrefs:1\|case:mixed.*tok:13a", out)
    assert re.search(r"^tokenised bleu +\d+\.\d\d +BLEU\|.*tok:none", out, re.MULTILINE)
