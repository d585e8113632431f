"""The least-squares repair of output projections, on made-up numbers and on tiny models."""

from __future__ import annotations

import copy

import pytest
import torch

from dsp_fairseq.analysis.ranking import importance_of
from dsp_fairseq.errors import PruningError
from dsp_fairseq.pruning.halted import halted_passes
from dsp_fairseq.pruning.repair import Regression, repair

N = 24


@pytest.fixture
def batches(batch):
    """Eight batches of three sentence pairs, with padding on both sides."""
    pad = 1

    def other():
        drawn = {name: torch.randint(4, 24, batch[name].shape) for name in batch}
        return {
            name: batch[name] if name == "src_lengths" else drawn[name].masked_fill(x == pad, pad)
            for name, x in batch.items()
        }

    return [{"net_input": other()} for _ in range(8)]


@pytest.fixture
def prune(build):
    """A model whose weights are large enough to matter, frozen at the first heads of an order."""

    def pruned(order, budget, **flags):
        model = build(budget, **flags)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "_proj" in name:
                    weight.mul_(2).add_(torch.randn_like(weight) / 10)
        model.head_gates.adopt(importance_of(torch.tensor(order)))
        return model.eval()

    return pruned


def _dense(model):
    dense = copy.deepcopy(model)
    for attention in dense._attentions.values():
        attention.use_heads(range(4))
    return dense


@torch.no_grad()
def _errors(model, dense, batches, adds_query):
    """Of each site, the squared error of what it gives, as a share of what it should, on real
    tokens; where it adds to its query, it should make good what came before it."""
    layout, found = model.head_gates.layout, {}
    with halted_passes([model, dense], layout, batches) as passes:
        for one, other in passes:
            for _ in layout.sites:
                here, there = one.advance(), other.advance()
                target = there.attention.project(there.heads)
                if adds_query:
                    target = target + there.query - here.query
                error = here.attention.project(here.heads) - target
                sums = [here.rows(x).double().square().sum() for x in (error, target)]
                found.setdefault(here.site, []).append(sums)
    return {
        site: float(sum(e for e, _ in sums) / sum(t for _, t in sums))
        for site, sums in found.items()
    }


# ---- the regression


def test_a_linear_relation_is_found():
    inputs, weight, bias = torch.randn(200, 6), torch.randn(3, 6), torch.randn(3)
    outputs = inputs @ weight.t() + bias
    regression = Regression(6, 3)
    for rows in (slice(0, 50), slice(50, 200)):
        regression.add(inputs[rows], outputs[rows])
    found = regression.solve(torch.zeros(3, 6), 1e-12)
    torch.testing.assert_close(found[0].float(), weight)
    torch.testing.assert_close(found[1].float(), bias)
    assert regression.error(*found) < 1e-9
    assert regression.error(torch.zeros(3, 6), torch.zeros(3)) == pytest.approx(1)


def test_ridge_draws_to_the_old_weights_and_the_solution_is_a_minimum():
    inputs, outputs, old = torch.randn(40, 4).double(), torch.randn(40, 2), torch.randn(2, 4)
    regression = Regression(4, 2)
    regression.add(inputs, outputs)
    ridge = 0.3

    def objective(weight, bias):
        error = (inputs @ weight.t() + bias - outputs).square().sum() / 40
        variance = inputs.var(0, unbiased=False).mean()
        return error + ridge * variance * (weight - old).square().sum()

    weight, bias = (x.requires_grad_() for x in regression.solve(old, ridge))
    gradients = torch.autograd.grad(objective(weight, bias), [weight, bias])
    assert all(gradient.abs().max() < 1e-10 for gradient in gradients)
    far = regression.solve(old, 1e9)[0]
    torch.testing.assert_close(far.float(), old, atol=1e-6, rtol=0)
    weight, bias = weight.detach(), bias.detach()
    error = (inputs @ weight.t() + bias - outputs).square().sum() / outputs.square().sum()
    assert regression.error(weight, bias) == pytest.approx(float(error))


def test_without_inputs_the_bias_is_the_mean():
    outputs = torch.randn(30, 5)
    regression = Regression(0, 5)
    regression.add(torch.empty(30, 0), outputs)
    weight, bias = regression.solve(torch.empty(5, 0), 1e-3)
    assert weight.shape == (5, 0)
    torch.testing.assert_close(bias.float(), outputs.mean(0))


