#!/usr/bin/env python3
"""Stands in for Treasure Data's API, as far as Digdag's td> operators and td-braze-cohort call it.

usage: td_stand_in.py ENGINE DIRECTORY API_KEY

Jobs run on the SQL engine at the address ENGINE (sql_engine.py). Only this program may change its tables: each DIRECTORY/NAME.sql makes
the database NAME again. Listens on a free port of 127.0.0.1 and prints `127.0.0.1:PORT` as its first line.

For tests, without a key:
GET /control/jobs           all jobs, with the text of their queries
POST /control/sql/DATABASE  executes statements, answers the rows of the last one
POST /control/faults        a list of faults, which replaces the list before. Each has
  at        matches "METHOD /path" from its beginning, a regular expression; `agent` does that to the User-Agent
  skip      this many such requests succeed first; then `times` of them fail: 1, or 0 for all. With `each`, of each path
  do        refuse      is not done, and answered with `status` (503) and `headers`
            drop        is not done, and the connection is closed
            late        the connection is closed, and it is done `seconds` later
            lose        is done, and the connection is closed; `seconds` later
            running     a job is said to be running still
            half        the answer breaks off in its middle
            stale       a list is as it was `seconds` ago
            slow        a job begins `seconds` later
            fail        a job fails without having done anything; `fail_after`: having done all
"""

import gzip
import json
import re
import socket
import struct
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sql_engine import Engine, SqlError, quoted, statements

WHEN = "2026-01-01 00:00:00 UTC"
API_TYPES = {"varchar": "string", "bigint": "long", "integer": "int", "real": "float"}
# An answer about a job comes when the job has ended, but not later than this, in seconds.
PATIENCE = 0.5
# What is left of ended clients is done by then, in seconds.
SETTLES = 120


def cell(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    data = (value if isinstance(value, str) else json.dumps(value)).encode()
    return b"\xdb" + struct.pack(">I", len(data)) + data


def msgpack(row):
    return b"\xdc" + struct.pack(">H", len(row)) + b"".join(map(cell, row))


def unbounded(sql_type):
    """Treasure Data has no length of text in its types."""
    return re.sub(r"varchar\(\d+\)", "varchar", sql_type)


class Refused(Exception):
    """The API refuses a request, with this status."""


class Databases:
    """The engine's schemas. A table's ID stays the same when it is renamed."""

    def __init__(self, engine, directory):
        self.engine, self.lock = engine, threading.RLock()
        self.ids, self.last_id, self.past = {}, 0, []
        # Made by the API; their columns are those of the first rows that are inserted.
        self.without_columns = set()
        for path in sorted(Path(directory).glob("*.sql")):
            engine.rows(f"CREATE SCHEMA IF NOT EXISTS {quoted(path.stem)}")
            for table in engine.tables(path.stem):
                engine.rows(f"DROP TABLE {quoted(path.stem)}.{quoted(table)}")
            self.ids[path.stem] = {}
            self.execute(path.stem, path.read_text(encoding="utf-8"))

    def execute(self, database, text, is_stopped=lambda: False):
        """The columns and rows of the last statement. Each takes effect on its own."""
        columns, rows = [], []
        for statement in statements(text):
            try:
                self.give_columns(database, statement)
                columns, rows = self.engine.execute(database, statement, is_stopped)
            finally:
                self.look(database)
        return columns, rows

    def give_columns(self, database, statement):
        for table in [table for known, table in self.without_columns if known == database]:
            _, insert, query = statement.partition(f"INSERT INTO {quoted(table)}\n")
            if insert:
                columns, _ = self.engine.execute(database, f"SELECT * FROM (\n{query}\n) LIMIT 0")
                columns = ", ".join(f"{quoted(name)} {unbounded(of)}" for name, of in columns)
                with self.lock:
                    self.without_columns.discard((database, table))
                    self.engine.execute(database, f"DROP TABLE {quoted(table)}")
                    self.engine.execute(database, f"CREATE TABLE {quoted(table)} ({columns})")

    def look(self, database):
        """Records which tables were made and deleted."""
        with self.lock:
            known, there = self.ids[database], self.engine.tables(database)
            for name in known.keys() - set(there):
                del known[name]
            for name in there:
                if name not in known:
                    self.last_id += 1
                    known[name] = self.last_id
            self.remember()

    def remember(self):
        self.past = self.past[-1000:] + [(time.monotonic(), {database: dict(ids) for database, ids in self.ids.items()})]

    def list(self, database, age=0):
        with self.lock:
            seen = [ids for when, ids in self.past if when <= time.monotonic() - age] if age else []
            ids = seen[-1] if seen else self.past[0][1] if age else self.ids
            return sorted(ids[database].items(), key=lambda table: table[1])

    def columns(self, database, table):
        if table not in self.ids[database]:
            raise Refused(404)
        if (database, table) in self.without_columns:
            return []
        columns, _ = self.engine.execute(database, f"SELECT * FROM {quoted(table)} LIMIT 0")
        return [[name, API_TYPES.get(unbounded(of), unbounded(of))] for name, of in columns if name != "time"]

    def create(self, database, table):
        with self.lock:
            self.must_be_free(database, table)
            self.engine.execute(database, f'CREATE TABLE {quoted(table)} ("time" BIGINT)')
            self.without_columns.add((database, table))
            self.look(database)

    def delete(self, database, table):
        with self.lock:
            if table not in self.ids[database]:
                raise Refused(404)
            self.engine.execute(database, f"DROP TABLE {quoted(table)}")
            self.without_columns.discard((database, table))
            self.look(database)

    def rename(self, database, old, new, may_overwrite):
        with self.lock:
            known = self.ids[database]
            if old not in known:
                raise Refused(404)
            if new in known and may_overwrite:
                self.delete(database, new)
            self.must_be_free(database, new)
            self.engine.execute(database, f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}")
            known[new] = known.pop(old)
            if (database, old) in self.without_columns:
                self.without_columns.symmetric_difference_update({(database, old), (database, new)})
            self.remember()

    def must_be_free(self, database, table):
        if not re.fullmatch("[a-z0-9_]{3,128}", table):
            raise Refused(400)
        if table in self.ids[database]:
            raise Refused(409)


class Job:
    def __init__(self, number, engine, database, parameters, databases, fault):
        self.id, self.engine, self.database, self.databases = str(number), engine, database, databases
        self.query, self.domain_key, self.fault = parameters["query"], parameters.get("domain_key"), fault
        self.columns, self.rows, self.error, self.status = [], [], "", "running"
        self.ended, self.killed = threading.Event(), threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        action = self.fault and self.fault.do
        try:
            if action in ("slow", "fail") and self.killed.wait(self.fault.seconds):
                raise SqlError("it was killed")
            if action == "fail":
                raise SqlError("it was to fail")
            self.columns, self.rows = self.databases.execute(self.database, self.query, self.killed.is_set)
            if action == "fail_after":
                raise SqlError("it was to fail, having done all")
            self.status = "success"
        except Exception as error:
            self.error, self.status = f"Query failed: {error}", "killed" if self.killed.is_set() else "error"
        self.ended.set()

    def summary(self):
        return {
            **{"job_id": self.id, "status": self.status, "result_size": 1, "duration": 1},
            **dict.fromkeys(["created_at", "updated_at", "start_at", "end_at"], WHEN),
        }

    def shown(self):
        return self.summary() | {
            "type": self.engine,
            "database": self.database,
            "query": self.query,
            "hive_result_schema": json.dumps([[name, unbounded(of)] for name, of in self.columns]) if self.columns else None,
            "num_records": len(self.rows),
            "debug": {"cmdout": self.error, "stderr": ""},
        }

    def result(self, form):
        if form == "json":
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows).encode()
        if form == "msgpack.gz":
            return gzip.compress(b"".join(map(msgpack, self.rows)))
        raise Refused(404)


