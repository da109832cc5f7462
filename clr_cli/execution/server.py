"""Make this process, the server of forked workers, end with ``clr``, even amid its imports.

Only the server imports this, first of all. The system clears it in the workers.
"""

from __future__ import annotations

import ctypes
import signal

PR_SET_PDEATHSIG = 1  # prctl(2)

ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