def test_inputs_that_are_alike_or_zero_are_no_trouble():
    inputs = torch.randn(50, 1).expand(50, 3).contiguous()
    regression = Regression(3, 2)
    regression.add(inputs, inputs[:, :2] * 2)
    assert regression.error(*regression.solve(torch.zeros(2, 3), 1e-6)) < 1e-6
    zeros = Regression(3, 2)
    zeros.add(torch.zeros(9, 3), torch.ones(9, 2))
    weight, bias = zeros.solve(torch.ones(2, 3), 1e-3)
    assert torch.equal(weight.float(), torch.ones(2, 3))
    assert bias.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_what_is_not_finite_is_refused(value):
    regression = Regression(2, 2)
    regression.add(torch.ones(3, 2), torch.full((3, 2), value))
    with pytest.raises(PruningError, match="not finite"):
        regression.solve(torch.ones(2, 2), 1e-3)


# ---- models


@pytest.mark.parametrize("normalise_before", [False, True])
def test_every_site_comes_closer_to_the_dense_one(prune, batches, normalise_before):
    sides = ("encoder", "decoder")
    flags = {f"{side}_normalize_before": normalise_before for side in sides}
    model = prune(torch.randperm(N).tolist(), 12, **flags)
    dense, layout = _dense(model), model.head_gates.layout
    before = _errors(model, dense, batches, adds_query=not normalise_before)
    done = repair(model, dense, layout, batches)
    after = _errors(model, dense, batches, adds_query=not normalise_before)
    first = next(iter(done.before))
    assert done.before[first] == pytest.approx(before[first], rel=1e-4)
    assert done.after == pytest.approx({site: after[site] for site in done.after}, rel=1e-3)
    assert all(done.after[site] < done.before[site] for site in done.before)
    assert sum(after.values()) < 0.7 * sum(before.values())
    assert done.batches == 8


def test_only_output_projections_change(prune, batches):
    model = prune(list(range(N)), 12)
    before = copy.deepcopy(model.state_dict())
    repair(model, _dense(model), model.head_gates.layout, batches)
    changed = {name for name, x in model.state_dict().items() if not torch.equal(x, before[name])}
    # The encoder's eight heads and half of the decoder's self-attention are left.
    expected = {
        f"decoder.layers.{i}.{a}.out_proj" for i in (0, 1) for a in ("self_attn", "encoder_attn")
    }
    assert {name.rpartition(".")[0] for name in changed} == expected - {
        "decoder.layers.0.self_attn.out_proj"
    }


def test_all_heads_is_no_change(prune, batches):
    model = prune(list(range(N)), N)
    before = copy.deepcopy(model.state_dict())
    done = repair(model, _dense(model), model.head_gates.layout, batches)
    assert done.after == {}
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_a_site_without_heads_gives_the_mean_over_real_tokens(prune, batches):
    model = prune(list(range(N)), 0)
    dense = _dense(model)
    site = model.head_gates.layout.sites[0]
    rows = []
    with halted_passes([dense], model.head_gates.layout, batches) as passes:
        for (one,) in passes:
            there = one.advance()
            assert there.site == site
            rows.append(there.rows(there.attention.project(there.heads)))
    real = sum(int(b["net_input"]["src_tokens"].ne(1).sum()) for b in batches)
    assert sum(len(x) for x in rows) == real
    repair(model, _dense(model), model.head_gates.layout, batches)
    bias = model.get_submodule(site.module_name).out_proj.bias
    torch.testing.assert_close(bias, torch.cat(rows).mean(0), atol=1e-6, rtol=1e-5)


def test_padding_does_not_count(prune, batches):
    """More padding in the same sentences changes nothing."""
    order = torch.randperm(N).tolist()
    torch.manual_seed(1)
    one = prune(order, 10)
    torch.manual_seed(1)
    other = prune(order, 10)

    def padded(x, left):
        pad = torch.ones(len(x), 3, dtype=x.dtype)
        return torch.cat([pad, x] if left else [x, pad], dim=1)

    wider = [
        {
            "net_input": {
                **b["net_input"],
                "src_tokens": padded(b["net_input"]["src_tokens"], left=True),
                "prev_output_tokens": padded(b["net_input"]["prev_output_tokens"], left=False),
            }
        }
        for b in batches
    ]
    repair(one, _dense(one), one.head_gates.layout, batches)
    repair(other, _dense(other), other.head_gates.layout, wider)
    for name, weight in one.state_dict().items():
        torch.testing.assert_close(weight, other.state_dict()[name], atol=1e-4, rtol=1e-3)
