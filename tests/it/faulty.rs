//! A proxy in front of the sandbox. Every n-th request fails in one of the ways that [`Faulty::start`] lists.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rstest::rstest;
use td_braze_cohort::sandbox::Sandbox;

use crate::support::{PARTNER_KEY, SECRET, braze};

const JSON: &str = "Content-Type: application/json\r\n";
const PAGE: &str = "<!doctype html><title>Sign in</title><p>Please sign in to use this network.</p>";
const INTERIM: &str =
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";

/// A kind of fault, and that it happens to every n-th request.
type Rule = (String, usize);

/// The path of each request, and how it failed, if it did.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A running proxy with its sandbox; it ends with the test program.
pub struct Faulty {
    pub braze: Sandbox,
    endpoint: String,
    seen: Seen,
}

impl Faulty {
    /// With rules such as `reset_before` or, for every third request, `reset_before:3`; the first that is due counts.
    ///
    /// The sandbox does not apply `unavailable` (503), `reset_before`, `reset_in_body`, `early_answer` (503 before the body is read),
    /// `redirect`, `html`. It applies all others, whatever answer the client gets: `reset_after_body`, `reset_in_answer`,
    /// `half_answer` and `half_chunk` (closed within it), `no_answer`, `garbage_status`, `garbage_length`, `endless_body`,
    /// `endless_headers`, `close_after` (a kept connection); and good answers: `drip`, `http_1_0`, `chunked`, `interim`.
    pub fn start(rules: &[&str]) -> Self {
        let rules: Arc<Vec<Rule>> = Arc::new(rules.iter().map(|rule| parsed(rule)).collect());
        let braze = braze();
        let upstream = braze.endpoint().trim_start_matches("http://").to_owned();
        let seen = Seen::default();
        let shared = Arc::clone(&seen);
        let endpoint = serve_each(move |client| {
            let next = |path: &str| {
                let mut seen = shared.lock().unwrap();
                let number = seen.len() + 1;
                let fault = rules.iter().find(|(_, every)| number.is_multiple_of(*every)).map(|(kind, _)| kind.clone());
                seen.push((path.to_owned(), fault.clone()));
                fault
            };
            let mut upstream = BufReader::new(TcpStream::connect(&upstream)?);
            let mut client = BufReader::with_capacity(1, client);
            while let Some(head) = read_head(&mut client)? {
                let fault = next(head.split(' ').nth(1).unwrap());
                if !answer(fault.as_deref(), &head, &mut client, &mut upstream)? {
                    break;
                }
            }
            Ok(())
        });
        Self { braze, endpoint, seen }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// How many requests went wrong in this way.
    pub fn faults(&self, kind: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(_, fault)| fault.as_deref() == Some(kind)).count()
    }

    /// Requests that arrived, with any result: to name the cohort, to change its members, or others.
    pub fn requests(&self) -> (usize, usize, usize) {
        let seen = self.seen.lock().unwrap();
        let to = |end: &str| seen.iter().filter(|(path, _)| path.ends_with(end)).count();
        let (naming, users) = (to("/cohorts"), to("/cohorts/users"));
        (naming, users, seen.len() - naming - users)
    }
}

fn parsed(rule: &str) -> Rule {
    let (kind, every) = rule.split_once(':').unwrap_or((rule, "1"));
    (kind.to_owned(), every.parse().unwrap())
}

/// Listens on a free port and hands each connection to a thread of its own; returns the endpoint.
pub fn serve_each(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            // The client may leave, so an error is not a failure.
            thread::spawn(move || serve(connection).ok());
        }
    });
    endpoint
}

/// A head with the empty line after it; `None` at the end of the connection.
pub fn read_head(from: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// The length of the body after this head.
fn length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().map_or(0, |(_, length)| length.parse().unwrap())
}

/// The body after this head.
pub fn read_body(from: &mut impl Read, head: &str) -> io::Result<Vec<u8>> {
    let mut body = vec![0; length(head)];
    from.read_exact(&mut body)?;
    Ok(body)
}

