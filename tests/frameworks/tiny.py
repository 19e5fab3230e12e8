"""A GPT-2 of width 16 with random weights, and a text that it can learn: counting round a small clock."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

HOURS = 12
LENGTH = 8


def data(count: int = 32) -> list[dict[str, torch.Tensor]]:
    """`count` rows of LENGTH hours, int64, each the row's start and the hours after it."""
    rows = [torch.arange(start, start + LENGTH) % HOURS for start in range(count)]
    return [{"input_ids": row, "labels": row} for row in rows]


def trainer(out: Path, callbacks: list[TrainerCallback], kind: type[Trainer] = Trainer, **arguments: Any) -> Trainer:
    """On the CPU, silent, seeded: 8 steps of 4 rows unless told otherwise."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=HOURS, n_positions=LENGTH, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    given = {
        "output_dir": str(out), "max_steps": 8, "per_device_train_batch_size": 4, "logging_steps": 1,
        "eval_strategy": "no", "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True,
        "learning_rate": 1e-2, "seed": 0, "dataloader_pin_memory": False,
    }  # fmt: skip
    return kind(
        model=GPT2LMHeadModel(config),
        args=TrainingArguments(**{**given, **arguments}),
        train_dataset=data(),
        eval_dataset=data(8),
        callbacks=callbacks,
    )
