"""The one exception for mistakes that a user can mend."""


class UsageError(SystemExit):
    """A mistake in flags, files or their combination.

    It is a ``SystemExit``, so a command ends with this one line on standard error and exit status
    1 instead of a traceback, and fairseq's ``except Exception`` around checkpoint loading does not
    swallow it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"dsp_fairseq: error: {message}")
