"""What a trace of torch.profiler tells of a GPU: how long nothing ran on it, and which calls waited for it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Event = dict[str, Any]

ON_DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
CALL = "cuda_runtime"
LAUNCHES = frozenset({"cudaGraphLaunch", "cudaLaunchKernel", "cudaLaunchKernelExC"})
WAITS = frozenset({"cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cudaStreamSynchronize"})
"""cudaMemcpyAsync is none: what of torch waits for one calls cudaStreamSynchronize after it."""


class Seen(NamedTuple):
    """What was seen in a window."""

    idle_share: float
    """of the time from the first to the last thing that ran on the device, in which nothing did"""
    waits: int
    """calls of WAITS by the thread that launches"""
    waits_beside: int
    """by all others"""


def traced(work: Callable[[], object]) -> list[Event]:
    """The events of what `work` does, which has to end with a synchronization.

    Not the CPU's operators: noting each makes the calls of a logger longer than they are. But where there is nothing of
    the device without them, `work` is done again, with them.
    """
    from torch.profiler import ProfilerActivity, profile

    events: list[Event] = []
    for activities in ([ProfilerActivity.CUDA], [ProfilerActivity.CPU, ProfilerActivity.CUDA]):
        with profile(activities=activities) as profiled:
            work()
        events = events_of(profiled)
        if any(event.get("cat") in ON_DEVICE for event in events):
            break
    return events


def events_of(profiled: Any) -> list[Event]:
    """The events of a torch.profiler.profile that has ended."""
    with tempfile.TemporaryDirectory(prefix="asynclog-bench-") as folder:
        path = Path(folder, "trace.json")
        profiled.export_chrome_trace(str(path))
        events: list[Event] = json.loads(path.read_text())["traceEvents"]
    return [event for event in events if event.get("ph") == "X"]


def seen(events: Sequence[Event]) -> Seen:
    """What the events tell. ValueError when nothing ran on a device: then the profiler has seen nothing."""
    calls = [event for event in events if event.get("cat") == CALL]
    trainer = launching(calls)
    waits = Counter(event["tid"] == trainer for event in calls if _name(event) in WAITS)
    return Seen(idle_share(events), waits[True], waits[False])


def launching(calls: Iterable[Event]) -> object:
    """The thread that launches most, by the profiler's number; None when no call launches."""
    launches = Counter(event["tid"] for event in calls if _name(event) in LAUNCHES)
    return launches.most_common(1)[0][0] if launches else None


def idle_share(events: Iterable[Event]) -> float:
    """The share of the time from the first to the last of them in which nothing ran on the device.

    Several may run at once, on several streams.
    """
    spans = sorted(
        (float(event["ts"]), float(event["ts"]) + float(event.get("dur", 0)))
        for event in events
        if event.get("cat") in ON_DEVICE
    )
    if not spans:
        raise ValueError("the trace has nothing that ran on a device")
    began, busy, until = spans[0][0], 0.0, spans[0][0]
    for begin, end in spans:
        busy += max(0.0, end - max(begin, until))
        until = max(until, end)
    return 1 - busy / (until - began) if until > began else 0.0


def _name(event: Event) -> str:
    """A call's name without the version and the kind of stream that some have behind it: cudaMemcpy_ptds, _v3020."""
    return str(event["name"]).split("_", 1)[0]
