"""Everything that can go wrong for a user, each as one plain sentence.

StreamerError
├── PortraitError    the source picture
├── DriverError      the video that drives it
├── OutputError      the file to write, the disk
├── ResumeError      an unfinished run that cannot be continued
├── ModelError       weights, device, runtime
├── ControlError     a control, by its name or value
├── ComputeLostError the compute process died
├── SessionFailedError  the model failed on one session
└── UsageError       the command line, missing extras
"""


class StreamerError(Exception):
    """A user's error: what is wrong and what to do, in one line.

    Args:
        sentence: the message; line breaks in it (from file names, libraries) become spaces.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(" ".join(sentence.split()))


class PortraitError(StreamerError):
    """The source picture cannot be read, is unsuitable, or shows not exactly one face."""


class DriverError(StreamerError):
    """The driver video cannot be read, is damaged, or shows no face."""


class OutputError(StreamerError):
    """The output exists, cannot be written, or the disk is full."""


class ResumeError(StreamerError):
    """An unfinished run is there, or does not fit what is asked now."""


class ModelError(StreamerError):
    """The model cannot be loaded: wrong weights, hash, device or runtime."""


class UsageError(StreamerError):
    """The command line asks for something that does not exist."""


class ControlError(StreamerError):
    """A control that does not exist, or a value that it cannot have."""


class ComputeLostError(StreamerError):
    """The compute process died with a session in it; a new one is on its way."""


class SessionFailedError(StreamerError):
    """The model failed on one session; the others go on."""
