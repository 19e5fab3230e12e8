"""CPU, memory, disk, network and GPUs of this node, once for all its ranks; and what logging costs them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

PREFIX = "system/"


class HostSampler:
    """`sample()` reads the node's counters; rates are since the sample before."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk
        self._gpus = _gpus()
        self._before = self._counters()
        psutil.cpu_percent()

    def sample(self) -> dict[str, float]:
        """Names to values: percent, bytes (`_bytes`), bytes per second (`_bytes_per_s`), watts, degrees C."""
        memory = psutil.virtual_memory()
        values = {
            "cpu_percent": psutil.cpu_percent(),
            "load_1min": psutil.getloadavg()[0],
            "memory_percent": memory.percent,
            "memory_used_bytes": float(memory.total - memory.available),
            **self._rates(),
            **self._gpu_values(),
        }
        with contextlib.suppress(OSError):
            values["disk_percent"] = psutil.disk_usage(str(self._disk)).percent
        return {PREFIX + name: float(value) for name, value in values.items()}

    def _rates(self) -> dict[str, float]:
        before, now = self._before, self._counters()
        self._before = now
        seconds = max(1e-9, now["time"] - before["time"])
        return {
            f"{name}_per_s": max(0.0, now[name] - before[name]) / seconds
            for name in now
            if name != "time" and name in before
        }

    @staticmethod
    def _counters() -> Mapping[str, float]:
        counters: dict[str, float] = {"time": time.monotonic()}
        # Containers often hide the disk's counters, and then psutil gives None or raises.
        with contextlib.suppress(OSError, RuntimeError):
            if disk := psutil.disk_io_counters():
                counters["disk_read_bytes"], counters["disk_write_bytes"] = disk.read_bytes, disk.write_bytes
        with contextlib.suppress(OSError):
            network = psutil.net_io_counters()
            counters["net_sent_bytes"], counters["net_recv_bytes"] = network.bytes_sent, network.bytes_recv
        return counters

    def _gpu_values(self) -> dict[str, float]:
        values: dict[str, float] = {}
        if self._gpus is None:
            return values
        nvml, handles = self._gpus
        for index, handle in enumerate(handles):
            gpu = f"gpu{index}_"
            # Each reading is its own: a card in MIG mode, say, has memory but no utilization.
            with contextlib.suppress(nvml.NVMLError):
                values[gpu + "utilization_percent"] = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            with contextlib.suppress(nvml.NVMLError):
                memory = nvml.nvmlDeviceGetMemoryInfo(handle)
                values[gpu + "memory_used_bytes"] = memory.used
                values[gpu + "memory_percent"] = 100.0 * memory.used / memory.total
            with contextlib.suppress(nvml.NVMLError):
                values[gpu + "power_watts"] = nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0
            with contextlib.suppress(nvml.NVMLError):
                values[gpu + "temperature_celsius"] = nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)
        return values


def log_metrics(ranks: Iterable[tuple[float | None, float | None]]) -> dict[str, float]:
    """What `log()` costs the costliest of these ranks, in us: of their p50 and p99 in s; nothing if none told."""
    told = [(middle, high) for middle, high in ranks if middle is not None and high is not None]
    if not told:
        return {}
    middle, high = (1e6 * max(times) for times in zip(*told, strict=True))
    return {"asynclog/log_us_p50": middle, "asynclog/log_us_p99": high}


def _gpus() -> tuple[Any, list[Any]] | None:
    """nvidia-ml-py and a handle for each card, or None where either is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml, [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except Exception:
        return None
