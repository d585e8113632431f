"""The head layout: the fixed order that maps every (site, layer, head) to an index ``0..N-1``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor

ENCODER_SELF = "encoder.self"
DECODER_SELF = "decoder.self"
DECODER_CROSS = "decoder.cross"

NO_HEADS = "none"
"""How a model without heads is written where kept heads are named."""


@dataclass(frozen=True, order=True)
class Site:
    """One attention sublayer.

    Attributes:
        kind: which attention of a layer, such as ``encoder.self``.
        layer: the layer's number, from 0.
        module_name: the attention module's name in the model and its state dict.
    """

    kind: str
    layer: int
    module_name: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}"


class HeadLayout:
    """Sites in a fixed order (by kind, then by layer) and the number of heads of each.

    Args:
        heads_per_site: site -> number of heads; the order of the mapping does not matter.
        kinds: all kinds of site in their order (default: that of the mapping).
    """

    def __init__(self, heads_per_site: Mapping[Site, int], kinds: Sequence[str] = ()) -> None:
        kinds = kinds or list(dict.fromkeys(site.kind for site in heads_per_site))
        order = sorted(heads_per_site, key=lambda site: (kinds.index(site.kind), site.layer))
        self.sites: tuple[Site, ...] = tuple(order)
        self.heads: tuple[int, ...] = tuple(heads_per_site[site] for site in order)
        ends = tuple(accumulate(self.heads))
        self._slices = {
            site: slice(end - heads, end)
            for site, heads, end in zip(order, self.heads, ends, strict=True)
        }

    @property
    def num_heads(self) -> int:
        """N, the number of heads in the model."""
        return sum(self.heads)

    def slice(self, site: Site) -> slice:
        """The part of a vector ``[N]`` that is of one site's heads."""
        return self._slices[site]

    def indices(self, kind: str) -> list[int]:
        """The indices of all heads of one kind of site."""
        return [i for site in self.sites if site.kind == kind for i in self.range(site)]

    def kinds(self) -> list[str]:
        """The kinds of site that this model has, in layout order."""
        return list(dict.fromkeys(site.kind for site in self.sites))

    def split(self, vector: Tensor) -> dict[Site, Tensor]:
        """Cuts a vector ``[N]`` into one view per site."""
        return {site: vector[self._slices[site]] for site in self.sites}

    def kept(self, mask: Tensor) -> dict[Site, list[int]]:
        """Per site, the numbers (within the site) of the heads that a 0/1 mask ``[N]`` keeps."""
        flags = [bool(value) for value in mask.tolist()]
        return {
            site: [head for head, index in enumerate(self.range(site)) if flags[index]]
            for site in self.sites
        }

    def mask(self, kept: Mapping[Site, Sequence[int]]) -> Tensor:
        """The inverse of :meth:`kept`: a float 0/1 mask ``[N]``; sites not named keep nothing."""
        mask = torch.zeros(self.num_heads)
        for site, heads in kept.items():
            start = self._slices[site].start
            mask[[start + head for head in heads]] = 1.0
        return mask

    def range(self, site: Site) -> range:
        """The indices of one site's heads."""
        cut = self._slices[site]
        return range(cut.start, cut.stop)

    def __str__(self) -> str:
        parts = []
        for kind in self.kinds():
            counts = [self.heads[i] for i, site in enumerate(self.sites) if site.kind == kind]
            parts.append(f"{kind} {'+'.join(map(str, counts))}")
        return f"{self.num_heads} heads ({', '.join(parts)})"


def format_kept_heads(kept: Mapping[Site, Sequence[int]]) -> str:
    """``site=head,head;...`` for the sites that keep any; :data:`NO_HEADS` where none does."""
    parts = [f"{site}={','.join(map(str, heads))}" for site, heads in kept.items() if heads]
    return ";".join(parts) or NO_HEADS


def parse_kept_heads(text: str, layout: HeadLayout) -> dict[Site, list[int]]:
    """The inverse of :func:`format_kept_heads`; sites that are not named keep nothing.

    Raises:
        ValueError: not of that form, or a site or head that the layout does not have.
    """
    sites = {str(site): site for site in layout.sites}
    kept: dict[Site, list[int]] = {}
    for part in [] if text == NO_HEADS else text.replace(" ", "").split(";"):
        match = re.fullmatch(r"([a-z.]+\.\d+)=(\d+(?:,\d+)*)", part)
        if not match:
            raise ValueError(f"has {part!r}, which is not of the form SITE=HEAD,HEAD")
        site = sites.get(match[1])
        if site is None:
            raise ValueError(f"names {match[1]}, which is not one of this model's sites")
        if site in kept:
            raise ValueError(f"names {site} twice")
        heads = [int(head) for head in match[2].split(",")]
        cut = layout.slice(site)
        size = cut.stop - cut.start
        if max(heads) >= size or len(set(heads)) != len(heads):
            raise ValueError(f"says {part}, but {site} has {size} heads, each to be named once")
        kept[site] = heads
    return kept
