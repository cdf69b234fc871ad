#!/usr/bin/env python3
"""Stands in for Treasure Data's API, as far as Digdag's td> and td_ddl> operators and td-braze-cohort call it: in front of the
engine that Treasure Data runs queries on.

usage: td_stand_in.py DIRECTORY API_KEY ENGINE

ENGINE is the address of a running engine (sql_engine.py). Each DIRECTORY/NAME.sql makes the database NAME. Statements of a job take
effect one by one. To td-braze-cohort a job is still running when it asks for the first time, and the first download of a
result as MessagePack breaks off in the middle. Listens on a free port of 127.0.0.1 and prints `127.0.0.1:PORT` as its first line.

POST /faults, a JSON list, says what goes wrong from then on, each once, with the first call of which the path begins so:
  {"path": "/v3/table/rename/", "what": "lost"}    takes effect, and the connection breaks without an answer
  {"path": ..., "what": "late", "after": 2}        breaks at once, and takes effect so many seconds later
  {"path": ..., "what": "dropped"}                 breaks, and never takes effect
  {"path": ..., "what": "status", "status": 503}   is answered so, without effect
GET /calls lists the calls of td-braze-cohort so far, as [method, path].
"""

import gzip
import json
import re
import struct
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from sql_engine import CATALOG, Engine, SqlError, literal, quoted, statements

WHEN = "2026-01-01 00:00:00 UTC"
# What the API calls types.
TYPES = {"bigint": "long", "integer": "int", "double": "double", "real": "float"}


