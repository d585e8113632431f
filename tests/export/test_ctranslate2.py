import pytest
import torch

from dsp_fairseq.export.ctranslate2 import pad_heads
from dsp_fairseq.modules.attention import GatedAttention


@pytest.mark.parametrize("kept", [[], [2], [0, 3]])
def test_heads_of_zero_weight_change_nothing(kept):
    attention = GatedAttention(16, 4, self_attention=True).eval()
    attention.use_heads(kept)
    attention.remove_closed_heads()
    x = torch.randn(5, 2, 16)
    before, _ = attention(x, x, x, need_weights=False)
    pad_heads(attention, 3)
    assert attention.num_heads == 3
    assert attention.q_proj.weight.shape == (12, 16)
    assert attention.out_proj.weight.shape == (16, 12)
    after, _ = attention(x, x, x, need_weights=False)
    torch.testing.assert_close(after, before)
