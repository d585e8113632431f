"""The dense shape loads where this package is not."""

from __future__ import annotations

import pytest
import torch
from saved_models import CASES, read_head_map

from dsp_fairseq.checkpoints.checkpoint import load_checkpoint
from dsp_fairseq.export.export import export_checkpoint
from dsp_fairseq.export.fairseq import dense_checkpoint


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_dense_shape_is_the_masked_model(checkpoint, build_stock, batch, tmp_path, case):
    model, path = checkpoint(**case)
    dense = dense_checkpoint(load_checkpoint(path), read_head_map(path), path)
    stock_flags = {k: v for k, v in case.items() if k not in ("k", "frozen", "kinds")}
    stock = build_stock(**stock_flags)
    stock.load_state_dict(dense.weights)
    with torch.no_grad():
        a, b = model(**batch)[0], stock.eval()(**batch)[0]
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_dense_shaped_checkpoint_needs_no_allowed_types(checkpoint, tmp_path):
    _, path = checkpoint(6)
    export_checkpoint(path, tmp_path / "stock.pt", "fairseq")
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        state = torch.load(tmp_path / "stock.pt", weights_only=True)
    finally:
        torch.serialization.add_safe_globals(allowed)
    arguments = state["cfg"]["model"]
    assert arguments["arch"] == arguments.arch == "transformer"
    assert "num_of_heads" not in arguments
