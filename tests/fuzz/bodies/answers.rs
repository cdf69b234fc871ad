//! An answer over HTTP, in pieces of any size: what counts as delivered acknowledges, what it asks for is a pause that ends, and no
//! identifier of the batch and no key is shown.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use td_braze_cohort::braze::{Refusal, Verdict, classify, meta};
use td_braze_cohort::http::{Answer, Deadlines, HeaderMap, HeaderName, HeaderValue, Http, HttpError, Network, Post};
use td_braze_cohort::members::batch::Batch;
use td_braze_cohort::members::identifier::Kind;
use td_braze_cohort::members::operation::Operation;
use td_braze_cohort::retry::hint::Hints;
use td_braze_cohort::retry::{self, CallError, Clock, Failure, Limits, RateLimiter, Wakes};
use td_braze_cohort::secret::Secret;

const WEEK: Duration = Duration::from_hours(7 * 24);
const KEY: &str = "fuzz-key-7f3a";
const IDENTIFIERS: [&str; 3] = ["u-hidden-7", "Mail@Example.com", "名前-七"];

pub fn run(data: &[u8]) {
    static SECRET: OnceLock<Secret> = OnceLock::new();
    SECRET.get_or_init(|| Secret::new(KEY.to_owned()));
    let Some(([form, seed], bytes)) = data.split_first_chunk::<2>() else { return };
    if let Some(answer) = parsed(bytes) {
        check_hints(&answer);
        let outcome = Ok(answer);
        check(&classify(&outcome, Some(&batch())), &outcome);
        check_pacing(&outcome);
    }
    // A connection takes a hundred times as long.
    if form.is_multiple_of(8) {
        let [whole, in_pieces] = [None, Some(*seed)].map(|seed| over_the_network(bytes, seed));
        let [one, other] = [&whole, &in_pieces].map(|outcome| classify(outcome, Some(&batch())));
        assert_eq!(one, other, "pieces change the verdict");
        check(&one, &whole);
    }
}

