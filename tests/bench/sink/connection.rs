//! One connection of the sink.

use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use crate::seen::{Quota, Seen, Standing, look_into};

const FIRST_BUFFER_BYTES: usize = 64 * 1024;
const SUCCESS: &str = r#"{"message":"success"}"#;

#[derive(Parser)]
pub struct Options {
    /// How long each answer takes.
    #[arg(long, default_value_t = 0)]
    pub latency_ms: u64,
    /// Look into each body: what arrives is counted and compared.
    #[arg(long)]
    pub parse: bool,
    /// Encrypt, and write the CA's certificate to this file.
    #[arg(long)]
    pub tls: Option<PathBuf>,
    /// Keep a limit, `REQUESTS/SECONDS`, and say so in each answer as Braze does.
    #[arg(long, value_parser = Quota::parse)]
    pub quota: Option<Quota>,
    /// Be Treasure Data as well: the result of every job, as msgpack.gz with the only column `user_ids`.
    #[arg(long, requires = "job_rows")]
    pub job: Option<PathBuf>,
    /// How many rows it has.
    #[arg(long)]
    pub job_rows: Option<u64>,
}

/// What all connections share.
pub struct Sink {
    pub options: Options,
    seen: Mutex<Seen>,
}

impl Sink {
    pub fn new(options: Options) -> Self {
        Self { options, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it saw, as JSON; from here on it counts from zero.
    pub fn take_seen(&self) -> String {
        let seen = std::mem::take(&mut *self.seen());
        serde_json::to_string(&seen).unwrap_or_default()
    }
}

/// A request without its body.
struct Head {
    method: String,
    path: String,
    body: Range<usize>,
}

/// Answers requests until the client goes.
pub fn serve(mut stream: impl Read + Write, sink: &Sink) -> io::Result<()> {
    let (mut buffer, mut filled) = (vec![0; FIRST_BUFFER_BYTES], 0);
    loop {
        let Some(head) = read_request(&mut stream, &mut buffer, &mut filled)? else { return Ok(()) };
        if head.method == "GET" {
            answer_job(&mut stream, sink, &head.path)?;
        } else {
            let answer = answer_post(sink, &head.path, &buffer[head.body.clone()]);
            stream.write_all(answer.as_bytes())?;
            stream.flush()?;
        }
        buffer.copy_within(head.body.end..filled, 0);
        filled -= head.body.end;
    }
}

/// Reads head and body; none if the client has gone.
fn read_request(stream: &mut impl Read, buffer: &mut Vec<u8>, filled: &mut usize) -> io::Result<Option<Head>> {
    let mut head: Option<Head> = None;
    loop {
        if head.is_none() {
            head = parse(&buffer[..*filled])?;
        }
        match head {
            Some(head) if head.body.end <= *filled => return Ok(Some(head)),
            Some(Head { ref body, .. }) if body.end > buffer.len() => buffer.resize(body.end, 0),
            _ => {}
        }
        if *filled == buffer.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        match stream.read(&mut buffer[*filled..])? {
            0 => return Ok(None),
            count => *filled += count,
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(start) = request.parse(bytes).map_err(io::Error::other)? else { return Ok(None) };
    let is_length = |header: &&httparse::Header| header.name.eq_ignore_ascii_case("content-length");
    let length = match request.headers.iter().find(is_length) {
        None => 0,
        Some(header) => std::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()).unwrap_or(0),
    };
    let text = |part: Option<&str>| part.unwrap_or_default().to_owned();
    Ok(Some(Head { method: text(request.method), path: text(request.path), body: start..start + length }))
}

fn answer_post(sink: &Sink, path: &str, body: &[u8]) -> String {
    let (is_first_call, is_users) = (path.ends_with("/cohorts"), path.ends_with("/cohorts/users"));
    if body.is_empty() || !(is_first_call || is_users) {
        sink.seen().bad += 1;
        return response("400 Bad Request", "", r#"{"message":"not understood"}"#);
    }
    let standing = {
        let mut seen = sink.seen();
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        sink.options.quota.map(|quota| (quota, quota.admit(&mut seen)))
    };
    let found = if sink.options.parse && is_users { look_into(body) } else { Some((0, 0)) };
    thread::sleep(Duration::from_millis(sink.options.latency_ms));
    let mut seen = sink.seen();
    seen.in_flight = seen.in_flight.saturating_sub(1);
    seen.body_bytes += body.len() as u64;
    let headers = standing.map_or_else(String::new, |(quota, standing)| limit_headers(quota, standing));
    if standing.is_some_and(|(_, standing)| !standing.is_admitted) {
        return response("429 Too Many Requests", &headers, r#"{"message":"rate limited"}"#);
    }
    match found {
        None => {
            seen.bad += 1;
            return response("400 Bad Request", &headers, r#"{"message":"not understood"}"#);
        }
        Some(_) if is_first_call => seen.first_calls += 1,
        Some((count, sum)) => {
            seen.requests += 1;
            seen.identifiers += count;
            seen.digest = seen.digest.wrapping_add(sum);
        }
    }
    response("201 Created", &headers, SUCCESS)
}

fn limit_headers(quota: Quota, standing: Standing) -> String {
    let (limit, Standing { remaining, reset_at, .. }) = (quota.requests, standing);
    format!("X-RateLimit-Limit: {limit}\r\nX-RateLimit-Remaining: {remaining}\r\nX-RateLimit-Reset: {reset_at}\r\n")
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

fn answer_job(stream: &mut impl Write, sink: &Sink, path: &str) -> io::Result<()> {
    let (Some(result), Some(rows)) = (&sink.options.job, sink.options.job_rows) else {
        sink.seen().bad += 1;
        return stream.write_all(response("404 Not Found", "", "{}").as_bytes());
    };
    if path.starts_with("/v3/job/show/") {
        let schema = r#"[["user_ids", "varchar"]]"#;
        let job = json!({"status": "success", "num_records": rows, "hive_result_schema": schema});
        return stream.write_all(response("200 OK", "", &job.to_string()).as_bytes());
    }
    let mut file = File::open(result)?;
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.metadata()?.len())?;
    io::copy(&mut file, stream)?;
    stream.flush()
}
