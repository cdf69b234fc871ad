//! Proxies of the environment.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rstest::rstest;
use serde_json::json;

use crate::front::{Ca, Front};
use crate::scripted::dead_endpoint;
use crate::support::{Run, assert_untouched, braze, user_ids};
use crate::td::Td;

const HOST: &str = "rest.iad-03.braze.com";
const PASSWORD: &str = "hush-zqx%40proxy-4713";
/// `me:hush-zqx@proxy-4713`
const CREDENTIALS: &str = "bWU6aHVzaC16cXhAcHJveHktNDcxMw==";

/// What the proxy does after the CONNECT request.
#[derive(Clone)]
enum Way {
    /// Connects to this address, for any requested host.
    To(SocketAddr),
    /// Answers this and closes.
    Answer(&'static str),
}

/// A proxy that knows CONNECT; it ends with the test program.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (way, seen) = (way.clone(), Arc::clone(&seen));
                // The client may leave, so an error is not a failure.
                thread::spawn(move || lead(connection, &way, &seen).ok());
            }
        });
        Self { address, heads }
    }

    fn url(&self) -> String {
        format!("http://me:{PASSWORD}@{}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn lead(connection: TcpStream, way: &Way, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1, connection.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap().push(head);
    let mut connection = connection;
    let target = match way {
        Way::Answer(answer) => return connection.write_all(answer.as_bytes()),
        Way::To(target) => TcpStream::connect(target)?,
    };
    connection.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")?;
    let (mut up, mut back) = (target.try_clone()?, connection.try_clone()?);
    let upwards = thread::spawn(move || {
        io::copy(&mut connection, &mut up).ok();
        up.shutdown(Shutdown::Write).ok();
    });
    io::copy(&mut &target, &mut back).ok();
    back.shutdown(Shutdown::Both).ok();
    upwards.join().ok();
    Ok(())
}

fn upload() -> Run {
    Run::upload().set("endpoint", &format!("https://{HOST}")).set("max_outage", "500ms").env("RUST_LOG", "trace")
}

/// The password must not appear in any form.
fn hidden(outcome: crate::support::Outcome) -> crate::support::Outcome {
    outcome.hides(&["hush-zqx", "proxy-4713", CREDENTIALS])
}

#[rstest]
fn everything_goes_through_the_proxy(#[values("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")] variable: &str) {
    let (braze, ca) = (braze(), Ca::new());
    let front = Front::start(&braze, ca.identity(HOST));
    let proxy = Proxy::start(Way::To(front.address));
    let run = upload().env(variable, &proxy.url()).file("ca.pem", ca.pem()).set("ca_file", "ca.pem");
    let outcome = hidden(run.rows(user_ids(5000)).arg("--json").exits(0));
    outcome.report().has(&[("/delivered", 5000), ("/retries", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, 5000);
    let heads = proxy.heads();
    assert!((1..=4).contains(&heads.len()), "connections are kept: {heads:?}");
    for head in heads {
        assert!(head.starts_with("CONNECT rest.iad-03.braze.com:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nProxy-Authorization: Basic {CREDENTIALS}\r\n")), "{head}");
        assert!(head.contains("\r\nHost: rest.iad-03.braze.com:443\r\n"), "{head}");
    }
}

#[test]
fn the_certificate_is_the_endpoints_also_within_the_tunnel() {
    let (braze, ca) = (braze(), Ca::new());
    for identity in [ca.identity(HOST), ca.identity("127.0.0.1")] {
        let front = Front::start(&braze, identity);
        let proxy = Proxy::start(Way::To(front.address));
        let outcome = hidden(upload().env("HTTPS_PROXY", &proxy.url()).rows(user_ids(3000)).exits(2));
        outcome.says(&[HOST, "certificate", "ca_file"]);
        assert_eq!(proxy.heads().len(), 1);
    }
    assert_untouched(&braze);
}

#[rstest]
#[case::domain(".braze.invalid")]
#[case::host("rest.braze.invalid")]
#[case::everything("*")]
#[case::one_of_several("localhost, .braze.invalid")]
fn a_host_in_no_proxy_is_reached_without_it(#[case] list: &str) {
    let proxy = Proxy::start(Way::Answer("HTTP/1.1 403 Forbidden\r\n\r\n"));
    let run = upload().env("HTTPS_PROXY", &proxy.url()).env("NO_PROXY", list).rows(user_ids(1));
    // A name that never exists, so that this shows without going anywhere.
    let run = run.set("endpoint", "https://rest.braze.invalid").set("allow_endpoint", "rest.braze.invalid");
    hidden(run.exits(75)).says(&["rest.braze.invalid", "looked up"]);
    assert!(proxy.heads().is_empty());
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let braze = braze();
    let proxy = Proxy::start(Way::Answer("HTTP/1.1 403 Forbidden\r\n\r\n"));
    Run::upload().to(&braze).env("HTTPS_PROXY", &proxy.url()).rows(user_ids(1)).exits(0);
    Run::upload().to(&braze).env("HTTPS_PROXY", "rubbish://").rows(user_ids(1)).exits(0);
    assert!(proxy.heads().is_empty());
}

#[rstest]
#[case::credentials(
    "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    "answered 407",
    "user:password"
)]
#[case::forbidden("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "answered 403", "NO_PROXY")]
#[case::no_proxy_at_all("HTTP/1.1 405 Method Not Allowed\r\n\r\n", "answered 405", "CONNECT")]
fn a_proxy_that_refuses_ends_the_run(#[case] answer: &'static str, #[case] status: &str, #[case] way_out: &str) {
    let proxy = Proxy::start(Way::Answer(answer));
    let outcome = hidden(upload().env("HTTPS_PROXY", &proxy.url()).rows(user_ids(3000)).exits(2));
    outcome.says(&["the proxy", &proxy.address.to_string(), "HTTPS_PROXY", status, way_out]);
    assert_eq!(proxy.heads().len(), 1);
}

