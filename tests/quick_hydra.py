"""fairseq's configuration in a tenth of the time: hydra composes it anew for each command.

What hydra composes without choices (``task=translation``) is kept. A choice is put where hydra puts
it. hydra parses and sets the flags, and each that was parsed is kept.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import fairseq.dataclass.utils
from hydra import initialize_config_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental import compose as hydra_compose
from omegaconf import DictConfig, OmegaConf

_parse_anew = OverridesParser.parse_rule


def compose_anew(config_name: str, overrides: list[str], strict: bool = False) -> DictConfig:
    """hydra's ``compose`` of what fairseq brings."""
    GlobalHydra.instance().clear()
    with initialize_config_module("fairseq.config"):
        return hydra_compose(config_name, overrides=overrides, strict=strict)


@lru_cache(maxsize=100_000)
def _parsed(text: str, rule: str) -> Any:
    return _parse_anew(OverridesParser.create(), text, rule)


@lru_cache
def _without_choices(config_name: str) -> DictConfig:
    config = compose_anew(config_name, [])
    OmegaConf.set_struct(config, False)
    return config


def compose(config_name: str, overrides: list[str], strict: bool) -> DictConfig:
    """Equal to :func:`compose_anew`."""
    registered = ConfigStore.instance().repo
    groups = [text for text in overrides if "." not in text.partition("=")[0]]
    flags = [text for text in overrides if text not in groups]
    config = copy.deepcopy(_without_choices(config_name))
    for group, _, name in (text.partition("=") for text in groups):
        if f"{name}.yaml" not in registered.get(group, ()):
            return compose_anew(config_name, overrides, strict)
        config[group] = registered[group][f"{name}.yaml"].node
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
    fairseq.dataclass.utils.initialize = lambda config_path: nullcontext()
