#!/usr/bin/env python3
"""Stands in for Treasure Data's API, as far as Digdag's td> operator and td-braze-cohort call it.

usage: td_stand_in.py RESULT.csv API_KEY

Every query succeeds at once with the rows of RESULT.csv; an empty cell is NULL. To td-braze-cohort, though, a job is still
running when it asks for the first time, and the first download of a result breaks off in the middle. Listens on a free port of
127.0.0.1 and prints `127.0.0.1:PORT` as its first line.
"""

import csv
import gzip
import json
import struct
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

WHEN = "2026-01-01 00:00:00 UTC"


def text(value):
    data = value.encode("utf-8")
    return b"\xdb" + struct.pack(">I", len(data)) + data


def msgpack(row):
    cells = (text(cell) if cell else b"\xc0" for cell in row)
    return b"\xdc" + struct.pack(">H", len(row)) + b"".join(cells)


class Result:
    def __init__(self, path):
        with open(path, newline="", encoding="utf-8") as file:
            self.columns, *self.rows = csv.reader(file)
        self.body = gzip.compress(b"".join(msgpack(row) for row in self.rows))

    def schema(self):
        return json.dumps([[column, "varchar"] for column in self.columns])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    result = None
    api_key = None
    jobs = []
    # How often td-braze-cohort has asked for what.
    asked = Counter()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        if self.authorized() and path.startswith("/v3/job/issue/"):
            self.jobs.append(path.removeprefix("/v3/job/issue/").split("/"))
            self.json(200, {"job_id": str(len(self.jobs))})
        else:
            self.not_found()

    def do_GET(self):
        address = urlsplit(self.path)
        what, _, job_id = address.path.removeprefix("/v3/job/").partition("/")
        if not (self.authorized() and job_id.isdigit() and 0 < int(job_id) <= len(self.jobs)):
            self.not_found()
        elif what == "status":
            self.json(200, self.summary(job_id))
        elif what == "show":
            self.json(200, self.job(job_id) | ({"status": "running"} if self.is_first_question() else {}))
        elif what == "result" and parse_qs(address.query).get("format") == ["msgpack.gz"]:
            self.send_result()
        else:
            self.not_found()

    def is_first_question(self):
        """Whether td-braze-cohort asks, and for the first time."""
        if not (self.headers.get("User-Agent") or "").startswith("td-braze-cohort/"):
            return False
        self.asked[self.path] += 1
        return self.asked[self.path] == 1

    def send_result(self):
        body = self.result.body
        if self.is_first_question():
            self.begin(200, "application/octet-stream", len(body))
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        wanted = self.headers.get("Range")
        if wanted is None:
            self.answer(200, "application/octet-stream", body)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        self.begin(
            206, "application/octet-stream", len(body) - start, ("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        )
        self.wfile.write(body[start:])

    def summary(self, job_id):
        return {
            "job_id": job_id,
            "status": "success",
            "result_size": len(self.result.body),
            "duration": 1,
            "created_at": WHEN,
            "updated_at": WHEN,
            "start_at": WHEN,
            "end_at": WHEN,
        }

    def job(self, job_id):
        engine, database = self.jobs[int(job_id) - 1]
        return self.summary(job_id) | {
            "type": engine,
            "database": database,
            "query": "",
            "hive_result_schema": self.result.schema(),
            "num_records": len(self.result.rows),
            "debug": {"cmdout": "", "stderr": ""},
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

    def begin(self, status, content_type, length, *headers):
        self.send_response(status)
        for name, value in [("Content-Type", content_type), ("Content-Length", str(length)), *headers]:
            self.send_header(name, value)
        self.end_headers()


def main():
    result, api_key = sys.argv[1:]
    Handler.result = Result(result)
    Handler.api_key = api_key
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
