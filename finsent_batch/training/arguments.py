"""What the Trainer is told, whichever family it trains."""

import importlib.util
import os

from transformers import TrainingArguments

from ..train_config import TrainConfig


def one_gpu(arguments: TrainingArguments) -> None:
    """Keep a trainer from spreading one process's batches over all GPUs that it sees."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1


def reports(config: TrainConfig) -> list[str]:
    """Return where transformers is to log: TensorBoard, if wanted and here, in `logs`."""
    if config.report_to == "none" or importlib.util.find_spec("tensorboard") is None:
        return []
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(config.output / "logs")
    return [config.report_to]
