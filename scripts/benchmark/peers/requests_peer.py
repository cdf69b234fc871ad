"""The same upload with Python's csv, a thread pool and requests, as one would write it for good.

usage: requests_peer.py FILE ENDPOINT THREADS
"""

import csv
import gzip
import itertools
import sys
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import requests
from requests.adapters import HTTPAdapter, Retry

CAPACITY = 1000
ALIASES = {"email", "phone"}


def identifiers(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        wanted = [(place, name) for place, name in enumerate(next(rows)) if name in {"user_ids", "device_ids"} | ALIASES]
        for row in rows:
            for place, name in wanted:
                if row[place]:
                    yield name, row[place]


def changes(path):
    every = identifiers(path)
    while some := list(itertools.islice(every, CAPACITY)):
        change = {"user_ids": [], "device_ids": [], "aliases": [], "should_remove": False}
        for name, cell in some:
            if name in ALIASES:
                change["aliases"].append({"alias_label": name, "alias_name": cell})
            else:
                change[name].append(cell)
        yield change


def main():
    path, endpoint, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    retries = Retry(5, backoff_factor=0.5, status_forcelist=[429, 500, 502, 503, 504], allowed_methods=None)
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=threads, max_retries=retries))

    def send(change):
        keys = {"partner_api_key": "a partner key", "client_secret": "a data import key", "cohort_id": "members"}
        url = f"{endpoint}/partners/treasure_data/cohorts/users"
        session.post(url, json=keys | {"cohort_changes": [change]}, timeout=60).raise_for_status()

    with ThreadPoolExecutor(threads) as pool:
        running = set()
        for change in changes(path):
            # So many wait at most: the file does not end up in memory.
            if len(running) >= 2 * threads:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for sent in done:
                    sent.result()
            running.add(pool.submit(send, change))
        for sent in running:
            sent.result()


if __name__ == "__main__":
    main()
