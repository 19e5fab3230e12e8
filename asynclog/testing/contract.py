"""The contract of a backend, as tests that pytest collects for a backend of your own. A template:

    import csv

    from asynclog.testing.contract import BackendContract
    from my_package.my_backend import MyBackend, MyConfig

    class TestMyBackend(BackendContract):
        def make(self):                     # a new backend, not opened, of the same options each time
            return MyBackend(MyConfig())

        def read(self, run):                # with the product's own reader, from run.own_dir
            with (run.own_dir / "points.csv").open(newline="") as file:
                return [(name, int(step), float(value)) for name, step, value in csv.reader(file)]

It writes, kills, opens again, rewinds, revises, and tries names, steps, times and numbers that break adapters. What a
product can't do is said by the class: `exact = False` (a point that is sent twice may be there twice), `many_names`,
`steps`, and `stored(value)`, what becomes of a number. With `read_media`, a backend of kind "media" has its media
looked at.

These are the daemon's classes: a test-suite may load what a training must not.
"""

from asynclogd.backends.base import RunInfo
from asynclogd.contractbase import MediaContent
from asynclogd.samples import Content, content, filled, table
from asynclogd.testing import BackendContract

__all__ = ["BackendContract", "Content", "MediaContent", "RunInfo", "content", "filled", "table"]
