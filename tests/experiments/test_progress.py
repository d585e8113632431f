from dsp_fairseq.experiments.progress import stage_of
from dsp_fairseq.experiments.run import RESULT_FILE, Run, targets_of, unfinished


def test_a_run_says_how_far_it_is_from_its_files(recipe, tmp_path):
    run = Run(recipe(evaluate=["valid", "test"]), tmp_path)
    assert stage_of(run) == "starting"
    (target,) = targets_of(run)
    unfinished(target, "test").write_text("")
    assert stage_of(run) == "translating test"
    (tmp_path / RESULT_FILE).write_text("{}")
    assert stage_of(run) == "done"


def test_several_budgets_are_named(recipe, tmp_path):
    made = recipe().with_train({"num-of-heads": "6,12"})
    run = Run(made, tmp_path)
    target = targets_of(run)[1]
    target.folder.mkdir()
    unfinished(target, "valid").write_text("")
    assert stage_of(run) == "translating valid with 12 heads"
