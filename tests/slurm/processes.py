"""Waiting for things, and finding the processes of a run wherever a launcher has put them."""
import os
import time
from pathlib import Path


def wait_until(condition, seconds, what):
    """The first true value of condition(); an error that says `what` (a text, or a function that makes one) after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.05)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def count_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def rank_pids(config):
    """Processes of spq-train with this configuration, in the order they were started."""
    begin = [os.environ["SPQ_TRAIN"], str(config)]
    return _pids(lambda entry: (entry / "cmdline").read_text().split("\0")[:2] == begin)


def pids_with_variable(name, value, command=""):
    """Processes that were started with this environment variable, and whose name begins with `command`."""
    marker = f"{name}={value}".encode()
    return _pids(lambda entry: (entry / "comm").read_text().startswith(command)
                 and marker in (entry / "environ").read_bytes().split(b"\0"))


def _pids(wanted):
    pids = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted(entry) and is_alive(entry.name):
                pids.append(int(entry.name))
        except (OSError, UnicodeDecodeError):  # ended meanwhile, or not one of ours
            continue
    return sorted(pids)
