#!/usr/bin/env python3
"""Stands in for Treasure Data's API, as far as Digdag's td> and td_ddl> operators and td-braze-cohort call it.

usage: td_stand_in.py DIRECTORY API_KEY

Every job runs at once, on SQLite: each DIRECTORY/NAME.sql makes the database NAME, kept in DIRECTORY/NAME.sqlite, where it can be
looked at and changed while this runs. To td-braze-cohort, though, a job is still running when it asks for the first time, and
the first download of a result breaks off in the middle. Listens on a free port of 127.0.0.1 and prints `127.0.0.1:PORT` as its
first line.
"""

import gzip
import json
import re
import sqlite3
import struct
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

WHEN = "2026-01-01 00:00:00 UTC"


def cell(value):
    if value is None:
        return b"\xc0"
    if isinstance(value, int):
        return b"\xd3" + struct.pack(">q", value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    data = value.encode("utf-8")
    return b"\xdb" + struct.pack(">I", len(data)) + data


def msgpack(row):
    return b"\xdc" + struct.pack(">H", len(row)) + b"".join(map(cell, row))


def statements(text):
    """The statements of a job: td> with create_table sends two."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


class Databases:
    """One SQLite file for each database; a statement names other databases' tables as database.table."""

    def __init__(self, directory):
        self.lock = threading.Lock()
        self.files = {}
        self.without_columns = set()
        for seed in sorted(Path(directory).glob("*.sql")):
            self.files[seed.stem] = seed.with_suffix(".sqlite")
            with sqlite3.connect(self.files[seed.stem]) as connection:
                connection.executescript(seed.read_text(encoding="utf-8"))

    def execute(self, database, text):
        """The columns and rows of the last statement; all statements of a job or none take effect."""
        if database not in self.files:
            raise sqlite3.OperationalError(f"no such database: {database}")
        with self.lock:
            connection = sqlite3.connect(self.files[database], isolation_level=None)
            try:
                for name in self.files.keys() - {database}:
                    connection.execute(f"ATTACH ? AS {name}", [str(self.files[name])])
                connection.execute("BEGIN")
                # SQLite calls the database of the connection by another name.
                text = re.sub(rf"\b{database}\.", "main.", text)
                for statement in statements(text):
                    cursor = connection.execute(self.creating(database, statement))
                columns, rows = [column[0] for column in cursor.description or []], cursor.fetchall()
                connection.execute("COMMIT")
                return columns, rows
            finally:
                connection.close()

    def creating(self, database, statement):
        """The statement as it is, or what creates a table out of the first rows that are inserted."""
        for known, table in self.without_columns:
            insert = f'INSERT INTO "{table}"\n'
            if known == database and insert in statement:
                self.without_columns.remove((known, table))
                return statement.replace(insert, f'CREATE TABLE "{table}" AS\n')
        return statement

    def create(self, database, table):
        """Whether it is new. Its columns are those of the first rows that are inserted."""
        known = f"SELECT name FROM sqlite_master WHERE name = '{table}'"
        if (database, table) in self.without_columns or self.execute(database, known)[1]:
            return False
        self.without_columns.add((database, table))
        return True

    def rename(self, database, old, new):
        self.execute(database, f'DROP TABLE IF EXISTS "{new}";\nALTER TABLE "{old}" RENAME TO "{new}";')


class Job:
    def __init__(self, engine, database, query, databases):
        self.engine, self.database, self.query = engine, database, query
        self.columns, self.rows, self.error = [], [], ""
        try:
            self.columns, self.rows = databases.execute(database, query)
        except sqlite3.Error as error:
            self.error = f"Query failed: {error}"
        self.body = gzip.compress(b"".join(map(msgpack, self.rows)))

    def status(self):
        return "error" if self.error else "success"

    def schema(self):
        if not self.columns:
            return None
        whole = [any(isinstance(row[at], int) for row in self.rows) for at in range(len(self.columns))]
        return json.dumps([[name, "bigint" if is_whole else "varchar"] for name, is_whole in zip(self.columns, whole)])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    databases = None
    api_key = None
    jobs = []
    issuing = threading.Lock()
    # How often td-braze-cohort has asked for what.
    asked = Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        address = urlsplit(self.path)
        parts = address.path.removeprefix("/v3/").split("/")
        if not self.authorized():
            self.not_found()
        elif parts[:2] == ["job", "issue"]:
            self.issue(*parts[2:], self.parameters(address, body))
        elif parts[:2] == ["table", "create"]:
            self.create(*parts[2:4])
        elif parts[:2] == ["table", "rename"]:
            self.rename(*parts[2:])
        else:
            self.not_found()

    def parameters(self, address, body):
        if (self.headers.get("Content-Type") or "").startswith("application/json"):
            return json.loads(body)
        return {name: values[-1] for name, values in parse_qs(address.query + "&" + body).items()}

    def issue(self, engine, database, parameters):
        with self.issuing:
            self.jobs.append(Job(engine, database, parameters["query"], self.databases))
            job_id = len(self.jobs)
        self.json(200, {"job_id": str(job_id)})

    def create(self, database, table):
        """td> with insert_into does this first; the table is there already in all but its first run."""
        is_new = self.databases.create(database, table)
        self.json(200 if is_new else 409, {"database": database, "table": table, "type": "log"})

    def list_tables(self, database):
        """td_ddl> asks for the tables before it renames one."""
        nothing = {"type": "log", "schema": "[]", "count": 0, "estimated_storage_size": 0, "created_at": WHEN, "updated_at": WHEN}
        _, tables = self.databases.execute(database, "SELECT name FROM sqlite_master WHERE type = 'table'")
        self.json(200, {"database": database, "tables": [nothing | {"id": at, "name": name} for at, (name,) in enumerate(tables)]})

    def rename(self, database, old, new):
        try:
            self.databases.rename(database, old, new)
        except sqlite3.Error:
            self.not_found()
        else:
            self.json(200, {"database": database, "table": new, "type": "log"})

    def do_GET(self):
        address = urlsplit(self.path)
        if self.authorized() and address.path.startswith("/v3/table/list/"):
            self.list_tables(address.path.removeprefix("/v3/table/list/"))
            return
        what, _, job_id = address.path.removeprefix("/v3/job/").partition("/")
        if not (self.authorized() and job_id.isdigit() and 0 < int(job_id) <= len(self.jobs)):
            self.not_found()
            return
        job = self.jobs[int(job_id) - 1]
        if what == "status":
            self.json(200, self.summary(job_id, job))
        elif what == "show":
            self.json(200, self.job(job_id, job) | ({"status": "running"} if self.is_first_question() else {}))
        elif what == "result" and parse_qs(address.query).get("format") == ["msgpack.gz"]:
            self.send_result(job.body)
        else:
            self.not_found()

    def is_first_question(self):
        """Whether td-braze-cohort asks, and for the first time."""
        if not (self.headers.get("User-Agent") or "").startswith("td-braze-cohort/"):
            return False
        self.asked[self.path] += 1
        return self.asked[self.path] == 1

    def send_result(self, body):
        if self.is_first_question():
            self.begin(200, "application/octet-stream", len(body))
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.answer(200, "application/octet-stream", body)

    def summary(self, job_id, job):
        return {
            "job_id": job_id,
            "status": job.status(),
            "result_size": len(job.body),
            "duration": 1,
            "created_at": WHEN,
            "updated_at": WHEN,
            "start_at": WHEN,
            "end_at": WHEN,
        }

    def job(self, job_id, job):
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
        return (self.headers.get("Authorization") or "").removeprefix("TD1 ") == self.api_key

    def not_found(self):
        self.json(404, {"error": "not found", "severity": "error"})

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
    directory, api_key = sys.argv[1:]
    Handler.databases = Databases(directory)
    Handler.api_key = api_key
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
