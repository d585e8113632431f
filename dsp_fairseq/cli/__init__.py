"""The commands: a parser, and one thin main each. All of them need fairseq."""

from ..errors import UsageError

try:
    import fairseq  # noqa: F401
except ImportError as error:
    raise UsageError(
        f"cannot import fairseq ({error}): run 'bash scripts/setup.sh', or install it with "
        "'pip install --no-build-isolation fairseq-fixed==0.12.3.1'"
    ) from error
