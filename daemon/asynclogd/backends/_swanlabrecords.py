"""SwanLab's records, as its SDK makes them of a run that is offline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.proto.swanlab.run.v1.run_pb2 import FinishRecord, ResumeMode, RunState, StartRecord
from swanlab.proto.swanlab.save.v1.save_pb2 import SavePolicy, SaveRecord, SaveType
from swanlab.sdk.internal.core_python.pkg import builder

_STATES = {
    "success": RunState.RUN_STATE_FINISHED,
    "interrupted": RunState.RUN_STATE_ABORTED,
    "killed": RunState.RUN_STATE_ABORTED,
}
"""Any other status is a crash."""


def start_record(*, tags: Iterable[str], **facts: str) -> Any:
    """What the run is: id, project, name, workspace, group, description."""
    start = StartRecord(
        **facts, tags=list(tags), resume=ResumeMode.RESUME_MODE_NEVER, started_at=Timestamp(), public=False
    )
    start.started_at.GetCurrentTime()
    return builder.build_start_record(start)


def finish_record(status: str) -> Any:
    """The run is over. SwanLab shows the error's text as the last line of a run that did not succeed."""
    state = _STATES.get(status, RunState.RUN_STATE_CRASHED)
    error = None if status == "success" else f"the run {'failed' if status == 'failed' else f'was {status}'}"
    finish = FinishRecord(state=state, error=error, finished_at=Timestamp())
    finish.finished_at.GetCurrentTime()
    return builder.build_finish_record(finish)


def config_record(path: Path) -> Any:
    """The run's config is that file, as it is when it is sent."""
    save = SaveRecord(name="config", source_path=str(path.absolute()), type=SaveType.SAVE_TYPE_CONFIG)
    return Record(num=builder.CONFIG_RECORD_NUM, save=save, timestamp=moment(0.0))


def file_record(name: str, path: Path) -> Any:
    """A file of the run, under a name."""
    place = str(path.absolute())
    return Record(save=SaveRecord(name=name, source_path=place, target_path=place, policy=SavePolicy.SAVE_POLICY_NOW))


def moment(at: float) -> Any:
    """A time in s since the epoch, in whole microseconds: a float64 has no more."""
    seconds, micros = divmod(round(at * 1e6), 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)
