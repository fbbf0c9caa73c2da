"""Addresses of remotes, in every form that git takes, as what they lead to."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCP_LIKE = re.compile(r"(?:[^/@]+@)?(?P<host>\[[^\]]+\]|[^/:@]+):(?!//)(?P<path>.+)")
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:[^/@]*@)?(?P<host>[^/]*)(?P<path>/.*)?", re.IGNORECASE)


@dataclass(frozen=True)
class RemoteAddress:
    """A remote's URL taken apart; ``host`` is empty for a local path."""

    host: str
    path: str

    @property
    def owner(self) -> str | None:
        parts = self.path.split("/")
        return parts[-2] if self.host and len(parts) >= 2 else None

    @property
    def repo(self) -> str | None:
        return self.path.split("/")[-1] or None

    def same_as(self, other: RemoteAddress) -> bool:
        """Whether both lead to one repository: the protocol, the user and upper case make no difference."""
        return (self._site, self.path.lower()) == (other._site, other.path.lower())

    @property
    def _site(self) -> str:
        return self.host.lower().removeprefix("www.").rstrip(".")


def read_address(url: str) -> RemoteAddress:
    """Take a remote's URL apart: https, ssh, git, file, scp-like (``git@host:owner/repo``), or a path."""
    if (found := _URL.fullmatch(url)) is not None:
        host = "" if found["scheme"].lower() == "file" else found["host"]
        host = re.sub(r":\d+$", "", host) if found["scheme"].lower() in {"ssh", "git", "https"} else host
        host = host.removesuffix(":80") if found["scheme"].lower() == "http" else host
        return RemoteAddress(host, _repository_path(found["path"] or "", absolute=not host))
    if not url.startswith(("/", ".", "~")) and (found := _SCP_LIKE.fullmatch(url)) is not None:
        return RemoteAddress(found["host"], _repository_path(found["path"], absolute=False))
    return RemoteAddress("", _repository_path(url, absolute=True))


def _repository_path(path: str, *, absolute: bool) -> str:
    path = re.sub(r"/{2,}", "/", path).rstrip("/")
    path = path.removesuffix(".git").rstrip("/") or path
    return path if absolute else path.lstrip("/")
