"""How far a slice's features lie from those of the training slices: a cosine distance.

A network that meets what it was never trained on still gives a class; its pooled features tell.
Nearest neighbours on normalised features: Sun et al. 2022, arXiv:2204.06507.
"""

import torch
from torch import Tensor
from torch.nn import functional

# Of one neighbour a single odd training slice would be enough.
NEIGHBOURS = 5


def bank_of(features: Tensor) -> Tensor:
    """Features [K,D] of training slices as they lie beside the weights: of length 1, fp16."""
    return functional.normalize(features.float(), dim=1).half()


def distances(features: Tensor, bank: Tensor) -> Tensor:
    """1 less the mean cosine similarity of each row [N,D] to its nearest in the bank [K,D]: [N].

    In fp32, whatever the precision that the features come in; the bank's rows have length 1.
    """
    return _distance(_similarities(features, bank))


def leave_one_out(bank: Tensor, groups: Tensor | None = None) -> Tensor:
    """The distance [K] of each row of the bank [K,D] to the others.

    Rows of one of `groups` [K] are not asked for one another, as those of one patient or one fold
    should not be; without it each row leaves out itself alone. A row that is left with none to ask
    has a distance that is no number.
    """
    similarities = _similarities(bank, bank)
    names = torch.arange(len(bank)) if groups is None else groups
    own = names[:, None] == names[None]
    return _distance(similarities.masked_fill(own.to(bank.device), -torch.inf))


def _similarities(features: Tensor, bank: Tensor) -> Tensor:
    return functional.linear(functional.normalize(features.float(), dim=1), bank.float())


def _distance(similarities: Tensor) -> Tensor:
    nearest = similarities.topk(min(NEIGHBOURS, similarities.shape[1])).values
    counted = nearest.isfinite()
    return 1 - torch.where(counted, nearest, 0).sum(1) / counted.sum(1)
