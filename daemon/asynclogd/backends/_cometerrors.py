"""What Comet's refusals are at the seam."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from asynclogd.backends.base import PermanentError, ThrottledError

_THROTTLED = frozenset({429, 503})
_REFUSED = frozenset({400, 404, 413, 422})
_KEY_REFUSED = (
    "Comet refuses the API key: set COMET_API_KEY where the daemon is started, or the option credentials_file"
)


@contextlib.contextmanager
def translated(*, opening: bool = False) -> Iterator[None]:
    """Comet's refusals as PermanentError, its limits as ThrottledError; anything else may be tried again, a key that is
    refused later too: no record is at fault.
    """
    from comet_ml import exceptions

    try:
        yield
    except exceptions.CometRestApiException as error:
        answer = error.response
        if answer.status_code in _THROTTLED:
            raise ThrottledError(str(error), _seconds(answer.headers.get("Retry-After"))) from error
        if answer.status_code in (401, 403) or _is_about_the_key(answer):
            raise (PermanentError if opening else PermissionError)(f"{_KEY_REFUSED} ({error})") from error
        if answer.status_code in _REFUSED:
            raise PermanentError(str(error)) from error
        raise
    except exceptions.InvalidAPIKey:
        raise PermanentError(_KEY_REFUSED) from None  # its own text has the key
    except exceptions.CometException as error:
        if opening:
            raise PermanentError(f"{type(error).__name__}: {error}") from error
        raise


def _is_about_the_key(answer: Any) -> bool:
    """Comet says so by a code of its own, the status is 400."""
    from comet_ml.exceptions import API_KEY_NOT_REGISTERED

    with contextlib.suppress(ValueError, AttributeError):  # no JSON, no object
        return bool(answer.json().get("sdk_error_code") == API_KEY_NOT_REGISTERED)
    return False


def checked(answer: Any) -> None:
    """Raise what Comet's SDK raises where an answer is none that was hoped for."""
    from comet_ml.exceptions import CometRestApiException

    if answer.status_code != 200:
        raise CometRestApiException("POST", answer)


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; a date is not looked at."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
