//! The library's side of the socket: every phase of a request has an end, whatever the server does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use socket2::{Domain, Socket, Type};
use td_braze_cohort::http::proxy::Proxy;
use td_braze_cohort::http::tls::Trust;
use td_braze_cohort::http::{
    Answer, Ask, Call, Deadlines, HeaderMap, Http, HttpError, MAX_ANSWER_BYTES, Network, Post,
};

use crate::faulty::Faulty;
use crate::front::{Ca, Front};
use crate::support::SECRET;

const DEADLINE: Duration = Duration::from_millis(300);
/// More than the buffers of a connection hold, so that it is sent only if the server reads.
const BIG: usize = 32 * 1024 * 1024;

fn http() -> Http {
    http_through(None)
}

fn http_through(proxy: Option<Proxy>) -> Http {
    let deadlines = Deadlines { connect: DEADLINE, send: DEADLINE, answer: DEADLINE };
    Http::new(1, Network { proxy, deadlines, ..Network::default() })
}

/// A server that does this with each connection, once the head of a request was read.
fn server(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> SocketAddr {
    raw_server(move |connection| {
        let mut reader = BufReader::with_capacity(1, connection);
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line)?;
        }
        serve(reader.into_inner())
    })
}

/// A server that does this with each connection.
fn raw_server(serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static) -> SocketAddr {
    serve_each(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

fn serve_each(
    listener: TcpListener,
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            // The client may leave, so an error is not a failure.
            thread::spawn(move || serve(connection).ok());
        }
    });
    address
}

/// Holds the connection until the client goes.
fn hold(mut connection: TcpStream) -> io::Result<()> {
    io::copy(&mut connection, &mut io::sink()).map(drop)
}

/// Waits without reading, until the client goes.
fn hold_unread(connection: &TcpStream) -> io::Result<()> {
    while connection.take_error()?.is_none() && connection.peek(&mut [0])? > 0 {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Sends these bytes one by one, each in time.
fn drip(mut connection: TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        connection.write_all(&[*byte])?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Asserts that a request fails at the deadline: not earlier, except for rounding, and not much later.
#[track_caller]
fn fails_in_time(http: &Http, address: &str, body: &[u8]) -> HttpError {
    let started = Instant::now();
    let error = http.post(address, body).expect_err("there is nothing to be had");
    let took = started.elapsed();
    assert!(took >= DEADLINE.mul_f64(0.9) && took < Duration::from_secs(20), "{took:?}: {error}");
    assert!(!error.to_string().contains(SECRET));
    error
}

#[track_caller]
fn times_out(address: SocketAddr, body: &[u8]) {
    let error = fails_in_time(&http(), &format!("http://{address}/"), body);
    assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
}

#[test]
fn a_server_that_never_answers() {
    times_out(server(hold), b"{}");
}

#[test]
fn a_sandbox_that_never_answers_has_applied_the_request() {
    let server = Faulty::start(&["no_answer"]);
    let body = format!(
        r#"{{"client_secret":"{SECRET}","partner_api_key":"{}","cohort_id":"c","cohort_changes":[{{"user_ids":["a"]}}]}}"#,
        crate::support::PARTNER_KEY
    );
    let address = format!("{}/partners/treasure_data/cohorts/users", server.endpoint());
    let error = fails_in_time(&http(), &address, body.as_bytes());
    assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
    assert_eq!(server.braze.cohort("c").unwrap().user_ids, ["a"]);
}

#[test]
fn a_head_that_drips() {
    let head = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(1000));
    times_out(server(move |connection| drip(connection, head.as_bytes())), b"{}");
}

#[test]
fn a_body_that_drips() {
    let serve = |mut connection: TcpStream| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
        drip(connection, &[b' '; 1000])
    };
    times_out(server(serve), b"{}");
}

#[test]
fn interim_answers_without_end() {
    let serve = |mut connection: TcpStream| {
        loop {
            connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            thread::sleep(Duration::from_millis(1));
        }
    };
    times_out(server(serve), b"{}");
}

#[test]
fn a_server_that_never_reads_the_body() {
    times_out(server(|connection| hold_unread(&connection)), &vec![b' '; BIG]);
}

/// A server like one far away: small packets and short queues, so that the system takes a body in small parts.
fn server_that_reads_slowly() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_tcp_mss(536).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1).unwrap();
    serve_each(socket.into(), |mut connection| {
        let mut bytes = [0; 512];
        while connection.read(&mut bytes)? > 0 {
            thread::sleep(Duration::from_millis(40));
        }
        Ok(())
    })
}

