"""A Neptune server of one's own: what a run's database holds is sent, in this thread, and removed when it was taken.

The SDK does this in a process that it spawns, of three threads; here are its client and its requests, so that it is
known what was taken, and a refusal is told where it can be acted on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

from asynclogd.backends._neptunedb import RunDb
from asynclogd.backends.base import PermanentError, ThrottledError

REQUEST_BYTES = 15 << 20
"""Of a request: a little less than parameters.py, MAX_REQUEST_SIZE_BYTES."""

REQUESTS_PER_CHECK = 1000
PROCESSING = 60.0
"""Seconds that the server has to process what it was sent."""

CHECKS = 0.2
FILES_AT_A_TIME = 50
CHUNK = 16 << 20
"""Bytes, as the SDK's FileUploaderThread has it."""

_THROTTLED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_REFUSED = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND})
_UNAUTHORIZED = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED})

_KNOWN = ("RUN_DUPLICATE", "SERIES_POINT_DUPLICATE", "SERIES_STEP_NON_INCREASING")
"""What it says of what it has already: after a crash it is sent again. Steps rise by our own doing."""


_WHAT_TO_SET = "set NEPTUNE_API_TOKEN where the daemon is started, or the option credentials_file"


class Server:
    """The server that an API token names. `welcome`: it has taken something of this project's run before."""

    def __init__(self, project: str, token: str, *, welcome: bool) -> None:
        """Connect. Raises PermanentError for a token that is none, or that the server refuses."""
        from neptune_scale.net.api_client import ApiClient

        self._project = project
        self._welcome = welcome
        with self._translated():
            self._client = ApiClient(api_token=token)

    def send(self, run: RunDb) -> None:
        """Send and remove a run's operations, then its files. Raises PermanentError for what the server refuses."""
        repository = run.repository
        while operations := repository.get_operations(up_to_bytes=REQUEST_BYTES):
            ids = [self._submit(run, some) for some in _requests(operations)]
            self._await(ids)
            repository.delete_operations(up_to_seq_id=operations[-1].sequence_id)
            self._welcome = True
        while files := repository.get_file_upload_requests(FILES_AT_A_TIME):
            self._upload(files)
            repository.delete_file_upload_requests([file.sequence_id for file in files])

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """A token that is none as PermanentError, and one that is refused, but for a run that it has served before:
        that is for someone to mend, and no record is at fault.
        """
        from neptune_api import errors

        try:
            yield
        except (errors.InvalidApiTokenException, errors.UnableToDeserializeApiKeyError):
            raise PermanentError(f"what was given as Neptune's API token is none: {_WHAT_TO_SET}") from None
        except errors.ApiKeyRejectedError:
            refusal = PermissionError if self._welcome else PermanentError
            raise refusal(f"Neptune's server refuses the API token: {_WHAT_TO_SET}") from None

    def _submit(self, run: RunDb, operations: Sequence[Any]) -> str:
        from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import Run, UpdateRunSnapshots
        from neptune_api.proto.neptune_pb.ingest.v1.pub.client_pb2 import SubmitResponse
        from neptune_api.proto.neptune_pb.ingest.v1.pub.ingest_pb2 import RunOperation

        request = RunOperation(project=self._project, run_id=run.run_id)
        if isinstance(operations[0], Run):
            request.create.CopyFrom(operations[0])
        else:
            request.update_batch.CopyFrom(UpdateRunSnapshots(snapshots=operations))
        with self._translated():
            answer = self._client.submit(operation=request, family=run.run_id)
        if answer.status_code in _UNAUTHORIZED and not self._welcome:  # later it is for someone to mend
            raise PermanentError("Neptune's server lets nothing be written to this project with this API token")
        _check(answer)
        ids = SubmitResponse.FromString(answer.content).request_ids
        if not ids:
            raise OSError("Neptune's server took a request and gave it no id")
        return str(ids[-1])

    def _await(self, ids: Sequence[str]) -> None:
        """Wait until all is processed. Raises TimeoutError, PermanentError."""
        from neptune_api.proto.google_rpc.code_pb2 import Code
        from neptune_api.proto.neptune_pb.ingest.v1.pub.client_pb2 import BulkRequestStatus

        end = time.monotonic() + PROCESSING
        for at in range(0, len(ids), REQUESTS_PER_CHECK):
            while True:
                with self._translated():
                    answer = self._client.check_batch(list(ids[at : at + REQUESTS_PER_CHECK]), self._project)
                _check(answer)
                statuses = BulkRequestStatus.FromString(answer.content).statuses
                counts = [each for one in statuses for each in one.code_by_count]
                if not any(each.code == Code.UNAVAILABLE for each in counts):
                    _look_at([each.detail for each in counts if each.code != Code.OK])
                    break
                if time.monotonic() > end:
                    raise TimeoutError(f"Neptune's server has not processed a request in {PROCESSING:g} s")
                time.sleep(CHECKS)

    def _upload(self, files: Sequence[Any]) -> None:
        from neptune_scale.net.api_client import FileSignRequest

        wanted = [FileSignRequest(path=each.destination, size=each.size_bytes, permission="write") for each in files]
        with self._translated():
            answer = self._client.fetch_file_storage_urls(wanted, self._project)
        _check(answer)
        places = {place.path: place for place in answer.parsed.files}
        for file in files:
            with self._translated():
                asyncio.run(_put(file, places[file.destination], self._client, self._project))


async def _put(file: Any, place: Any, client: Any, project: str) -> None:
    """Upload a file to where its signed URL says."""
    from neptune_api.models import Provider
    from neptune_scale.sync.storage import azure_storage, gcs, s3

    path, mime = file.source_path, file.mime_type
    if place.provider == Provider.AZURE:
        await azure_storage.upload_to_azure(path, mime, place.url, chunk_size=CHUNK)
    elif place.provider == Provider.GCP:
        await gcs.upload_to_gcp(path, mime, place.url, chunk_size=CHUNK)
    elif place.multipart:
        parts = place.multipart
        tags = await s3.upload_to_s3_multipart(path, mime, parts.part_size, list(parts.part_urls))
        _check(client.complete_multipart_upload(parts.upload_id, project, file.destination, tags))
    else:
        await s3.upload_to_s3_single(path, mime, place.url)


def _requests(operations: Sequence[Any]) -> Iterator[list[Any]]:
    """Operations as the server takes them: one that creates a run by itself, others together."""
    from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import Run

    together: list[Any] = []
    for operation in (each.operation for each in operations):
        if isinstance(operation, Run):
            if together:
                yield together
            yield [operation]
            together = []
        else:
            together.append(operation)
    if together:
        yield together


def _look_at(details: Sequence[int]) -> None:
    from neptune_api.proto.neptune_pb.ingest.v1.ingest_pb2 import IngestCode

    names = [IngestCode.Name(detail) for detail in details]
    refused = [name for name in names if name not in _KNOWN]
    if refused:
        raise PermanentError(f"Neptune's server refuses it: {', '.join(sorted(set(refused)))}")


def _check(answer: Any) -> None:
    status = answer.status_code
    if status in _THROTTLED:
        after = str(answer.headers.get("Retry-After", ""))
        raise ThrottledError(f"Neptune's server: {status}", float(after) if after.isdigit() else None)
    if status in _REFUSED:
        raise PermanentError(f"Neptune's server: {status}")
    if status // 100 != 2:
        raise OSError(f"Neptune's server: {status}")
