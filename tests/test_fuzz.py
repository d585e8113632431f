"""Random cases: estimators, head layouts, and exports of random models with random masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsp_fairseq.checkpoints.checkpoint import Checkpoint
from dsp_fairseq.checkpoints.weights import expand_weights, slice_weights, zero_weights
from dsp_fairseq.estimators import ESTIMATORS, Limits, gumbel_noise, top_k_mask
from dsp_fairseq.export.fairseq import dense_checkpoint
from dsp_fairseq.export.pruned import pruned_checkpoint
from dsp_fairseq.heads.layout import (
    DECODER_CROSS,
    DECODER_SELF,
    ENCODER_SELF,
    HeadLayout,
    Site,
    format_kept_heads,
    parse_kept_heads,
)
from dsp_fairseq.models.transformer import TRANSFORMER, DspTransformerModel

EXACT = [name for name, cls in ESTIMATORS.items() if cls.exact]


def fuzz(cases: int):
    """The same random cases at every run, however long they take."""
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )


# ---- estimators

importances = st.lists(
    st.one_of(
        st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, 1e-30, -1e-30, 1e6, -1e6, 0.5])
    ),
    min_size=1,
    max_size=40,
).map(lambda values: torch.tensor(values, dtype=torch.float32))


@pytest.mark.parametrize("name", ESTIMATORS)
@fuzz(60)
@given(
    importance=importances,
    share=st.floats(0, 1),
    exponent=st.floats(-8, 3),
    seed=st.integers(0, 2**31),
)
def test_gates_are_finite_and_keep_the_budget(name, importance, share, exponent, seed):
    n = len(importance)
    k = round(share * n)
    estimator = ESTIMATORS[name](l0_penalty=None, concentrator=0.5, sizes=(n,))
    x = importance.clone().requires_grad_()
    gates = estimator(x, k, 10.0**exponent, gumbel_noise(n, seed, 3))
    assert gates.shape == (n,)
    assert gates.isfinite().all()
    assert gates.min() >= 0
    if name in EXACT:
        assert gates.sum().item() == pytest.approx(k, rel=1e-6, abs=1e-6)
    if gates.requires_grad:
        gates.square().sum().backward()
        assert x.grad.isfinite().all()


@fuzz(200)
@given(importance=importances, data=st.data())
def test_top_k_keeps_the_highest_and_its_floors(importance, data):
    n = len(importance)
    heads = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    floor = data.draw(st.integers(0, len(heads)))
    k = data.draw(st.integers(floor, n))
    mask = top_k_mask(importance, k, Limits(floors=((heads, floor),)))
    assert mask.sum() == k
    assert mask[heads].sum() >= floor
    free = top_k_mask(importance, k)
    if 0 < k < n:
        assert importance[free == 1].min() >= importance[free == 0].max()
    larger = top_k_mask(importance, min(k + 1, n))
    assert (larger >= free).all()


# ---- head layouts


@st.composite
def layouts(draw) -> HeadLayout:
    """Layouts with any number of sites of each kind, and of heads in each."""
    heads = {
        Site(kind, layer): draw(st.integers(1, 6))
        for kind in (ENCODER_SELF, DECODER_SELF, DECODER_CROSS)
        for layer in range(draw(st.integers(0, 4)))
    }
    return HeadLayout(heads or {Site(ENCODER_SELF, 0): 1}, TRANSFORMER.kinds)


@fuzz(200)
@given(layout=layouts(), data=st.data())
def test_masks_and_kept_heads_are_one_thing(layout, data):
    n = layout.num_heads
    mask = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    kept = layout.kept(mask)
    assert torch.equal(layout.mask(kept), mask)
    assert torch.equal(layout.mask(parse_kept_heads(format_kept_heads(kept), layout)), mask)
    assert torch.equal(torch.cat(list(layout.split(mask).values())), mask)
    assert sum(len(layout.indices(kind)) for kind in layout.kinds()) == n


# ---- exports


@st.composite
def models(draw) -> dict:
    """The flags of a random small architecture."""
    encoder_heads, decoder_heads = (draw(st.sampled_from([1, 2, 4])) for _ in range(2))
    return {
        "encoder_layers": draw(st.integers(1, 3)),
        "decoder_layers": draw(st.integers(1, 3)),
        "encoder_attention_heads": encoder_heads,
        "decoder_attention_heads": decoder_heads,
        "encoder_embed_dim": encoder_heads * draw(st.sampled_from([4, 6, 8])),
        "decoder_embed_dim": decoder_heads * draw(st.sampled_from([4, 6, 8])),
        "encoder_normalize_before": draw(st.booleans()),
        "decoder_normalize_before": draw(st.booleans()),
        "share_decoder_input_output_embed": draw(st.booleans()),
    }


def _state(model: DspTransformerModel, args) -> dict:
    return {
        "args": None,
        "cfg": {"model": args, "criterion": {"_name": "x"}, "optimizer": {"_name": "dsp_adam"}},
        "model": model.state_dict(),
        "optimizer_history": [{"num_updates": 7}],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


@fuzz(40)
@given(flags=models(), data=st.data())
def test_masked_is_exported(arguments, task, batch, build_stock, tmp_path, flags, data):
    """The model with closed heads, the one without their weights, and stock fairseq's are one."""
    flags["decoder_output_dim"] = flags["decoder_input_dim"] = flags["decoder_embed_dim"]
    layout = TRANSFORMER.layout(flags)
    n = layout.num_heads
    mask = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    args = arguments(str(int(mask.sum())), **flags)
    model = DspTransformerModel.build_model(args, task)
    gates = model.head_gates
    with torch.no_grad():
        gates.importance.copy_(mask + 0.1 * torch.rand(n))
        for parameter in model.parameters():
            if parameter is not gates.importance:
                parameter.add_(0.1 * torch.randn_like(parameter))
        gates.mask.copy_(mask)
        gates.frozen.fill_(1.0)
    gates.after_load()
    model.eval()

    checkpoint = Checkpoint(tmp_path, _state(model, args))
    head_map = checkpoint.head_map()
    assert torch.equal(head_map.mask, mask)
    pruned = pruned_checkpoint(checkpoint, head_map, tmp_path)
    dense = dense_checkpoint(checkpoint, head_map, tmp_path)
    exported = DspTransformerModel.build_model(pruned.state["cfg"]["model"], task)
    exported.load_state_dict(pruned.weights)
    stock = build_stock(**flags)
    stock.load_state_dict(dense.weights)
    with torch.no_grad():
        masked = model(**batch)[0]
        for other in (exported.eval(), stock.eval()):
            torch.testing.assert_close(other(**batch)[0], masked, rtol=1e-4, atol=1e-5)

    weights = checkpoint.weights
    sliced = slice_weights(weights, layout, mask)
    again = slice_weights(expand_weights(sliced, layout, mask), layout, mask)
    assert sliced.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in sliced.items())
    zeroed = zero_weights(weights, layout, mask)
    assert all(value.shape == weights[name].shape for name, value in zeroed.items())
