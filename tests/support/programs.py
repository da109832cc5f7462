"""Small training programs, as users have them: each reads its arguments and writes rows."""

from __future__ import annotations

import sys
from pathlib import Path

# A falling loss; with a file for its state beside {out}, it goes on where it was.
TRAIN = """
import json, os, sys, time
lr, seed, out = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
steps, wait = int(os.environ.get("STEPS", "5")), float(os.environ.get("WAIT", "0"))
state = out + ".state"
done = int(open(state).read()) if os.path.exists(state) else 0
for step in range(done + 1, steps + 1):
    time.sleep(wait)
    loss = (lr - 1) ** 2 + 1 / step + (seed * 7919 % 13) / 1000
    row = {"step": step, "val_loss": loss, "resumed_at": done}
    with open(out, "a") as file:
        file.write(json.dumps(row) + "\\n")
    with open(state + ".part", "w") as file:
        file.write(str(step))
    os.replace(state + ".part", state)
    print(f"step {step}: val loss {loss:.4f}")
"""

# Ignores SIGTERM, and has a child in a session of its own that ignores it too.
STUBBORN = """
import json, os, signal, subprocess, sys, time
out = sys.argv[3]
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
with open(out, "a") as file:
    file.write(json.dumps({"step": 1, "val_loss": 1.0}) + "\\n")
with open(out + ".pids", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""

# Leaves a daemon behind, forked twice and in a session of its own: with the program's streams open,
# or closed.
DAEMON = """
import json, os, sys, time
out = sys.argv[3]
for streams in ("open", "closed"):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if streams == "closed":
                os.closerange(0, 256)
            time.sleep(600)
        os._exit(0)
time.sleep(0.2)
with open(out, "a") as file:
    file.write(json.dumps({"step": 1, "val_loss": float(sys.argv[1])}) + "\\n")
time.sleep(float(os.environ.get("WAIT", "0")))
"""


def written(folder: Path, text: str = TRAIN) -> str:
    """The program as a file in this folder; the command that runs it."""
    path = folder / "train.py"
    path.write_text(text)
    return f"{sys.executable} {path} {{lr}} {{seed}} {{out}}"
