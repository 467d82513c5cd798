"""Who may reach the server: this machine, unless more is meant."""

import ipaddress
import socket

from workbench.errors import InputError

OPENED = "LENSBENCH_OPEN_TO_NETWORK"  # set for the pages by who meant it


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches a server there."""
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return address == "localhost"


def answered(address: str, port: int, *, opened: bool) -> list[str]:
    """The names under which the server answers, the first to be printed.

    Raises `InputError` for an address that others reach, unless it is meant.
    """
    try:
        any_of_them = ipaddress.ip_address(address).is_unspecified
    except ValueError as error:
        if address != "localhost":
            raise InputError(f"{address!r} is no address; give one such as 127.0.0.1") from error
        any_of_them = False
    if is_loopback(address):
        return ["localhost", "127.0.0.1"] if address == "localhost" else [address, "localhost"]
    if not opened:
        raise InputError(
            f"at {address} everybody on the network could run models and read model folders here. "
            f"From another machine rather forward the port: `ssh -L {port}:127.0.0.1:{port} "
            f"{socket.gethostname()}`, then open http://127.0.0.1:{port} there. To let the network "
            "in all the same, add --open-to-network"
        )
    own = [socket.gethostname(), socket.getfqdn()]
    return list(dict.fromkeys([*own, "localhost", "127.0.0.1"] if any_of_them else [address, *own]))
