"""What is raised: `InputError` for mistakes that a user can mend, `VerificationError` for a defect in what was written.

Command lines print the message of the first as a single line and exit with status 2; anything else keeps its traceback.
`modeling/` uses neither, because a checkpoint may carry those files without the package.
"""


class InputError(ValueError):
    """Input that cannot be used: the message names the value, the place and the remedy, in one line."""


class VerificationError(RuntimeError):
    """What was written is not what was meant: a defect, or a disk that does not keep what it is given."""
