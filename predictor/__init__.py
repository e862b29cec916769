"""The service with the weights: tensors in, logits out. It knows no files and no labels."""