/// The answer as it stands there, framed or not.
fn parsed(bytes: &[u8]) -> Option<Answer> {
    let mut lines = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut lines);
    let Ok(httparse::Status::Complete(length)) = response.parse(bytes) else { return None };
    let mut headers = HeaderMap::new();
    for line in response.headers.iter() {
        headers.append(HeaderName::from_bytes(line.name.as_bytes()).ok()?, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some(Answer { status: response.code?, headers, body: bytes[length..].to_vec() })
}

/// What such a server makes of one request.
fn over_the_network(bytes: &[u8], seed: Option<u8>) -> Result<Answer, HttpError> {
    static LISTENER: LazyLock<TcpListener> = LazyLock::new(|| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    let address = format!("http://{}/", LISTENER.local_addr().unwrap());
    let patience = Duration::from_secs(20);
    let deadlines = Deadlines { connect: patience, send: patience, answer: patience };
    let http = Http::new(1, Network { deadlines, ..Network::default() });
    thread::scope(|scope| {
        scope.spawn(|| serve(&LISTENER.accept().unwrap().0, bytes, seed));
        http.post(&address, b"{}")
    })
}

fn serve(mut socket: &TcpStream, bytes: &[u8], seed: Option<u8>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n{}") {
        let mut piece = [0; 1024];
        match socket.read(&mut piece) {
            Ok(count @ 1..) => request.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
    let _ = socket.set_nodelay(true);
    let size = seed.map_or(bytes.len(), |seed| 1 + usize::from(seed) % 97).max(bytes.len() / 64).max(1);
    for piece in bytes.chunks(size) {
        // Who has heard enough may leave.
        if socket.write_all(piece).is_err() {
            return;
        }
        thread::yield_now();
    }
}

fn batch() -> Batch {
    let mut batch = Batch::new(Operation::Add);
    for identifier in IDENTIFIERS {
        batch.push(Kind::UserId, identifier.as_bytes());
    }
    batch
}

fn check(verdict: &Result<Verdict, Failure<Refusal>>, outcome: &Result<Answer, HttpError>) {
    if *verdict == Ok(Verdict::Delivered) {
        let answer = outcome.as_ref().expect("without an answer nothing is delivered");
        assert!(acknowledges(answer), "{answer:?}");
    }
    let (pause, shown) = match verdict {
        Ok(Verdict::Delivered) | Err(Failure::AgainAtOnce | Failure::Final(Refusal::NotFound)) => return,
        Err(Failure::Again { said, pause }) => (*pause, said.as_str()),
        Err(Failure::Locked { pause } | Failure::Limited { pause }) => (*pause, ""),
        Ok(Verdict::Split(said))
        | Err(
            Failure::BrokeOff(said)
            | Failure::NotAcknowledged(said)
            | Failure::Unintelligible { said, .. }
            | Failure::Final(
                Refusal::Credentials(said)
                | Refusal::Request(said)
                | Refusal::NotBraze(said)
                | Refusal::Configuration(said),
            ),
        ) => (None, said.as_str()),
    };
    assert!(pause.is_none_or(|pause| !pause.is_zero() && pause <= WEEK), "{pause:?}");
    // Keys are redacted where a text leaves the process.
    let shown = td_braze_cohort::secret::redacted(shown);
    let lower_case = shown.to_lowercase();
    for hidden in IDENTIFIERS.iter().chain([&KEY]) {
        assert!(!lower_case.contains(&hidden.to_lowercase()), "{shown:?}");
    }
    assert!(shown.chars().count() <= 300, "{shown:?}");
}

/// Written anew, from the documentation.
fn acknowledges(answer: &Answer) -> bool {
    let has = |name: &str| answer.headers.contains_key(name);
    let is_framed = has("transfer-encoding") || has("content-length");
    let body = serde_json::from_slice::<Value>(&answer.body);
    let says_success = body.is_ok_and(|body| {
        let errors = &body["errors"];
        let has_errors = !(errors.is_null()
            || errors == &Value::Bool(false)
            || errors == ""
            || errors.as_array().is_some_and(Vec::is_empty)
            || errors.as_object().is_some_and(serde_json::Map::is_empty));
        body.is_object() && !has_errors && body.get("message").is_none_or(|message| message == "success")
    });
    matches!(answer.status, 200..=202) && (says_success || is_framed && answer.body.is_empty())
}

fn check_hints(answer: &Answer) {
    let hints = Hints::read_at(|name| answer.header(name), 1_795_435_200);
    for pause in [hints.pause, hints.retry_after].into_iter().flatten() {
        assert!(!pause.is_zero() && pause <= WEEK, "{pause:?}");
    }
    if let Some(quota) = hints.quota {
        assert!(quota.remaining <= 1_000_000_000 && !quota.resets_in.is_zero() && quota.resets_in <= WEEK, "{quota:?}");
    }
}

/// Time that passes by being waited for.
#[derive(Default)]
struct Jumping(Mutex<Duration>);

impl Clock for Jumping {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn wakes(&self) -> Wakes {
        0
    }

    fn wait(&self, _: Wakes, until: Option<Duration>) {
        let until = until.expect("there is no other to wait for");
        let mut now = self.0.lock().unwrap();
        assert!(until > *now, "a wait that is over keeps nobody");
        *now = until;
    }

    fn wake(&self) {}
}

/// Whoever keeps getting this answer is let through, gives up or is stopped in the end, without waking in vain.
fn check_pacing(outcome: &Result<Answer, HttpError>) {
    let clock = Arc::new(Jumping::default());
    let limits = Limits { max_outage: Duration::from_hours(1), max_requests_per_hour: 1000, max_duration: 4 * WEEK };
    let limiter = RateLimiter::new(limits, Arc::clone(&clock) as Arc<dyn Clock>, |_| Refusal::NotFound);
    let mut tries = 0;
    for _ in 0..20 {
        let result = retry::call(&limiter, Duration::ZERO, || {
            tries += 1;
            *clock.0.lock().unwrap() += Duration::from_millis(100);
            (meta(outcome), classify(outcome, None).map(drop))
        });
        match result {
            Err(CallError::Stopped) => break,
            Ok(()) | Err(CallError::GivenUp(_)) => {}
        }
    }
    assert!((1..100_000).contains(&tries), "{tries} tries");
}
