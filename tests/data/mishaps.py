"""Mishaps on demand, for the toys among the programs: what happens in which try of which task.

The folder in the environment variable TOY_FOLDER says what goes wrong.  ``mishaps.json`` there maps the
name of a task, the numbers of its atoms joined by dashes, to what happens in its first, second, ... try;
a last entry ``always`` repeats the one before it.  ``tries/<name>`` grows by one byte with each try.
``seconds`` there, if it exists, is how long a task takes.
"""

import json
import os
import signal
import time
from pathlib import Path

FOLDER = Path(os.environ["TOY_FOLDER"])
LONG = 3600.0  # seconds: nobody waits for that


def count_try(name):
    """Count this try of a task; returns what is to go wrong with it, if anything."""
    (FOLDER / "tries").mkdir(exist_ok=True)
    with open(FOLDER / "tries" / name, "ab") as file:
        file.write(b".")
        tries = file.tell()
    planned = FOLDER / "mishaps.json"
    words = json.loads(planned.read_text()).get(name, []) if planned.exists() else []
    if words and words[-1] == "always":
        words = words[:-1] + words[-2:-1] * tries
    return words[tries - 1] if tries <= len(words) else None


def befall(happens):
    """What happens to the process as a whole; returns where it survives."""
    if happens == "exit":
        os._exit(3)
    if happens == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if happens == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if happens == "hang":
        print("the toy sleeps", flush=True)
        time.sleep(LONG)
    if happens in ("hang with children", "leave children", "exit with children") and os.fork() == 0:
        os.setsid()
        time.sleep(LONG)
        os._exit(0)
    if happens == "hang with children":
        time.sleep(LONG)
    if happens == "exit with children":
        os._exit(3)
    if happens == "talk":
        for _ in range(64):
            os.write(1, b"x" * 65536)


def take_time():
    """Take as long as a task is to take."""
    pace = FOLDER / "seconds"
    if pace.exists():
        time.sleep(float(pace.read_text()))
