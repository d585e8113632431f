"""The error of everything that reads and prepares text."""


class TextError(Exception):
    """A refusal the user can act on; its text is one line that says what to do."""