def cell(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    data = (value if isinstance(value, str) else json.dumps(value)).encode("utf-8")
    return b"\xdb" + struct.pack(">I", len(data)) + data


def msgpack(row):
    return b"\xdc" + struct.pack(">H", len(row)) + b"".join(map(cell, row))


class Conflict(Exception):
    """409"""


class Missing(Exception):
    """404"""


class Databases:
    """Schemas of the engine. A table has an ID for as long as it lives, whatever it is called."""

    def __init__(self, directory, engine):
        self.engine = engine
        self.lock = threading.RLock()
        self.ids = {}
        self.last_id = 100
        # Made by table/create: without columns, which the engine does not know. The first rows that are inserted make it.
        self.without_columns = set()
        self.names = [seed.stem for seed in sorted(Path(directory).glob("*.sql"))]
        for name in self.names:
            engine.rows(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")
            for table in engine.tables(name):
                engine.execute(name, f"DROP TABLE {quoted(table)}")
            for statement in statements((Path(directory) / f"{name}.sql").read_text(encoding="utf-8")):
                engine.execute(name, statement)

    def execute(self, database, text):
        """The columns and rows of the last statement."""
        self.known(database)
        columns, rows = [], []
        for statement in statements(text):
            columns, rows = self.engine.execute(database, self.creating(database, statement))
            if not re.match(r"(\s|--[^\n]*\n|/\*.*?\*/)*(SELECT|WITH)\b", statement, re.IGNORECASE | re.DOTALL):
                columns, rows = [], []
        return columns, rows

    def creating(self, database, statement):
        """The statement as it is, or what creates a table out of the first rows that are inserted."""
        with self.lock:
            for known, table in self.without_columns:
                insert = re.compile(rf'INSERT INTO "?{re.escape(table)}"?\s')
                if known == database and insert.search(statement):
                    self.without_columns.remove((known, table))
                    return insert.sub(lambda _: f"CREATE TABLE {quoted(table)} AS ", statement, count=1)
        return statement

    def known(self, database):
        if database not in self.names:
            raise Missing(f"no database {database}")

    def tables(self, database):
        """{name: ID}"""
        self.known(database)
        with self.lock:
            names = self.engine.tables(database) + [table for known, table in self.without_columns if known == database]
            for name in names:
                if (database, name) not in self.ids:
                    self.last_id += 1
                    self.ids[database, name] = self.last_id
            for key in [key for key in self.ids if key[0] == database and key[1] not in names]:
                del self.ids[key]
            return {name: self.ids[database, name] for name in names}

    def schema(self, database, table):
        if table not in self.tables(database):
            raise Missing(table)
        query = (
            f"SELECT column_name, data_type FROM {CATALOG}.information_schema.columns "
            f"WHERE table_schema = {literal(database)} AND table_name = {literal(table)} ORDER BY ordinal_position"
        )
        return [[name, TYPES.get(of, "string" if of.startswith("varchar") else of)] for name, of in self.engine.rows(query)]

    def create(self, database, table):
        with self.lock:
            if table in self.tables(database):
                raise Conflict(table)
            self.without_columns.add((database, table))

    def delete(self, database, table):
        with self.lock:
            if table not in self.tables(database):
                raise Missing(table)
            self.ids.pop((database, table))
            if (database, table) in self.without_columns:
                self.without_columns.remove((database, table))
            else:
                self.engine.execute(database, f"DROP TABLE {quoted(table)}")

    def rename(self, database, old, new, overwrite):
        with self.lock:
            tables = self.tables(database)
            if old not in tables:
                raise Missing(old)
            if new in tables:
                if not overwrite:
                    raise Conflict(new)
                self.delete(database, new)
            self.ids[database, new] = self.ids.pop((database, old))
            if (database, old) in self.without_columns:
                self.without_columns.remove((database, old))
                self.without_columns.add((database, new))
            else:
                self.engine.execute(database, f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}")


class Job:
    def __init__(self, kind, database, query, databases):
        self.engine, self.database, self.query = kind, database, query
        self.columns, self.rows, self.error, self.status = [], [], "", "success"
        try:
            self.columns, self.rows = databases.execute(database, query)
        except (SqlError, Missing) as error:
            self.error, self.status = f"Query failed: {error}", "error"
        self.msgpack = gzip.compress(b"".join(map(msgpack, self.rows)))

    def body(self, form):
        if form == "json":
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows).encode()
        return self.msgpack

    def schema(self):
        return json.dumps(self.columns) if self.columns else None


class Fault:
    """What goes wrong with one call."""

    def __init__(self, said):
        self.path, self.what = said["path"], said["what"]
        self.after, self.status = said.get("after", 0), said.get("status", 503)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    databases = None
    api_key = None
    jobs = []
    by_key = {}
    faults = []
    calls = []
    issuing = threading.RLock()
    # How often td-braze-cohort has asked for what.
    asked = Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/faults":
            self.faults[:] = map(Fault, json.loads(body))
            self.json(200, {})
            return
        self.answer_call(body.decode())

    def do_GET(self):
        if self.path == "/calls":
            self.json(200, self.calls)
            return
        self.answer_call("")

    def answer_call(self, body):
        """Whatever is asked for, unless something is to go wrong."""
        if not self.authorized():
            self.json(401, {"error": "Invalid API key", "severity": "error"})
            return
        fault = None
        if self.is_ours():
            self.calls.append([self.command, self.path])
            fault = next((fault for fault in self.faults if self.path.startswith(fault.path)), None)
        if fault:
            self.faults.remove(fault)
            if fault.what == "status":
                self.json(fault.status, {"error": "a fault on request", "severity": "error"})
                return
            self.close_connection = True
            if fault.what == "lost":
                self.outcome(body)
            elif fault.what == "late":
                threading.Thread(target=lambda: (time.sleep(fault.after), self.outcome(body)), daemon=True).start()
            return
        status, value = self.outcome(body)
        if isinstance(value, bytes):
            self.send_result(value)
        else:
            self.json(status, value)

    def outcome(self, body):
        """Takes effect; the status and what is answered."""
        address = urlsplit(self.path)
        what, *rest = [unquote(part) for part in address.path.removeprefix("/v3/").split("/")]
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            given = json.loads(body or "{}")
        else:
            given = {name: values[-1] for name, values in parse_qs(address.query + "&" + body).items()}
        try:
            return 200, {"job": self.job_call, "table": self.table_call}[what](rest, given)
        except Conflict as error:
            return 409, {"error": f"conflict: {error}", "severity": "error"}
        except (Missing, KeyError, IndexError, ValueError) as error:
            return 404, {"error": f"not found: {error}", "severity": "error"}

    def table_call(self, path, given):
        what, database, *names = path
        if what == "list":
            nothing = {"type": "log", "schema": "[]", "count": 0, "estimated_storage_size": 0, "created_at": WHEN, "updated_at": WHEN}
            tables = self.databases.tables(database).items()
            return {"database": database, "tables": [nothing | {"id": number, "name": name} for name, number in tables]}
        if what == "show":
            schema = self.databases.schema(database, names[0])
            return {"name": names[0], "type": "log", "schema": json.dumps(schema), "count": 0}
        if what == "create":
            self.databases.create(database, names[0])
        elif what == "delete":
            self.databases.delete(database, names[0])
        elif what == "rename":
            self.databases.rename(database, *names, given.get("overwrite") == "true")
        else:
            raise Missing(what)
        return {"database": database, "table": names[-1], "type": "log"}

    def job_call(self, path, given):
        what, job_id, *rest = path
        if what == "issue":
            return self.issue(job_id, rest[0], given)
        if what == "status_by_domain_key":
            job_id = self.by_key[job_id]
        job = self.jobs[int(job_id) - 1]
        if what in ("status", "status_by_domain_key"):
            return self.summary(job_id, job)
        if what == "show":
            return self.described(job_id, job) | ({"status": "running"} if self.is_first_question() else {})
        if what == "kill":
            return {"job_id": job_id, "former_status": job.status}
        if what == "result":
            return job.body(given.get("format"))
        raise Missing(what)

    def issue(self, kind, database, given):
        key = given.get("domain_key")
        with self.issuing:
            if key in self.by_key:
                raise Conflict(f"domain_key of job {self.by_key[key]}")
            self.jobs.append(None)
            job_id = str(len(self.jobs))
            if key:
                self.by_key[key] = job_id
        self.jobs[int(job_id) - 1] = Job(kind, database, given["query"], self.databases)
        return {"job_id": job_id}

    def is_ours(self):
        return (self.headers.get("User-Agent") or "").startswith("td-braze-cohort/")

    def is_first_question(self):
        """Whether td-braze-cohort asks, and for the first time."""
        if not self.is_ours():
            return False
        self.asked[self.path] += 1
        return self.asked[self.path] == 1

    def send_result(self, body):
        if "msgpack" in self.path and self.is_first_question():
            self.begin(200, "application/octet-stream", len(body))
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.answer(200, "application/octet-stream", body)

    def summary(self, job_id, job):
        return {
            "job_id": job_id,
            "status": job.status if job else "running",
            "result_size": len(job.msgpack) if job else 0,
            "duration": 1,
            "created_at": WHEN,
            "updated_at": WHEN,
            "start_at": WHEN,
            "end_at": WHEN,
        }

    def described(self, job_id, job):
        if not job:
            return self.summary(job_id, job)
        return self.summary(job_id, job) | {
            "type": job.engine,
            "database": job.database,
            "query": job.query,
            "hive_result_schema": job.schema(),
            "num_records": len(job.rows),
            "debug": {"cmdout": job.error, "stderr": ""},
        }

    def authorized(self):
        # The client of 2019 that Digdag still uses sends the key alone.
        return self.path in ("/faults", "/calls") or (self.headers.get("Authorization") or "").removeprefix("TD1 ") == self.api_key

    def json(self, status, value):
        self.answer(status, "application/json", json.dumps(value).encode())

    def answer(self, status, content_type, body):
        self.begin(status, content_type, len(body))
        self.wfile.write(body)

    def begin(self, status, content_type, length):
        self.send_response(status)
        for name, value in [("Content-Type", content_type), ("Content-Length", str(length))]:
            self.send_header(name, value)
        self.end_headers()


def main():
    directory, api_key, engine = sys.argv[1:]
    Handler.databases = Databases(directory, Engine(engine))
    Handler.api_key = api_key
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
