#!/usr/bin/env python3
"""Whole histories of `operation: mirror`: the real program, its SQL on the real engine behind the stand-in for Treasure Data's API,
and a Braze that removes users and not identifiers.

usage: mirror_histories.py [HISTORIES [SEED]]    (25 from seed 1 by default)

In a history members enter, leave and change their identifiers, and Braze learns of users. Runs are killed, stopped, or meet each
other; either API loses answers, is away, or acts late; Braze refuses identifiers. Then one run without any of
that must make Braze equal to the table, and a second one must send nothing.

Equal means, for each user that Braze knows: without a wanted identifier it is not in the cohort; with one that Braze knew when it was
sent last, it is. Everything else may be either, until a run with `refresh: all`.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import td_stand_in
from faulty_braze import DEVICE_ID, KEYS, USER_ID, Braze
from sql_engine import LeftOut, engine, leave_out, literal, quoted

TOP = Path(__file__).resolve().parent.parent
TD_KEY = "1/history-td-key"
COHORT = "mirrored"
LABELS = ["email", "phone"]
KINDS = [USER_ID, DEVICE_ID, *LABELS]
REQUEST_TIMEOUT, GRACE = 1, 1
# Longer than any run, in seconds.
HANGS = 240
# A run waits more than it works.
AT_ONCE = 8
PEOPLE = 12
# What a text of an identifier may look like.
COMPOSITIONS = ["\u00e9{n}", "e\u0301{n}"]
FORMS = [
    "u-{n}", "o'Neil {n}", *COMPOSITIONS, 'say "hi" {n}', " padded {n} ", "100%{n}", "%41{n}%", "日本{n}😀", "\\{n}\\", "a,b;{n}",
    "${{n{n}}}", "-- {n}", "null {n}", "{n:0>1024}", "é" * 500 + "{n:0>24}", "U&'{n}'", "+4912{n}", "{n}.5", "[{n}",
]  # fmt: skip
# Cells that are blank or are rejected.
BLANK = [None, "", " ", "\u00a0\u200b", "null", "\\N", "NaN"]
UNUSABLE = [*BLANK, "1.5E7", "12.0", "[1]", '{"a": 1}', "a\tb", "x" * 1025, "é" * 513]
APIS = {
    "list": "GET /v3/table/list/", "schema": "GET /v3/table/show/", "issue": "POST /v3/job/issue/", "key": "GET /v3/job/status_by_",
    "show": "GET /v3/job/show/", "result": "GET /v3/job/result/", "rename": "POST /v3/table/rename/", "delete": "POST /v3/table/delete/",
}  # fmt: skip


class Wrong(Exception):
    """What a history shows."""


class Person:
    """The first identifier is in each row of this person, and known to Braze if another one is; one that is `loose` may be in rows
    without any identifier in common. Braze finds a loose one again only when it is refreshed."""

    def __init__(self, number, chance, has_numbers):
        def text(kind, version=0):
            if kind == USER_ID and has_numbers:
                return str(10**15 * (-1) ** number + number)
            form = FORMS[(number + KINDS.index(kind)) % len(FORMS)]
            # Two compositions of one letter are two people.
            return form.format(n=f"{'' if form in COMPOSITIONS else number}{'abc'[version]}{KINDS.index(kind)}")

        self.number, self.chance = number, chance
        self.is_loose = number % 6 == 5
        first = USER_ID if number % 4 < 2 or self.is_loose else [DEVICE_ID, "email"][number % 2]
        self.first = (first, text(first))
        others = [(kind, text(kind)) for kind in KINDS if KINDS.index(kind) > KINDS.index(first)]
        if first == USER_ID:
            others += [("email", text("email", 1)), ("email", text("email", 2)), ("phone", text("phone", 1))]
        self.others = list(dict.fromkeys(others))
        self.rows, self.known = [], []

    def row(self):
        others = self.chance.sample(self.others, self.chance.randint(0, len(self.others)))
        row = dict(others) | ({} if self.is_loose and others and self.chance.random() < 0.6 else dict([self.first]))
        if self.chance.random() < 0.2:
            row.setdefault(DEVICE_ID, "a device of several")
        return row

    def change(self):
        """Enters the table, leaves it, or gets other identifiers; rarely two rows."""
        choice = self.chance.random()
        if not self.rows or choice > 0.3:
            self.rows = [self.row() for _ in range(self.chance.choice([1, 1, 1, 2]))]
        else:
            self.rows = []

    def learn(self):
        """What Braze knows grows; some users have one identifier, some all that a table may hold."""
        more = self.chance.sample(self.others, self.chance.randint(0, len(self.others)))
        self.known = list(dict.fromkeys([self.first, *self.known, *more]))

    def users(self):
        """Rows of the sandbox's file: an external ID may have several aliases of one label, others have one row."""
        if not self.known:
            return []
        if self.first[0] == USER_ID:
            return [dict([self.first, other]) for other in self.known[1:]] or [dict([self.first])]
        return [dict(reversed(self.known))]

    def leads(self):
        """Identifiers by which Braze finds this user: not a device of a user with an external ID."""
        found = dict(self.users()[0]).items() if self.first[0] != USER_ID and self.known else self.known
        return [identifier for identifier in found if not (self.first[0] == USER_ID and identifier[0] == DEVICE_ID)]


