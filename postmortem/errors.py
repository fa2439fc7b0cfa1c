"""What can go wrong for a caller, as one tree.

    PostmortemError
    ├── UsageError          the request itself is wrong: an unknown option value, a path that does not exist (exit status 2)
    ├── NothingReadable     the path exists and holds nothing that any reader understands (3)
    ├── DocumentError       a JSON file that is no postmortem document, or of a newer schema (2)
    ├── OutputError         a report cannot be written (5)
    └── GivenUpError        the analysis was ended at its limits, or died (4)

Readers never raise on bad input: what they could not read becomes a `Source` with a status and a reason.
"""


class PostmortemError(Exception):
    """Base of every error that is meant for the user; `str(error)` is one sentence."""

    exit_status = 4


class UsageError(PostmortemError):
    exit_status = 2


class NothingReadable(PostmortemError):
    exit_status = 3


class DocumentError(PostmortemError):
    exit_status = 2


class OutputError(PostmortemError):
    exit_status = 5


class GivenUpError(PostmortemError):
    exit_status = 4
