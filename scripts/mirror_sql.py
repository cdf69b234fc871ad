#!/usr/bin/env python3
"""Tries each statement of a mirror on the real engines: small tables in, rows out, and the rule for text cell by cell.

usage: mirror_sql.py [VERSION...]    (435 and 350 by default)

A test of the program writes its statements to a file, and they are read from there.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from sql_engine import LeftOut, SqlError, engine, leave_out, literal, quoted

TOP = Path(__file__).resolve().parent.parent
TEST = "mirror::sql::tests::what_the_engine_is_to_try_is_written"
DATABASE = "a b"
MEMBERS = ['customer "id"', "device_ids", "e'mail", "phone"]
STATE = [("row", "VARCHAR"), ("confirmed", "BIGINT"), ("wanted", "BIGINT"), ("total", "BIGINT")]
LONG_AGO = 1_000_000_000


def tried():
    """The program's statements, by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statements.json"
        command = ["cargo", "test", "--locked", "--quiet", "--lib", "--", "--exact", TEST]
        subprocess.run(command, cwd=TOP, env=os.environ | {"MIRROR_SQL": str(path)}, check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text(encoding="utf-8"))


class Tables:
    """The tables of one engine."""

    def __init__(self, on):
        self.on = on
        on.rows(f"CREATE SCHEMA IF NOT EXISTS {quoted(DATABASE)}")

    def name(self, table):
        return f"{quoted(DATABASE)}.{quoted(table)}"

    def drop(self, *tables):
        for table in tables:
            self.on.rows(f"DROP TABLE IF EXISTS {self.name(table)}")

    def make(self, table, columns, rows):
        """columns: [(name, type)]"""
        self.drop(table)
        names = ", ".join(f"CAST({quoted(name)} AS {of}) AS {quoted(name)}" for name, of in columns)
        values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows or [[None] * len(columns)])
        aliases = ", ".join(quoted(name) for name, _ in columns)
        empty = "" if rows else " WHERE false"
        self.on.rows(f"CREATE TABLE {self.name(table)} AS SELECT {names} FROM (VALUES {values}) AS t ({aliases}){empty}")

    def members(self, *rows, whole="BIGINT"):
        """Rows of (number, device, mail, phone)."""
        self.make("members", list(zip(MEMBERS, [whole, "VARCHAR", "VARCHAR", "VARCHAR"])), rows)

    def before(self, *rows):
        """Rows of a version: (row, confirmed, wanted), with a row's identifiers as [(kind, value), ...]."""
        wanted = {identifier for row, _, is_wanted in rows for identifier in row if is_wanted}
        texts = [("".join(f"\n{kind}\t{value}" for kind, value in row), *rest, None) for row, *rest in rows]
        self.make("before", STATE, [*texts, ("", None, 0, len(wanted))])

    def run(self, statement):
        """Makes the table of a statement again, and returns its rows."""
        for table in ["work", "next"]:
            if f"CREATE TABLE {self.name(table)} AS" in statement:
                self.drop(table)
        return self.on.rows(statement)

    def lines(self, table):
        """{(kind, value): [(confirmed, wanted), ...]}, with an entry for each of its rows."""
        found = {}
        for row, *rest in self.on.rows(f'SELECT "row", "confirmed" IS NOT NULL, "wanted" FROM {self.name(table)}'):
            for identifier in row.split("\n")[1:]:
                found.setdefault(tuple(identifier.split("\t")), []).append(tuple(rest))
        return {identifier: sorted(entries) for identifier, entries in found.items()}


def parted(rows):
    """The counts, as the program makes them of rows (change, kind, value, before, number), and what is to be sent."""
    found, sent = counts(), []
    for change, kind, value, before, number in rows:
        if change in ["with_identifier", "without_identifier", "rejected", "before"]:
            found[change] += int(number)
            continue
        is_wanted = change != "remove"
        named = {
            "wanted": is_wanted and before != "wanted",
            "entered": is_wanted and before == "unknown",
            "left": not is_wanted and before == "wanted",
            "removals": not is_wanted,
            "additions": change in ["add", "refresh", "beside"],
            "refreshed": change == "refresh",
            "beside": change == "beside",
            "moved": change == "moved",
        }
        for name in filter(named.get, named):
            found[name] += int(number)
        if kind:
            sent.append((change, kind, value))
    found["wanted"] += found["before"] - found["left"]
    return found, sorted(sent)


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what}:\n  found    {found}\n  expected {expected}")


def counts(**named):
    names = ["before", "wanted", "entered", "left", "removals", "additions", "refreshed", "beside", "moved"]
    return {name: 0 for name in [*names, "with_identifier", "without_identifier", "rejected"]} | named