class History:
    def __init__(self, number, program, on, folder):
        self.name, self.program, self.folder, self.chance = f"h{number}", program, folder, random.Random(number)
        self.lock, self.seen, self.events, self.alive, self.exits = threading.RLock(), 0, {}, [], []
        self.has_numbers, self.is_mapped = self.chance.random() < 0.25, self.chance.random() < 0.4
        self.people = [Person(number, self.chance, self.has_numbers) for number in range(PEOPLE)]
        self.knows_devices, self.is_over = False, False
        self.columns = dict(zip(KINDS, ["customer_id", "device", "mail", "phone"] if self.is_mapped else KINDS))
        self.braze = Braze(program, folder, COHORT, LABELS, GRACE, self.tick)
        self.braze.chance = self.chance.random
        (folder / f"{self.name}.sql").write_text("")
        databases = td_stand_in.Databases(on, folder)
        tick = self.tick

        class Handler(td_stand_in.Handler):
            jobs, keys, faults, timers, lock, api_key = [], {}, [], [], threading.Lock(), TD_KEY

            def serve(self, method):
                tick()
                super().serve(method)

            def handle(self):
                # A killed run closes its connections.
                try:
                    super().handle()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        Handler.databases = databases
        self.td, self.databases = Handler, databases
        self.server = td_stand_in.Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.is_over = True
        for process in list(self.alive):
            process.kill()
        self.server.shutdown()
        self.braze.end()

    def drop(self):
        """Makes room in the engine, which keeps its tables in memory."""
        for name, _ in self.databases.list(self.name):
            self.databases.execute(self.name, f"DROP TABLE {quoted(name)}")

    # What happens to the table and to Braze.

    def write_table(self):
        rows = [row for person in self.people for row in person.rows]
        self.wanted = {identifier for row in rows for identifier in row.items()}
        rows += self.chance.sample(rows, len(rows) // 4)
        kinds = KINDS[1:] if self.has_numbers else KINDS
        # A table with only rejected cells ends a run in another way than an empty one.
        unusable = UNUSABLE if rows else BLANK
        rows += [{self.chance.choice(kinds): self.chance.choice(unusable)} for _ in range(self.chance.randint(0, 4))]
        self.chance.shuffle(rows)
        types = {kind: "BIGINT" if kind == USER_ID and self.has_numbers else "VARCHAR" for kind in KINDS}
        values = [", ".join(f"CAST({literal(row.get(kind))} AS {types[kind]})" for kind in KINDS) for row in rows or [{}]]
        names = ", ".join(quoted(self.columns[kind]) for kind in KINDS)
        end = "" if rows else " WHERE false"
        select = f"SELECT *, 1 AS \"time\" FROM (VALUES {', '.join(f'({value})' for value in values)}) AS t ({names}){end}"
        self.databases.execute(self.name, f"DROP TABLE IF EXISTS members; CREATE TABLE members AS {select}")

    def change_table(self, most=4):
        for person in self.chance.sample(self.people, self.chance.randint(1, most)):
            person.change()
        if not any(person.rows for person in self.people):
            self.people[0].change()
        self.write_table()

    def learn(self, share):
        for person in self.people:
            if self.chance.random() < share:
                person.learn()
        self.knows_devices = self.knows_devices or self.chance.random() < 0.3
        users = [row for person in self.people for row in person.users()]
        known = {identifier: person.number for person in self.people for identifier in person.leads()}
        if self.knows_devices:
            users.append({DEVICE_ID: "a device of several"})
            known[DEVICE_ID, "a device of several"] = PEOPLE
        self.braze.learn(users, known)

    # Runs.

    def tick(self):
        """Asks Braze or Treasure Data for something."""
        with self.lock:
            self.seen += 1
            for event in self.events.pop(self.seen, []):
                event()

    def soon(self, event, most=30):
        self.events.setdefault(self.seen + self.chance.randint(1, most), []).append(event)

    def begin(self, *arguments, **settings):
        if self.is_over:
            raise Wrong("it was stopped")
        settings = {
            "cohort_id": COHORT,
            "operation": "mirror",
            "table": f"{self.name}.members",
            "aliases": LABELS,
            "endpoint": self.braze.endpoint,
            "request_timeout": f"{REQUEST_TIMEOUT}s",
            "grace": f"{GRACE}s",
            "refresh": "off",
            **settings,
        }
        if self.is_mapped:
            settings["mapping"] = {self.columns[kind]: kind for kind in KINDS if self.columns[kind] != kind}
        number = len(self.exits) + len(self.alive) + 1
        config = self.folder / f"run-{number}.yml"
        config.write_text(json.dumps(settings))
        environment = KEYS | {"TD_API_KEY": TD_KEY, "TD_API_SERVER": f"http://127.0.0.1:{self.server.server_port}"}
        with (self.folder / f"run-{number}.log").open("w") as log:
            command = [str(self.program), "upload", str(config), *arguments]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        process.log, process.began = self.folder / f"run-{number}.log", time.monotonic()
        self.alive.append(process)
        return process

    def wait(self):
        """Waits until no run is alive; returns the exit codes in the order in which the runs began."""
        ended = []
        while self.alive:
            with self.lock:
                process = self.alive[0]
            try:
                ended.append(process.wait(HANGS))
            except subprocess.TimeoutExpired:
                raise Wrong(f"a run did not end within {HANGS} s") from None
            with self.lock:
                self.alive.pop(0)
                self.exits.append(ended[-1])
                # A second run may have been meant to begin by now.
                if not self.alive:
                    self.events.clear()
        return ended

    def quiet(self, *arguments, **settings):
        """A run without any disturbance; its exit code and log."""
        self.calm()
        process = self.begin(*arguments, **settings)
        [status] = self.wait()
        return status, process.log.read_text()

    def calm(self):
        self.td.faults, self.braze.fate, self.braze.refused = [], lambda: "good", set()

    def disturb(self):
        chance = self.chance
        fates = ["good"] * 4 + ["slow"] + chance.sample(
            ["lose", "late", "hang", "hang and come late", "drop", "unavailable", "limited"], chance.randint(0, 4)
        )
        self.braze.fate = lambda: chance.choice(fates)
        everything = sorted(self.wanted | {(kind, value) for _, (kind, value), _ in self.braze.log})
        self.braze.refused = set(chance.sample(everything, min(len(everything), chance.choice([0, 0, 1, 3]))))
        faults = []
        for _ in range(chance.randint(0, 4)):
            do = chance.choice(["refuse", "drop", "lose", "late", "running", "half", "stale", "slow", "fail", "fail_after"])
            at = {
                "late": ["rename", "rename", "issue", "delete"],
                "running": ["show"],
                "half": ["result"],
                "stale": ["list"],
                **dict.fromkeys(["slow", "fail", "fail_after"], ["issue"]),
            }.get(do, list(APIS))
            status, seconds = chance.choice([429, 500, 503]), 3 * chance.random()
            skip, times = chance.randint(0, 4), chance.randint(1, 3)
            headers = {"Retry-After": "1"} if status == 429 else {}
            seconds = 0 if do == "lose" else seconds
            faults.append(td_stand_in.Fault(APIS[chance.choice(at)], do, "", skip, times, False, seconds, status, headers))
        self.td.faults = faults
        for event, share in [(self.kill, 0.35), (self.stop, 0.1), (self.meet, 0.3), (self.away, 0.15)]:
            if chance.random() < share:
                self.soon(event)
        return Counter(f"td {fault.do}" for fault in faults)

    def kill(self):
        if self.alive:
            self.alive[-1].kill()

    def stop(self):
        if self.alive:
            self.alive[0].send_signal(signal.SIGTERM)

    def meet(self):
        """A second run begins; the table may change before it."""
        if self.chance.random() < 0.5 and self.td.jobs and all(job.ended.is_set() for job in self.td.jobs):
            self.change_table()
        self.begin()
        if self.chance.random() < 0.3:
            self.soon(self.kill)

    def away(self):
        """Treasure Data is away, while Braze is there."""
        fault = td_stand_in.Fault("", "refuse", times=0)
        self.td.faults = [fault, *self.td.faults]
        threading.Timer(2 + 2 * self.chance.random(), lambda: setattr(fault, "at", "(?!)")).start()

    # What must hold.

    def check(self, when, is_all_sent=False):
        members = self.braze.members()
        leading = {user: [] for user in self.braze.known.values()}
        for identifier, user in self.braze.known.items():
            leading[user].append(identifier)
        sent = {identifier: user for operation, identifier, user in self.braze.log if operation == "add"}
        loose = {person.number for person in self.people if person.is_loose}
        for user, identifiers in leading.items():
            wanted = self.wanted.intersection(identifiers)
            if user in members and not wanted:
                raise Wrong(f"{when}: user {user} is in the cohort, and no row of the table has any of {identifiers}")
            known_then = [it for it in wanted if is_all_sent or sent.get(it) == user and user not in loose]
            if user not in members and known_then:
                raise Wrong(f"{when}: user {user} is not in the cohort, and the table has {known_then}")

    def must(self, is_so, what, *seen):
        if not is_so:
            raise Wrong("\n".join([what, *map(str, seen)]))

    def changes_nothing(self, expected, *arguments, **settings):
        """Such a run sends no identifier and leaves the highest version as it is."""
        self.settle()
        sent, top = len(self.braze.log), self.versions()[-1:]
        status, log = self.quiet(*arguments, **settings)
        self.must(status == expected, f"it ends with {status} and not {expected}", log)
        self.must(len(self.braze.log) == sent, "something was sent", log)
        self.must(self.versions()[-1:] == top, "the state has changed", top, self.versions(), log)
        return log

    def versions(self):
        """The versions of the state, from the lowest: number and table ID."""
        names = [(re.search(r"_[0-9a-f]{8}_(\d+)$", name), number) for name, number in self.databases.list(self.name)]
        return sorted((int(name[1]), number) for name, number in names if name)

    def emptied(self):
        """The table is empty, by mistake and then by intent."""
        rows = [person.rows for person in self.people]
        for person in self.people:
            person.rows = []
        self.write_table()
        log = self.changes_nothing(6)
        if self.chance.random() < 0.5:
            number = re.search(r"max_removals=(\d+)", log)
            self.must(number, "the number is not named", log)
            status, log = self.quiet(max_removals=int(number[1]))
            self.must(status == 0, f"an empty table that is meant ends with {status}", log)
            self.check("emptied")
        for person, its in zip(self.people, rows):
            person.rows = its
        self.write_table()

    def run(self):
        """The events that happened, by name."""
        met = Counter()
        self.learn(0.6)
        for person in self.people:
            if self.chance.random() < 0.7:
                person.change()
        self.change_table()
        for step in range(self.chance.randint(4, 7)):
            choice = self.chance.random()
            if choice < 0.1 and self.exits:
                self.emptied()
            elif choice < 0.2:
                self.changes_nothing(0, "--dry-run")
            for _ in range(self.chance.randint(0, 2)):
                self.chance.choice([self.change_table, self.change_table, lambda: self.learn(0.2)])()
            met += self.disturb()
            self.begin()
            ended = self.wait()
            met.update(f"exit {status}" for status in ended)
            met["met another"] += len(ended) > 1
            # A disturbed first run may decide that a mirror cannot work on this Treasure Data account.
            unexpected = set(ended) - {0, 3, 5, 75, 143, -signal.SIGKILL} - ({2} if not self.versions() else set())
            self.must(not unexpected, f"step {step}: a run ends with {unexpected}")
            if ended == [0]:
                self.check(f"step {step}, which ended with 0")
        status, log = self.quiet()
        self.must(status == 0, f"the quiet run ends with {status}", log)
        self.check("after the quiet run")
        self.changes_nothing_but_numbers()
        status, log = self.quiet(refresh="all")
        self.must(status == 0, f"the run that refreshes all ends with {status}", log)
        self.check("all refreshed", is_all_sent=True)
        return met + Counter(self.braze.counts)

    def settle(self):
        """Waits until all requests of ended runs, the late ones too, are applied."""
        self.braze.settle()
        self.server.settle()
        for timer in self.td.timers:
            timer.join()

    def changes_nothing_but_numbers(self):
        self.settle()
        sent = len(self.braze.log)
        status, log = self.quiet()
        self.must(status == 0 and len(self.braze.log) == sent, f"a second quiet run ends with {status}, or sends something", log)
        self.must(len(self.versions()) == 1, "it leaves more than one version", self.versions())


def history(number, program, on, scratch, begun):
    """The events that happened, or None if the history failed."""
    folder = scratch / f"h{number}"
    folder.mkdir()
    began, it = time.monotonic(), History(number, program, on, folder)
    begun.append(it)
    try:
        met = it.run()
        print(f"ok      history {number}: runs ended with {' '.join(map(str, it.exits))}; {time.monotonic() - began:.0f} s", flush=True)
        return met
    except Exception as error:
        logs = "".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(folder.glob("run-*.log")))
        reason = str(error) if isinstance(error, Wrong) else traceback.format_exc()
        text = f"FAILED  history {number}: {reason}\nwanted: {it.wanted}\nsent: {it.braze.log}\n{logs}"
        print(text.replace("\n", "\n        | "), flush=True)
        return None
    finally:
        it.end()
        it.drop()


