"""Two ranks train, for the tests, and log tensors that refuse to be read on the training thread.

    train_guarded.py OUT STRATEGY PACKAGE

OUT/rank-N.json has what that rank lost at each batch, its progress bar's last values, and what was read in spite of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.client.lightning.modules import AsyncLogger, loader, torch, trainer
from tests.client.lightning.test_nosync import Guarded, guarded_module, reads

torch.set_num_threads(1)
OUT, STRATEGY, PACKAGE = sys.argv[1:]


class Losing(type(guarded_module(PACKAGE))):  # type: ignore[misc]  # made at run time
    zeroed = True

    def training_step(self, batch: Any, index: int) -> Any:
        with torch.no_grad():  # computed anew: what is logged is zeroed after it, which the loss shares its memory with
            self.losses.append(float(self.layer(batch[0]).square().mean()))
        return super().training_step(batch, index)

    def on_fit_end(self) -> None:
        found = {"losses": self.losses, "bar": self.trainer.progress_bar_metrics, "reads": reads}
        Path(OUT, f"rank-{self.global_rank}.json").write_text(json.dumps(found))
        Guarded.over = True


def main() -> None:
    torch.manual_seed(1)
    model = Losing()
    model.losses = []
    made = trainer(
        AsyncLogger(OUT), PACKAGE, strategy=STRATEGY, devices=2, log_every_n_steps=1, enable_progress_bar=True,
        enable_checkpointing=False,
    )  # fmt: skip
    made.fit(model, loader(), loader(16))


if __name__ == "__main__":
    main()
