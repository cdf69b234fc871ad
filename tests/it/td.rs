//! A stand-in for Treasure Data's job API: it answers each request with the test's script, and records the requests.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::formats::gzip;
use crate::support::{Run, TD_KEY};

/// The job in all of these tests.
pub const JOB: &str = "4711";

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Whether it asks for the job's status, or for its result.
    pub is_show: bool,
    /// From 0, among those of its kind.
    pub number: usize,
    pub path: String,
    /// It wants a part of the result.
    pub has_range: bool,
    pub authorization: String,
}

/// What happens to the connection. It is closed afterwards in any case.
pub enum Reply {
    /// These bytes are written.
    Bytes(Vec<u8>),
    /// This much of a result, and then nothing until the client closes the connection.
    Hang(Vec<u8>),
    /// Nothing happens until the client goes.
    Silence,
}

/// A running server; it ends with the test program.
pub struct Td {
    endpoint: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

impl Td {
    /// Answers each request that has the right key with the script, and any other with 401.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let (script, shared): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&asked));
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (script, asked) = (Arc::clone(&script), Arc::clone(&shared));
                // The client may leave, so an error is not a failure.
                thread::spawn(move || serve(connection, &*script, &asked).ok());
            }
        });
        Self { endpoint, asked }
    }

    /// A job that has ended, with this result and these answers to the question for it.
    pub fn with_result(job: Value, result: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(move |asked| if asked.is_show { Reply::json(&job) } else { result(asked) })
    }

    /// A job that has ended with this many rows of `user_ids`, `u0` and so on.
    pub fn with_rows(count: usize) -> Self {
        let bytes = gzip(&user_ids(count));
        Self::with_result(success(count), move |_| Reply::whole(&bytes))
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Those for the result.
    pub fn downloads(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| !asked.is_show).collect()
    }

    /// This run, with the job instead of a file.
    pub fn feeds(&self, run: Run) -> Run {
        let run = run.unset("input").set("job_id", JOB);
        run.env("TD_API_KEY", TD_KEY).env("TD_API_SERVER", &self.endpoint)
    }
}

impl Reply {
    /// A whole answer.
    pub fn answer(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n", body.len());
        Self::Bytes([head.as_bytes(), body].concat())
    }

    pub fn json(value: &Value) -> Self {
        Self::answer("200 OK", "Content-Type: application/json\r\n", value.to_string().as_bytes())
    }

    pub fn error(status: &str) -> Self {
        let body = json!({"error": "said by TD", "severity": "error"}).to_string();
        Self::answer(status, "Content-Type: application/json\r\n", body.as_bytes())
    }

    /// The result.
    pub fn whole(bytes: &[u8]) -> Self {
        Self::answer("200 OK", "Content-Type: application/octet-stream\r\n", bytes)
    }

    /// The same, without its last bytes.
    pub fn cut_by(self, bytes: usize) -> Self {
        match self {
            Self::Bytes(mut all) => {
                all.truncate(all.len() - bytes);
                Self::Bytes(all)
            }
            other => other,
        }
    }
}

/// The answer of `job/show`, with the one column `user_ids`.
pub fn job(status: &str, rows: &Value) -> Value {
    json!({
        "job_id": JOB, "status": status, "num_records": rows, "query": "SELECT 1", "debug": {"cmdout": null},
        "hive_result_schema": "[[\"user_ids\", \"varchar\"]]",
    })
}

/// The same for one that has ended.
pub fn success(rows: usize) -> Value {
    job("success", &rows.into())
}

/// This many rows, `u0` and so on.
pub fn user_ids(count: usize) -> Vec<u8> {
    let row = |number| [vec![0x91], text(&format!("u{number}"))].concat();
    (0..count).flat_map(row).collect()
}

/// Text in `MessagePack`.
pub fn text(text: &str) -> Vec<u8> {
    [&[0xd9, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn serve(connection: TcpStream, script: &Script, asked: &Mutex<Vec<Asked>>) -> io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut request = Asked::default();
    let mut line = String::new();
    reader.read_line(&mut line)?;
    line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.clone_into(&mut request.path);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim().clone_into(&mut request.authorization),
            "range" => request.has_range = true,
            _ => {}
        }
    }
    request.is_show = request.path == format!("/v3/job/show/{JOB}");
    let is_result = request.path == format!("/v3/job/result/{JOB}?format=msgpack.gz");
    {
        let mut asked = asked.lock().unwrap();
        request.number = asked.iter().filter(|other| other.is_show == request.is_show).count();
        asked.push(request.clone());
    }
    let reply = if request.authorization != format!("TD1 {TD_KEY}") {
        Reply::error("401 Unauthorized")
    } else if request.is_show || is_result {
        script(&request)
    } else {
        Reply::error("404 Not Found")
    };
    let mut connection = reader.into_inner();
    match reply {
        Reply::Bytes(bytes) => connection.write_all(&bytes),
        Reply::Hang(bytes) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len() + 1);
            connection.write_all(&[head.as_bytes(), &bytes].concat())?;
            connection.read(&mut [0]).map(drop)
        }
        Reply::Silence => connection.read(&mut [0]).map(drop),
    }
}
