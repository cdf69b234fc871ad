"""Builds what is measured and what measures, and writes the inputs; all of it below target/bench."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

from measure import Failed

TOP = Path(__file__).resolve().parent.parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
REQUESTS = "requests==2.32.5"


def call(*argv, **options):
    return subprocess.run([str(word) for word in argv], check=True, **options)


def output(*argv):
    return call(*argv, stdout=subprocess.PIPE, text=True).stdout.strip()


def loudly(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Built:
    """Paths of everything, and what is missing."""

    def __init__(self):
        os.chdir(TOP)
        metadata = json.loads(output("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))
        self.target = Path(metadata["target_directory"])
        self.folder = self.target / "bench"
        self.run_folder = self.folder / "run"
        self.input_folder = self.folder / "inputs"
        for folder in (self.run_folder, self.input_folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.missing = {}
        # Apart from each other: what only tests need would change features of the program's dependencies.
        call("cargo", "build", "--release", "--locked", "--bin", "td-braze-cohort")
        call("cargo", "build", "--release", "--locked", "--examples")
        self.ours = self.target / "release" / "td-braze-cohort"
        examples = self.target / "release" / "examples"
        self.sink, self.floor, self.input_writer = (examples / f"bench-{name}" for name in ("sink", "floor", "input"))
        self.go = self.optional("go", self.build_go)
        self.reqwest = self.optional("reqwest", self.build_reqwest)
        self.python = self.optional("requests", self.build_python)

    def optional(self, name, build):
        try:
            return build()
        except (Failed, OSError, subprocess.CalledProcessError) as error:
            self.missing[name] = str(error)
            loudly(f"WITHOUT {name.upper()}: the rows that need it are left out. {error}")
            return None

    def build_go(self):
        if not shutil.which("go"):
            raise Failed("There is no go in PATH.")
        binary = self.folder / "peer-go"
        call("go", "build", "-o", binary, ".", cwd=PEERS / "go")
        return binary

    def build_reqwest(self):
        target = self.folder / "reqwest"
        call("cargo", "build", "--release", "--locked", "--quiet", "--target-dir", target, cwd=PEERS / "reqwest")
        return target / "release" / "peer-reqwest"

    def build_python(self):
        venv = self.folder / "venv"
        python = venv / "bin" / "python"
        if not python.exists():
            call(sys.executable, "-m", "venv", venv)
        call(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", REQUESTS)
        return python

    def input(self, shape, kind, rows):
        """The path of an input, and the identifiers that must arrive; written once."""
        path = self.input_folder / f"{shape}-{rows}.{kind}"
        told = path.with_suffix(path.suffix + ".json")
        # A writer that was changed may write something else.
        if not told.exists() or told.stat().st_mtime < self.input_writer.stat().st_mtime:
            told.write_text(output(self.input_writer, shape, kind.replace(".", "-"), rows, path), encoding="utf-8")
        return path, json.loads(told.read_text(encoding="utf-8"))

    def machine(self):
        """What the figures depend on."""
        cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        memory = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
        told = {
            "processor": f"{cpu[1].strip() if cpu else platform.machine()}, {os.cpu_count()} cores",
            "memory": f"{int(memory[1]) / 1024 / 1024:.0f} GiB",
            "kernel": f"{platform.system()} {platform.release()}",
            "program": output(self.ours, "--version"),
            "rustc": output("rustc", "--version"),
        }
        if self.go:
            told["go"] = output("go", "version").removeprefix("go version ")
        if self.python:
            version = "import platform, requests; print(platform.python_version(), 'requests', requests.__version__)"
            told["python"] = output(self.python, "-c", version)
        if self.reqwest:
            lock = (PEERS / "reqwest" / "Cargo.lock").read_text(encoding="utf-8")
            told["reqwest"] = re.search(r'name = "reqwest"\nversion = "([^"]+)"', lock)[1]
        return told
