"""nbformat without the seconds that its import takes where pip installed it."""

import sys

GRAMMAR = "rfc3987_syntax"


def import_nbformat():
    """Imports nbformat, and returns it, in a third of the time.

    jsonschema, which it is made with, imports rfc3987-syntax to check web addresses by,
    if that is there, and that builds a grammar as it is imported. No notebook has such
    addresses. Whoever else imports the package finds it as before.

    Example:
        >>> import_nbformat().current_nbformat
        4
    """
    if GRAMMAR in sys.modules:
        import nbformat

        return nbformat
    sys.modules[GRAMMAR] = None  # as if it were not installed
    try:
        import nbformat
    finally:
        sys.modules.pop(GRAMMAR, None)
    return nbformat
