"""An estimator that the package does not know: one class and one registration."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import ClassVar

import pytest
import yaml
from saved_models import read_head_map
from torch import Tensor

from dsp_fairseq.__main__ import flags_help
from dsp_fairseq.cli import run, sweep
from dsp_fairseq.estimators import ESTIMATORS, Estimator, Option


class ScaledSoftmax(Estimator):
    """Gates in proportion to a softmax of importance: they sum to K, and may exceed 1."""

    options = (Option("sharpness", 1.0, "what importance is multiplied by (default: 1)"),)
    seen: ClassVar[set[float]] = set()

    def __init__(self, sharpness: float, **_: object) -> None:
        super().__init__()
        self.sharpness = sharpness

    def forward(self, importance: Tensor, k: int, temperature: float, noise: Tensor) -> Tensor:
        self.seen.add(self.sharpness)
        return k * (importance.double() * self.sharpness / temperature).softmax(0)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "scaled-softmax", ScaledSoftmax)


def test_it_trains_with_its_option_and_freezes_at_k(train, tmp_path):
    outcome = train(tmp_path, "--gate-estimator", "scaled-softmax", "--sharpness", "2")
    assert outcome.status == 0, outcome.message
    assert ScaledSoftmax.seen == {2.0}
    kept = read_head_map(tmp_path / "checkpoint_last.pt")
    assert (kept.frozen, int(kept.mask.sum())) == (True, 6)


def test_its_option_has_help_and_checks(train, tmp_path):
    assert "scaled-softmax: what importance is multiplied by" in flags_help()
    for flags, message in (
        (
            ("--gate-estimator", "scaled-softmax", "--sharpness", "-1"),
            "--sharpness -1 must be 0 or more",
        ),
        (("--sharpness", "2"), "--sharpness belongs to --gate-estimator scaled-softmax"),
    ):
        assert message in train(tmp_path, *flags).message


_PACKAGE = '''
"""One estimator, as a package for --user-dir."""

from dsp_fairseq.estimators import ESTIMATORS, Estimator


class Softmax(Estimator):
    def forward(self, importance, k, temperature, noise):
        return k * (importance.double() / temperature).softmax(0)


ESTIMATORS["{name}"] = Softmax
'''


@pytest.fixture
def package(tmp_path, request):
    """A package with an estimator of the same name; a process imports a name once."""
    folder = tmp_path / request.node.name
    folder.mkdir()
    (folder / "__init__.py").write_text(_PACKAGE.format(name=folder.name))
    yield folder
    ESTIMATORS.pop(folder.name, None)


def test_dsp_run_hands_a_package_to_all_its_commands(recipe, package, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    flags = ("--num-of-heads", "6", "--set", f"gate-estimator={package.name}")
    run.main([str(recipe), *flags, "--user-dir", str(package), "--save-dir", str(first)])
    # In processes that know nothing of it but the record.
    command = [sys.executable, "-m", "dsp_fairseq.cli.run", str(first / "run.yaml")]
    done = subprocess.run(
        [*command, "--save-dir", str(again)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads((path / "result.json").read_text()) for path in (first, again)]
    assert [result["method"] for result in results] == [package.name] * 2
    assert results[0]["scores"] == results[1]["scores"]
    record = yaml.safe_load((again / "run.yaml").read_text())
    assert record["recipe"]["user-dir"] == str(package)
    assert all(f"--user-dir {package}" in command for command in record["commands"])


def test_dsp_sweep_hands_it_to_all_its_runs(recipe, package, tmp_path, capsys):
    grid = tmp_path / "grid.yaml"
    start = tmp_path / "start.yaml"
    start.write_text(f"extends: {recipe}\nstart: model.pt\n")
    content = {
        "recipe": str(start),
        "folder": str(tmp_path / "runs"),
        "methods": {
            "own": {"gate-estimator": package.name},
            "michel": {"rank": {"method": "michel"}},
        },
        "budgets": [6],
        "seeds": [1],
        "dense": {"recipe": str(recipe), "train": {"num-of-heads": 24}},
    }
    grid.write_text(yaml.safe_dump(content))
    sweep.main([str(grid), "--user-dir", str(package), "--dry-run"])
    commands = [line for line in capsys.readouterr().out.splitlines() if line[0] != "#"]
    without = [line for line in commands if f"--user-dir {package}" not in line]
    assert (len(commands), [line.split()[0] for line in without]) == (2 + 2 + 3, ["cp"])
