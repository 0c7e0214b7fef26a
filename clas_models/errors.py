"""The one exception for mistakes that a user can mend.

Command lines print its message as a single line and exit with status 2; anything else is a defect and keeps its
traceback.  `modeling/` does not use it, because a checkpoint may carry those files without the package.
"""


class InputError(ValueError):
    """Input that cannot be used: the message names the value, the place and the remedy, in one line."""
