"""Braze for histories of a mirror: the sandbox with the users that it knows, and in front of it a network that loses answers, brings
requests late, and refuses identifiers. Standard library only.
"""

import csv
import http.client
import json
import select
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from td_stand_in import Server

USER_ID, DEVICE_ID = "user_ids", "device_ids"
COLUMNS = {USER_ID: "external_id", DEVICE_ID: "device_id"}
KEYS = {"BRAZE_CLIENT_SECRET": "history-client-secret", "BRAZE_PARTNER_API_KEY": "history-partner-key"}
PATH = "/partners/treasure_data/cohorts"


class Braze:
    """An identifier is a pair of kind and value: (USER_ID, ...), (DEVICE_ID, ...), (the alias's label, ...)."""

    def __init__(self, binary, folder, cohort, labels, grace, tick):
        self.binary, self.folder, self.cohort, self.labels, self.grace, self.tick = binary, folder, cohort, labels, grace, tick
        self.lock, self.timers = threading.RLock(), []
        # Rows of known users, {kind: value}, and to which user each identifier leads.
        self.users, self.known = [], {}
        # The results of the next requests, the refused identifiers, and the applied changes: (operation, identifier, the user or None).
        self.fate, self.chance, self.refused, self.log, self.counts = lambda: "good", lambda: 1, set(), [], {}
        self.process = None
        self.start()
        handler = type("Handler", (Handler,), {"braze": self})
        self.server = Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def start(self):
        path = self.folder / "users.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([COLUMNS.get(kind, kind) for kind in [USER_ID, DEVICE_ID, *self.labels]])
            writer.writerows([[row.get(kind, "") for kind in [USER_ID, DEVICE_ID, *self.labels]] for row in self.users])
        command = [str(self.binary), "sandbox", "--listen", "127.0.0.1:0", "--users", str(path)]
        log = (self.folder / "sandbox.log").open("a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=KEYS, text=True)
        self.address = urlsplit(self.process.stdout.readline().strip()).netloc

    def end(self):
        self.server.shutdown()
        self.process.kill()
        self.process.wait()

    def learn(self, users, known):
        """From now on these users are known; the members of the cohort stay in it."""
        with self.lock:
            view = self.view()
            self.process.kill()
            self.process.wait()
            self.users, self.known = users, known
            self.start()
            if view:
                parts = {kind: view[kind] for kind in (USER_ID, DEVICE_ID, "aliases")} | {"should_remove": False}
                self.send(f"{PATH}/users", {"cohort_id": self.cohort, "cohort_changes": [parts]})

    def send(self, path, body):
        body |= {"partner_api_key": KEYS["BRAZE_PARTNER_API_KEY"], "client_secret": KEYS["BRAZE_CLIENT_SECRET"]}
        status, answer = self.call("POST", path, json.dumps(body).encode())
        assert status == 201, answer

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def view(self):
        status, body = self.call("GET", f"/cohorts/{self.cohort}")
        return json.loads(body) if status == 200 else None

    def members(self):
        """The users in the cohort."""
        self.settle()
        with self.lock:
            view = self.view() or {USER_ID: [], DEVICE_ID: [], "aliases": []}
            listed = [(kind, value) for kind in (USER_ID, DEVICE_ID) for value in view[kind]]
            listed += [(alias["alias_label"], alias["alias_name"]) for alias in view["aliases"]]
            return {self.known[identifier] for identifier in listed}

    def apply(self, path, body, changes):
        with self.lock:
            answer = self.call("POST", path, body)
            if answer[0] == 201:
                self.log += [(operation, identifier, self.known.get(identifier)) for operation, identifier in changes]
            return answer

    def later(self, *request):
        timer = threading.Timer(0.7 * self.grace * self.chance(), self.apply, request)
        self.timers.append(timer)
        timer.start()

    def settle(self):
        """Waits until all requests of ended runs, the late ones too, are applied."""
        self.server.settle()
        for timer in self.timers:
            timer.join()

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1


def changes_of(body):
    for part in json.loads(body).get("cohort_changes", []):
        operation = "remove" if part.get("should_remove") else "add"
        for kind in (USER_ID, DEVICE_ID):
            yield from ((operation, (kind, value)) for value in part.get(kind, []))
        yield from ((operation, (alias["alias_label"], alias["alias_name"])) for alias in part.get("aliases", []))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    braze = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        changes, request = list(changes_of(body)), None
        self.braze.tick()
        with self.braze.lock:
            fate = self.braze.fate()
        request = (self.path, body, changes)
        if {identifier for _, identifier in changes} & self.braze.refused:
            fate = "refuse"
        self.braze.count(fate)
        if fate in ("lose", "hang"):
            self.braze.apply(*request)
        if fate.startswith("hang"):
            self.wait_until_gone()
        if fate in ("late", "hang and come late"):
            self.braze.later(*request)
        if fate == "slow":
            time.sleep(0.4)
        if fate in ("good", "slow"):
            status, body = self.braze.apply(*request)
            self.answer(status, body)
        elif fate == "refuse":
            self.answer(400, json.dumps({"message": "user_ids must be an array of strings"}).encode())
        elif fate == "unavailable":
            self.answer(503, b"{}")
        elif fate == "limited":
            self.answer(429, b'{"message": "rate limited"}', {"Retry-After": "1"})
        else:
            self.close_connection = True

    def wait_until_gone(self):
        select.select([self.connection], [], [], 20)
        try:
            self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            pass

    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        # A killed run closes its connections.
        try:
            super().handle()
        except OSError:
            pass

    def log_message(self, *_):
        pass
