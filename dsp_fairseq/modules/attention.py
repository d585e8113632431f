"""One attention module for relaxed gates, a frozen mask and weights already removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from ..errors import PruningError
from .head_rows import head_rows


class GatedAttention(MultiheadAttention):
    """fairseq's multi-head attention whose heads can be scaled, left out, or removed.

    Gates scale each head's output before the output projection. Since a gate is the same at every
    position, that is done on the projection's columns: ``W_o diag(g)``, at a cost that does not
    grow with the batch. Heads that are left out take no part in any product; with none left the
    output is the bias of the output projection.

    Shapes below: T target and S source positions, B sentences (times beam), C model width, H heads
    taking part, D = ``head_dim``.

    Attributes:
        present: the heads whose weights there are.
        on_heads: told, in each forward pass, of the heads' outputs ``[T, B, H*D]`` before they are
            projected, of the query ``[T, B, C]``, and of the keys' padding ``[B, S]`` or None. It
            may change the projection.
    """

    _qkv_weight: Tensor | None
    _qkv_bias: Tensor | None

    def __init__(self, embed_dim: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(embed_dim, num_heads, **kwargs)
        self.present = tuple(range(num_heads))
        self.on_heads: Callable[[Tensor, Tensor, Tensor | None], None] | None = None
        self._gate: Tensor | None = None
        self._kept: Tensor | None = None
        self.register_buffer("_qkv_weight", None, persistent=False)
        self.register_buffer("_qkv_bias", None, persistent=False)
        self.register_load_state_dict_post_hook(GatedAttention._fuse_again)

    # ---- which heads take part

    def use_gate(self, gate: Tensor) -> None:
        """Scales all heads, by one number each (``[num_heads]``), until told otherwise."""
        self._gate, self._kept = gate, None

    def use_heads(self, kept: Sequence[int]) -> None:
        """Leaves out all heads but these (numbered as when the module was built)."""
        rows = [self.present.index(head) for head in kept]
        everything = len(rows) == len(self.present)
        self._gate = None
        self._kept = None if everything else torch.tensor(rows, dtype=torch.long)

    @property
    def lacks_heads(self) -> bool:
        """Whether :meth:`use_heads` left out any."""
        return self._kept is not None

    @property
    def num_open(self) -> int:
        """How many heads take part."""
        return self.num_heads if self._kept is None else len(self._kept)

    def remove_closed_heads(self) -> None:
        """Drops the weights of the heads that :meth:`use_heads` left out, for good."""
        if self._kept is None:
            return
        with torch.no_grad():
            (q, k, v), out = self._inputs(), self.output_weight()
        for linear, (weight, bias) in zip(
            (self.q_proj, self.k_proj, self.v_proj), (q, k, v), strict=True
        ):
            _replace(linear, weight, bias)
        _replace(self.out_proj, out, self.out_proj.bias)
        self.present = tuple(self.present[row] for row in self._kept.tolist())
        self.num_heads = len(self.present)
        self._kept = self._qkv_weight = self._qkv_bias = None

    def make_generation_fast_(self, **kwargs: Any) -> None:
        """fairseq's hook before generation: nobody asks for the closed heads any more.

        In self-attention, q, k and v become one product: a call costs more than its arithmetic
        where a few heads see a few sentences.
        """
        self.remove_closed_heads()
        if self.self_attention and self.present:
            self._fuse()

    def _fuse(self) -> None:
        """Makes the weights of q, k and v views of one, so that what is loaded reaches both."""
        linears = (self.q_proj, self.k_proj, self.v_proj)
        for name in ("weight", "bias"):
            parts = [getattr(linear, name).detach() for linear in linears]
            fused = torch.cat(parts)
            setattr(self, f"_qkv_{name}", fused)
            for linear, part in zip(linears, fused.split([len(p) for p in parts]), strict=True):
                getattr(linear, name).data = part

    # What parts the views from their whole: moving, copying, and loading by assignment.

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        super()._apply(*args, **kwargs)
        self._fuse_again()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._fuse_again()

    def _fuse_again(self, *_: Any) -> None:
        if self._qkv_weight is not None and not self._is_fused():
            self._fuse()

    def _is_fused(self) -> bool:
        """Whether all are views still; shared memory is moved with all that is in it."""

        def place(tensor: Any) -> int:
            return int(tensor.untyped_storage().data_ptr())

        return all(
            place(getattr(linear, name)) == place(whole)
            for name, whole in (("weight", self._qkv_weight), ("bias", self._qkv_bias))
            for linear in (self.q_proj, self.k_proj, self.v_proj)
        )

    def prepare_for_onnx_export_(self) -> None:
        raise PruningError("ONNX export of a gated transformer is not supported")

    def _inputs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Weights and biases of q, k and v in turn, of the heads taking part."""
        if self._kept is not None:
            self._kept = self._kept.to(self.out_proj.weight.device)
        for linear in (self.q_proj, self.k_proj, self.v_proj):
            weight, bias = linear.weight, linear.bias
            if self._kept is not None:
                weight, bias = (head_rows(x, self._kept, self.head_dim) for x in (weight, bias))
            yield weight, bias

    # ---- the output projection

    def output_weight(self) -> Tensor:
        """The output projection ``[C, H*D]`` of the heads taking part, scaled by their gates."""
        out = self.out_proj.weight
        if self._gate is not None:
            return out * self._gate.to(out.dtype).repeat_interleave(self.head_dim)
        if self._kept is None:
            return out
        self._kept = kept = self._kept.to(out.device)
        return head_rows(out.t(), kept, self.head_dim).t()

    def project(self, heads: Tensor) -> Tensor:
        """The output ``[T, B, C]`` from the heads' outputs ``[T, B, H*D]``, side by side."""
        if heads.size(-1) == 0:
            return self.out_proj.bias.expand(*heads.shape[:-1], -1)
        return F.linear(heads, self.output_weight(), self.out_proj.bias)

    @torch.no_grad()
    def refit(self, weight: Tensor, bias: Tensor) -> None:
        """Replaces the output projection ``[C, H*D]`` of the heads taking part, and its bias."""
        self.out_proj.bias.copy_(bias)
        if self._kept is None:
            self.out_proj.weight.copy_(weight)
            return
        columns = self.out_proj.weight.t().unflatten(0, (-1, self.head_dim))
        columns[self._kept] = weight.to(columns).t().unflatten(0, (-1, self.head_dim))

    # ---- attention

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        key_padding_mask: Tensor | None = None,
        incremental_state: dict[str, dict[str, Tensor | None]] | None = None,
        need_weights: bool = True,
        static_kv: bool = False,
        attn_mask: Tensor | None = None,
        before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention as in fairseq's module, over the heads that take part.

        Args:
            query: ``[T, B, C]``.
            key, value: ``[S, B, C]``, or ``[S, B / beams, C]`` where beams share them; with
                ``static_kv`` read at the first step only.
            key_padding_mask: ``[B, S]`` or ``[B / beams, S]``, true at padding.
            incremental_state: caches keys and values ``[B, 2*H, S, D]`` between decoding steps;
                those of the encoder once for all beams of a sentence.
            need_weights: return the attention weights, averaged over the heads.
            static_kv: key and value do not change between steps.
            attn_mask: ``[T, S]``, added to the scores.
            need_head_weights: return the weights of each head instead.

        Returns:
            output ``[T, B, C]`` and the weights ``[B, T, S]`` (``[H, B, T, S]`` per head) or None.
        """
        if before_softmax:
            raise PruningError("before_softmax is not supported by the gated attention")
        target_len, batch, _ = query.shape
        padding = key_padding_mask
        heads = self.num_open
        if heads == 0:
            return self._bias_only(query, key, key_padding_mask, need_weights, need_head_weights)

        cache = self._get_input_buffer(incremental_state) if incremental_state is not None else {}
        cached = static_kv and "prev_key_value" in cache
        source = query if self.self_attention or key is None else key
        q, *new = self._project_in(query, None if cached else source, heads)
        if cached:
            k, v = cache["prev_key_value"].split(heads, 1)
            key_padding_mask = cache["prev_key_padding_mask"]
        elif incremental_state is not None:
            k, v = self._extend(cache, torch.cat(new, 1), key_padding_mask, static_kv)
            key_padding_mask = cache["prev_key_padding_mask"]
            self._set_input_buffer(incremental_state, cache)
        else:
            k, v = new
        mask = _merge_masks(attn_mask, key_padding_mask, q.dtype)
        out, weights = self._attend(q, k, v, mask, need_weights or need_head_weights)
        out = out.permute(2, 0, 1, 3).reshape(target_len, batch, heads * self.head_dim)
        out = self._tell(out, query, padding)
        if weights is not None:
            weights = weights.transpose(0, 1) if need_head_weights else weights.mean(1)
        return out, weights

    def _tell(self, heads: Tensor, query: Tensor, padding: Tensor | None) -> Tensor:
        """The output, after :attr:`on_heads` was told of the heads' outputs."""
        if self.on_heads is not None:
            self.on_heads(heads, query, padding)
        return self.project(heads)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Output ``[B, H, T, D]`` of all heads, and their weights ``[B, H, T, S]`` if needed."""
        # Beams of a sentence share its keys: they become further query positions. fairseq's module
        # reads their number when it reorders its caches.
        beams = self.beam_size = q.size(0) // k.size(0)
        if beams > 1:
            q = q.unflatten(0, (-1, beams)).transpose(1, 2).flatten(2, 3)
        weights = None
        if need_weights:
            out, weights = _weighted_sum(q, k, v, mask, self.dropout_module)
        else:
            drops = self.training or self.dropout_module.apply_during_inference
            p = self.dropout_module.p if drops else 0.0
            out = F.scaled_dot_product_attention(q, k, v, mask, p)
        if beams > 1:
            out = _unfold_beams(out, beams)
            weights = None if weights is None else _unfold_beams(weights, beams)
        return out, weights

    def _project_in(self, query: Tensor, source: Tensor | None, heads: int) -> Sequence[Tensor]:
        """q ``[B, H, T, D]`` and, where there is a source, k and v ``[B, H, S, D]``."""
        fused = self._qkv_weight
        if fused is not None and source is query and self._kept is None and not self.training:
            together = F.linear(query, fused, self._qkv_bias)
            return self._split(together, 3 * heads).split(heads, 1)
        read = (query,) if source is None else (query, source, source)
        return [
            self._split(F.linear(x, weight, bias), heads)
            for x, (weight, bias) in zip(read, self._inputs(), strict=False)
        ]

    def _split(self, x: Tensor, heads: int) -> Tensor:
        """``[T, B, H*D]`` -> ``[B, H, T, D]``."""
        return x.view(x.size(0), x.size(1), heads, self.head_dim).permute(1, 2, 0, 3)

    def _extend(
        self, cache: dict[str, Tensor | None], new: Tensor, padding: Tensor | None, static_kv: bool
    ) -> Sequence[Tensor]:
        """Puts new keys and values ``[B, 2*H, S, D]`` and their padding behind those in the cache.

        Keys and values are one tensor, so that fairseq reorders one.

        Returns:
            all keys and all values.
        """
        before = cache.get("prev_key_value")
        if before is not None:
            new = torch.cat([before, new], dim=2)
        if static_kv and padding is not None and not padding.any():
            padding = None
        padding = self._append_prev_key_padding_mask(
            key_padding_mask=padding,
            prev_key_padding_mask=cache.get("prev_key_padding_mask"),
            batch_size=new.size(0),
            src_len=new.size(2),
            static_kv=static_kv,
        )
        cache.update(prev_key_value=new, prev_key_padding_mask=padding)
        return new.chunk(2, 1)

    def _bias_only(
        self,
        query: Tensor,
        key: Tensor | None,
        padding: Tensor | None,
        need_weights: bool,
        need_head_weights: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """The output of a site without heads; nothing is cached.

        Its weights, where alignment asks for them, are those of one head that looks at all
        positions alike.
        """
        out = self._tell(query[..., :0], query, padding)
        if not (need_weights or need_head_weights):
            return out, None
        source = query if key is None else key
        present = query.new_ones(source.size(1), 1, source.size(0))
        if padding is not None:
            present = present.masked_fill(padding.to(torch.bool).unsqueeze(1), 0.0)
        weights = present / present.sum(-1, keepdim=True)
        weights = weights.repeat_interleave(query.size(1) // source.size(1), 0)
        weights = weights.expand(-1, query.size(0), -1)
        return out, weights.unsqueeze(0) if need_head_weights else weights


def _replace(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    linear.bias = nn.Parameter(bias.detach().clone())
    linear.out_features, linear.in_features = weight.shape


def _merge_masks(
    attn_mask: Tensor | None, padding: Tensor | None, dtype: torch.dtype
) -> Tensor | None:
    """One additive mask that broadcasts to ``[B, H, T, S]``, or None."""
    if attn_mask is not None:
        attn_mask = attn_mask.to(dtype)
    if padding is None:
        return attn_mask
    merged = torch.zeros_like(padding, dtype=dtype).masked_fill_(
        padding.to(torch.bool), -torch.inf
    )[:, None, None]
    return merged if attn_mask is None else merged + attn_mask


def _weighted_sum(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Attention with an explicit softmax, for those who ask for the weights."""
    scores = torch.matmul(q * q.size(-1) ** -0.5, k.transpose(-1, -2))
    if mask is not None:
        scores = scores + mask
    weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return torch.matmul(dropout(weights.to(v.dtype)), v), weights


def _unfold_beams(x: Tensor, beams: int) -> Tensor:
    """``[sentences, H, beams*T, X]`` -> ``[sentences*beams, H, T, X]``."""
    return x.unflatten(2, (beams, -1)).transpose(1, 2).flatten(0, 1)
