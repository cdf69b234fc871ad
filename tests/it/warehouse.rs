//! A stand-in for Treasure Data with tables. It has the effect of a mirror's statements, without an SQL engine. It knows a statement
//! by its first line; `scripts/mirror_sql.py` tries the statements themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Run, TD_KEY};

/// A kind and a value.
type Identifier = (String, String);
type Row = BTreeSet<Identifier>;

/// What a version holds.
#[derive(Clone, Debug, Default)]
struct State {
    rows: Vec<Row>,
    wanted: Row,
    confirmed: Row,
    before: Row,
}

#[derive(Default)]
struct Tables {
    columns: Vec<(String, String)>,
    members: Vec<Row>,
    states: BTreeMap<String, (u64, State)>,
    jobs: Vec<(String, String, Vec<Vec<String>>)>,
    /// The jobs whose result lacks its last row.
    cut: Vec<usize>,
    keys: BTreeMap<String, usize>,
    asked: Vec<String>,
    faults: Vec<Fault>,
}

/// A fault that happens once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A job whose first line holds this fails.
    JobFails(&'static str),
    /// A job whose first line holds this never ends.
    JobHangs(&'static str),
    /// The last row of a job whose first line holds this is missing from its result.
    RowIsMissing(&'static str),
    /// A rename is done, and its answer lost.
    RenameIsLost,
    /// Renames overwrite, from now on.
    RenamesOverwrite,
    /// Jobs have no number of rows, from now on.
    RowsAreUnknown,
    /// Tables cannot be deleted, from now on.
    DeletesAreRefused,
    /// From this number of lists on, each list of the tables has a newer version.
    NewerVersion(usize),
}

pub struct Warehouse {
    endpoint: String,
    tables: Arc<Mutex<Tables>>,
}

impl Warehouse {
    /// With a table `marketing.gold` of `user_ids` and `email`.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let columns = ["user_ids", "email"].map(|name| (name.to_owned(), "string".to_owned())).to_vec();
        let tables = Arc::new(Mutex::new(Tables { columns, ..Tables::default() }));
        let shared = Arc::clone(&tables);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let tables = Arc::clone(&shared);
                // The client may leave, so an error is not a failure.
                thread::spawn(move || serve(connection, &tables).ok());
            }
        });
        Self { endpoint, tables }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap()
    }

    /// The table holds these rows from now on: an external ID and a mail address each, either of which may be empty.
    pub fn holds(&self, rows: &[(&str, &str)]) {
        let cell = |kind: &str, value: &str| (!value.is_empty()).then(|| (kind.to_owned(), value.to_owned()));
        let row = |(id, email): &(&str, &str)| cell("user_ids", id).into_iter().chain(cell("email", email)).collect();
        self.tables().members = rows.iter().map(row).collect();
    }

    /// The table has these columns from now on.
    pub fn has_columns(&self, columns: &[(&str, &str)]) {
        self.tables().columns = columns.iter().map(|(name, of)| ((*name).to_owned(), (*of).to_owned())).collect();
    }

    /// From now on this fault happens.
    pub fn suffers(&self, fault: Fault) {
        self.tables().faults.push(fault);
    }

    /// The names of the state's tables.
    pub fn states(&self) -> Vec<String> {
        self.tables().states.keys().cloned().collect()
    }

    /// There is a table of this name, too, with the state of another.
    pub fn has_state(&self, name: &str, other: &str) {
        let mut tables = self.tables();
        let state = tables.states[other].1.clone();
        tables.make(name, state);
    }

    /// All requests so far, as method and path.
    pub fn asked(&self) -> Vec<String> {
        self.tables().asked.clone()
    }

    /// The first lines of all jobs so far.
    pub fn jobs(&self) -> Vec<String> {
        self.tables().jobs.iter().map(|(statement, ..)| statement.lines().next().unwrap().to_owned()).collect()
    }

    /// This run as a mirror of its table, with deadlines of a second.
    pub fn mirrors(&self, run: Run) -> Run {
        let run = run.unset("input").set("operation", "mirror").set("table", "marketing.gold").set("aliases", "email");
        let run = run.set("request_timeout", "1s").set("grace", "1s").set("cohort_name", "Gold");
        run.env("TD_API_KEY", TD_KEY).env("TD_API_SERVER", &self.endpoint)
    }
}

