"""`asynclog keys`: who may come in over TCP."""

from __future__ import annotations

import click

from asynclog_proto.places import parse_key
from asynclogd import keys as store


@click.group()
def keys() -> None:
    """Keys for ranks on other machines: `asynclog daemon --bind tcp://HOST:PORT` lets in those that are allowed.

    They are in $ASYNCLOG_KEYS, or ~/.config/asynclog/keys. Where machines share a home directory, `keys new` is all
    that is needed. Where they don't: `keys new` on both, then here `keys allow NAME KEY` with the client's public key,
    and there `keys trust KEY` with the daemon's.
    """


@keys.command()
def new() -> None:
    """Make this user's keys, those that are missing, and print the public ones."""
    directory = store.keys_dir()
    store.make(directory)
    click.echo(f"keys in {directory}")
    click.echo(f"client  {store.client_pair(directory).public.hex()}")
    click.echo(f"daemon  {store.daemon_pair(directory).public.hex()}")


@keys.command()
@click.argument("name")
@click.argument("key")
def allow(name: str, key: str) -> None:
    """Let in the client with the public key KEY, under a NAME of your choice. A running daemon sees it within 1 s."""
    store.allow(store.keys_dir(), name, parse_key(key, "KEY"))


@keys.command()
@click.argument("key")
def trust(key: str) -> None:
    """Speak to the daemon with the public key KEY, and to no other."""
    store.trust(store.keys_dir(), parse_key(key, "KEY"))


@keys.command("list")
def list_() -> None:
    """Print which keys are allowed."""
    for key, name in sorted(store.allowed(store.keys_dir()).items(), key=lambda pair: pair[1]):
        click.echo(f"{key.hex()}  {name}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Let in the client of that NAME no more. A running daemon ends its connections with its next message."""
    store.revoke(store.keys_dir(), name)
