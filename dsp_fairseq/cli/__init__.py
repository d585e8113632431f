"""The commands: a parser, and one thin main each. All of them need fairseq."""

from ..errors import CommandExit, PruningError

try:
    import fairseq  # noqa: F401
except ImportError as error:
    raise CommandExit(
        PruningError(
            f"cannot import fairseq ({error}): run 'bash scripts/setup.sh', or install it with "
            "'pip install --no-build-isolation fairseq-fixed==0.12.3.1'"
        )
    ) from error
