"""glibc's malloc, told to keep what it has: the buffers of a step are the same every time.

By default it gives each large buffer back to the kernel and takes it anew, page fault by page fault. On two cores that
was 5 % of a step's wall time and most of its unsteadiness (`docs/log.md`).
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>
NEVER_TRIM_BYTES = 2**31 - 1  # an int is all that mallopt takes


def keep_memory() -> bool:
    """Keep freed memory for the next step; before torch allocates anything. Says whether this libc could be told."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER_TRIM_BYTES))
