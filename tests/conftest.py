import asyncio


def pytest_configure() -> None:
    """Keep asyncio from making a loop of its own when pytest-asyncio asks which one is in use.

    Nobody would close that loop, and the warning about it fails whichever test is running.
    """
    asyncio.set_event_loop(None)
