"""The tests compose fairseq's configuration faster than hydra: the result has to be hydra's."""

import fairseq.dataclass.utils as convert
import pytest
import quick_hydra
from fairseq import options
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from tiny_data import write_data

COMMANDS = {
    "train": (options.get_training_parser, ["data", "--arch", "transformer"]),
    "gated": (
        options.get_training_parser,
        [
            *("DATA", "--arch", "dsp_transformer_tiny", "--optimizer", "dsp_adam"),
            *("--criterion", "dsp_label_smoothed_cross_entropy", "--num-of-heads", "12,24"),
            *("--save-dir", 'it\'s a "place" = {1} $[x]', "--adam-betas", "(0.9, 0.98)"),
            *("--keep-at-least", "encoder.self=1,decoder.self=2", "--update-freq", "2,3"),
            *("--max-tokens", "100"),
        ],
    ),
    "classifier": (
        options.get_training_parser,
        [
            *("data", "--task", "dsp_sentence_prediction", "--arch", "dsp_roberta_tiny"),
            *("--criterion", "dsp_sentence_prediction", "--optimizer", "dsp_adam"),
            *("--batch-size", "8"),
        ],
    ),
    "multilingual": (
        options.get_training_parser,
        ["data", "--task", "translation_multi_simple_epoch", "--arch", "transformer"],
    ),
    "generate": (options.get_generation_parser, ["data", "--path", "a:b", "--beam", "3"]),
    "interactive": (options.get_interactive_generation_parser, ["data", "--path", "a.pt"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_configuration_is_that_of_hydra(name, tmp_path, monkeypatch):
    parser, words = COMMANDS[name]
    words = [str(write_data(tmp_path)) if word == "DATA" else word for word in words]
    args = options.parse_args_and_arch(parser(), words)
    quick = [convert.convert_namespace_to_omegaconf(args) for _ in range(2)]
    monkeypatch.setattr(convert, "compose", quick_hydra.compose_anew)
    assert str(quick[0]) == str(quick[1]) == str(convert.convert_namespace_to_omegaconf(args))


def test_what_is_registered_anew_is_seen(monkeypatch):
    args = options.parse_args_and_arch(options.get_training_parser(), COMMANDS["train"][1])
    first = convert.convert_namespace_to_omegaconf(args)
    node = ConfigStore.instance().load("criterion/cross_entropy.yaml")
    node.node.sentence_avg = True
    monkeypatch.setitem(ConfigStore.instance().repo["criterion"], "cross_entropy.yaml", node)
    del args.sentence_avg
    second = convert.convert_namespace_to_omegaconf(args)
    assert not first.criterion.sentence_avg and second.criterion.sentence_avg


@pytest.mark.parametrize(
    "flag", ["no_such.flag=1", "common.seed=many", "common.seed=[1", "task=none"]
)
def test_what_hydra_refuses_is_refused(flag):
    reasons = []
    for compose in (quick_hydra.compose, quick_hydra.compose_anew):
        with pytest.raises(HydraException) as refused:
            compose("config", overrides=[flag], strict=False)
        reasons.append(str(refused.value))
    assert reasons[0] == reasons[1]