#[test]
fn a_server_that_reads_a_little_now_and_then() {
    let send = Duration::from_secs(1);
    let deadlines = Deadlines { send, ..Deadlines::default() };
    let http = Http::new(1, Network { deadlines, ..Network::default() });
    let started = Instant::now();
    let error = http.post(&format!("http://{}/", server_that_reads_slowly()), &vec![b' '; BIG]).unwrap_err();
    let took = started.elapsed();
    assert!(matches!(error, HttpError::Timeout(_)), "{error:?}");
    assert!(took >= send.mul_f64(0.9) && took < send * 3, "{took:?}");
}

#[test]
fn a_server_that_accepts_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The shortest queue there is, and it is full.
    rustix::net::listen(&listener, 0).unwrap();
    let _queued: Vec<_> =
        (0..4).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok()).collect();
    let error = fails_in_time(&http(), &format!("http://{address}/"), b"{}");
    assert!(matches!(error, HttpError::Unreachable(_)), "{error:?}");
}

#[test]
fn a_handshake_that_never_ends() {
    let address = raw_server(hold);
    let error = fails_in_time(&http(), &format!("https://{address}/"), b"{}");
    assert!(matches!(error, HttpError::Unreachable(_)), "{error:?}");
}

#[rstest]
#[case::silent(false)]
#[case::dripping(true)]
fn a_proxy_that_never_comes_to_an_answer(#[case] drips: bool) {
    let address = server(move |connection| {
        let head = format!("HTTP/1.1 200 OK\r\nX-Long: {}\r\n\r\n", "x".repeat(1000));
        if drips { drip(connection, head.as_bytes()) } else { hold(connection) }
    });
    let variable = |name: &str| (name == "HTTPS_PROXY").then(|| format!("http://{address}"));
    let proxy = Proxy::from_environment("https://rest.iad-01.braze.com", variable).unwrap();
    let error = fails_in_time(&http_through(proxy), "https://rest.iad-01.braze.com/", b"{}");
    assert!(matches!(error, HttpError::Unreachable(_)), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn what_is_in_flight_can_be_cut() {
    let (heard, hearing) = mpsc::channel();
    let address = server(move |connection| {
        heard.send(()).ok();
        hold(connection)
    });
    let http = Http::new(1, Network::default());
    let address = format!("http://{address}/");
    thread::scope(|scope| {
        let posted = scope.spawn(|| http.post(&address, b"{}"));
        hearing.recv().unwrap();
        http.cut();
        assert!(posted.join().unwrap().is_err());
    });
    assert!(http.post(&address, b"{}").is_err(), "nothing is sent after it");
}

/// The result of an answer with these bytes.
fn answered(bytes: Vec<u8>) -> Result<Answer, HttpError> {
    let address = server(move |mut connection| {
        connection.write_all(&bytes)?;
        Ok(())
    });
    http().post(&format!("http://{address}/"), b"{}")
}

#[test]
fn an_early_answer_counts_and_not_the_failure_to_send() {
    let answer = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let address = server(|mut connection| connection.write_all(answer));
    let http = Http::new(1, Network::default());
    let answer = http.post(&format!("http://{address}/"), &vec![b' '; BIG]).unwrap();
    assert_eq!(answer.status, 413);
}

#[test]
fn an_early_success_is_none() {
    let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let address = server(|mut connection| connection.write_all(answer));
    let http = Http::new(1, Network::default());
    let error = http.post(&format!("http://{address}/"), &vec![b' '; BIG]).unwrap_err();
    assert!(matches!(error, HttpError::Broken(_)), "{error:?}");
}

/// Speaks TLS to a server that answers without reading a request.
fn answered_over_tls<T>(answer: &'static [u8], says_farewell: bool, ask: impl FnOnce(&Http, &str) -> T) -> T {
    let (ca, directory) = (Ca::new(), tempfile::tempdir().unwrap());
    let front = Front::answering(ca.identity("127.0.0.1"), answer, says_farewell);
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, ca.pem()).unwrap();
    let network = Network { trust: Trust::with_file(&path).unwrap(), ..Network::default() };
    ask(&Http::new(1, network), &front.endpoint())
}

#[test]
fn an_early_refusal_counts_over_tls_too() {
    let refusal = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let answer = answered_over_tls(refusal, true, |http, address| http.post(address, &vec![b' '; BIG]));
    assert_eq!(answer.unwrap().status, 413);
}

#[test]
fn a_body_without_a_length_is_whole_if_tls_says_farewell() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\n{}";
    let read = |http: &Http, address: &str| {
        let stream = http.ask(address, &HeaderMap::new(), Call::Download).unwrap();
        stream.into_answer(MAX_ANSWER_BYTES).map(|answer| answer.body)
    };
    assert_eq!(answered_over_tls(answer, true, read).unwrap(), b"{}");
    assert!(matches!(answered_over_tls(answer, false, read), Err(HttpError::Broken(_))));
}

