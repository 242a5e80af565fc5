"""Flax models that the training script and the benchmarks use; they know nothing of gradtx."""

from .mlp import MLP
from .resnet import ResNet, resnet18, resnet34, resnet_tiny

__all__ = ["MLP", "ResNet", "resnet18", "resnet34", "resnet_tiny"]