fn serve(connection: TcpStream, tables: &Mutex<Tables>) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    let (mut line, mut length, mut authorization) = (String::new(), 0, String::new());
    reader.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut authorization),
            "content-length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let reply = if authorization == format!("TD1 {TD_KEY}") {
        tables.lock().unwrap().reply(&method, &path, &String::from_utf8(body).unwrap())
    } else {
        Some((401, json!({"error": "Invalid API key"}).to_string()))
    };
    let Some((status, body)) = reply else { return Ok(()) };
    let head = format!(
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    reader.into_inner().write_all(&[head.as_bytes(), body.as_bytes()].concat())
}

impl Tables {
    /// Whether this fault is due. It happens only once.
    fn takes(&mut self, is_meant: impl Fn(&Fault) -> bool) -> bool {
        let found = self.faults.iter().position(is_meant);
        found.map(|index| self.faults.remove(index)).is_some()
    }

    /// Status and body; nothing if the connection just ends.
    fn reply(&mut self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        self.asked.push(format!("{method} {path}"));
        let path = path.strip_prefix("/v3/").unwrap();
        let parts: Vec<_> = path.split(['/', '?']).collect();
        let refused = |status| Some((status, json!({"error": "said by TD"}).to_string()));
        let answer = match (method, parts.as_slice()) {
            ("GET", ["table", "show", "marketing", "gold"]) => json!({"schema": json!(self.columns).to_string()}),
            ("GET", ["table", "list", "marketing"]) => self.list(),
            ("POST", ["table", "create", _, table, "log"]) => {
                if self.states.contains_key(*table) {
                    return refused(409);
                }
                self.make(table, State::default());
                json!({})
            }
            ("POST", ["table", "delete", _, table]) => {
                if self.faults.contains(&Fault::DeletesAreRefused) {
                    return refused(400);
                }
                if self.states.remove(*table).is_none() {
                    return refused(404);
                }
                json!({})
            }
            ("POST", ["table", "rename", _, from, to]) => {
                let is_free = !self.states.contains_key(*to) || self.faults.contains(&Fault::RenamesOverwrite);
                if !is_free || !self.states.contains_key(*from) {
                    return refused(409);
                }
                let state = self.states.remove(*from).unwrap();
                self.states.insert((*to).to_owned(), state);
                if self.takes(|fault| *fault == Fault::RenameIsLost) {
                    return None;
                }
                json!({})
            }
            ("POST", ["job", "issue", ..]) => return Some(self.issue(body)),
            ("GET", ["job", "status_by_domain_key", key]) => json!({"job_id": self.keys[*key].to_string()}),
            ("POST", ["job", "kill", _]) => json!({}),
            ("GET", ["job", "show", id]) => {
                let (statement, status, rows) = &self.jobs[id.parse::<usize>().unwrap()];
                let number = (!self.faults.contains(&Fault::RowsAreUnknown)).then_some(rows.len());
                json!({"status": status, "num_records": number, "query": statement, "hive_result_schema": null})
            }
            ("GET", ["job", "result", id, _]) => {
                let id = id.parse::<usize>().unwrap();
                let rows = &self.jobs[id].2;
                let sent = rows.len() - usize::from(self.cut.contains(&id));
                let lines = rows[..sent].iter().map(|row| format!("{}\n", json!(row)));
                return Some((200, lines.collect()));
            }
            _ => return refused(404),
        };
        Some((200, answer.to_string()))
    }

    fn list(&self) -> Value {
        let lists = self.asked.iter().filter(|asked| asked.contains("/table/list/")).count();
        let listed = |(name, (id, _)): (&String, &(u64, State))| json!({"name": name, "id": id});
        let mut tables: Vec<_> = self.states.iter().map(listed).collect();
        for fault in &self.faults {
            if let Fault::NewerVersion(after) = fault
                && lists > *after
                && let Some(base) = self.states.keys().next().and_then(|name| name.rsplit_once('_'))
            {
                tables.push(json!({"name": format!("{}_99", base.0), "id": 99_000}));
            }
        }
        json!({ "tables": tables })
    }

    fn make(&mut self, table: &str, state: State) {
        let id = 1000 + self.asked.len() as u64;
        self.states.insert(table.to_owned(), (id, state));
    }

