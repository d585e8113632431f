"""What a training log says."""

from __future__ import annotations

import json

from dsp_fairseq.experiments.logs import read_curve, updates_done


def test_values_come_from_the_logs(tmp_path):
    (tmp_path / "train.log").write_text(
        '2026 | INFO | train_inner | {"epoch": 1, "num_updates": "50"}\n'
        '2026 | INFO | train_inner | {"epoch": 1, "num_updates": "100"}\n'
        '2026 | INFO | train_inner | {"epoch": 1, "num_upd'
    )
    assert updates_done(tmp_path) == 100
    assert updates_done(tmp_path / "none") is None


def test_curves_of_a_resumed_training(tmp_path):
    def line(update, temperature, frozen):
        values = {"temperature": str(temperature), "margin": "0.5", "frozen": str(frozen)}
        values["num_updates"] = str(update)
        return f"2026-01-01 | INFO | train_inner | {json.dumps(values)}\n"

    log = tmp_path / "train.log"
    log.write_text(
        "start\n" + line(10, 0.1, 0) + line(20, 0.01, 0) + line(30, 9.0, 1)
        + "2026-01-01 | INFO | train_inner | {broken\n"
        + line(20, 0.02, 0) + line(30, 0.03, 1) + '| train_inner | {"num_updates": "40"}\n'
    )  # fmt: skip
    curve = read_curve(log)
    assert curve.updates == (10, 20, 30)
    assert curve.temperature == (0.1, 0.02, 0.03)
    assert curve.frozen_at == 30
    with log.open("a") as file:
        file.write(
            "x | INFO | dsp_fairseq.pruning.gates | froze 6 of 24 heads at update 24 (that ...\n"
        )
    assert read_curve(log).frozen_at == 24
    log.write_text(line(10, 0.1, 0).replace('"margin"', '"margin_18": "0.25", "margin"'))
    assert [read_curve(log, budget).margin for budget in (None, 6, 18)] == [(0.5,), (0.5,), (0.25,)]
    log.write_text("nothing\n")
    assert read_curve(log) is None
    assert read_curve(tmp_path / "none.log") is None
