"""Judges of addresses: URLs, hosts, clients; see :mod:`trio_update.config.convert` for what a judge is."""

from __future__ import annotations

import ipaddress
import re

from trio_update.config.convert import as_path
from trio_update.config.names import check_host_name, check_remote_url, printable, split_url
from trio_update.config.render import BadValue

__all__ = [
    "as_base_url",
    "as_client",
    "as_host",
    "as_origin_pattern",
    "as_remote",
    "as_web_url",
]


def as_remote(line: str) -> str:
    url = str(as_path(line)) if line.startswith("~") else line
    if why := check_remote_url(url):
        raise BadValue(why)
    return url


def as_web_url(line: str) -> str:
    """An http or https URL.  No password: URLs are told to clients and logged."""
    parts = split_url(line)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", line):
        raise BadValue("must be an http or https URL")
    if "@" in parts.netloc:
        raise BadValue("must not carry a user name or password")
    return line


def as_base_url(line: str) -> str:
    """A URL that paths are put behind: no slash at its end."""
    if "?" in line or "#" in line:
        raise BadValue("must be an http or https URL without `?` or `#`")
    return as_web_url(line).rstrip("/")


def as_host(line: str) -> str:
    """An IP address (brackets are taken off) or a host's name."""
    host = line[1:-1] if line.startswith("[") and line.endswith("]") else line
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if why := check_host_name(line):
            raise BadValue(f"{why}: `{printable(line)}`") from None
        return line


def as_client(line: str) -> str:
    """Who is trusted: an IP address, a network in CIDR notation, or a host's name."""
    line = line.rstrip(", \t")
    if "/" not in line:
        return as_host(line)
    try:
        network = ipaddress.ip_network(line, strict=False)
    except ValueError:
        raise BadValue(f"`{printable(line)}` is neither an IP address, a network nor a host name") from None
    # `192.168.1.5/24` could mean the host or its network: for who is trusted, no guess.
    if str(network.network_address) != str(ipaddress.ip_address(line.partition("/")[0])):
        raise BadValue(f"`{printable(line)}` is an address with a network's length: give the address, or `{network}`")
    return str(network)


def as_origin_pattern(line: str) -> str:
    """A pattern of web pages' origins."""
    line = line.rstrip(", \t")
    if re.search(r"[\s,]", line):
        raise BadValue("must hold one pattern a line")
    return line
