"""Operator learning and physics in PyTorch, organised around function-space problems."""

__version__ = "0.1.0"
