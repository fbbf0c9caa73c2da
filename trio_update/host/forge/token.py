"""The token for GitHub, out of a file of the user's.  It stays here: no error and no log quotes it."""

from __future__ import annotations

import codecs
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from trio_update.errors import OperationFailed
from trio_update.host.threads import in_thread
from trio_update.logs import get_logger

_log = get_logger(__name__)

# GitHub's own have 40 to 255 characters, and it says that they may grow.
_LONGEST = 4096
# RFC 6750, section 2.1: what a bearer token may consist of.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_Stamp = tuple[int, int, int]


@dataclass
class TokenFile:
    """A file with one token and nothing else; read again whenever it has changed."""

    path: Path
    _stamp: _Stamp | None = None
    _token: str = ""
    _warned: bool = False

    async def read(self) -> str:
        """The token.

        Raises: OperationFailed, naming the file and never what is in it.
        """
        return await in_thread(self._read)

    def _read(self) -> str:
        try:
            # A named pipe would be waited for, hence not blocking.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as error:
            raise self._bad(f"it cannot be read ({getattr(error, 'strerror', None) or error})") from None
        try:
            status = os.fstat(descriptor)
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp != self._stamp:
                if not stat.S_ISREG(status.st_mode):
                    raise self._bad("it is no file")
                self._warn_of(status.st_mode)
                self._token, self._stamp = self._judged(os.read(descriptor, _LONGEST + 1)), stamp
        except OSError as error:
            raise self._bad(f"it cannot be read ({error.strerror})") from None
        finally:
            os.close(descriptor)
        return self._token

    def _judged(self, content: bytes) -> str:
        # What the exceptions of decoding and matching would quote is secret: none of them is let out.
        # What `echo … > file` writes in shells of Windows.
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        plain = content.decode("utf-16", "replace").encode() if wide else content.removeprefix(codecs.BOM_UTF8)
        text = plain.decode("ascii", "replace").strip()
        if not text:
            raise self._bad("it is empty")
        if len(content) > _LONGEST or _TOKEN.fullmatch(text) is None:
            raise self._bad("it must hold one token on one line, without blanks or quotes, and nothing else")
        return text

    def _warn_of(self, mode: int) -> None:
        if mode & 0o077 and not self._warned:
            self._warned = True
            _log.warning("other users can read the token in %s: chmod 600 it", self.path)

    def _bad(self, why: str) -> OperationFailed:
        return OperationFailed(f"cannot use the token of `github_token_file` {self.path}: {why}")
