from pathlib import Path

import tomllib

from dsp_fairseq.about import USER_DIR, __version__

ROOT = Path(__file__).parents[1]


def test_the_version_is_that_of_the_distribution_and_the_folder_can_be_a_user_dir():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project.get("version", __version__) == __version__
    assert (USER_DIR / "__init__.py").is_file()
    assert USER_DIR.name == "dsp_fairseq", "fairseq imports a user-dir by the name of its folder"
