"""Names that users give, held against those that there are."""

from collections.abc import Collection, Iterable

from lilas.errors import LilasError
from lilas.settings import refuse_unknown


def check_names(what: str, names: Iterable[str], allowed: Collection[str]) -> None:
    """Refuses names that are not among those allowed.

    Raises:
        LilasError: which, the nearest one, and what is allowed.
    """
    try:
        refuse_unknown(what, names, allowed)
    except ValueError as error:
        raise LilasError(str(error)) from None
