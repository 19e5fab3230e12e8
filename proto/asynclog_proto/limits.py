"""Every bound on what a peer may send. A decoder checks them before it allocates."""

from __future__ import annotations

MAX_NAME_BYTES = 1024
"""A metric's name, UTF-8."""

MAX_NAMES_PER_ROW = 200_000
MAX_STREAM_LAYOUTS = 10_000
MAX_BATCH_BYTES = 16 << 20
"""One batch's payload. A row of 200,000 values is 1.6 MB."""

MAX_RECORD_BYTES = 12 << 20
MAX_HEADER_BYTES = 64 << 10
"""The header frame of any message."""

MAX_PARTS = 4
"""Frames of one ZeroMQ message at the daemon, the identity included."""

MAX_WORLD_SIZE = 1 << 16
MAX_TEXT_BYTES = 64 << 10
"""One string inside params or summary."""

MAX_DEPTH = 8
"""Nesting of a decoded value; a row has 1, a hello 4."""