    fn issue(&mut self, body: &str) -> (u16, String) {
        let form: BTreeMap<String, String> =
            body.split('&').filter_map(|pair| pair.split_once('=')).map(decoded).collect();
        if self.keys.contains_key(&form["domain_key"]) {
            return (409, json!({"error": "domain_key has already been taken"}).to_string());
        }
        let statement = form["query"].clone();
        let first = statement.lines().next().unwrap().to_owned();
        let is_meant = |part: &str| first.contains(part);
        let status = if self.takes(|fault| matches!(fault, Fault::JobFails(part) if is_meant(part))) {
            "error"
        } else if self.takes(|fault| matches!(fault, Fault::JobHangs(part) if is_meant(part))) {
            "running"
        } else {
            "success"
        };
        let rows = if status == "success" { self.execute(&first, &statement) } else { Vec::new() };
        if self.takes(|fault| matches!(fault, Fault::RowIsMissing(part) if is_meant(part))) {
            self.cut.push(self.jobs.len());
        }
        self.keys.insert(form["domain_key"].clone(), self.jobs.len());
        self.jobs.push((statement, status.to_owned(), rows));
        (200, json!({"job_id": (self.jobs.len() - 1).to_string()}).to_string())
    }

    fn execute(&mut self, first: &str, statement: &str) -> Vec<Vec<String>> {
        let named: Vec<&str> =
            statement.split("\"marketing\".\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let known = |name: &&str| self.states.contains_key(*name);
        let source = named.iter().copied().find(known).map(str::to_owned);
        let state = source.map(|name| self.states[&name].1.clone()).unwrap_or_default();
        if first.contains("compare the members' table with the last version") {
            let built = self.built(&state);
            self.make(named[0], built);
        } else if first.contains("find what to remove and add") {
            return changes(&state);
        } else if first.contains("count what would be removed and added") {
            let built = self.built(&state);
            let mut rows = changes(&built);
            for row in &mut rows {
                row[1..3].fill(String::new());
            }
            return rows;
        } else if first.contains("confirm what is wanted, except what was refused") {
            let is_refused = |identifier: &&Identifier| {
                statement.contains(&format!("'{}' || chr(9) || '{}'", identifier.0, identifier.1))
            };
            let confirmed = state.wanted.iter().filter(|identifier| !is_refused(identifier)).cloned().collect();
            let rows = state.rows.iter().filter(|row| row.is_subset(&state.wanted)).cloned().collect();
            self.make(named[0], State { rows, confirmed, ..state });
        } else if first.contains("how far the state is") {
            let count = |name: &str, count: usize| vec![name.to_owned(), count.to_string()];
            let all = all(&state.rows);
            return vec![
                count("committed", 1_795_435_200),
                count("wanted", state.wanted.len()),
                count("to_remove", all.difference(&state.wanted).count()),
                count("to_add", state.wanted.difference(&state.confirmed).count()),
            ];
        }
        Vec::new()
    }

    /// The next version: the wanted members, and the rows of the version before that have a member to remove.
    fn built(&self, before: &State) -> State {
        let wanted = all(&self.members);
        let removed: Row = all(&before.rows).difference(&wanted).cloned().collect();
        let kept = before.rows.iter().filter(|row| !row.is_disjoint(&removed)).cloned();
        let mates: Row = kept.clone().flatten().collect();
        let confirmed = before.confirmed.difference(&mates).filter(|one| wanted.contains(*one)).cloned().collect();
        State {
            rows: self.members.iter().cloned().chain(kept).collect(),
            wanted,
            confirmed,
            before: before.wanted.clone(),
        }
    }
}

fn all(rows: &[Row]) -> Row {
    rows.iter().flatten().cloned().collect()
}

/// An identifier that changes each: `change`, `kind`, `value`, `before`, and 1. Then the counts.
fn changes(state: &State) -> Vec<Vec<String>> {
    let row = |one: &Identifier| {
        let was_wanted = state.before.contains(one);
        let (is_wanted, is_confirmed) = (state.wanted.contains(one), state.confirmed.contains(one));
        let (kind, value) = one.clone();
        let change = match (is_wanted, is_confirmed, was_wanted) {
            (false, ..) => "remove",
            (true, true, _) => return None,
            (true, false, true) => "beside",
            (true, false, false) => "add",
        };
        let before = if was_wanted { "wanted" } else { "unknown" };
        Some(vec![change.to_owned(), kind, value, before.to_owned(), "1".to_owned()])
    };
    let count = |name: &str, number: usize| [name, "", "", "", &number.to_string()].map(str::to_owned).to_vec();
    let counts = [
        ("with_identifier", state.rows.len()),
        ("without_identifier", 0),
        ("rejected", 0),
        ("before", state.before.len()),
    ];
    let counts = counts.map(|(name, number)| count(name, number));
    all(&state.rows).iter().filter_map(row).chain(counts).collect()
}

fn decoded((name, value): (&str, &str)) -> (String, String) {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    (name.to_owned(), decode(value))
}
