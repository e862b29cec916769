"""Why an image does not reach its node, from the kubelet's message. Pure functions."""

import re

# A part of the message → what it means.
REASONS = (
    (r"toomanyrequests|429", "the registry takes no more pulls for now"),
    (
        r"401|403|unauthorized|denied|authentication|no basic auth",
        "the registry does not let the node have it, or has no such image",
    ),
    (r"x509|certificate", "the node does not trust the registry's certificate"),
    (r"no match for platform|exec format", "it is not there for the node's processor"),
    (r"not found|manifest unknown|does not exist", "there is no such image or tag"),
    (
        r"no such host|dial tcp|connection refused|timeout|lookup",
        "the node has no such image or tag, and the registry cannot be reached from it",
    ),
)


def unpullable(image: str, message: str) -> tuple[str, str]:
    """Why an image cannot be pulled, and what to do."""
    reason = next((words for pattern, words in REASONS if re.search(pattern, message)), None)
    why = reason or " ".join(message.split())[:200] or "the kubelet does not say why"
    return f"its image {image} cannot be pulled: {why}", _todo(image, reason)


def absent(image: str) -> tuple[str, str]:
    """What it means where an image must not be pulled."""
    return (
        f"its image {image} is not on the node and is not to be pulled (imagePullPolicy Never)",
        _todo(image, None),
    )


def invalid(image: str) -> tuple[str, str]:
    """What it means where the name of an image is none."""
    return (
        f"its image has the name {image!r}, which is none",
        "write it as registry/name:tag under `images:` of the overlay, and apply it again",
    )


def _todo(image: str, reason: str | None) -> str:
    todo = (
        f"check the name and the tag of {image} under `images:` of the overlay and apply it again"
    )
    if reason and "does not let" in reason:
        return f"{todo}; if they are right, give the pod an imagePullSecret"
    if reason and ("takes no more" in reason or "certificate" in reason):
        return "wait or log the node in; or load the image into the node"
    return f"{todo}; without a registry, bring the image to the node (kind load docker-image)"
