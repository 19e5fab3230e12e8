"""What `asynclog status` shows: the daemon's state as plain values. Its numbers are those of measures.py, by name."""

from __future__ import annotations

import os
import time
from typing import Any

from asynclog_proto import __version__
from asynclogd.hub import Hub
from asynclogd.ingest import Ingest
from asynclogd.ownprocess import OwnProcess
from asynclogd.pipeline import Pipeline
from asynclogd.redact import Redactor
from asynclogd.sink import Sink
from asynclogd.stages import summaries


def report(hub: Hub, ingest: Ingest, own: OwnProcess, started: float) -> dict[str, Any]:
    """Daemon, runs and, for runs that have closed since it started, their last ledger."""
    return {
        "daemon": {
            "version": __version__,
            "pid": os.getpid(),
            "endpoint": ingest.addresses[0],
            "endpoints": ingest.addresses,
            "uptime_s": round(time.monotonic() - started, 1),
            "rss_bytes": own.rss(),
            "cpu_s": round(own.cpu_seconds(), 2),
            "runs": len(hub.runs),
            "untaken_runs": len(hub.untaken),
            "messages": ingest.counts.messages,
            "received_bytes": ingest.counts.bytes,
            "malformed": ingest.counts.malformed,
            "unroutable": ingest.counts.unroutable,
            **ingest.connections(),
            "stages": summaries(ingest.stages),
        },
        "busy": hub.busy,
        "runs": [run_report(run) for run in hub.runs.values()],
        "closed_runs": hub.closed_runs,
        "untaken_runs": Redactor().tree(hub.untaken),
    }


def run_report(run: Pipeline) -> dict[str, Any]:
    """One run: its ranks, backends and ledger. `lag_steps` is how far a rank is behind the one that leads."""
    sessions = sorted(run.sessions.values(), key=lambda session: (session.stream.rank, session.stream.id))
    redact = Redactor()
    leading = max((session.step for session in sessions), default=-1)
    return {
        "project": run.project,
        "name": run.name,
        "dir": str(run.run_dir),
        "complete": run.complete,
        "journal_bytes": run.outcome.journal_bytes,
        "journal_error": redact.text(run.journal_error),
        "late": run.outcome.late,
        "closed_early": run.outcome.closed_early,
        "facts_dropped": run.outcome.facts_dropped,
        "items": run.last_offset,
        "stages": summaries(run.stages),
        "ranks": [
            {
                "rank": session.stream.rank,
                "world_size": session.stream.world_size,
                "incarnation": session.stream.incarnation,
                "state": "refused" if session.refused else session.stream.state,
                "reason": redact.text(session.refused or ""),
                "host": session.stream.host,
                "pid": session.stream.pid,
                "step": session.step,
                "lag_steps": leading - session.step,
                "records": session.stream.next_seq,
                "uncommitted_records": session.flow.next_seq - session.flow.committed,
                "lost_records": session.stream.lost,
                "log_p50_s": session.log_times[0],
                "log_p99_s": session.log_times[1],
                "silent_s": round(time.monotonic() - session.heard, 1) if session.heard else None,
            }
            for session in sessions
        ],
        "backends": redact.tree({name: _backend_report(run, sink) for name, sink in run.fanout.sinks.items()}),
        "backend_stages": {name: summaries(sink.stages) for name, sink in run.fanout.sinks.items()},
        "looks": run.fanout.looks(),
        "media": redact.tree(_media_report(run)),
        "ledger": run.ledger(),
    }


def _backend_report(run: Pipeline, sink: Sink) -> dict[str, Any]:
    """One backend: whether it works, what it is at, how far it is behind. Counts are of this daemon's life."""
    status = sink.status()
    return {
        "state": status.state,
        "error": status.error,
        "trouble": status.trouble,
        "retries": status.retries,
        "retry_in_s": round(status.retry_in, 1),
        "failures": status.failures,
        "dead_letters": status.dead_letters,
        "unsupported_items": status.unsupported,
        "started_over": status.started_over,
        "call": status.call,
        "call_s": round(status.call_seconds, 1),
        "timeouts": status.timeouts,
        "narrowed_to_bytes": status.window,
        "behind_items": run.last_offset - status.cursor.offset,
        "held_values": status.held,
    }


def _media_report(run: Pipeline) -> dict[str, Any]:
    """Images and the like: what waits to be encoded, bytes of what is stored, and why others were refused."""
    standing = run.media.standing
    return {
        "taken": standing.taken,
        "pending": standing.pending,
        "pending_bytes": standing.body_bytes,
        "stored_bytes": run.media.store.bytes_used,
        "error": run.media.lane.error,
        "dropped": dict(standing.dropped),
        "refused": dict(standing.reasons),
    }
