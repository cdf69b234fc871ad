use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use super::*;

pub fn options() -> Options {
    Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        client_secret: "import-key".to_owned(),
        partner_api_key: "partner-key".to_owned(),
        rest_api_key: "rest-key".to_owned(),
        partner: None,
        users: None,
        latency: Duration::ZERO,
        fail_every: None,
        rate_limit: None,
        page: true,
    }
}

fn connect(sandbox: &Sandbox) -> TcpStream {
    let socket = TcpStream::connect(sandbox.address).unwrap();
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
        "POST /partners/td/cohorts/users HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
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
fn a_sandbox_that_is_dropped_closes_its_listener() {
    let sandbox = start(options()).unwrap();
    let _idle = connect(&sandbox);
    let (address, dropped) = (sandbox.address, Instant::now());
    drop(sandbox);
    while TcpStream::connect(address).is_ok() {
        assert!(dropped.elapsed() < Duration::from_secs(5), "it still listens");
        std::thread::yield_now();
    }
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

#[test]
fn what_cannot_be_served_is_refused_at_the_start() {
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    assert!(matches!(start(Options { listen, ..options() }), Err(Error::NotLoopback { .. })));
    let users = Some(PathBuf::from("/does/not/exist.csv"));
    assert!(matches!(start(Options { users, ..options() }), Err(Error::Users { .. })));
    let sandbox = start(options()).unwrap();
    let listen = sandbox.address;
    assert!(matches!(start(Options { listen, ..options() }), Err(Error::Listen { .. })));
}
