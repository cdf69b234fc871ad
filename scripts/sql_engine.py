#!/usr/bin/env python3
"""The engine that Treasure Data runs queries on: starts it, and asks it. Standard library only.

usage: sql_engine.py VERSION [HEAP]    starts it, and prints its address as the first line. It ends when this script ends. If it cannot
                                       run here, exits with 77 and prints the reason

It comes from ../shared/trino next to the repository, which needs Java 17 and, the first time, Maven. ENGINE_PORT_435 (or
ENGINE_PORT_350) names the port of one that runs already.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

CATALOG = "td"
SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "trino"


class LeftOut(Exception):
    """The engine cannot run here, with the reason."""


class SqlError(Exception):
    """The engine refused a statement."""


def leave_out(reason):
    """Says so, also to scripts/check, and ends this script."""
    print(f"!!! LEFT OUT: {reason}")
    if path := os.environ.get("LEFT_OUT"):
        Path(path).write_text(f"{reason}\n", encoding="utf-8")
    raise SystemExit(77)


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


class Engine:
    def __init__(self, address):
        self.address, self.url = address, f"http://{address}"
        with urllib.request.urlopen(f"{self.url}/v1/info", timeout=30) as answer:
            self.version = int(json.load(answer)["nodeVersion"]["version"])
        self.prefix = "X-Presto-" if self.version <= 350 else "X-Trino-"

    def execute(self, schema, statement, is_stopped=lambda: False):
        """The columns, as [[name, type], ...], and the rows."""
        headers = {"User": "td", "Catalog": CATALOG, "Schema": schema, "Time-Zone": "UTC"}
        headers = {self.prefix + name: value.encode().decode("latin-1") for name, value in headers.items()}
        request = urllib.request.Request(f"{self.url}/v1/statement", statement.encode(), headers)
        columns, rows = [], []
        while True:
            with urllib.request.urlopen(request, timeout=120) as answer:
                part = json.load(answer)
            if "error" in part:
                raise SqlError(f"{part['error']['errorName']}: {part['error']['message']}")
            columns = part.get("columns", columns)
            rows += part.get("data", [])
            if "nextUri" not in part:
                return [[column["name"], column["type"]] for column in columns], [tuple(row) for row in rows]
            request = part["nextUri"]
            if is_stopped():
                urllib.request.urlopen(urllib.request.Request(request, method="DELETE"), timeout=30).close()
                raise SqlError("it was stopped")

    def rows(self, statement, schema="information_schema"):
        return self.execute(schema, statement)[1]

    def tables(self, schema):
        query = f"SELECT table_name FROM information_schema.tables WHERE table_schema = {literal(schema)} ORDER BY 1"
        return [name for (name,) in self.rows(query)]


def statements(text):
    """The parts between semicolons outside of quotes and comments, without parts that have only comments."""
    parts, part, is_empty, at = [], "", True, 0
    while at < len(text):
        if text.startswith("--", at):
            end = text.find("\n", at) + 1 or len(text)
        elif text.startswith("/*", at):
            end = text.find("*/", at) + 2
            end = end if end > 1 else len(text)
        elif text[at] in "'\"":
            end = text.find(text[at], at + 1) + 1 or len(text)
            is_empty = False
        elif text[at] == ";":
            if not is_empty:
                parts.append(part)
            part, is_empty, at = "", True, at + 1
            continue
        else:
            end = at + 1
            is_empty = is_empty and text[at].isspace()
        part, at = part + text[at:end], end
    return parts if is_empty else [*parts, part]


def free_port():
    """A port that the system gives to no other program while the engine starts, which takes seconds."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


def cache(version):
    return Path(os.environ.get("TRINO_HOME") or Path.home() / ".cache" / "trino" / str(version))


def fetched(version):
    """Raises LeftOut if the engine is not there and cannot be brought."""
    if f"ENGINE_PORT_{version}" in os.environ:
        return
    if not (SHARED / "start").exists():
        raise LeftOut("../shared/trino is not there, which brings the SQL engine")
    if not shutil.which("java"):
        raise LeftOut("no java, which the SQL engine needs")
    if not (cache(version) / "plugin" / "memory").exists():
        if not shutil.which("mvn"):
            raise LeftOut("no mvn, which brings the SQL engine")
        if subprocess.run([SHARED / "fetch", str(version)], stdout=sys.stderr).returncode != 0:
            raise LeftOut("the SQL engine could not be fetched")


@contextmanager
def engine(version, heap="448m"):
    """An engine of this version, which ends with the block unless it ran before. Several can run at once."""
    if port := os.environ.get(f"ENGINE_PORT_{version}"):
        yield Engine(f"127.0.0.1:{port}")
        return
    fetched(version)
    with tempfile.TemporaryDirectory(prefix="sql_engine.", ignore_cleanup_errors=True) as home:
        for part in ("lib", "plugin"):
            (Path(home) / part).symlink_to(cache(version) / part)
        port, environment = free_port(), os.environ | {"HEAP": heap, "TRINO_HOME": home}
        command = [SHARED / "start", str(version), str(port)]
        # The script ends before the engine, which stays in its group.
        start = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True)
        try:
            if start.wait() != 0:
                raise RuntimeError(f"the SQL engine {version} did not start")
            yield Engine(f"127.0.0.1:{port}")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(start.pid, signal.SIGKILL)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with engine(*sys.argv[1:]) as on:
            print(on.address, flush=True)
            signal.pause()
    except LeftOut as reason:
        print(reason, file=sys.stderr)
        sys.exit(77)


if __name__ == "__main__":
    main()
