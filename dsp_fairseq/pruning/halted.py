"""Forward passes that halt at every attention, so that many can go on side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from threading import Semaphore, Thread, current_thread
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PruningError
from ..heads.layout import HeadLayout, Site
from ..modules.attention import GatedAttention


@dataclass(frozen=True)
class Halt:
    """Where a forward pass stands: before an attention's output projection.

    Attributes:
        site: the attention.
        attention: its module.
        heads: the outputs of its heads, ``[T, B, H*D]``.
        query: its input, ``[T, B, C]``.
        padding: which of the T positions are padding, ``[B, T]``, or None.
    """

    site: Site
    attention: GatedAttention
    heads: Tensor
    query: Tensor
    padding: Tensor | None

    def rows(self, x: Tensor) -> Tensor:
        """Of ``[T, B, X]`` the rows that are no padding, ``[R, X]``."""
        rows = x.transpose(0, 1)
        return rows.flatten(0, 1) if self.padding is None else rows[~self.padding.bool()]


class _EndedError(Exception):
    """Ends a forward pass that nobody needs any more."""


class HaltedPass(Thread):
    """The forward pass of one batch, in a thread that runs only while it is waited for.

    Args:
        model: in evaluation.
        batch: of fairseq.
    """

    def __init__(self, model: nn.Module, batch: Mapping[str, Any]) -> None:
        super().__init__(daemon=True)
        self._model, self._batch = model, batch
        self._go, self._stands = Semaphore(0), Semaphore(0)
        self._halt: Halt | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._padding: Tensor | None = None
        self.start()

    def advance(self) -> Halt:
        """Goes on to the next site.

        Raises:
            PruningError: there is none.
        """
        self._go.release()
        self._stands.acquire()
        if self._error is not None:
            raise self._error
        if self._halt is None:
            raise PruningError("the model runs fewer attentions than its family says it has")
        return self._halt

    def end(self) -> None:
        """Ends the pass, wherever it stands."""
        self._ended = True
        self._go.release()
        self.join()

    def run(self) -> None:
        self._go.acquire()
        try:
            if not self._ended:
                with torch.no_grad():
                    self._model(**self._batch["net_input"])
        except _EndedError:
            pass
        except BaseException as error:
            self._error = error
        self._halt = None
        self._stands.release()

    def halt(
        self,
        site: Site,
        attention: GatedAttention,
        heads: Tensor,
        query: Tensor,
        keys: Tensor | None,
    ) -> None:
        """Called in the thread itself: it stands still until it is told to go on."""
        if attention.self_attention:
            # Elsewhere the queries are those of the self-attention before.
            self._padding = keys
        self._halt = Halt(site, attention, heads, query, self._padding)
        self._stands.release()
        self._go.acquire()
        if self._ended:
            raise _EndedError


@contextmanager
def halted_passes(
    models: Sequence[nn.Module], layout: HeadLayout, batches: Iterable[Mapping[str, Any]]
) -> Iterator[list[list[HaltedPass]]]:
    """For each batch, its passes through each of the models, before the first site."""
    attentions: list[tuple[Site, Any]] = [
        (site, model.get_submodule(site.module_name)) for model in models for site in layout.sites
    ]
    passes: list[list[HaltedPass]] = []
    try:
        for site, attention in attentions:
            attention.on_heads = partial(_halt, site, attention)
        passes += [[HaltedPass(model, batch) for model in models] for batch in batches]
        yield passes
    finally:
        for one in chain(*passes):
            one.end()
        for _, attention in attentions:
            attention.on_heads = None


def _halt(site: Site, attention: GatedAttention, *told: Any) -> None:
    thread = current_thread()
    assert isinstance(thread, HaltedPass)
    thread.halt(site, attention, *told)