@dataclass
class Fault:
    at: str
    do: str
    agent: str = ""
    skip: int = 0
    times: int = 1
    each: bool = False
    seconds: float = 0
    status: int = 503
    headers: dict = field(default_factory=dict)
    seen: Counter = field(default_factory=Counter)

    def strikes(self, request, agent):
        if not (re.match(self.at, request) and re.match(self.agent, agent)):
            return False
        path = request if self.each else ""
        self.seen[path] += 1
        return self.skip < self.seen[path] and (self.times == 0 or self.seen[path] <= self.skip + self.times)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    databases = None
    api_key = None
    jobs, keys, faults, timers = [], {}, [], []
    lock = threading.Lock()

    def do_GET(self):
        self.serve("GET")

    def do_POST(self):
        self.serve("POST")

    def serve(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.split("/")[1:]]
        if parts[0] == "control":
            self.send(200, self.control(method, parts[1:], body))
            return
        agent = self.headers.get("User-Agent") or ""
        with self.lock:
            fault = next((fault for fault in self.faults if fault.strikes(f"{method} {address.path}", agent)), None)
        do = fault and fault.do
        act = lambda: self.answer(method, parts[1:], self.parameters(address, body), fault)
        if do == "late":
            self.timers.append(threading.Timer(fault.seconds, act))
            self.timers[-1].start()
        if do in ("late", "drop"):
            self.close_connection = True
        elif do == "refuse":
            self.send(fault.status, {"error": "out of order", "severity": "error"}, fault.headers)
        elif do == "lose":
            act()
            time.sleep(fault.seconds)
            self.close_connection = True
        else:
            self.send(*act(), is_half=do == "half")

    def control(self, method, parts, body):
        if parts == ["faults"]:
            with self.lock:
                type(self).faults = [Fault(**fault) for fault in json.loads(body)]
        elif parts == ["jobs"]:
            return [job.shown() | {"domain_key": job.domain_key} for job in self.jobs]
        elif parts[0] == "sql":
            return self.databases.execute(parts[1], body)[1]
        return {}

    def parameters(self, address, body):
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            return json.loads(body)
        return {name: values[-1] for name, values in parse_qs(address.query + "&" + body).items()}

    def answer(self, method, parts, parameters, fault):
        """Handles a request: returns the status and the body."""
        # The client of 2019 that Digdag still uses sends the key alone.
        if (self.headers.get("Authorization") or "").removeprefix("TD1 ") != self.api_key:
            return 401, {"error": "authentication failed", "severity": "error"}
        try:
            match [method, *parts]:
                case ["POST", "job", "issue", engine, database]:
                    return self.issue(engine, database, parameters, fault)
                case ["GET", "job", "status_by_domain_key", key]:
                    return 200, self.job(self.keys.get(key)).summary()
                case ["GET", "job", "status" | "show" as what, number]:
                    return 200, self.progress(what, self.job(number), fault and fault.do == "running")
                case ["GET", "job", "result", number]:
                    return 200, self.job(number).result(parameters.get("format"))
                case ["POST", "job", "kill", number]:
                    self.job(number).killed.set()
                    return 200, {"job_id": number, "former_status": self.job(number).status}
                case ["GET" | "POST", "table", what, database, *names] if database in self.databases.ids:
                    return 200, self.table(what, database, names, parameters, fault)
        except Refused as refused:
            return refused.args[0], {"error": "refused", "severity": "error"}
        return 404, {"error": "not found", "severity": "error"}

    def issue(self, engine, database, parameters, fault):
        key = parameters.get("domain_key")
        if database not in self.databases.ids:
            raise Refused(404)
        with self.lock:
            if first := self.keys.get(key):
                return 409, {"error": "domain_key has already been taken", "severity": "error", "conflicts_with": first}
            job = Job(len(self.jobs) + 1, engine, database, parameters, self.databases, fault)
            self.jobs.append(job)
            if key:
                self.keys[key] = job.id
        return 200, {"job_id": job.id}

    def job(self, number):
        if not (number and number.isdigit() and 0 < int(number) <= len(self.jobs)):
            raise Refused(404)
        return self.jobs[int(number) - 1]

    def progress(self, what, job, is_running):
        if not is_running:
            job.ended.wait(PATIENCE)
        shown = job.shown() if what == "show" else job.summary()
        return shown | ({"status": "running"} if is_running else {})

    def table(self, what, database, names, parameters, fault):
        said = {"database": database, "table": names[-1] if names else None, "type": "log"}
        match [what, *names]:
            case ["list"]:
                tables = self.databases.list(database, fault.seconds if fault and fault.do == "stale" else 0)
                return {"database": database, "tables": [self.listed(name, number) for name, number in tables]}
            case ["show", table]:
                schema = json.dumps(self.databases.columns(database, table))
                return self.listed(table, self.databases.ids[database].get(table)) | {"schema": schema}
            case ["create", table, "log"]:
                said["table"] = table
                self.databases.create(database, table)
            case ["delete", table]:
                self.databases.delete(database, table)
            case ["rename", old, new]:
                self.databases.rename(database, old, new, parameters.get("overwrite") == "true")
            case _:
                raise Refused(404)
        return said

    def listed(self, name, number):
        times = {"created_at": WHEN, "updated_at": WHEN}
        return {"id": number, "name": name, "type": "log", "schema": "[]", "count": 0, "estimated_storage_size": 0} | times

    def send(self, status, body, headers={}, is_half=False):
        is_json = not isinstance(body, bytes)
        body = json.dumps(body).encode() if is_json else body
        self.send_response(status)
        of = "application/json" if is_json else "application/octet-stream"
        for name, value in {"Content-Type": of, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_half else body)
        self.close_connection = self.close_connection or is_half

    def log_message(self, form, *values):
        print(time.strftime("%H:%M:%S"), form % values, file=sys.stderr)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections, self.changed = 0, threading.Condition()

    def process_request(self, *arguments):
        with self.changed:
            self.connections += 1
        super().process_request(*arguments)

    def process_request_thread(self, *arguments):
        try:
            super().process_request_thread(*arguments)
        finally:
            with self.changed:
                self.connections -= 1
                self.changed.notify_all()

    def settle(self):
        """Waits until all connections of clients that have ended are closed here too, those that wait to be accepted included."""
        with socket.create_connection(self.server_address, timeout=SETTLES) as last:
            last.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while last.recv(4096):
                pass
        with self.changed:
            if not self.changed.wait_for(lambda: not self.connections, SETTLES):
                raise TimeoutError(f"{self.connections} connections are open after {SETTLES} s")


def main():
    address, directory, api_key = sys.argv[1:]
    Handler.databases = Databases(Engine(address), directory)
    Handler.api_key = api_key
    server = Server(("127.0.0.1", 0), Handler)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
