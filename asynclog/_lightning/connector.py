"""Lightning's logger connector without its device syncs: tensors reach AsyncLogger as tensors.

`trainer._logger_connector` gets a subclass of its class. Its state stays, and so does every public behaviour; only
two things change, which are where Lightning waits for the device: `log_metrics`, which turned each tensor into a number
for all loggers, and `metrics`, which did so for the progress bar. No hook of Lightning's is public here, so the
classes are looked at first; where they are not as they are known, they stay as they are, and a warning says so. What
the loggers get then says nothing of its reduction: rank 0 alone logs it, as with Lightning's own loggers.

Why not a callback of Lightning's entry point group: it would be loaded into every training on the machine.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from asynclog._lightning import lanes, numbers
from asynclog._lightning.call import Call
from asynclog._lightning.frameworks import PACKAGES, blank, package_of
from asynclog._lightning.progressbar import Readings
from asynclog._lightning.readback import check_names, read_back
from asynclog._lightning.reductions import Rows, track
from asynclog.notices import AsynclogWarning

_MODULE = "trainer.connectors.logger_connector"
_READINGS, _REDUCED, _PLACE = "_asynclog_readings", "_asynclog_reduced", "_asynclog_place"
_UNKNOWN = "_asynclog_unknown"
_OURS = frozenset({_READINGS, _REDUCED, _PLACE})


class _Place(NamedTuple):
    """What is several properties deep in a Trainer, looked up once: `results` are those of training."""

    alone: bool
    results: Any
    rows: Rows


def install(trainer: Any) -> bool:
    """Make the trainer's connector an asynchronous one. False, with a warning, where Lightning has changed."""
    connector = trainer._logger_connector  # noqa: SLF001 - see the module's docstring
    kind = type(connector)
    if hasattr(kind, "asynclog_base"):
        _track(trainer)
        return True
    if unknown(trainer):
        return False
    reason = _what_is_new(kind, trainer)
    if reason:
        setattr(connector, _UNKNOWN, reason)
        if trainer.global_rank == 0:
            _tell(reason, trainer.world_size)
        return False
    connector.__class__ = _asynchronous(kind)  # type: ignore[arg-type]  # a class is hashable
    _track(trainer)
    return True


def unknown(trainer: Any) -> str:
    """Why `install` has left the trainer's connector as it was, "" when it has not."""
    return str(getattr(trainer._logger_connector, _UNKNOWN, ""))  # noqa: SLF001 - as above


def _tell(reason: str, world_size: int) -> None:
    text = f"{reason}: metrics go the way of Lightning's own loggers, which waits for the device"
    if world_size > 1:
        text += ", and only rank 0's are logged; sync_dist=True reduces them"
    warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=3)


def _track(trainer: Any) -> None:
    results = trainer.fit_loop.epoch_loop._results  # noqa: SLF001 - as above
    place = _Place(trainer.world_size == 1, results, Rows(trainer.global_rank))
    setattr(trainer._logger_connector, _PLACE, place)  # noqa: SLF001 - as above
    if not place.alone:
        loops = (trainer.fit_loop.epoch_loop, trainer.fit_loop.epoch_loop.val_loop)
        for loop in (*loops, trainer.validate_loop, trainer.test_loop):
            track(loop._results)  # noqa: SLF001 - as above


def _what_is_new(kind: type, trainer: Any) -> str:
    """Why the connector is not the one that is known, "" when it is."""
    package = package_of(trainer._logger_connector)  # noqa: SLF001 - as above
    module = sys.modules.get(f"{package}.{_MODULE}.logger_connector")
    results = sys.modules.get(f"{package}.{_MODULE}.result")
    if package not in PACKAGES or module is None or kind is not getattr(module, "_LoggerConnector", None):
        return (
            f"the Trainer's logger connector is a {kind.__module__}.{kind.__qualname__}, which asynclog does not know"
        )
    collection = getattr(results, "_ResultCollection", object)
    wanted = [
        (kind, "log_metrics", ["self", "metrics", "step"]),
        (collection, "_get_cache", ["result_metric", "on_step"]),
        (collection, "_forked_name", ["self", "result_metric", "on_step"]),
        (collection, "metrics", ["self", "on_step"]),
        (collection, "valid_items", ["self"]),
        (collection, "update_metrics", ["self", "key", "value", "batch_size"]),
    ]
    for owner, name, parameters in wanted:
        method = getattr(owner, name, None)
        if method is None or list(inspect.signature(method).parameters) != parameters:
            return f"this Lightning has another {owner.__name__}.{name} than asynclog knows"
    if not hasattr(module, "convert_tensors_to_scalars"):
        return "this Lightning turns tensors into numbers elsewhere than asynclog knows"
    if not isinstance(inspect.getattr_static(kind, "metrics", None), property):
        return "this Lightning has another _LoggerConnector.metrics than asynclog knows"
    return ""


