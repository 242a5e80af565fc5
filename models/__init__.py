"""Flax models for images and text, by themselves: they know nothing of the rest of gradtx."""

from .mlp import MLP
from .resnet import ResNet, resnet18, resnet34, resnet_tiny
from .rnn import LSTMLanguageModel, sequence_loss

__all__ = [
    "IMAGE_MODELS",
    "MLP",
    "LSTMLanguageModel",
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet_tiny",
    "sequence_loss",
]

# What makes a model of images, by the names of `--model`.
IMAGE_MODELS = {"resnet34": resnet34, "resnet18": resnet18, "resnet_tiny": resnet_tiny, "mlp": MLP}
