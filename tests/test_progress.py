import dsp_fairseq.progress
from dsp_fairseq.progress import progress


def test_a_log_gets_a_line_now_and_then(monkeypatch, capsys):
    clock = iter(range(0, 1000, 8))
    monkeypatch.setattr(dsp_fairseq.progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(dsp_fairseq.progress._Log, "said", 0.0)
    assert list(progress("abcdefgh", 8, "ranking", "batches")) == list("abcdefgh")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "ranking: 3 of 8 batches done"
    assert 1 < len(lines) < 8
