"""Gated attention in beam search, in ensembles, for alignment."""

from __future__ import annotations

import copy
import pickle
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from fairseq.sequence_generator import SequenceGenerator

from dsp_fairseq.modules.attention import GatedAttention


def _search(models, task, batch, beam, **settings):
    generator = SequenceGenerator(
        models, task.target_dictionary, beam_size=beam, max_len_a=0, max_len_b=12, **settings
    )
    sample = {"net_input": {k: batch[k] for k in ("src_tokens", "src_lengths")}}
    with torch.no_grad():
        found = generator.generate(models, sample)
    return [[(h["tokens"].tolist(), round(float(h["score"]), 4)) for h in beams] for beams in found]


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("flags", [{}, {"encoder_attention_heads": 2, "num_of_heads": 20}])
def test_hypotheses_are_those_of_the_dense_model(build, build_stock, task, batch, beam, flags):
    stock_flags = {k: v for k, v in flags.items() if k != "num_of_heads"}
    model = build(**flags)
    stock = build_stock(**stock_flags)
    with torch.no_grad():
        # The end is often likely, so that sentences and beams end at various steps.
        output = model.decoder.output_projection.weight
        output[task.target_dictionary.eos()] = 2 * output[4:8].sum(0)
    stock.load_state_dict(
        {k: v for k, v in model.state_dict().items() if not k.startswith("head_gates.")}
    )
    model.eval(), stock.eval()
    ours, theirs = _search([model], task, batch, beam), _search([stock], task, batch, beam)
    assert ours == theirs
    assert len({len(beams[0][0]) for beams in ours}) > 1


def test_a_beam_size_used_before_does_not_matter(build, task, batch):
    model = build(9).eval()
    once = _search([model], task, batch, 1)
    _search([model], task, batch, 5)
    assert _search([model], task, batch, 1) == once


def test_training_goes_on_after_beam_search(build, task, batch):
    # fairseq translates the validation set with the model in training (--eval-bleu).
    model = build(9)
    model.train()
    before = model(**batch)[0].detach()
    model.eval()
    _search([model], task, batch, 3)
    model.train()
    assert torch.equal(model(**batch)[0], before)


def test_ensembles_and_fast_generation(build, task, batch):
    models = [build(9).eval(), build(4).eval()]
    plain = _search(models, task, batch, 3)
    for model in models:
        model.make_generation_fast_(need_attn=False)
    assert _search(models, task, batch, 3) == plain
    assert sum(a.num_heads for a in models[1]._attentions.values()) == 4


def test_attention_weights_are_there_for_alignment(build, task, batch):
    for k in (9, 0):
        model = build(k).eval()
        generator = SequenceGenerator([model], task.target_dictionary, beam_size=3, max_len_b=5)
        sample = {"net_input": {k: batch[k] for k in ("src_tokens", "src_lengths")}}
        best = generator.generate([model], sample)[1][0]
        weights = best["attention"]
        assert weights.shape == (7, len(best["tokens"]))
        torch.testing.assert_close(weights.sum(0), torch.ones(weights.size(1)))
        assert weights[:2].abs().max() == 0  # the two padded source positions


def test_alignment_is_of_the_last_layer_that_sees_the_source(build, batch):
    model = build(6, keep_at_most="decoder.cross.1=0", keep_at_least="decoder.cross.0=2").eval()
    weights = model(**batch)[1]["attn"][0]
    assert torch.equal(weights, model(**batch, alignment_layer=0)[1]["attn"][0])
    uniform = model(**batch, alignment_layer=1)[1]["attn"][0]
    assert not torch.allclose(weights, uniform)
    # Where no layer does, the weights are those of a head that looks at all positions alike.
    assert torch.equal(build(0).eval()(**batch)[1]["attn"][0], uniform)


def _self_attention(heads=4, kept=(0, 2, 3)):
    torch.manual_seed(1)
    module = GatedAttention(16, heads, self_attention=True).eval()
    module.use_heads(kept)
    return module


def _of_other_weights():
    module = _self_attention()
    module.remove_closed_heads()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


def _decode(module, x):
    state: dict = {}
    return torch.cat([module(step, step, step, incremental_state=state)[0] for step in x.split(1)])


def test_fast_generation_projects_once_and_gives_the_same():
    module, x = _self_attention(), torch.randn(5, 3, 16)
    whole, steps = module(x, x, x)[0], _decode(module, x)
    names = set(module.state_dict())
    module.make_generation_fast_()
    with mock.patch.object(F, "linear", wraps=F.linear) as linear:
        torch.testing.assert_close(module(x, x, x)[0], whole)
    assert linear.call_count == 2
    torch.testing.assert_close(_decode(module, x), steps)
    torch.testing.assert_close(_decode(module.double(), x.double()).float(), steps)
    assert set(module.state_dict()) == names


def test_weights_loaded_after_fast_generation_count():
    module, other, x = _self_attention(), _of_other_weights(), torch.randn(5, 3, 16)
    module.make_generation_fast_()
    module.load_state_dict(other.state_dict())
    torch.testing.assert_close(module(x, x, x)[0], other(x, x, x)[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda module: module.double(),
        copy.deepcopy,
        lambda module: pickle.loads(pickle.dumps(module)),
        lambda module: copy.deepcopy(module.double()).float(),
    ],
    ids=["moved", "copied", "pickled", "both"],
)
@pytest.mark.parametrize("assign", [False, True], ids=["copied", "assigned"])
def test_weights_loaded_after_a_change_of_fast_generation_count(change, assign):
    module, other, x = _self_attention(), _of_other_weights(), torch.randn(5, 3, 16)
    module.make_generation_fast_()
    module = change(module)
    dtype = module.out_proj.weight.dtype
    weights = {name: value.to(dtype) for name, value in other.state_dict().items()}
    module.load_state_dict(weights, assign=assign)
    x, other = x.to(dtype), other.to(dtype)
    torch.testing.assert_close(module(x, x, x)[0], other(x, x, x)[0])


def test_shared_memory_stays_shared():
    module = _self_attention()
    module.make_generation_fast_()
    module.share_memory()
    module.load_state_dict(module.state_dict())
    assert all(tensor.is_shared() for tensor in (*module.parameters(), *module.buffers()))


def test_heads_closed_after_fast_generation_are_closed():
    module, other, x = _self_attention(), _self_attention(kept=(2,)), torch.randn(5, 3, 16)
    expected = other(x, x, x)[0]
    module.make_generation_fast_()
    module.use_heads((2,))
    torch.testing.assert_close(module(x, x, x)[0], expected)
    module.remove_closed_heads()
    torch.testing.assert_close(module(x, x, x)[0], expected)


def test_padding_is_forgotten_only_where_there_is_none():
    torch.manual_seed(1)
    module = GatedAttention(16, 4, encoder_decoder_attention=True).eval()
    query, source = torch.randn(1, 2, 16), torch.randn(6, 2, 16)
    none = torch.zeros(2, 6, dtype=torch.bool)
    some = none.clone()
    some[1, 4:] = True
    for padding, cached in ((none, None), (some, some)):
        state: dict = {}
        for _ in range(2):
            step = module(query, source, source, padding, state, static_kv=True)[0]
            torch.testing.assert_close(step, module(query, source, source, padding)[0])
        kept = module._get_input_buffer(state)["prev_key_padding_mask"]
        assert (cached is None and kept is None) or torch.equal(kept.bool(), cached)
