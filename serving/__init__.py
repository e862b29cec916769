"""What both services share: settings, card, tensors, batcher, errors, doors, metrics."""

__version__ = "0.1.0"
