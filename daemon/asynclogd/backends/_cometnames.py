"""Names as Comet takes them: one line without control characters, as its schema has them, of at most 100 characters,
where the SDK cuts (config_constants.py, MAXIMAL_KEY_LENGTH).
"""

from __future__ import annotations

import re

from asynclogd.backends._spelling import Spelling

spelt = Spelling(re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]"), 100).spelt