#[rstest]
#[case::success(201, MAX_ANSWER_BYTES, true)]
#[case::too_long(201, MAX_ANSWER_BYTES + 1, false)]
#[case::long_error_page(500, 10 * MAX_ANSWER_BYTES, true)]
fn at_most_64_kib_of_a_body_are_read(#[case] status: u16, #[case] length: usize, #[case] is_usable: bool) {
    let head = format!("HTTP/1.1 {status} \r\nContent-Length: {length}\r\n\r\n");
    match answered([head.into_bytes(), vec![b' '; length]].concat()) {
        Ok(answer) => assert!(is_usable && answer.status == status && answer.body.len() <= MAX_ANSWER_BYTES + 1),
        Err(error) => assert!(!is_usable && matches!(error, HttpError::Unintelligible(_)), "{error:?}"),
    }
}

#[rstest]
#[case::not_http("220 smtp.example ESMTP\r\n\r\n")]
#[case::http_2("HTTP/2.0 200 OK\r\n\r\n")]
#[case::no_status("HTTP/1.1 OK\r\n\r\n")]
#[case::status_beyond_range("HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n")]
#[case::negative_length("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}")]
#[case::two_lengths("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} ")]
#[case::huge_length("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}")]
#[case::chunk_size_is_no_number("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n")]
#[case::header_without_colon("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n")]
fn an_answer_that_is_no_http_is_not_usable(#[case] answer: &str) {
    let error = answered(answer.as_bytes().to_vec()).unwrap_err();
    assert!(matches!(error, HttpError::Unintelligible(_)), "{error:?}");
}

#[rstest]
#[case::one_line(1, 100_000)]
#[case::many_lines(1000, 60)]
fn a_head_that_is_too_long_is_not_usable(#[case] lines: usize, #[case] length: usize) {
    let line = format!("X-Long: {}\r\n", "x".repeat(length));
    let answer = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 2\r\n\r\n{{}}", line.repeat(lines));
    let error = answered(answer.into_bytes()).unwrap_err();
    assert!(matches!(error, HttpError::Unintelligible(_)), "{error:?}");
}

#[rstest]
#[case::nothing("")]
#[case::half_a_head("HTTP/1.1 200 OK\r\nContent-Le")]
#[case::half_a_body("HTTP/1.1 201 Created\r\nContent-Length: 21\r\n\r\n{\"message\":\"su")]
#[case::half_a_chunk("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{\"mess")]
#[case::no_last_chunk("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")]
#[case::half_a_size("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n0")]
#[case::half_a_size_line("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n0\r")]
fn an_answer_that_breaks_off_is_none(#[case] answer: &str) {
    let error = answered(answer.as_bytes().to_vec()).unwrap_err();
    assert!(matches!(error, HttpError::Broken(_)), "{error:?}");
}

/// Reads a streamed body to its end.
fn got(server: SocketAddr, call: Call<'_>) -> Result<Vec<u8>, HttpError> {
    let mut stream = http().ask(&format!("http://{server}/"), &HeaderMap::new(), call)?;
    let (mut all, mut buffer) = (Vec::new(), [0; 16]);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A small part of the deadline passes before each byte, and twice the deadline in all.
fn dripping(mut connection: TcpStream) -> io::Result<()> {
    connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")?;
    for byte in b"slow, steady" {
        thread::sleep(DEADLINE / 6);
        connection.write_all(&[*byte])?;
    }
    hold(connection)
}

#[test]
fn a_streamed_body_may_take_longer_than_the_deadline_as_long_as_something_comes() {
    let slow = server(dripping);
    assert_eq!(got(slow, Call::Download).unwrap(), b"slow, steady");
    assert!(matches!(got(slow, Call::Get), Err(HttpError::Timeout(_))));
}

#[rstest]
fn a_streamed_body_that_stops_coming_ends_at_the_deadline(#[values(Call::Get, Call::Download)] call: Call<'static>) {
    let stuck = server(|mut connection| {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nst")?;
        hold(connection)
    });
    assert!(matches!(got(stuck, call), Err(HttpError::Timeout(_))));
}

#[rstest]
#[case::length(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nst")]
#[case::chunk(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nst")]
#[case::no_last_chunk(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nst\r\n")]
fn a_streamed_body_that_ends_too_early_is_no_body(#[case] answer: &'static [u8]) {
    let broken = server(move |mut connection| connection.write_all(answer));
    assert!(matches!(got(broken, Call::Download), Err(HttpError::Broken(_))));
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = server(|mut connection| {
        connection.write_all(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    });
    let stream = http().ask(&format!("http://{elsewhere}/"), &HeaderMap::new(), Call::Get).unwrap();
    assert_eq!(stream.status, 302);
}
