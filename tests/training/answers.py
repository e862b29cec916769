"""Outcomes made by hand: what a network might have said, row by row."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.outcomes import AS_IS, Outcomes, joined

# (label, answer, margin): the answer's logit is `margin`, all others are 0.
Row = tuple[int, int, float]


def outcomes(rows: Mapping[str, Sequence[Row]], folds: int = 1) -> Outcomes:
    """For each variant its rows; row i is picture i, in fold i modulo `folds`."""
    parts = []
    for variant, given in rows.items():
        logits = np.zeros((len(given), 4), np.float32)
        for index, (_, answer, margin) in enumerate(given):
            logits[index, answer] = margin
        parts.append(
            Outcomes(
                picture=np.array([f"picture{index}" for index in range(len(given))]),
                label=np.array([label for label, _, _ in given]),
                fold=np.arange(len(given)) % folds,
                variant=np.array([variant] * len(given)),
                logits=logits,
                distance=np.full(len(given), np.nan, np.float32),
                reasons=np.array([""] * len(given)),
            )
        )
    return joined(parts)


def drawn(variants: Sequence[str] = (AS_IS,), count: int = 60, folds: int = 3) -> Outcomes:
    """Mostly right answers, more often the surer they are; later variants are a little worse."""
    random = np.random.default_rng(0)
    rows: dict[str, list[Row]] = {}
    for step, variant in enumerate(variants):
        rows[variant] = []
        for index in range(count):
            label, margin = index % 4, float(random.uniform(0.5, 5))
            right = random.random() < 1 - 0.5 / margin - 0.01 * step
            rows[variant].append((label, label if right else (label + 1) % 4, margin))
    return outcomes(rows, folds)
