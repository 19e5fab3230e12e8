"""Hugging Face's Trainer on real digits: one more callback, and its metrics are in a run.

    python examples/transformers_trainer.py
    torchrun --nproc-per-node 2 examples/transformers_trainer.py    # the first rank logs what the Trainer gathered

A digit is read as a sentence of 64 words, each a shade of grey, by a BERT of width 32 that begins with random
weights. See ./asynclog/digits-bert/<run name>/ after it.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from asynclog.transformers import AsyncLogCallback


def sentences() -> list[dict[str, Any]]:
    """1,797 digits: 64 shades from 0 to 16, int64, and the digit as the label."""
    bunch = load_digits()
    shades = torch.tensor(bunch.data, dtype=torch.int64)
    return [{"input_ids": row, "labels": int(label)} for row, label in zip(shades, bunch.target, strict=True)]


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="updates of 32 digits each (default 200)")
    options = parser.parse_args()
    set_seed(0)
    config = BertConfig(
        vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, num_labels=10, initializer_range=0.1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    digits = sentences()
    trainer = Trainer(
        model=BertForSequenceClassification(config),
        args=TrainingArguments(
            output_dir="asynclog/digits-bert-model", max_steps=options.steps, per_device_train_batch_size=32,
            learning_rate=2e-3, logging_steps=5, eval_strategy="steps", eval_steps=50, save_strategy="no",
            report_to="none", use_cpu=True, dataloader_pin_memory=False,
        ),
        train_dataset=digits[:1437],
        eval_dataset=digits[1437:],
        compute_metrics=accuracy,
        callbacks=[AsyncLogCallback(project="digits-bert")],
    )  # fmt: skip
    trainer.train()  # train/loss, train/learning_rate, eval/accuracy, ...: in the files when it returns
    trainer.accelerator.wait_for_everyone()  # ranks leave together; gloo may hang otherwise
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
