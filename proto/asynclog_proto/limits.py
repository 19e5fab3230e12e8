"""Every bound on what a peer may send. A decoder checks them before it allocates."""

from __future__ import annotations

MAX_NAME_BYTES = 1024
"""A metric's name, UTF-8."""

MAX_NAMES_PER_ROW = 200_000
MAX_STREAM_LAYOUTS = 10_000
MAX_BATCH_BYTES = 16 << 20
"""One batch's payload. A row of 200,000 values is 1.6 MB."""

MAX_BATCH_RECORDS = 1 << 19
"""Records of one batch: more rows of one value than MAX_BATCH_BYTES hold."""

MAX_RECORD_BYTES = 12 << 20
MAX_RECORD_ELEMENTS = 2 * MAX_NAMES_PER_ROW + 64
"""Keys, values, items and containers of one record: a map of MAX_NAMES_PER_ROW names fits.

Without it 12 MB of empty arrays, a byte each, became 870 MB of Python objects.
"""

MAX_HEADER_BYTES = 64 << 10
"""The header frame of any message but a Ledger or a Report."""

MAX_REPORT_BYTES = 8 << 20
"""The header frame of a Ledger or a Report: pass it as `max_header` to decode what a daemon sends."""

MAX_PARTS = 4
"""Frames of one ZeroMQ message at the daemon, the identity included."""

MAX_ASKS = 1000
"""Questions of one stream that are open at once."""

MAX_WORLD_SIZE = 1 << 16
MAX_INCARNATION = 32
"""ASCII letters and digits of a stream's incarnation."""

MAX_CAUSES = 64
"""Causes for which a stream counts dropped values."""

MAX_CAUSE_BYTES = 100
MAX_TEXT_BYTES = 64 << 10
"""One string inside params or summary."""

MAX_MEDIA_BYTES = 512 << 20
"""One media item's body."""

MAX_MEDIA_OPTIONS = 64 << 10
MAX_SECTIONS = 16
"""Parts of one media item's body."""

MAX_TIME = 253_402_300_799.0
"""9999-12-31 23:59:59 UTC in s since the epoch, the last moment that every product can show: a later one becomes it."""

MAX_DEPTH = 8
"""Nesting of a decoded value; a row has 1, a hello 4."""

SEQ_END = 1 << 63
"""Sequence numbers and counts are below it: they fit a signed 64-bit integer."""
