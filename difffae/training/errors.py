"""Why training stops before its end, each in one sentence for whoever started it."""


class TrainingError(ValueError):
    """Training cannot start or go on; the message says what was got and what to do."""


class NonFiniteLossError(TrainingError):
    """The loss or its gradient became NaN or infinite; the last good checkpoint is kept."""


class RunDirectoryError(TrainingError):
    """A file of the run cannot be written: a full disk, a folder that is not writable."""


class ConfigMismatchError(TrainingError):
    """What lies in the run directory was trained with another configuration."""


class MainProcessError(TrainingError):
    """The main process failed and said why; this one stops with it."""
