"""Grids over a recipe."""

from __future__ import annotations

import pytest
import yaml

from dsp_fairseq.experiments.grid import load_grid


@pytest.fixture
def grid(tmp_path):
    """Writes a recipe and a grid over it, and reads the grid."""

    def make(**content):
        train = {"arch": "dsp_transformer_tiny", "finetune-updates": 9}
        recipe = {"name": "base", "data": "data/x", "train": train, "start": "elsewhere.pt"}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        defaults = {
            "recipe": str(tmp_path / "recipe.yaml"),
            "folder": str(tmp_path / "runs"),
            "methods": {"gumbel": {"gate-estimator": "gumbel"}, "ste": {"gate-estimator": "ste"}},
            "budgets": [6, 12],
            "seeds": [1, 2],
        }
        path = tmp_path / "grid.yaml"
        path.write_text(yaml.safe_dump({**defaults, **content}))
        return load_grid(path)

    return make
