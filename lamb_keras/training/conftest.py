import pytest

from lamb_keras.experiments.bert import BertExperiment

SMALL = {
    "table": 4,
    "scale": "laptop",
    "dataset": "encyclopedia",
    "articles": 60,
    "question_articles": 12,
    "dev_articles": 6,
    "validation_fraction": 0.1,
    "vocab_size": 400,
    "sequence_lengths": [32, 64],
    "layers": 1,
    "width": 16,
    "heads": 2,
    "dropout": 0.0,
    "solvers": ["lamb"],
    "learning_rates": [0.01],
    "batch_size": [512],
    "warmup_fraction": 0.1,
    "exclude_from_weight_decay": ["bias$", "gamma$", "beta$"],
    "global_clipnorm": 1.0,
    "batch_divisor": 64,  # 8 sequences a step
    "steps_divisor": 50_000,  # 20 steps
    "micro_batch_size": 8,
    "looks": 5,
    "finetuning_learning_rate": 0.001,
    "finetuning_batch_size": 8,
    "finetuning_epochs": 1,
    "document_stride": 16,
    "max_question_length": 20,
}


def changed(**parameters):
    """A small experiment with other parameters."""
    return BertExperiment(**{**SMALL, **parameters})


@pytest.fixture(scope="session")
def texts():
    return changed().open()