/// Answers one request with the fault. Returns whether the connection accepts another request.
fn answer(
    fault: Option<&str>,
    head: &str,
    client: &mut BufReader<TcpStream>,
    upstream: &mut BufReader<TcpStream>,
) -> io::Result<bool> {
    let fault = fault.unwrap_or_default();
    let unavailable = format!("HTTP/1.1 503 Service Unavailable\r\n{JSON}Content-Length: 2\r\n");
    let mut body = vec![0; length(head)];
    // Closing a connection with unread bytes resets it, so the last byte is left unread for now.
    let (first, last) = body.split_at_mut(length(head) - 1);
    match fault {
        "reset_before" => return client.get_ref().peek(last).map(|_| false),
        "reset_in_body" => {
            client.read_exact(&mut first[length(head) / 2..])?;
            return client.get_ref().peek(last).map(|_| false);
        }
        "early_answer" => {
            client.get_mut().write_all(format!("{unavailable}Connection: close\r\n\r\n{{}}").as_bytes())?;
            client.get_ref().shutdown(Shutdown::Write)?;
            return io::copy(client, &mut io::sink()).map(|_| false);
        }
        _ => client.read_exact(first)?,
    }
    client.get_ref().peek(last)?;
    let not_applied = match fault {
        "unavailable" => Some((format!("{unavailable}\r\n{{}}"), true)),
        "redirect" => Some((
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
            false,
        )),
        "html" => {
            let length = PAGE.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n");
            Some((head + PAGE, false))
        }
        _ => None,
    };
    if let Some((answer, stays)) = not_applied {
        client.read_exact(last)?;
        return client.get_mut().write_all(answer.as_bytes()).map(|()| stays);
    }
    upstream.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
    let head = read_head(upstream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let said = String::from_utf8(read_body(upstream, &head)?).unwrap();
    applied(fault, client, &head, &said)
}

/// What the client gets for a request that the sandbox has answered with this. The last byte of its body is still unread.
fn applied(fault: &str, client: &mut BufReader<TcpStream>, head: &str, said: &str) -> io::Result<bool> {
    let whole = format!("{head}{said}");
    let (half, rest) = said.split_at(said.len() / 2);
    let status = head.lines().next().unwrap();
    let chunks = format!(
        "{status}\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n",
        half.len(),
        rest.len()
    );
    match fault {
        "reset_after_body" => return Ok(false),
        "reset_in_answer" => return client.get_mut().write_all(format!("{head}{half}").as_bytes()).map(|()| false),
        _ => client.read_exact(&mut [0])?,
    }
    let (answer, stays) = match fault {
        "" => (whole, true),
        "half_answer" => (format!("{head}{half}"), false),
        "half_chunk" => (chunks, false),
        "no_answer" => return client.read(&mut [0]).map(|_| false),
        "drip" => {
            for byte in whole.bytes() {
                client.get_mut().write_all(&[byte])?;
                thread::sleep(Duration::from_millis(1));
            }
            return Ok(true);
        }
        "garbage_status" => ("SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(), false),
        "garbage_length" => (format!("{status}\r\n{JSON}Content-Length: many\r\n\r\n"), false),
        "endless_body" => return forever(client.get_mut(), &format!("{status}\r\n{JSON}\r\n"), &" ".repeat(4096)),
        "endless_headers" => {
            return forever(client.get_mut(), &format!("{status}\r\n"), "X-More: and more, and more\r\n");
        }
        "http_1_0" => (format!("{}\r\n{JSON}\r\n{said}", status.replace("HTTP/1.1", "HTTP/1.0")), false),
        "chunked" => (chunks + "0\r\n\r\n", true),
        "interim" => (INTERIM.to_owned() + &whole, true),
        "close_after" => (whole, false),
        other => panic!("there is no fault {other}"),
    };
    client.get_mut().write_all(answer.as_bytes()).map(|()| stays)
}

fn forever(client: &mut TcpStream, begin: &str, more: &str) -> io::Result<bool> {
    client.write_all(begin.as_bytes())?;
    loop {
        client.write_all(more.as_bytes())?;
    }
}

/// What a client gets for its one request, whether a reset ends it, and whether it was applied.
fn heard(kind: &str) -> (String, bool, bool) {
    let faulty = Faulty::start(&[kind]);
    let body = format!(
        r#"{{"client_secret":"{SECRET}","partner_api_key":"{PARTNER_KEY}","cohort_id":"c","cohort_changes":[{{"user_ids":["a"]}}]}}"#
    );
    let mut socket = TcpStream::connect(faulty.endpoint().trim_start_matches("http://")).unwrap();
    let length = body.len();
    let head = "POST /partners/treasure_data/cohorts/users HTTP/1.1\r\nConnection: close\r\n";
    socket.write_all(format!("{head}{JSON}Content-Length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    let patience = Duration::from_millis(if kind == "no_answer" { 500 } else { 10_000 });
    socket.set_read_timeout(Some(patience)).unwrap();
    if ["unavailable", "drip", "chunked", "interim"].contains(&kind) {
        socket.shutdown(Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    let end = (&mut socket).take(1_000_000).read_to_end(&mut answer);
    let is_reset = end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
    assert_eq!(faulty.faults(kind), 1);
    (String::from_utf8(answer).unwrap(), is_reset, faulty.braze.cohort("c").is_some_and(|cohort| cohort.members == 1))
}

#[rstest]
#[case("unavailable", "HTTP/1.1 503 ", "}", false, false)]
#[case("reset_before", "", "", true, false)]
#[case("reset_in_body", "", "", true, false)]
#[case("reset_after_body", "", "", true, true)]
#[case("reset_in_answer", "HTTP/1.1 201 ", "{\"message\"", true, true)]
#[case("half_answer", "HTTP/1.1 201 ", "{\"message\"", false, true)]
#[case("half_chunk", "HTTP/1.1 201 ", "success\"}\r\n", false, true)]
#[case("no_answer", "", "", false, true)]
#[case("drip", "HTTP/1.1 201 ", "{\"message\":\"success\"}", false, true)]
#[case("garbage_status", "SSH-", "\r\n", false, true)]
#[case("garbage_length", "HTTP/1.1 201 ", "\r\n\r\n", false, true)]
#[case("redirect", "HTTP/1.1 307 ", "\r\n\r\n", false, false)]
#[case("html", "HTTP/1.1 200 ", "</p>", false, false)]
#[case("endless_body", "HTTP/1.1 201 ", "      ", false, true)]
#[case("endless_headers", "HTTP/1.1 201 ", "", false, true)]
#[case("http_1_0", "HTTP/1.0 201 ", "{\"message\":\"success\"}", false, true)]
#[case("chunked", "HTTP/1.1 201 ", "0\r\n\r\n", false, true)]
#[case("interim", "HTTP/1.1 100 ", "{\"message\":\"success\"}", false, true)]
#[case("close_after", "HTTP/1.1 201 ", "{\"message\":\"success\"}", false, true)]
#[case("early_answer", "HTTP/1.1 503 ", "}", false, false)]
fn every_fault_is_seen_on_the_socket_and_applied_as_it_says(
    #[case] kind: &str,
    #[case] begins: &str,
    #[case] ends: &str,
    #[case] is_reset: bool,
    #[case] is_applied: bool,
) {
    let (answer, reset, applied) = heard(kind);
    assert!(answer.starts_with(begins) && answer.ends_with(ends), "{kind}: {}", &answer[..answer.len().min(500)]);
    assert!(!begins.is_empty() || answer.is_empty(), "{answer}");
    assert_eq!((reset, applied), (is_reset, is_applied), "{kind}");
}
