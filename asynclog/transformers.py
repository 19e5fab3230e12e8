"""A Hugging Face Trainer's metrics in a run of asynclog.

    Trainer(model, args, callbacks=[AsyncLogCallback(project="x")], ...)

Names and steps are those of transformers' own TensorBoardCallback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback
from transformers.integrations import rewrite_logs

from asynclog import hosted
from asynclog.hosted import guarded
from asynclog.notices import Notices
from asynclog.process import RUNS

if TYPE_CHECKING:
    from asynclog.run import Run

_KEY = "asynclog"
"""Under this key a checkpoint's trainer_state.json says which run the training belongs to."""


class AsyncLogCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not followed by mypy
    """Logs what a Trainer logs: `train/loss`, `eval/accuracy`, ..., at the step `state.global_step`.

    Args:
        project: As for `asynclog.init`.
        name: The run's name; by default `TrainingArguments.run_name` where given, else made of the time.
        run: A run of yours, to log to; it is not finished.
        all_ranks: Every rank logs what its Trainer logs, and the daemon reduces it; else only the world's first
            does, whose values the Trainer has gathered already. By default true for a `run` of several ranks.
        **options: `config`, `dir`, `backends`, `endpoint`, `mode` and `strict`, as for `asynclog.init`.

    Raises:
        TypeError, ValueError, ConfigError: As `asynclog.init` would; nothing is raised later on.
    """

    def __init__(
        self,
        project: str = "huggingface",
        name: str | None = None,
        *,
        run: Run | None = None,
        all_ranks: bool | None = None,
        **options: Any,
    ) -> None:
        hosted.check_options(project, name, options)
        self.notices = Notices()
        self._project = project
        self._name = name
        self._options = options
        self._given = run
        self._all_ranks = run is not None and run.world_size > 1 if all_ranks is None else all_ranks
        self._run = run
        self._trainings = 0  # that began in runs of ours
        self._training = False

    @property
    def run(self) -> Run | None:
        """The run that is logged to; None before the first training, and on ranks that do not log."""
        return self._run

    @guarded
    def on_train_begin(self, args: Any, state: Any, *_: Any, model: Any = None, **__: Any) -> None:
        """Begin or go on with a run, and record the arguments and the model's configuration."""
        if not (self._all_ranks or state.is_world_process_zero):
            return
        failed, self._training = self._training, True
        if self._given is None:
            self._turn_to_training(args, state, failed=failed)
        if self._run is not None:
            state.stateful_callbacks[_KEY] = {"project": self._run.project, "name": self._run.name}
            if state.is_world_process_zero:
                self._run.params(_description(args, model))

    @guarded
    def on_log(self, args: Any, state: Any, *_: Any, logs: Any = None, **__: Any) -> None:
        """Log `logs`."""
        if not logs or not (self._all_ranks or state.is_world_process_zero):
            return
        if self._run is None and not self._training:  # an evaluation by itself
            self._open(args, self._title(args))
        if self._run is not None:
            hosted.log(self._run, rewrite_logs(logs), state.global_step)

    @guarded
    def on_evaluate(self, *_: Any, **__: Any) -> None:
        """Outside a training, see to it that the files have what was logged."""
        if self._run is not None and not self._training:
            self._run.flush()

    @guarded
    def on_predict(self, args: Any, state: Any, *_: Any, metrics: Any = None, **__: Any) -> None:
        """Log `metrics`, which the Trainer does not log by itself."""
        self.on_log(args, state, logs=metrics)
        self.on_evaluate()

    @guarded
    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Wait until everything is in the files. The run stays open for evaluations; it ends with the process."""
        self._training = False
        if self._run is not None and self._given is None:
            RUNS.expect(self._run, "success")
        self.on_evaluate()

    def _turn_to_training(self, args: Any, state: Any, *, failed: bool) -> None:
        """The run for the training that begins: a checkpoint's own goes on, any other training has a new one.

        The Trainer tells nobody of an exception: `failed` if the training before has not ended.
        """
        old = self._run
        saved = (state.stateful_callbacks or {}).get(_KEY, {})
        name = saved["name"] if saved.get("project") == self._project else None
        if old is not None and name is None and failed and args.auto_find_batch_size:
            name = old.name  # the same training once more, in smaller batches
        if old is not None:
            is_first = name is None and not self._trainings
            if not failed and (is_first or (name == old.name and state.global_step >= old.stats.step)):
                name = old.name
            else:  # steps that come again replace the old ones only in a new life of the run
                self._run = None
                old.finish("failed" if failed else "success")
        self._trainings += 1
        if self._run is None:
            trial = hosted.as_name(state.trial_name) if state.is_hyper_param_search else None
            self._open(args, name or trial or self._title(args), goes_on=name is not None)
        if self._run is not None:
            RUNS.expect(self._run, "failed")

    def _title(self, args: Any) -> str | None:
        name = self._name or hosted.as_name(None if args.run_name == args.output_dir else args.run_name)
        return name if name is None or self._trainings < 2 else f"{name}-{self._trainings}"

    def _open(self, args: Any, name: str | None, *, goes_on: bool = False) -> None:
        place = (args.process_index, args.world_size) if self._all_ranks else (0, 1)
        self._run = hosted.begin(self.notices, self._project, name, *place, goes_on=goes_on, **self._options)


def _description(args: Any, model: Any) -> dict[str, Any]:
    config: Any = getattr(model, "config", None)
    found = {"args": args.to_dict(), "model_config": config.to_dict() if hasattr(config, "to_dict") else config}
    adapters = getattr(model, "peft_config", None)
    return found if adapters is None else {**found, "peft_config": adapters}