@cache
def _asynchronous(base: Any) -> Any:  # noqa: C901 - the sum of a class's small methods
    to_floats = sys.modules[base.__module__].convert_tensors_to_scalars

    class AsyncConnector(base):  # type: ignore[misc]  # Lightning's class, known when it is loaded
        """See the module's docstring."""

        asynclog_base = base

        def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
            trainer = self.trainer
            loggers = trainer.loggers
            if not loggers or not metrics:
                return
            self._logged_metrics.update(metrics)
            read = _read(metrics)
            if read is None:
                to_floats(metrics)  # raises what Lightning raises
                return
            on_step = self._first_loop_iter is not None
            step = _take_step(trainer, read, step)
            floats: dict[str, Any] | None = None
            for logger in loggers:
                log_calls = getattr(logger, "log_calls", None)
                if log_calls is not None:
                    log_calls(_calls(self, read, step, on_step=on_step))
                elif trainer.global_rank == 0 or not package_of(logger):  # Lightning's own loggers are rank 0's alone
                    floats = to_floats(read) if floats is None else floats
                    logger.log_metrics(metrics=floats, step=step)
                logger.save()

        @property
        def metrics(self) -> dict[str, dict[str, Any]]:
            """Lightning's, with tensors for the progress bar too."""
            results = self.trainer._results  # noqa: SLF001 - as above
            assert results is not None
            return _metrics(results, on_step=self._first_loop_iter is not None)

        @property
        def progress_bar_metrics(self) -> dict[str, float]:
            """Floats, of the last copies that have arrived."""
            if self.trainer._results:  # noqa: SLF001 - as above
                self._progress_bar_metrics.update(self.metrics["pbar"])
            readings: Readings = self.__dict__.setdefault(_READINGS, Readings())
            return readings.read(self._progress_bar_metrics)

        def log_eval_end_metrics(self, metrics: dict[str, Any]) -> None:
            super().log_eval_end_metrics(metrics)
            if self.trainer.sanity_checking:
                return
            if _REDUCED not in self.__dict__ and self.trainer.validating:
                check_names(self.trainer, metrics, super().callback_metrics)
            reduced = self.__dict__.setdefault(_REDUCED, {})
            if self.trainer.world_size > 1:
                reduced.update(read_back(self.trainer, metrics))

        @property
        def callback_metrics(self) -> dict[str, Any]:
            metrics: dict[str, Any] = super().callback_metrics
            metrics.update(self.__dict__.get(_REDUCED, {}))
            return metrics

        def __reduce__(self) -> tuple[Any, ...]:
            # Pickled and copied as Lightning's own, which a class made here could not be.
            state = {name: value for name, value in self.__dict__.items() if name not in _OURS}
            return blank, (base,), state

        def reset_metrics(self) -> None:
            super().reset_metrics()
            self.__dict__.pop(_READINGS, None)
            self.__dict__.pop(_REDUCED, None)

    return AsyncConnector


def _read(metrics: dict[str, Any]) -> dict[str, Any] | None:
    """A copy of the metrics, read as far as no device is waited for; None when one has several elements."""
    read = numbers.read(metrics)
    return read if numbers.are_single(read) else None


def _take_step(trainer: Any, metrics: dict[str, Any], step: int | None) -> int:
    """The step as Lightning's own log_metrics makes it; like that, it leaves the metrics with an epoch."""
    if step is not None:
        return step
    given = metrics.pop("step", None)
    if given is not None:
        return int(given)
    metrics.setdefault("epoch", trainer.current_epoch)
    return trainer.fit_loop.epoch_loop._batches_that_stepped  # type: ignore[no-any-return]  # noqa: SLF001 - as in Lightning's


def _calls(connector: Any, metrics: dict[str, Any], step: int, *, on_step: bool) -> Iterable[Call]:
    """One call's metrics by their reductions: with one rank there is none, and one call stays one row."""
    trainer = connector.trainer
    place: _Place = getattr(connector, _PLACE)
    lane = lanes.of_call(trainer, on_step=on_step)
    if place.alone:
        return (Call(metrics, step, lane=lane),)
    results = place.results if lane is lanes.STEP else trainer._results  # noqa: SLF001 - as above
    return place.rows.of(results, metrics, step, lane, on_step=on_step)


def _metrics(results: Any, *, on_step: bool) -> dict[str, dict[str, Any]]:
    """_ResultCollection.metrics, without turning what is for the progress bar into numbers."""
    metrics: dict[str, dict[str, Any]] = {"callback": {}, "log": {}, "pbar": {}}
    tensor = sys.modules["torch"].Tensor
    for _, metric in results.valid_items():
        value = results._get_cache(metric, on_step)  # noqa: SLF001 - as above
        if not isinstance(value, tensor):
            continue
        name, forked = results._forked_name(metric, on_step)  # noqa: SLF001 - as above
        meta = metric.meta
        if meta.logger:
            metrics["log"][forked] = value
        if results.training or (meta.on_epoch and not on_step):
            metrics["callback"][name] = value
            metrics["callback"][forked] = value
        if meta.prog_bar:
            metrics["pbar"][forked] = value
    return metrics
