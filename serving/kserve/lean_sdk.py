"""`import kserve` without what no server needs: imported before anything else imports kserve.

Without this more than a second of every start and 50 MB of memory go to data frames, which no door
here takes, to a client for those who create InferenceServices, and to the command line of httpx.
"""

import sys
from types import ModuleType

# What the SDK asks of each while it is imported: a name to annotate with or to pass on.
STAND_INS = {"pandas": "DataFrame", "kserve.api.kserve_client": "KServeClient"}
# httpx does without where it is not installed whole.
COMMAND_LINE = "httpx._main"

if "kserve" not in sys.modules:
    put_in = [module for module in STAND_INS if module not in sys.modules]
    for module in put_in:
        stand_in = sys.modules[module] = ModuleType(module)
        setattr(stand_in, STAND_INS[module], type(STAND_INS[module], (), {}))
    if COMMAND_LINE not in sys.modules:
        put_in.append(COMMAND_LINE)
        sys.modules[COMMAND_LINE] = None  # type: ignore[assignment]  # which says: there is none
    try:
        import kserve  # noqa: F401
    finally:
        # Whoever imports them after this gets the real ones.
        for module in put_in:
            del sys.modules[module]
