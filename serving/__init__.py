"""What both services share: settings, card, tensors, batcher, errors, doors, metrics."""
