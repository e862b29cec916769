"""`import kserve` without pandas: imported for this alone, before anything else imports kserve.

Without this a second of every start and 40 MB of memory go to a library that the SDK needs for data
frames, which no door here takes.
"""

import sys
from types import ModuleType

# What the SDK asks of it while it is imported: a name for annotations and `isinstance`.
stand_in = ModuleType("pandas")
stand_in.DataFrame = type("DataFrame", (), {})  # type: ignore[attr-defined]

if "pandas" not in sys.modules:
    sys.modules["pandas"] = stand_in
    try:
        import kserve  # noqa: F401
    finally:
        # Whoever else asks for pandas gets the real one.
        del sys.modules["pandas"]