def find_binary():
    if given := os.environ.get("TD_BRAZE_COHORT"):
        return Path(given).resolve(strict=True)
    subprocess.run(["cargo", "build", "--locked"], cwd=TOP, check=True)
    return (TOP / os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "debug" / "td-braze-cohort"


def main():
    count, seed = [int(text) for text in sys.argv[1:]] + [25, 1][len(sys.argv) - 1 :]
    program = find_binary()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with engine("435", heap="1400m") as on, tempfile.TemporaryDirectory(prefix="mirror_histories.") as scratch:
            pool, begun = ThreadPoolExecutor(AT_ONCE), []
            try:
                met = list(pool.map(lambda number: history(number, program, on, Path(scratch), begun), range(seed, seed + count)))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                for it in begun:
                    it.end()
    except LeftOut as reason:
        leave_out(reason)
    failed = met.count(None)
    total = sum(filter(None, met), Counter())
    print(f"met: {', '.join(f'{what} {number}' for what, number in sorted(total.items()))}")
    print(f"mirror_histories: {count - failed} passed, {failed} failed")
    mild = [what for what in ("exit -9", "exit 75", "met another", "late", "lose", "hang and come late", "refuse") if total[what] < 5]
    sys.exit(1 if failed or count >= 25 and mild else 0)


if __name__ == "__main__":
    main()
