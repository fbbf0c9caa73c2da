"""A client for the update API."""

from trio_update.client.client import (
    BadAddress,
    Client,
    ClientError,
    ConnectionLost,
    Notification,
    RpcError,
    Unreachable,
    open_client,
    read_address,
)

__all__ = [
    "BadAddress",
    "Client",
    "ClientError",
    "ConnectionLost",
    "Notification",
    "RpcError",
    "Unreachable",
    "open_client",
    "read_address",
]
