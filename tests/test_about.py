"""The package's version and folder."""

from __future__ import annotations

from importlib import metadata

from dsp_fairseq.about import USER_DIR, __version__


def test_the_version_is_that_of_the_distribution_and_the_folder_can_be_a_user_dir():
    assert metadata.version("dsp-fairseq") == __version__
    assert (USER_DIR / "__init__.py").is_file()
    assert USER_DIR.name == "dsp_fairseq", "fairseq imports a user-dir by the name of its folder"
