"""Families of models: which sites each has, and which model of fairseq is its dense counterpart."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairseq.models import ARCH_MODEL_NAME_REGISTRY, ARCH_MODEL_REGISTRY

from ..errors import PruningError, refuse_taken
from .layout import HeadLayout, Site


@dataclass(frozen=True)
class Family:
    """A model with gated heads, and the model of fairseq that has the same weights.

    Attributes:
        name: the gated model's name in fairseq's registry.
        dense: the dense model's name, which is an architecture's too.
        criterion: of the dense model; that of the gated model has ``dsp_`` before it.
        kinds: the kinds of site, in the order of the head layout: stored importance depends on it.
        sites: from a model's arguments, as attributes, to its sites and their numbers of heads.
        structure: the arguments that change the function of the same weights, but no shape.
        defaults: of those that the dense model does not have, what it does.
        check_dense: raises a PruningError where the dense model cannot do what arguments ask for.
    """

    name: str
    dense: str
    criterion: str
    kinds: tuple[str, ...]
    sites: Callable[[Any], Mapping[Site, int]]
    structure: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    check_dense: Callable[[Any], None] = lambda args: None

    @property
    def gated_criterion(self) -> str:
        """The criterion that trains the gated model."""
        return f"dsp_{self.criterion}"

    @property
    def translates(self) -> bool:
        """Whether it has a decoder; what translates for a tool asks this."""
        return any(kind.startswith("decoder.") for kind in self.kinds)

    def layout(self, args: Any) -> HeadLayout:
        """The heads of a model with these arguments: a namespace, a dict or a ``DictConfig``.

        Raises:
            AttributeError: a number of layers or heads is not among the arguments.
        """
        return HeadLayout(self.sites(_attributes(args)), self.kinds)


_FAMILIES: dict[str, Family] = {}


def register_family(family: Family) -> Family:
    """Makes a family known to every tool, by its own name and by that of its dense model.

    A dense model that several families have belongs to the first of them.

    Raises:
        PruningError: its name is another's.
    """
    refuse_taken(_FAMILIES, family.name, "model family")
    _FAMILIES[family.name] = family
    _FAMILIES.setdefault(family.dense, family)
    return family


def family_of(args: Any) -> Family:
    """The family of a model with these arguments: a namespace, a dict or a ``DictConfig``.

    Raises:
        PruningError: it is of none.
    """
    name = architecture(args)
    family = _FAMILIES.get(model_name(args) or "")
    if family is None:
        raise PruningError(
            f"{name or 'an unnamed model'} is not of a known model family: choose from "
            f"{', '.join(_FAMILIES)} and their architectures, or give the package that has it by "
            "--user-dir"
        )
    return family


def is_gated(args: Any) -> bool:
    """Whether the heads of a model with these arguments have gates: its class has a family."""
    model = ARCH_MODEL_REGISTRY.get(architecture(args))
    return isinstance(getattr(model, "family", None), Family)


def architecture(args: Any) -> str | None:
    """The name of the architecture, as fairseq-train or hydra stored it."""
    args = _attributes(args)
    return getattr(args, "_name", None) or getattr(args, "arch", None)


def model_name(args: Any) -> str | None:
    """The name of the model that the architecture is of, in fairseq's registry."""
    name = architecture(args)
    return ARCH_MODEL_NAME_REGISTRY.get(name, name)


def _attributes(args: Any) -> Any:
    return Namespace(**args) if isinstance(args, Mapping) else args


def known_kinds() -> list[str]:
    """The kinds of site of all families."""
    return list(dict.fromkeys(kind for family in _FAMILIES.values() for kind in family.kinds))
