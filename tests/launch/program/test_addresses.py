"""Which address a newcomer gives for itself."""

from __future__ import annotations

import socket

import pytest

from launch.program import addresses


@pytest.mark.parametrize(
    ("peer", "own"),
    [
        ("127.0.0.1:20100", "127.0.0.1"),
        ("localhost:20100", "127.0.0.1"),
        ("no.such.host.invalid:20100", "localhost"),
        ("head:port", "localhost"),
    ],
)
def test_own_address_is_the_one_towards_the_coordinator(
    peer: str, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo

    def resolve(host: str, *others: int, **named: int) -> list:
        if host.endswith(".invalid"):  # never ask a name server from a test
            raise socket.gaierror(-2, "Name or service not known")
        return known("127.0.0.1" if host == "localhost" else host, *others, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert addresses.own_address(peer) == own


def test_own_address_over_ipv6_has_brackets() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 loopback here: {error}")
    assert addresses.own_address("[::1]:20100") == "[::1]"
