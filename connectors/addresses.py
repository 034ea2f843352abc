"""Which addresses may be reached: encrypted ones, and this machine's own."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from latentspeed.connectors.errors import ConnectorError


class InsecureAddress(ConnectorError):
    """A plain-text address that is not this machine."""


def is_loopback(url: str) -> bool:
    """True when the address names this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(url: str) -> str:
    """The address without a closing slash, when it is encrypted or this machine's own.

    Raises:
        InsecureAddress: It is plain text to another machine, or no HTTP or WebSocket address at all.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise InsecureAddress(f"{url!r} is not an http, https, ws or wss address")
    if parts.scheme in ("http", "ws") and not is_loopback(url):
        raise InsecureAddress(f"{url!r} is plain text: only this machine (127.0.0.1, ::1, localhost) may be reached so")
    return url.rstrip("/")
