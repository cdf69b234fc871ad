use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use rstest::rstest;
use serde_json::json;

use super::*;

fn options() -> Options {
    Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        client_secret: "import-key".to_owned(),
        partner_api_key: "partner-key".to_owned(),
        partner: None,
        users: None,
        latency: Duration::ZERO,
        fail_every: None,
        faults: Vec::new(),
        rate_limit: None,
    }
}

fn connect(sandbox: &Sandbox) -> TcpStream {
    let socket = TcpStream::connect(sandbox.server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn post_users(user_ids: &[String], rest: &str) -> String {
    let body = json!({
        "partner_api_key": "partner-key", "client_secret": "import-key", "cohort_id": "c",
        "cohort_changes": [{"user_ids": user_ids}],
    });
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST /partners/td/cohorts/users HTTP/1.1\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{rest}\r\n{body}"
    )
}

#[test]
fn requests_are_answered_on_one_connection_until_it_is_to_close() {
    let sandbox = start(options()).unwrap();
    let mut socket = connect(&sandbox);
    let ids = ["a".to_owned(), "b".to_owned()];
    let requests = post_users(&ids, "") + &post_users(&ids[..1], "Connection: close\r\n");
    socket.write_all(requests.as_bytes()).unwrap();
    let mut answers = String::new();
    socket.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 201 Created\r\n").count(), 2, "{answers}");
    assert_eq!(sandbox.cohort("c").unwrap().user_ids, ids);
    let stats = sandbox.stats();
    assert_eq!((stats.connections, stats.users_requests, stats.batch_sizes), (1, 2, vec![2, 1]));
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_client_can_read_why() {
    let sandbox = start(options()).unwrap();
    let mut socket = connect(&sandbox);
    let body = vec![b' '; 17 * 1024 * 1024];
    write!(socket, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    socket.write_all(&body).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("Connection: close\r\n"), "{answer}");
}

#[test]
fn stopping_cuts_what_is_open_and_closes_the_listener() {
    let sandbox = start(Options { latency: Duration::from_mins(1), ..options() }).unwrap();
    let started = Instant::now();
    let (_idle, mut waiting) = (connect(&sandbox), connect(&sandbox));
    waiting.write_all(post_users(&[], "").as_bytes()).unwrap();
    while sandbox.stats().max_in_flight == 0 {
        std::thread::yield_now();
    }
    let address = sandbox.server.address();
    std::thread::scope(|scope| {
        scope.spawn(|| sandbox.wait());
        sandbox.stop();
        sandbox.stop();
    });
    drop(sandbox);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn in_flight_requests_are_counted_while_they_wait() {
    let sandbox = start(Options { latency: Duration::from_millis(300), ..options() }).unwrap();
    let mut sockets = [(); 3].map(|()| connect(&sandbox));
    for socket in &mut sockets {
        socket.write_all(post_users(&[], "Connection: close\r\n").as_bytes()).unwrap();
    }
    for socket in &mut sockets {
        socket.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!(sandbox.stats().max_in_flight, 3);
}

/// What a client hears of its one request where it goes wrong in this way, and whether a reset ends it.
fn heard(kind: &str) -> (String, bool, Option<CohortView>) {
    let sandbox = start(Options { faults: vec![kind.parse().unwrap()], ..options() }).unwrap();
    let mut socket = connect(&sandbox);
    socket.write_all(post_users(&["a".to_owned()], "Connection: close\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let end = (&mut socket).take(1_000_000).read_to_end(&mut answer);
    let is_reset = end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    assert_eq!(sandbox.stats().faults.into_iter().collect::<Vec<_>>(), [(kind, 1)]);
    (String::from_utf8(answer).unwrap(), is_reset, sandbox.cohort("c"))
}

#[rstest]
#[case("unavailable", "HTTP/1.1 503 ", "}", false)]
#[case("reset_before", "", "", true)]
#[case("reset_in_body", "", "", true)]
#[case("reset_after_body", "", "", true)]
#[case("reset_in_answer", "HTTP/1.1 201 ", "{\"message\"", true)]
#[case("half_answer", "HTTP/1.1 201 ", "{\"message\"", false)]
#[case("half_chunk", "HTTP/1.1 201 ", "success\"}\r\n", false)]
#[case("drip", "HTTP/1.1 201 ", "{\"message\":\"success\"}", false)]
#[case("garbage_status", "SSH-", "\r\n", false)]
#[case("garbage_length", "HTTP/1.1 201 ", "\r\n\r\n", false)]
#[case("redirect", "HTTP/1.1 307 ", "\r\n\r\n", false)]
#[case("html", "HTTP/1.1 200 ", "</p>", false)]
#[case("endless_body", "HTTP/1.1 201 ", "      ", false)]
#[case("endless_headers", "HTTP/1.1 201 ", "", false)]
#[case("http_1_0", "HTTP/1.0 201 ", "{\"message\":\"success\"}", false)]
#[case("chunked", "HTTP/1.1 201 ", "0\r\n\r\n", false)]
#[case("interim", "HTTP/1.1 100 ", "{\"message\":\"success\"}", false)]
#[case("close_after", "HTTP/1.1 201 ", "{\"message\":\"success\"}", false)]
fn every_fault_is_seen_on_the_socket_and_applied_as_it_says(
    #[case] kind: &str,
    #[case] begins: &str,
    #[case] ends: &str,
    #[case] is_reset: bool,
) {
    let (answer, reset, cohort) = heard(kind);
    assert!(answer.starts_with(begins) && answer.ends_with(ends), "{kind}: {}", &answer[..answer.len().min(500)]);
    assert!(!begins.is_empty() || answer.is_empty(), "{answer}");
    assert_eq!(reset, is_reset, "{kind}");
    let rule: FaultRule = kind.parse().unwrap();
    assert_eq!(cohort.is_some_and(|cohort| cohort.members == 1), rule.fault.is_applied(), "{kind}");
}

#[test]
fn an_early_answer_is_there_before_the_body_is_sent() {
    let sandbox = start(Options { faults: vec!["early_answer".parse().unwrap()], ..options() }).unwrap();
    let mut socket = connect(&sandbox);
    socket.write_all(b"POST /partners/td/cohorts/users HTTP/1.1\r\nContent-Length: 1000\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Connection: close"), "{answer}");
}

#[test]
fn a_request_without_an_answer_is_applied_and_held() {
    let sandbox = start(Options { faults: vec!["no_answer".parse().unwrap()], ..options() }).unwrap();
    let mut socket = connect(&sandbox);
    socket.write_all(post_users(&["a".to_owned()], "").as_bytes()).unwrap();
    while sandbox.cohort("c").is_none() {
        std::thread::yield_now();
    }
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let error = socket.read(&mut [0]).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
}

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(start(Options { listen, ..options() }), Err(Error::NotLoopback { .. })));
    let users = Some(PathBuf::from("/does/not/exist.csv"));
    assert!(matches!(start(Options { users, ..options() }), Err(Error::Users { .. })));
    let sandbox = start(options()).unwrap();
    let listen = sandbox.server.address();
    assert!(matches!(start(Options { listen, ..options() }), Err(Error::Listen { .. })));
}
