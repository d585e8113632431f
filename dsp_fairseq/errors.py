"""How a command ends in one line: by a mistake that a user can mend, or by numbers that broke."""


class PruningError(SystemExit):
    """A mistake in flags, files or their combination.

    It is a ``SystemExit``, so a command ends with this one line on standard error and exit status
    1 instead of a traceback, and fairseq's ``except Exception`` around checkpoint loading does not
    swallow it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(f"dsp_fairseq: error: {message}")
        self.message = message


class NotFiniteError(PruningError):
    """Training met a number that is not finite; what it would save now is worth nothing."""
