"""What a tracking store refuses or cannot do, in one line; the results themselves are safe in the run directories."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import UserError
from leaderboards.address import without_login

PATIENCE = 15.0  # seconds for a server's first answer
THEIRS = {"mlflow", "sqlalchemy", "requests", "urllib3"}  # packages whose errors are about the store
REMEDY = "check the address or the server, then publish again: nothing is lost"


@contextmanager
def explained(uri: str) -> Iterator[None]:
    """Errors of the store at `uri` as UserError; those of our own making pass."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, (OSError, ImportError)) and type(error).__module__.split(".")[0] not in THEIRS:
            raise
        told = str(error).strip().split("\n")[0][:300]
        raise UserError(f"{without_login(uri)}: cannot publish: {told}", REMEDY) from error


def expect_answer(uri: str) -> None:
    """UserError unless the server of a web address answers, with whatever; mlflow itself would try for minutes."""
    if not uri.startswith(("http://", "https://")):
        return
    bare = without_login(uri)
    try:
        with urllib.request.urlopen(f"{bare.rstrip('/')}/health", timeout=PATIENCE):
            pass
    except urllib.error.HTTPError:
        pass  # somebody is there
    except (OSError, ValueError, http.client.HTTPException) as error:
        told = getattr(error, "reason", error)
        raise UserError(f"{bare}: cannot publish: no server answers ({told})", REMEDY) from error
