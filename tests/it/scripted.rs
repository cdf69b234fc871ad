//! A server for behaviour that no sandbox has: it reads a request, and does what the test's script says with the connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub struct Seen {
    /// From 0, in the order of arrival.
    pub number: usize,
    pub path: String,
    pub body: Value,
    /// Whether it was answered with "success".
    pub accepted: bool,
    /// When it had arrived.
    pub arrived: Instant,
}

impl Seen {
    /// Whether it is the one that carries members.
    pub fn has_members(&self) -> bool {
        !self.user_ids().is_empty()
    }

    /// The external IDs of all its changes.
    pub fn user_ids(&self) -> Vec<String> {
        let changes = self.body["cohort_changes"].as_array().cloned().unwrap_or_default();
        let ids = changes.iter().filter_map(|change| change["user_ids"].as_array()).flatten();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    }
}

/// What happens to the connection. It is closed afterwards in any case.
pub enum Act {
    /// These bytes are written.
    Write(Vec<u8>),
    /// It is reset without an answer.
    Reset,
    /// It is closed without an answer.
    Close,
    /// Nothing happens until the client goes.
    Silence,
    /// The same, after this time.
    Later(Duration, Box<Act>),
    /// The same, once this is set.
    When(Arc<AtomicBool>, Box<Act>),
}

impl Act {
    /// A whole answer in JSON.
    pub fn json(status: &str, body: &Value) -> Self {
        Self::answer(status, "application/json", "Connection: close\r\n", &body.to_string())
    }

    /// Braze's answer to a request that it accepts.
    pub fn success() -> Self {
        Self::json("201 Created", &json!({"message": "success"}))
    }

    /// Braze's answer to a request that it does not accept.
    pub fn message(status: &str, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    /// A whole answer of any type, with more header lines.
    pub fn answer(status: &str, content_type: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n{headers}\r\n");
        Self::Write((head + body).into_bytes())
    }

    /// A successful answer of which only the beginning arrives.
    pub fn half_a_success() -> Self {
        Self::Write(
            b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{\"mess".to_vec(),
        )
    }

    fn is_success(&self) -> bool {
        match (self, Self::success()) {
            (Self::Write(bytes), Self::Write(success)) => *bytes == success,
            (Self::Later(_, act) | Self::When(_, act), _) => act.is_success(),
            _ => false,
        }
    }
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

/// A running server; it ends with the test program.
pub struct Scripted {
    endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// Answers each request with the script.
    pub fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let script: Arc<Script> = Arc::new(script);
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&shared));
                // The client may leave, so an error is not a failure.
                thread::spawn(move || serve(connection, &*script, &seen).ok());
            }
        });
        Self { endpoint, seen }
    }

    /// Accepts the call without members, and answers the others with the script.
    pub fn for_members(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::start(move |seen| if seen.has_members() { script(seen) } else { Act::success() })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The external IDs that were accepted, sorted, each as often as it was.
    pub fn accepted_user_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.seen().iter().filter(|seen| seen.accepted).flat_map(Seen::user_ids).collect();
        ids.sort();
        ids
    }
}

/// An address where no server listens: a port of the system, which no test gets.
pub fn dead_endpoint() -> String {
    "http://127.0.0.1:1".to_owned()
}

fn serve(connection: TcpStream, script: &Script, seen: &Mutex<Vec<Seen>>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1, connection);
    let (path, length) = read_head(&mut reader)?;
    // The last byte stays unread for now: closing with it unread resets the connection.
    let mut body = vec![0; length];
    reader.read_exact(&mut body[..length - 1])?;
    let mut connection = reader.into_inner();
    connection.peek(&mut body[length - 1..])?;
    let act = {
        let mut seen = seen.lock().unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let mut request = Seen { number: seen.len(), path, body, accepted: false, arrived: Instant::now() };
        let act = script(&request);
        request.accepted = act.is_success();
        seen.push(request);
        act
    };
    if matches!(act, Act::Reset) {
        return Ok(());
    }
    connection.read_exact(&mut [0])?;
    run(act, &mut connection)
}

fn run(act: Act, connection: &mut TcpStream) -> io::Result<()> {
    match act {
        Act::Write(bytes) => connection.write_all(&bytes),
        Act::Silence => connection.read(&mut [0]).map(drop),
        Act::Later(delay, act) => {
            thread::sleep(delay);
            run(*act, connection)
        }
        Act::When(is_set, act) => {
            while !is_set.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            run(*act, connection)
        }
        Act::Reset | Act::Close => Ok(()),
    }
}

fn read_head(reader: &mut impl BufRead) -> io::Result<(String, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
    let mut length = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
    }
    Ok((path, length.filter(|length| *length > 0).ok_or(io::ErrorKind::InvalidData)?))
}
