import asyncio
import os

# The tests send nothing but to themselves, and are of the CPU; services they start inherit it.
os.environ.update(dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost,::1"))
os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_configure() -> None:
    """Keep asyncio from making a loop of its own when pytest-asyncio asks which one is in use.

    Nobody would close that loop, and the warning about it fails whichever test is running.
    """
    asyncio.set_event_loop(None)
