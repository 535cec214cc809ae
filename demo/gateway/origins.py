"""Who asks, under which name, and from which site."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from .said import OTHER_NAME, OTHER_ORIGIN, Refusal

_PORTS = {"http": 80, "https": 443}
_NAMED = ("host", "x-forwarded-host")  # the name that a request was sent to
_FORWARDED = b"x-forwarded-"  # what a proxy says of the client
_OWN_PROXY = b"x-gradio-server"
_HOST = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", re.ASCII)
_ORIGIN = re.compile(r"https?://[^/?#@\\]+", re.ASCII)


def client_address(peer: str, headers: Headers, proxies: int) -> str:
    """Return the address of a client behind a number of proxies, as it counts for shares.

    Each proxy adds the address that it saw at the right of X-Forwarded-For; what stands further to
    the left can be made up. An IPv6 network of a household counts as one address.
    """
    said = [one.strip() for line in headers.getlist("x-forwarded-for") for one in line.split(",")]
    if proxies and len(said) >= proxies:
        return _normal(said[-proxies]) or _normal(peer) or peer
    return _normal(peer) or peer


def _normal(text: str) -> str:
    """Return an address, or the network of an IPv6 address; "" for what is none."""
    host = text.rpartition("]")[0].lstrip("[") if text.startswith("[") else text
    host = host.partition(":")[0] if host.count(":") == 1 else host  # a port
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address) if address.is_loopback else str(ipaddress.ip_network((address, 64), False))


def trusted(headers: list[tuple[bytes, bytes]], proxies: int) -> list[tuple[bytes, bytes]]:
    """Return headers without those that only a proxy, or Gradio's own one, may set."""
    return [
        (name, value)
        for name, value in headers
        if name != _OWN_PROXY and (proxies or not name.startswith(_FORWARDED))
    ]


@dataclass(frozen=True)
class Names:
    """The names under which the server answers."""

    listed: frozenset[str] = frozenset()  # beside those of this machine
    anyone: bool = True  # any other name too

    @classmethod
    def of(cls, hosts: str, *, space: str, listening: str) -> Names:
        """Return the names in a list with commas, and that of a Space, for a server at an address.

        Without a list, a server that only this machine reaches answers to this machine's names, and
        any other to every name.
        """
        given = {one.strip().lower() for one in hosts.split(",")} - {""}
        restricted = bool(given) or is_loopback(listening)
        return cls(frozenset(given | {space.lower()} - {""}), anyone=not restricted)

    def check_host(self, headers: Headers) -> None:
        """Raise Refusal for a request to another name, or to what is none."""
        said = [*(headers.getlist("host") or [""]), *headers.getlist("x-forwarded-host")]
        for name in (one.strip() for line in said for one in line.split(",")):
            host = _host(f"//{name}") if _HOST.fullmatch(name) else ""
            if not host or not (self.anyone or is_loopback(host) or host in self.listed):
                raise Refusal(403, OTHER_NAME)

    def check_origin(self, headers: Headers) -> None:
        """Raise Refusal for a request that another site makes with a visitor's browser."""
        origin = headers.get("origin")
        if origin is None:  # a script
            return
        place, scheme = _place(origin), origin.partition(":")[0]
        if not _ORIGIN.fullmatch(origin):
            raise Refusal(403, OTHER_ORIGIN)
        own = [_place(f"{scheme}://{headers.get(name, '')}") for name in _NAMED]
        if not place or (place not in own and place[0] not in self.listed):
            raise Refusal(403, OTHER_ORIGIN)


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(url: str) -> str:
    """Return the name in a URL, "" if there is none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _place(origin: str) -> tuple[str, int | None] | None:
    """Return name and port of an origin; None for what is no origin, such as "null"."""
    try:
        found = urlsplit(origin)
        return (_host(origin), found.port or _PORTS.get(found.scheme)) if found.hostname else None
    except ValueError:
        return None
