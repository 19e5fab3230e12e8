"""Two ranks train under torchrun, for the tests, and log tensors that refuse to be read on the training thread.

    train_guarded.py OUT

OUT/rank-N.json has what that rank lost at each batch, its progress bar's last values, and what was read in spite of it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.client.lightning.modules import AsyncLogger, loader, torch, trainer
from tests.client.lightning.test_nosync import guarded_module, reads

torch.set_num_threads(1)


class Losing(type(guarded_module())):  # type: ignore[misc]  # made at run time
    zeroed = True

    def training_step(self, batch: Any, index: int) -> Any:
        with torch.no_grad():  # computed anew: what is logged is zeroed after it, which the loss shares its memory with
            self.losses.append(float(self.layer(batch[0]).square().mean()))
        return super().training_step(batch, index)


def main() -> None:
    out = Path(sys.argv[1])
    torch.manual_seed(1)
    model = Losing()
    model.losses = []
    made = trainer(
        AsyncLogger(out), strategy="ddp", devices=2, log_every_n_steps=1, enable_progress_bar=True,
        enable_checkpointing=False,
    )  # fmt: skip
    made.fit(model, loader(), loader(16))
    found = {"losses": model.losses, "bar": made.progress_bar_metrics, "reads": reads}
    (out / f"rank-{made.global_rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
