"""End this process, the server of forked workers, when ``clr`` ends, even during its imports.

The server alone imports this, before all else. The kernel clears the setting in the workers.
"""

from __future__ import annotations

import signal

from clr_cli.execution.supervisor import PR_SET_PDEATHSIG, prctl

prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
