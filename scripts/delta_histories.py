#!/usr/bin/env python3
"""Runs 1,000 random histories of workflows/delta without the engine: its tasks in its order, its queries on SQLite, and a model
of the upload and of Braze.

usage: delta_histories.py [HISTORIES [SEED]]

In a history the wanted set changes between runs, and each run may be killed before or within any task; its upload may deliver a
part, and may lose answers. After one clean run Braze has to hold exactly the wanted set, and a second one sends nothing. What an
attempt does, whether it is new or resumed, is always the whole of +run, as delta.dig has it. The members' query is delta.dig's in
half of the histories, and else one that selects NULLs, blanks and duplicates too.
"""

import random
import re
import sqlite3
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "workflows" / "delta"
PEOPLE = [f"u-{number}" for number in range(12)]
BATCH = 3
KILLS = 0.06
CARELESS = "SELECT external_id AS user_ids FROM customers WHERE plan = 'gold'"


class Ended(Exception):
    """The attempt ended here: killed, or a task failed."""


def tasks():
    """What delta.dig does, in its order: ("query", file, table or None), ("rename", from, to) or ("upload",)."""
    found = []
    for line in (PROJECT / "delta.dig").read_text(encoding="utf-8").splitlines():
        if query := re.fullmatch(r" *td>: (queries/\S+)", line):
            found.append(("query", query[1], None))
        elif table := re.fullmatch(r" *create_table: (\S+)", line):
            found[-1] = ("query", found[-1][1], table[1])
        elif rename := re.fullmatch(r" *- \{from: (\S+), to: (\S+)\}", line):
            found.append(("rename", rename[1], rename[2]))
        elif re.fullmatch(r" *py>: braze_cohort", line):
            found.append(("upload",))
    return found


class History:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.tables = sqlite3.connect(":memory:", isolation_level=None)
        self.tables.execute("CREATE TABLE customers (external_id VARCHAR, plan VARCHAR)")
        self.wanted = set()
        self.braze = set()
        self.sent = 0
        self.is_careless = self.random.random() < 0.5

    def column(self, query):
        return {row[0] for row in self.tables.execute(query)} - {None, ""}

    def change_wanted(self):
        kind = self.random.random()
        if kind < 0.1:
            self.wanted = set()
        elif kind < 0.3:
            self.wanted = set(self.random.sample(PEOPLE, self.random.randint(0, len(PEOPLE))))
        else:
            self.wanted = self.wanted ^ set(self.random.sample(PEOPLE, self.random.randint(0, 4)))
        self.write_customers()

    def write_customers(self):
        self.tables.execute("DELETE FROM customers")
        rows = [(person, "gold") for person in self.wanted] * 2 + [(None, "gold"), ("", "gold"), ("u-0", "silver")]
        self.tables.executemany("INSERT INTO customers VALUES (?, ?)", rows)

    def attempt(self, disturbed, allowed):
        """Whether all of it was done."""
        self.kills = KILLS if disturbed else 0
        self.known = None
        results = {}
        try:
            for what, *rest in TASKS:
                self.maybe_killed()
                if what == "query":
                    self.query(*rest, results)
                elif what == "rename":
                    self.tables.execute(f"DROP TABLE IF EXISTS {rest[1]}")
                    self.tables.execute(f"ALTER TABLE {rest[0]} RENAME TO {rest[1]}")
                else:
                    self.upload(results, disturbed, allowed)
            self.maybe_killed()
        except Ended:
            return False
        return True

    def maybe_killed(self):
        if self.random.random() < self.kills:
            raise Ended

    def query(self, file, table, results):
        text = (PROJECT / file).read_text(encoding="utf-8")
        if self.is_careless and file == "queries/members.sql":
            text = CARELESS
        if table is None:
            results[file] = self.tables.execute(text).fetchall()
            if file == "queries/counts.sql":
                self.known = self.column("SELECT user_ids FROM braze_possible UNION SELECT user_ids FROM braze_confirmed")
            return
        self.tables.execute(f"DROP TABLE IF EXISTS {table}")
        self.maybe_killed()
        self.tables.execute(f"CREATE TABLE {table} AS {text}")

    def upload(self, results, disturbed, allowed):
        """All removals, then all additions, as td-braze-cohort does it; ends the attempt unless everything was acknowledged."""
        changes = [row for row in results["queries/changes.sql"] if row[0]]
        leaving = [person for person, change in changes if change == "remove"]
        entering = [person for person, change in changes if change == "add"]
        assert len(changes) == len({person for person, _ in changes}), "an identifier has two changes"
        wanted, possible = results["queries/counts.sql"][0][:2]
        # A careless query's NULL and blank are counted as one row each at most.
        blanks = 2 if self.is_careless else 0
        assert 0 <= wanted - len(self.column("SELECT user_ids FROM braze_wanted")) <= blanks, "wanted is miscounted"
        assert 0 <= possible - len(self.known) <= 2 * blanks, "possible is miscounted"
        if leaving and 2 * wanted < possible and not allowed:
            raise Ended
        self.sent += len(changes)
        is_acknowledged = True
        for people, apply in [(leaving, self.braze.difference_update), (entering, self.braze.update)]:
            self.random.shuffle(people)
            for start in range(0, len(people), BATCH):
                self.maybe_killed()
                fate = self.random.choice(["delivered", "delivered", "answer lost", "not sent"]) if disturbed else "delivered"
                if fate != "not sent":
                    apply(people[start : start + BATCH])
                is_acknowledged &= fate == "delivered"
        if not is_acknowledged:
            raise Ended

    def check_bounds(self):
        """Once a first attempt has made the tables."""
        try:
            confirmed = self.column("SELECT user_ids FROM braze_confirmed")
            possible = self.column("SELECT user_ids FROM braze_possible")
        except sqlite3.OperationalError:
            return
        assert confirmed <= self.braze <= possible, (confirmed, self.braze, possible)


