"""What is measured: who uploads what to which sink, and in which turns."""

import json
import math
from dataclasses import dataclass, field

from build import PEERS
from measure import Failed, Sink, run, run_directly

CAPACITY = 1000
MILLION = 1_000_000
KEYS = {"BRAZE_CLIENT_SECRET": "a data import key", "BRAZE_PARTNER_API_KEY": "a partner key", "TD_API_KEY": "1/a key"}
# Costs many times what the others do, and differs less: it has a turn in each third round.
SLOW = "requests"
CHECK_ROWS = 20_000


@dataclass
class Case:
    """Clients take turns on the same input and the same sink: A B C A B C."""

    name: str
    clients: list
    rounds: int
    shape: str = "narrow"
    kind: str = "csv"
    rows: int = MILLION
    threads: int = 4
    latency_ms: int = 0
    tls: bool = False
    quota: tuple = ()
    directly: bool = False
    parse: bool = False


@dataclass
class Run:
    """The cost of one client's turn, and what arrived."""

    case: str
    client: str
    round: int
    identifiers: int
    cpu: float
    wall: float
    peak: float
    seen: dict = field(repr=False)


def upload(built, case, client, path, sink):
    """The program's call: arguments and environment."""
    settings = {"cohort_id": "members", "operation": "add", "endpoint": sink.endpoint, "thread_count": case.threads}
    settings |= {"job_id": "1"} if client == "ours from a job" else {"input": str(path)}
    if case.shape == "wide":
        settings["aliases"] = ["email", "phone"]
    if sink.ca_file:
        settings["ca_file"] = str(sink.ca_file)
    config = built.run_folder / "cohort.yml"
    config.write_text(json.dumps(settings), encoding="utf-8")
    return [built.ours, "upload", config, "--json"], KEYS | {"TD_API_SERVER": sink.endpoint}


def command(built, case, client, path, sink):
    """How a client is called."""
    tail = [path, sink.endpoint, case.threads]
    if client.startswith("ours"):
        return upload(built, case, client, path, sink)
    trust = {"SSL_CERT_FILE": str(sink.ca_file), "REQUESTS_CA_BUNDLE": str(sink.ca_file)} if sink.ca_file else {}
    return {
        "floor": ([built.floor, *tail], trust),
        "go": ([built.go, *tail], trust),
        "reqwest": ([built.reqwest, *tail], trust),
        "requests": ([built.python, PEERS / "requests_peer.py", *tail], trust),
    }[client]


def sink_of(built, case):
    options = ["--latency-ms", case.latency_ms]
    if case.parse:
        options.append("--parse")
    if case.quota:
        options += ["--quota", "{}/{}".format(*case.quota)]
    if "ours from a job" in case.clients:
        job, _ = built.input(case.shape, "msgpack.gz", case.rows)
        options += ["--job", job, "--job-rows", case.rows]
    return Sink(built.sink, options, built.run_folder / "ca.pem" if case.tls else None)


def measure(built, case):
    """All turns of a case."""
    path, told = built.input(case.shape, case.kind, case.rows)
    with sink_of(built, case) as sink:
        for number in range(case.rounds):
            for client in case.clients:
                if client in built.missing or (client == SLOW and number % 3 > 0):
                    continue
                argv, extra = command(built, case, client, path, sink)
                sink.seen()
                cost = (run_directly if case.directly else run)(argv, extra, built.run_folder)
                seen = sink.seen()
                judge(case, client, told, seen)
                yield Run(case.name, client, number, told["identifiers"], cost.cpu, cost.wall, cost.peak, seen)


def judge(case, client, told, seen):
    """Refuses a run with other results: its cost means nothing."""
    requests = math.ceil(told["identifiers"] / CAPACITY)
    first_calls = 1 if client.startswith("ours") else 0
    wrong = []
    if seen["requests"] != requests:
        wrong.append(f"{seen['requests']} requests instead of {requests}")
    if seen["first_calls"] != first_calls:
        wrong.append(f"{seen['first_calls']} first calls instead of {first_calls}")
    if seen["bad"]:
        wrong.append(f"{seen['bad']} bad requests")
    if case.parse and (seen["identifiers"], seen["digest"]) != (told["identifiers"], told["digest"]):
        wrong.append(f"{seen['identifiers']} identifiers instead of {told['identifiers']}, or others")
    if wrong:
        raise Failed(f"{case.name}, {client}: " + "; ".join(wrong))


def checks():
    """Whether exactly the identifiers of the input arrive, from every client; before anything is timed."""
    everybody = ["floor", "ours", "go", "reqwest", "requests"]
    without_floor = everybody[1:]

    def case(name, clients, **differs):
        return Case(name, clients, 1, rows=CHECK_ROWS, parse=True, **differs)

    return [
        case("check narrow", [*everybody, "ours from a job"]),
        case("check wide", everybody, shape="wide"),
        case("check gzip", without_floor, kind="csv.gz"),
        case("check TLS", ["ours", "go", "requests"], tls=True),
        Case("check header", ["floor", "ours", "go"], 1, rows=0, parse=True),
    ]


def cases(is_quick, is_big, rounds):
    """In the order of the table."""
    many = rounds or (3 if is_quick else 9)
    few = min(many, 1 if is_quick else 3)
    peers = ["floor", "ours", "go", "reqwest", "requests"]
    # All of the time is spent waiting: what is measured hardly depends on the machine.
    latency = [Case(f"latency {threads}", ["ours"], few, threads=threads, latency_ms=100) for threads in (8, 32)]
    found = [
        Case("narrow", peers, many),
        Case("wide", peers[:4] if is_quick else peers, many, shape="wide"),
        Case("TLS", ["ours", "go", "requests"], many, tls=True),
        Case("gzip", ["ours", "go", "reqwest", "requests"], many, kind="csv.gz"),
        *latency,
        Case("latency 64", ["ours"], few, threads=64, latency_ms=100),
        Case("latency 64 TLS", ["ours"], few, threads=64, latency_ms=100, tls=True),
        Case("header", ["floor", "ours", "go"], many * 5, rows=0, directly=True),
        Case("job", ["ours", "ours from a job"], many, kind="csv.gz"),
        # Two whole periods and the beginning of a third.
        Case("quota", ["ours"], 1, quota=(400, 12 if is_quick else 60)),
    ]
    if is_big:
        found.insert(2, Case("big", ["floor", "ours"], max(many // 2, 1), rows=10 * MILLION))
    return found
