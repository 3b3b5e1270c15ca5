"""The networks of the paper's tables."""

from lamb_keras.models.bert import Scanned, answering, bert, preset, pretraining
from lamb_keras.models.davidnet import davidnet
from lamb_keras.models.lenet import lenet
from lamb_keras.models.resnet import resnet50

__all__ = ["Scanned", "answering", "bert", "davidnet", "lenet", "preset"]
__all__ += ["pretraining", "resnet50"]
