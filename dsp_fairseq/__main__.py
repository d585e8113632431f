"""``python -m dsp_fairseq``: prints the folder to give as ``--user-dir``."""

from . import USER_DIR

if __name__ == "__main__":
    print(USER_DIR)
