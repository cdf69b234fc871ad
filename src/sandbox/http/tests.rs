use super::*;

/// Reads all requests of a connection, each as its method, path, query and body; and how it ended.
fn read(mut input: &[u8]) -> (Vec<String>, Option<u16>) {
    let mut requests = Vec::new();
    let end = loop {
        match Request::read(&mut input) {
            Ok(Some(Ok(request))) => {
                let body = String::from_utf8_lossy(&request.body);
                requests.push(format!("{} {} {} {body}", request.method, request.path, request.query));
            }
            Ok(None) => break None,
            Ok(Some(Err(refusal))) => break Some(refusal.0),
            Err(_) => break Some(0),
        }
    };
    (requests, end)
}

fn head(text: &str) -> Request {
    Request::read(&mut text.as_bytes()).unwrap().unwrap().unwrap()
}

#[test]
fn requests_follow_each_other() {
    let input = b"POST /a?b=c HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
        POST http://127.0.0.1:1/c HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let (requests, end) = read(input);
    assert_eq!(requests, ["POST /a b=c abc", "POST /c  ", "GET /  "]);
    assert_eq!(end, None);
}

#[test]
fn a_broken_request_is_answered_if_the_client_listens() {
    const GONE: u16 = 0;
    let post = |rest: &str| format!("POST / HTTP/1.1\r\n{rest}").into_bytes();
    for (input, status) in [
        (b"\x16\x03\x01\x02".to_vec(), 400),
        (b"hello\r\n\r\n".to_vec(), 400),
        (b"GET / HTTP/2.0\r\n\r\n".to_vec(), 400),
        (post("no colon\r\n\r\n"), 400),
        (post("Content-Length: x\r\n\r\n"), 400),
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na"), 400),
        (b"GET /a\x7fb HTTP/1.1\r\n\r\n".to_vec(), 400),
        (post("Content-Length: 16777217\r\n\r\n"), 413),
        (post("Content-Length: 99999999999999999999999999\r\n\r\n"), 400),
        (post(&format!("A: {}\r\n\r\n", "a".repeat(64 * 1024))), 400),
        (post(&format!("{}\r\n", "A: a\r\n".repeat(101))), 400),
        (post(""), 400),
        (post("Content-Length: 5\r\n\r\nabc"), GONE),
    ] {
        let (requests, end) = read(&input);
        let shown = String::from_utf8_lossy(&input[..input.len().min(99)]).into_owned();
        assert_eq!((requests, end), (vec![], Some(status)), "{shown}");
    }
}

#[test]
fn keep_alive_follows_the_version_and_the_header() {
    for (version, connection, expected) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", false),
    ] {
        let head = head(&format!("GET / HTTP/{version}\r\n{connection}\r\n"));
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
        let head = head(&format!("GET / HTTP/1.1\r\n{line}\r\n"));
        assert_eq!(head.is_json, expected, "{line}");
    }
}

#[test]
fn a_host_is_one_loopback_name() {
    for (lines, expected) in [
        ("Host: 127.0.0.1\r\n", true),
        ("host: 127.8.9.1:4000\r\n", true),
        ("Host: LocalHost:4000\r\n", true),
        ("Host: [::1]:4000\r\n", true),
        ("", false),
        ("Host:\r\n", false),
        ("Host: localhost.evil.example\r\n", false),
        ("Host: 127.0.0.1.evil.example\r\n", false),
        ("Host: evil.example:4000\r\n", false),
        ("Host: 192.168.0.1\r\n", false),
        ("Host: [::1]evil.example\r\n", false),
        ("Host: localhost,evil.example\r\n", false),
    ] {
        let head = head(&format!("GET / HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(head.is_loopback_host, expected, "{lines}");
    }
}

#[test]
fn an_answer_has_its_date_type_and_length() {
    let now = Timestamp::from_second(1_000_000_000).unwrap();
    let created = Answer::json(201, &json!({"message": "success"}));
    for (answer, keep_alive, expected) in [
        (
            created,
            true,
            "HTTP/1.1 201 Created\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\nContent-Length: 21\r\n\
             Connection: keep-alive\r\nContent-Type: application/json\r\n\r\n{\"message\":\"success\"}",
        ),
        (
            NOT_FOUND.into(),
            false,
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\nContent-Length: 23\r\n\
             Connection: close\r\nContent-Type: application/json\r\n\r\n{\"message\":\"Not Found\"}",
        ),
    ] {
        assert_eq!(String::from_utf8(answer.encode(keep_alive, now).unwrap()).unwrap(), expected);
    }
}