def changes_of(tables, sql, refresh="off", is_first=False, has_preview=True, is_unfinished=False):
    """Builds and reads the changes; a dry run must count the same, and so must a run that counts those before anew."""
    tables.run(sql["build_first" if is_first else f"build_{refresh}"])
    rows = tables.run(sql["changes_unfinished"])
    if is_first:
        expect("the changes of a first run", parted(tables.run(sql["changes_first"])), parted(rows))
    if not is_unfinished:
        expect("the counts without counting anew", parted(tables.run(sql["changes"])), parted(rows))
    if has_preview:
        preview = tables.run(sql["preview_first" if is_first else "preview_unfinished" if is_unfinished else f"preview_{refresh}"])
        expect("the counts of the dry run", parted(preview)[0], parted(rows)[0])
    return parted(rows)


def status(tables, sql):
    return tables.run(sql["status"])


def commit(tables, sql, found, name="commit"):
    """Commits what was found."""
    assert sql[name].count("424242") == 1, sql[name]
    tables.run(sql[name].replace("424242", str(found["wanted"])))


def next_night(tables, sql, found, name="commit"):
    """Commits, and what is committed is the version before from then on."""
    commit(tables, sql, found, name)
    tables.drop("before")
    tables.on.rows(f"ALTER TABLE {tables.name('next')} RENAME TO {tables.name('before')}")


def committed(tables, sql, *rows):
    """The version before is what a run made of these members."""
    tables.members(*rows)
    found, _ = changes_of(tables, sql, is_first=True, has_preview=False)
    next_night(tables, sql, found)


def first_run(tables, sql):
    tables.members((1, "d1", "o'x@example.com", None), (None, None, None, "\t"), (2, None, "null", "1.5E7"), (2, None, "null", "1.5E7"))
    found, changes = changes_of(tables, sql, is_first=True)
    expect("counts", found, counts(wanted=4, entered=4, additions=4, with_identifier=3, without_identifier=1, rejected=2))
    added = [("user_ids", "1"), ("user_ids", "2"), ("device_ids", "d1"), ("e'mail", "o'x@example.com")]
    expect("changes", changes, sorted(("add", *identifier) for identifier in added))
    commit(tables, sql, found)
    expect("committed", tables.lines("next"), {identifier: [(True, 1)] for identifier in added})
    numbers = tables.on.rows(f'SELECT count(DISTINCT "row"), count(*), max("total") FROM {tables.name("next")}')
    expect("rows of the state, and the number of identifiers", numbers, [(3, 3, 4)])


def empty_tables(tables, sql):
    tables.members()
    expect("first run", changes_of(tables, sql, is_first=True), (counts(), []))
    tables.before()
    expect("later run", changes_of(tables, sql), (counts(), []))
    expect("status", status(tables, sql), [("committed", "0"), ("wanted", "0"), ("to_remove", "0"), ("to_add", "0")])


def no_member_is_wanted(tables, sql):
    tables.members()
    tables.before(([("user_ids", "1")], LONG_AGO, 1), ([("user_ids", "1"), ("phone", "gone")], None, 0))
    found, changes = changes_of(tables, sql)
    expect("counts", found, counts(before=1, left=1, removals=2))
    expect("changes", changes, [("remove", "phone", "gone"), ("remove", "user_ids", "1")])


def a_changed_identifier(tables, sql):
    """(1, old) becomes (1, new); 3 is in two rows of the version, one of which left with its device."""
    committed(tables, sql, (1, None, "old", None), (2, None, "same", None), (3, "d3", None, None), (3, None, None, "p"))
    tables.members((1, None, "new", None), (2, None, "same", None), (3, None, None, None), (3, None, None, "p"))
    found, changes = changes_of(tables, sql)
    expect("counts", found, counts(before=7, wanted=6, entered=1, left=2, removals=2, additions=3, beside=2, with_identifier=4))
    sent = [("remove", "e'mail", "old"), ("remove", "device_ids", "d3"), ("beside", "user_ids", "1"), ("beside", "user_ids", "3"), ("add", "e'mail", "new")]
    expect("changes", changes, sorted(sent))
    lines = tables.lines("work")
    expect("the removed is unconfirmed", (lines["e'mail", "old"], lines["device_ids", "d3"]), ([(False, 0)], [(False, 0)]))
    expect("the other identifiers of its row are unconfirmed", (lines["user_ids", "1"], lines["user_ids", "3"]), ([(False, 0), (False, 1)], [(False, 0), (False, 1), (True, 1)]))
    expect("the others are confirmed", [lines[key] for key in [("user_ids", "2"), ("e'mail", "same"), ("phone", "p")]], [[(True, 1)]] * 3)
    commit(tables, sql, found)
    wanted = [("user_ids", "1"), ("e'mail", "new"), ("user_ids", "2"), ("e'mail", "same"), ("phone", "p")]
    expect("committed", tables.lines("next"), {key: [(True, 1)] for key in wanted} | {("user_ids", "3"): [(True, 1)] * 2})


