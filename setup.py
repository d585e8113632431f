"""Packaging. fairseq is an extra, since two packages own its module and it needs a compiler."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'__version__ = "(.+)"', (ROOT / "dsp_fairseq" / "about.py").read_text(encoding="utf-8")
).group(1)

setup(
    name="dsp-fairseq",
    version=VERSION,
    description="Translation models that keep exactly K attention heads: a fairseq extension",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["dsp_fairseq", "dsp_fairseq.*"]),
    package_data={"dsp_fairseq": ["hydra/*.yaml"]},
    install_requires=[
        "torch>=2.6",
        "numpy",
        "pyyaml",
        "rich",
        "sacrebleu>=2.3",
        "sacremoses",
        "sentencepiece",
        "subword-nmt",
        "tqdm",
    ],
    extras_require={
        "fairseq": ["fairseq-fixed==0.12.3.1"],
        "plot": ["matplotlib"],
        "slurm": ["submitit"],
        "ctranslate2": ["ctranslate2>=4.8"],
        "dev": [
            "pytest>=8",
            "pytest-cov",
            "pytest-xdist",
            "mypy",
            "types-PyYAML",
            "types-tqdm",
            "ruff",
            "hypothesis",
            "matplotlib",
            "ctranslate2>=4.8",
            "submitit",
            "tensorboardX",
        ],
    },
    entry_points={
        "console_scripts": [
            "dsp-export=dsp_fairseq.cli.export:main",
            "dsp-score=dsp_fairseq.cli.score:main",
            "dsp-heads=dsp_fairseq.cli.heads:main",
            "dsp-run=dsp_fairseq.cli.run:main",
            "dsp-sweep=dsp_fairseq.cli.sweep:main",
            "dsp-average=dsp_fairseq.cli.average:main",
            "dsp-report=dsp_fairseq.cli.report:main",
            "dsp-score-heads=dsp_fairseq.cli.rank_heads:main",
        ]
    },
)
