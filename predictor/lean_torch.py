"""`import torch` without its meta kernels: imported before anything else imports torch.

They tell the shapes of outputs without computing any, for compilers alone, which are not used here.
Without this a sixth of the import goes to them, 0.4 s of every start (torch 2.15).
"""

import sys
from types import ModuleType

META_KERNELS = "torch._meta_registrations"

if "torch" not in sys.modules:
    sys.modules[META_KERNELS] = ModuleType(META_KERNELS)
    try:
        import torch

        torch.__dict__.pop("_meta_registrations", None)
    finally:
        # Whoever imports them after this gets the real ones.
        del sys.modules[META_KERNELS]
