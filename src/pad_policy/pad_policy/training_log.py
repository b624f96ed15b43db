"""TensorBoard event files of a training, in the policy folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pad_policy.bundle import HeldOutActionError
from pad_policy.errors import ConfigError

FOLDER = "tensorboard"
_RATES = ("learning_rate/adamw", "learning_rate/muon")


class TrainingLog:
    """Writes scalars; a training that goes on hides what an interrupted one had written beyond its checkpoint."""

    def __init__(self, policy_folder: Path, update: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "TensorBoard files need the package tensorboardX; install it (pip install tensorboardX) or "
                "train with tensorboard=False (--no-tensorboard)"
            ) from error
        folder = policy_folder / FOLDER
        if update == 0 and folder.exists():
            shutil.rmtree(folder)  # of an earlier policy
        self._writer = SummaryWriter(logdir=str(folder), purge_step=update + 1 if update else None)

    def update(self, update: int, loss: float, rates: Sequence[float], gradient_norm: float) -> None:
        """Note one update: its loss, each optimiser's learning rate, the gradient's norm before it is clipped."""
        self._writer.add_scalar("loss", loss, update)
        for name, rate in zip(_RATES, rates, strict=False):
            self._writer.add_scalar(name, rate, update)
        self._writer.add_scalar("gradient_norm", gradient_norm, update)

    def held_out(self, update: int, error: HeldOutActionError | None) -> None:
        """Note the error of the averaged weights on held-out episodes, which is not success."""
        if error is None:
            return
        for name, value in error.values().items():
            self._writer.add_scalar(f"held_out_action_error_not_success/{name}", value, update)

    def close(self) -> None:
        """Write out what is waiting."""
        self._writer.close()