def run(seed):
    """How many attempts failed."""
    history = History(seed)
    failed = 0
    for _ in range(history.random.randint(1, 8)):
        history.change_wanted()
        for _ in range(history.random.randint(1, 3)):
            done = history.attempt(disturbed=history.random.random() < 0.8, allowed=history.random.random() < 0.5)
            history.check_bounds()
            failed += not done
            if done:
                assert history.braze == history.wanted, (history.braze, history.wanted)
                break
    if history.random.random() < 0.5:
        history.change_wanted()
    assert history.attempt(disturbed=False, allowed=True), "a clean run fails"
    assert history.braze == history.wanted, (history.braze, history.wanted)
    sent = history.sent
    assert history.attempt(disturbed=False, allowed=False), "a second clean run fails"
    assert history.sent == sent, "a second clean run sends those who neither entered nor left"
    return failed


def lost_tables():
    """What is lost is added again; where both are lost, whoever left meanwhile stays."""
    for lost, stays in [(["confirmed"], False), (["possible"], False), (["possible", "confirmed"], True)]:
        history = History(0)
        history.wanted = set(PEOPLE[:6])
        history.write_customers()
        assert history.attempt(disturbed=False, allowed=False)
        for name in lost:
            history.tables.execute(f"DROP TABLE braze_{name}")
        history.tables.execute("DELETE FROM customers WHERE external_id = 'u-0'")
        assert history.attempt(disturbed=False, allowed=False)
        assert history.braze == set(PEOPLE[0 if stays else 1 : 6]), (lost, history.braze)


TASKS = tasks()


def main():
    histories, seed = [int(text) for text in sys.argv[1:]] + [1000, 1][len(sys.argv) - 1 :]
    assert [task[0] for task in TASKS].count("upload") == 1 and len(TASKS) == 14, TASKS
    lost_tables()
    failed = 0
    for number in range(seed, seed + histories):
        try:
            failed += run(number)
        except AssertionError as error:
            sys.exit(f"history {number} went wrong: {error}")
    assert histories < 100 or failed > histories, "hardly any attempt failed: nothing was tested"
    print(f"delta: {histories} histories with {failed} failed attempts ended with the wanted set")


if __name__ == "__main__":
    main()
