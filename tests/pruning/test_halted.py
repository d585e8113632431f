"""Forward passes that halt at every attention."""

from __future__ import annotations

import threading

import pytest
import torch

from dsp_fairseq.errors import PruningError
from dsp_fairseq.pruning.halted import halted_passes

PAD = 1


@pytest.fixture
def samples(batch):
    """Two batches, the second of other words."""
    words = {name: torch.randint(4, 24, x.shape) for name, x in batch.items()}
    kept = {name: words[name].masked_fill(x == PAD, PAD) for name, x in batch.items()}
    return [{"net_input": batch}, {"net_input": {**kept, "src_lengths": batch["src_lengths"]}}]


def test_sites_come_in_the_order_in_which_they_run_with_the_heads_of_a_whole_pass(build, samples):
    model = build().eval()
    layout = model.head_gates.layout
    whole = []
    for site in layout.sites:
        attention = model.get_submodule(site.module_name)
        attention.on_heads = lambda heads, *_, site=site: whole.append((site, heads))
    with torch.no_grad():
        model(**samples[0]["net_input"])
    with halted_passes([model], layout, samples) as passes:
        for site, heads in whole:
            here, other = (one.advance() for (one,) in passes)
            assert here.site == other.site == site
            assert torch.equal(here.heads, heads)
            assert not torch.equal(other.heads, heads)
            side = "src_tokens" if site.kind == "encoder.self" else "prev_output_tokens"
            real = samples[0]["net_input"][side].ne(PAD)
            expected = heads.transpose(0, 1)[real]
            assert torch.equal(here.rows(heads), expected)
        with pytest.raises(PruningError, match="runs fewer attentions"):
            passes[0][0].advance()
    kinds = [str(site) for site, _ in whole]
    assert kinds[2:] == ["decoder.self.0", "decoder.cross.0", "decoder.self.1", "decoder.cross.1"]


def test_a_projection_that_is_changed_at_a_halt_counts_from_there_on(build, samples):
    model = build().eval()
    layout = model.head_gates.layout
    with torch.no_grad(), halted_passes([model], layout, samples[:1]) as [[one]]:
        first = one.advance()
        first.attention.out_proj.bias.add_(torch.randn(16))
        second = one.advance().heads
    with halted_passes([model], layout, samples[:1]) as [[one]]:
        one.advance()
        assert torch.equal(one.advance().heads, second)


def test_an_error_in_one_pass_ends_all(build, samples):
    model, running = build().eval(), threading.active_count()
    words = torch.full((3, 7), 999)
    bad = {"net_input": {**samples[0]["net_input"], "src_tokens": words}}

    def advance_all():
        with halted_passes([model], model.head_gates.layout, [*samples, bad]) as passes:
            return [one.advance() for (one,) in passes]

    with pytest.raises(IndexError):
        advance_all()
    assert threading.active_count() == running
    assert all(attention.on_heads is None for attention in model._attentions.values())