#[rstest]
#[case::bad_gateway("HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502")]
#[case::closed("", "answer to CONNECT is invalid")]
#[case::garbage("SSH-2.0-OpenSSH\r\n", "answer to CONNECT is invalid")]
fn a_proxy_in_trouble_is_asked_again(#[case] answer: &'static str, #[case] word: &str) {
    let proxy = Proxy::start(Way::Answer(answer));
    let outcome = hidden(upload().env("HTTPS_PROXY", &proxy.url()).rows(user_ids(3000)).exits(75));
    outcome.says(&["the proxy", &proxy.address.to_string(), word]);
    assert!(proxy.heads().len() > 1);
}

#[test]
fn everything_goes_through_a_proxy_that_is_encrypted_itself() {
    let (braze, ca) = (braze(), Ca::new());
    let front = Front::start(&braze, ca.identity(HOST));
    let proxy = Proxy::start(Way::To(front.address));
    let before = Front::before(&proxy.address.to_string(), ca.identity("127.0.0.1"));
    let run = upload().env("HTTPS_PROXY", &format!("https://me:{PASSWORD}@{}", before.address));
    let run = run.file("ca.pem", ca.pem()).set("ca_file", "ca.pem").rows(user_ids(3000)).arg("--json");
    hidden(run.exits(0)).report().has(&[("/delivered", 3000), ("/retries", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, 3000);
    assert!(proxy.heads().iter().all(|head| head.starts_with("CONNECT rest.iad-03.braze.com:443 ")));
}

#[test]
fn the_operator_says_what_the_proxy_refused_without_its_password() {
    let proxy = Proxy::start(Way::Answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let endpoint = format!("https://{HOST}");
    let parameters = json!({"cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": endpoint});
    let run = Run::operator(&parameters).env("HTTPS_PROXY", &proxy.url()).rows(user_ids(1));
    let error = hidden(run.exits(2)).output()["error"].to_string();
    assert!(error.contains("ConfigurationError") && error.contains("the proxy"), "{error}");
    assert!(!error.contains("hush-zqx") && !error.contains(CREDENTIALS), "{error}");
}

#[test]
fn a_proxy_may_be_encrypted_itself_and_its_certificate_is_checked_too() {
    let ca = Ca::new();
    let proxy = Proxy::start(Way::Answer("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"));
    let front = Front::before(&proxy.address.to_string(), ca.identity("127.0.0.1"));
    let url = format!("https://me:{PASSWORD}@{}", front.address);
    let run = || upload().env("HTTPS_PROXY", &url).rows(user_ids(3000));
    hidden(run().exits(2)).says(&["127.0.0.1", "certificate", "ca_file"]);
    assert!(proxy.heads().is_empty());
    let run = run().file("ca.pem", ca.pem()).set("ca_file", "ca.pem");
    hidden(run.exits(2)).says(&["the proxy", &front.address.to_string(), "answered 407"]);
    assert!(proxy.heads()[0].contains(CREDENTIALS));
}

#[test]
fn a_proxy_that_does_not_listen_is_named() {
    let address = dead_endpoint().trim_start_matches("http://").to_owned();
    let url = format!("http://me:{PASSWORD}@{address}");
    let outcome = hidden(upload().env("HTTPS_PROXY", &url).rows(user_ids(3000)).exits(75));
    outcome.says(&["the proxy", &address, "HTTPS_PROXY", "cannot be reached"]);
}

#[test]
fn a_proxy_whose_name_is_unknown_is_named() {
    let url = format!("http://me:{PASSWORD}@proxy.invalid:3128");
    let outcome = hidden(upload().env("HTTPS_PROXY", &url).rows(user_ids(3000)).exits(75));
    outcome.says(&["the proxy", "proxy.invalid:3128", "looked up"]);
}

#[rstest]
#[case::no_host("http://")]
#[case::scheme("htp://me:hush-zqx@proxy.example:3128")]
#[case::port("http://me:hush-zqx@proxy.example:high")]
#[case::socks("socks5://me:hush-zqx@proxy.example:1080")]
fn a_malformed_proxy_is_refused_by_the_name_of_its_variable(#[case] value: &str) {
    hidden(upload().env("HTTPS_PROXY", value).rows(user_ids(1)).exits(2)).says(&["HTTPS_PROXY"]);
    let run = upload().env("all_proxy", value).rows(user_ids(1));
    hidden(run.exits(2)).says(&["all_proxy"]);
}

#[test]
fn treasure_data_is_reached_through_the_proxy_too() {
    let ca = Ca::new();
    let td = Td::with_rows(10);
    let front = Front::before(td.endpoint().trim_start_matches("http://"), ca.identity("api.treasuredata.com"));
    let proxy = Proxy::start(Way::To(front.address));
    let run = td.feeds(Run::upload()).without_env("TD_API_SERVER").env("HTTPS_PROXY", &proxy.url());
    let run = run.file("ca.pem", ca.pem()).set("ca_file", "ca.pem").arg("--dry-run").arg("--json");
    hidden(run.exits(0)).report().has(&[("/rows_read", 10)]);
    let heads = proxy.heads();
    assert!(!heads.is_empty());
    assert!(heads.iter().all(|head| head.starts_with("CONNECT api.treasuredata.com:443 HTTP/1.1\r\n")), "{heads:?}");
}