def a_run_that_was_killed(tables, sql):
    """The version before is odd: its changes are still pending, and count as known."""
    tables.members((1, None, "new", None), (4, None, None, None))
    tables.before(([("e'mail", "old"), ("user_ids", "1")], LONG_AGO, 1))
    tables.run(sql["build_off"])
    tables.drop("before")
    tables.on.rows(f"ALTER TABLE {tables.name('work')} RENAME TO {tables.name('before')}")
    found, changes = changes_of(tables, sql, is_unfinished=True)
    expect("counts", found, counts(before=3, wanted=3, removals=1, additions=3, beside=1, with_identifier=2))
    expect("changes", changes, sorted([("remove", "e'mail", "old"), ("beside", "user_ids", "1"), ("add", "e'mail", "new"), ("add", "user_ids", "4")]))
    # The one that left comes back before it was removed.
    tables.members((1, None, "old", None))
    found, changes = changes_of(tables, sql, is_unfinished=True)
    expect("counts, back", (found["entered"], found["left"]), (0, 2))
    expect("changes, back", changes, sorted([("add", "e'mail", "old"), ("beside", "user_ids", "1"), ("remove", "e'mail", "new"), ("remove", "user_ids", "4")]))


def refused_identifiers(tables, sql):
    tables.members((12, None, "o'x@example.com", None), (13, None, None, None))
    tables.before(([("phone", "gone"), ("user_ids", "13")], LONG_AGO, 1), ([("phone", "left")], LONG_AGO, 1))
    found, _ = changes_of(tables, sql)
    next_night(tables, sql, found, "commit_refused")
    again = {identifier: [(False, 1), (True, 1)] for identifier in [("user_ids", "12"), ("e'mail", "o'x@example.com")]}
    expected = again | {("phone", "gone"): [(False, 0)], ("user_ids", "13"): [(False, 0), (True, 1)]}
    expect("committed", tables.lines("before"), expected)
    expect("status", status(tables, sql)[1:], [("wanted", "3"), ("to_remove", "1"), ("to_add", "3")])
    _, changes = changes_of(tables, sql)
    again = [("add", "user_ids", "12"), ("add", "e'mail", "o'x@example.com"), ("remove", "phone", "gone"), ("beside", "user_ids", "13")]
    expect("the next run tries again", changes, sorted(again))


def a_refused_addition_that_is_a_row_of_its_own(tables, sql):
    """Both refused identifiers are rows of the table with nothing else; 12 is in another row too."""
    tables.members((12, None, None, None), (12, "d", None, None), (None, None, "o'x@example.com", None))
    found, _ = changes_of(tables, sql, is_first=True)
    next_night(tables, sql, found, "commit_refused")
    expected = {("user_ids", "12"): [(False, 1), (True, 1)], ("device_ids", "d"): [(True, 1)], ("e'mail", "o'x@example.com"): [(False, 1)]}
    expect("committed", tables.lines("before"), expected)
    found, changes = changes_of(tables, sql)
    sent = [("add", "e'mail", "o'x@example.com"), ("add", "user_ids", "12")]
    expect("changes", (found["before"], found["wanted"], changes), (3, 3, sent))
    # 12 leaves before it was ever added.
    tables.members((None, "d", None, None), (None, None, "o'x@example.com", None))
    _, changes = changes_of(tables, sql)
    expect("changes, gone", changes, [("add", "e'mail", "o'x@example.com"), ("beside", "device_ids", "d"), ("remove", "user_ids", "12")])


def one_identifier_in_many_rows(tables, sql):
    """Of 1's rows one leaves, one comes and one stays; the identifiers of the row that stays are not sent."""
    committed(tables, sql, (1, "d1", None, None), (1, "d2", "a", None), (2, None, "b", None))
    tables.members((1, "d2", "a", None), (1, "d3", None, None), (2, None, "b", None), (2, None, None, "p"))
    found, changes = changes_of(tables, sql)
    expect("counts", found, counts(before=6, wanted=7, entered=2, left=1, removals=1, additions=3, beside=1, moved=1, with_identifier=4))
    sent = [("remove", "device_ids", "d1"), ("beside", "user_ids", "1"), ("add", "device_ids", "d3"), ("add", "phone", "p")]
    expect("changes", changes, sorted(sent))


