use super::*;

/// Reads all requests of a connection; each as its method, path and body. Also what was sent in between, and the end.
fn read(mut input: &[u8]) -> (Vec<String>, String, Option<u16>) {
    let (mut requests, mut interim, mut body) = (Vec::new(), Vec::new(), Vec::new());
    let end = loop {
        let request = read_head(&mut input).and_then(|head| match head {
            Some(head) => read_body(&mut input, &mut interim, &head, &mut body).map(|()| Some(head)),
            None => Ok(None),
        });
        match request {
            Ok(Some(head)) => {
                requests.push(format!("{} {} {}", head.method, head.path, String::from_utf8_lossy(&body)));
            }
            Ok(None) => break None,
            Err(error) => break Some(error.status().unwrap_or(0)),
        }
    };
    (requests, String::from_utf8(interim).unwrap(), end)
}

#[test]
fn requests_follow_each_other() {
    let input = b"POST /a?b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
        \r\n\nPOST http://127.0.0.1:1/c HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
        2;x=y\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n\
        GET / HTTP/1.1\n\n";
    let (requests, interim, end) = read(input);
    assert_eq!(requests, ["POST /a abc", "POST /c abc", "GET / "]);
    assert_eq!((interim.as_str(), end), ("", None));
}

#[test]
fn a_client_that_expects_continue_gets_it_where_there_is_a_body() {
    for (head, expected) in [
        ("POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n", ""),
        ("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na", ""),
        ("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", ""),
    ] {
        assert_eq!(read(head.as_bytes()).1, expected, "{head}");
    }
}

#[test]
fn what_is_broken_is_answered_where_someone_listens() {
    const GONE: u16 = 0;
    let post = |rest: &str| format!("POST / HTTP/1.1\r\n{rest}").into_bytes();
    for (input, status) in [
        (b"\x16\x03\x01\x02".to_vec(), 400),
        (b"hello\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/2.0\r\n\r\n".to_vec(), 400),
        (post("no colon\r\n\r\n"), 400),
        (post("Content-Length: x\r\n\r\n"), 400),
        (post("Content-Length: +1\r\n\r\na"), 400),
        (post("Content-Length: 1\r\nContent-Length: 1\r\n\r\na"), 400),
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na"), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n\r\nx\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"), 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), 400),
        (post("Content-Length: 16777217\r\n\r\n"), 413),
        (post("Content-Length: 99999999999999999999999999\r\n\r\n"), 413),
        (post("Transfer-Encoding: chunked\r\n\r\n1000001\r\n"), 413),
        (post("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"), 413),
        (post(&format!("A: {}\r\n\r\n", "a".repeat(MAX_HEAD))), 431),
        (post(&format!("{}\r\n", "A: a\r\n".repeat(101))), 431),
        (vec![b'\n'; MAX_HEAD + 1], 431),
        (post(""), GONE),
        (post("Content-Length: 5\r\n\r\nabc"), GONE),
        (post("Transfer-Encoding: chunked\r\n\r\n5\r\nabc"), GONE),
        (post("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"), GONE),
        (post("Transfer-Encoding: chunked\r\n\r\n0\r\n"), GONE),
    ] {
        let (requests, _, end) = read(&input);
        let shown = String::from_utf8_lossy(&input[..input.len().min(99)]).into_owned();
        assert_eq!((requests, end), (vec![], Some(status)), "{shown}");
    }
}

#[test]
fn keep_alive_follows_the_version_and_the_header() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
    ] {
        let head = Head::parse(format!("GET / HTTP/{version}\r\n{connection}\r\n").as_bytes()).unwrap();
        assert_eq!(head.keep_alive, expected, "HTTP/{version} {connection}");
    }
}

#[test]
fn json_is_known_by_its_media_type() {
    for (line, expected) in [
        ("Content-Type: application/json\r\n", true),
        ("content-type: Application/JSON; charset=utf-8\r\n", true),
        ("Content-Type: application/x-www-form-urlencoded\r\n", false),
        ("Content-Type: application/jsonp\r\n", false),
        ("", false),
    ] {
        let head = Head::parse(format!("GET / HTTP/1.1\r\n{line}\r\n").as_bytes()).unwrap();
        assert_eq!(head.is_json, expected, "{line}");
    }
}
