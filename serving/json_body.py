"""JSON bodies: parsed where they hold few enough parts.

Each `[]` of three bytes becomes a list of 56: a body of 64 MiB could take 2 GB and the event loop
for seconds, long before anybody counts its images.
"""

from typing import Any

import orjson

from serving.errors import InvalidRequest, TooLarge

# Of a body whose images are texts; a request of the most images has some hundreds of parts.
MOST_PARTS = 100_000
# Each part follows one of these; base64 has none of them.
BEFORE_PARTS = (b"[", b"{", b",")


def read_json(body: bytes, expected: str, most_parts: int | None = None) -> Any:
    """The values in a body; `expected` tells in an error what should have been sent.

    Raises:
        InvalidRequest: no JSON. TooLarge: more than `most_parts` lists, objects and values.
    """
    if most_parts is not None and sum(map(body.count, BEFORE_PARTS)) > most_parts:
        raise TooLarge(
            f"the JSON holds more than {most_parts} values: send each image as one base64 text"
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is no valid JSON: {expected}") from error
