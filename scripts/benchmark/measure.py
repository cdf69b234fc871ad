"""Runs one client against one sink, and measures the cost."""

import ctypes
import json
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36
# Far beyond what any run takes.
HANGS_SECONDS = 900
# A process begins with the peak memory of the one that started it, and this one is larger than what it measures. So a
# shell starts the client and goes; the client becomes our child, and its figures come from wait4.
LAUNCHER = 'read -r _; "$@" >/dev/null & echo $!'


class Failed(Exception):
    """A run with a result that cannot be used."""


@dataclass
class Cost:
    """Of one process: seconds, and MiB."""

    cpu: float
    wall: float
    peak: float


def adopt_orphans():
    """Once, before the first run."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failed(f"prctl: {os.strerror(ctypes.get_errno())} (Linux is needed)")


def plain_environment():
    """Our environment, without what would send requests elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def run(argv, extra, folder):
    """Runs a client to its end."""
    argv = [str(word) for word in argv]
    with open(folder / "stderr.txt", "w+b") as errors:
        launcher = subprocess.Popen(
            ["sh", "-c", LAUNCHER, "sh", *argv], cwd=folder, env=plain_environment() | extra,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )
        start = time.monotonic()
        launcher.stdin.write(b"\n")
        launcher.stdin.flush()
        pid = int(launcher.stdout.readline())
        launcher.stdin.close()
        launcher.stdout.close()
        launcher.wait()
        return finish(pid, start, argv, errors)


def run_directly(argv, extra, folder):
    """The same without the shell, to measure the time; the peak is too high."""
    argv = [str(word) for word in argv]
    with open(folder / "stderr.txt", "w+b") as errors, open(os.devnull, "wb") as nowhere:
        actions = [(os.POSIX_SPAWN_DUP2, nowhere.fileno(), 1), (os.POSIX_SPAWN_DUP2, errors.fileno(), 2)]
        start = time.monotonic()
        pid = os.posix_spawn(argv[0], argv, plain_environment() | extra, file_actions=actions)
        return finish(pid, start, argv, errors)


def finish(pid, start, argv, errors):
    alarm = threading.Timer(HANGS_SECONDS, os.kill, (pid, signal.SIGKILL))
    alarm.start()
    try:
        _, status, usage = os.wait4(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        alarm.cancel()
    wall = time.monotonic() - start
    if status != 0:
        errors.seek(0)
        text = errors.read()[-1000:].decode("utf-8", "replace")
        raise Failed(f"{argv[0]} ended with {os.waitstatus_to_exitcode(status)}: {text}")
    return Cost(cpu=usage.ru_utime + usage.ru_stime, wall=wall, peak=usage.ru_maxrss / 1024)


class Sink:
    """A sink that runs as long as the with block does."""

    def __init__(self, binary, options, ca_file=None):
        tls = ["--tls", ca_file] if ca_file else []
        self.ca_file = ca_file
        self.argv = [str(word) for word in [binary, *options, *tls]]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.endpoint = self.process.stdout.readline().strip()
        if not self.endpoint:
            raise Failed("the sink does not start")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def seen(self):
        """What it received since the last question."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())