def refresh(tables, sql):
    """Sent again once in each period, whatever the number of runs; 1,000 spread over it."""
    people = range(1000)
    committed(tables, sql, *[(number, None, None, None) for number in people])
    rows = [[("user_ids", str(number))] for number in people]
    now = int(tables.on.rows("SELECT CAST(to_unixtime(now()) AS BIGINT)")[0][0])
    for age, least, most in [(0, 0, 2), (100_000, 60, 140), (500_000, 430, 570), (1_000_010, 1000, 1000)]:
        tables.before(*[(row, now - age, 1) for row in rows])
        found, changes = changes_of(tables, sql, "every", has_preview=age not in (100_000, 500_000))
        if not (least <= found["refreshed"] <= most and found["refreshed"] == len(changes) == found["additions"]):
            raise AssertionError(f"confirmed {age} s ago: {found}")
        expect("what is due stays confirmed until it is sent", {tuple(lines) for lines in tables.lines("work").values()}, {((True, 1),)})
    expect("off", changes_of(tables, sql)[0]["refreshed"], 0)
    expect("all", changes_of(tables, sql, "all")[0]["refreshed"], 1000)


def an_unchanged_table(tables, sql):
    """Nothing changes between two runs: nothing is sent, and the rows stay the same."""
    rows = [(1, "d", "a", None), (2, None, None, "p"), (1, "d", "a", None)]
    committed(tables, sql, *rows)
    tables.members(*reversed(rows))
    expect("counts", changes_of(tables, sql), (counts(before=5, wanted=5, with_identifier=3), []))
    expect("lines", {len(lines) for lines in tables.lines("work").values()}, {1})


def rows_that_are_parted(tables, sql):
    """Nothing is to be sent, but the state must learn that 1 and its mail address are two rows."""
    committed(tables, sql, (1, None, "a", None), (2, None, None, None))
    tables.members((1, None, None, None), (None, None, "a", None), (2, None, None, None))
    found, changes = changes_of(tables, sql)
    expect("counts", (found, changes), (counts(before=3, wanted=3, moved=2, with_identifier=3), []))
    next_night(tables, sql, found)
    expect("counts, next night", changes_of(tables, sql), (counts(before=3, wanted=3, with_identifier=3), []))


def a_column_that_became_double(tables, sql):
    tables.members((1.5, None, None, None), whole="DOUBLE")
    try:
        tables.run(sql["build_first"])
    except SqlError:
        return
    raise AssertionError("the job does not fail")


def select_all(tables, sql):
    tables.members((-12, "d", " x ", None))
    expect("rows", tables.run(sql["select"]), [("-12", "d", " x ", None)])


def the_rule_for_text(tables, sql):
    # Presto 350 takes two lists, one after the other, for JSON.
    cells = [cell for cell in sql["cells"] if tables.on.version > 350 or cell[0] != "[1][2]"]
    wrong = []
    for begin in range(0, len(cells), 200):
        part = cells[begin : begin + 200]
        values = ", ".join(f"({number}, {unicode_literal(cell)})" for number, (cell, _) in enumerate(part))
        found = dict(tables.on.rows(f"SELECT n, {sql['verdict']} FROM (VALUES {values}) AS t (n, \"cell\")"))
        wrong += [(cell, verdict, found[number]) for number, (cell, verdict) in enumerate(part) if found[number] != verdict]
    expect("cells that are judged differently: (cell, by the reader of files, by SQL)", wrong, [])


def unicode_literal(text):
    """Leaves out control characters in a statement's text, which other tests try."""
    escape = lambda letter: "\\\\" if letter == "\\" else letter.replace("'", "''") if " " <= letter <= "~" else f"\\+{ord(letter):06X}"
    return "U&'" + "".join(map(escape, text)) + "'"


CASES = [
    first_run,
    empty_tables,
    no_member_is_wanted,
    a_changed_identifier,
    a_run_that_was_killed,
    refused_identifiers,
    a_refused_addition_that_is_a_row_of_its_own,
    one_identifier_in_many_rows,
    refresh,
    an_unchanged_table,
    rows_that_are_parted,
    a_column_that_became_double,
    select_all,
    the_rule_for_text,
]


def main():
    # This also ends the engine.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    versions = sys.argv[1:] or ["435", "350"]
    failed, sql = 0, None
    try:
        for version in versions:
            with engine(version) as on:
                sql = sql or tried()
                tables = Tables(on)
                for case in CASES:
                    name = case.__name__.replace("_", " ")
                    try:
                        case(tables, sql)
                        print(f"ok      {version}: {name}", flush=True)
                    except (AssertionError, SqlError) as error:
                        failed += 1
                        print(f"FAILED  {version}: {name}: {error}", flush=True)
    except LeftOut as reason:
        leave_out(reason)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
