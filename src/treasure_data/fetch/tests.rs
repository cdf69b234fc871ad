use std::collections::VecDeque;
use std::io::{self, Read, Seek};
use std::sync::{Arc, Mutex};

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::http::endpoint::Endpoint;
use crate::http::header::AUTHORIZATION;
use crate::http::{Ask, HeaderMap, HttpError};
use crate::retry::{Clock, Jumping, LimitReached, Limits, RateLimiter};
use crate::secret::Secret;
use crate::treasure_data::MSGPACK;

/// Answers in this order, then the last one again and again.
struct Answers {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<(String, HeaderMap)>>,
}

#[derive(Clone)]
enum Reply {
    Answer(u16, HeaderMap, Vec<u8>),
    /// The same, but the connection breaks after the body.
    Broken(u16, HeaderMap, Vec<u8>),
    Unreachable,
}

impl Ask for Answers {
    fn ask(&self, address: &str, headers: &HeaderMap, _: Call<'_>) -> Result<Stream, HttpError> {
        self.asked.lock().unwrap().push((address.to_owned(), headers.clone()));
        let mut replies = self.replies.lock().unwrap();
        let reply = if replies.len() > 1 { replies.pop_front() } else { replies.front().cloned() };
        match reply.unwrap() {
            Reply::Answer(status, headers, body) => {
                Ok(Stream { status, headers, body: Box::new(io::Cursor::new(body)) })
            }
            Reply::Broken(status, headers, body) => {
                Ok(Stream { status, headers, body: Box::new(io::Cursor::new(body).chain(Break)) })
            }
            Reply::Unreachable => Err(HttpError::Unreachable("refused".to_owned())),
        }
    }
}

struct Break;

impl Read for Break {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (crate::http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn show(status: &str) -> Reply {
    let job = json!({"status": status, "num_records": 2, "hive_result_schema": "[[\"user_ids\", \"varchar\"]]"});
    Reply::Answer(200, HeaderMap::new(), job.to_string().into_bytes())
}

#[derive(Debug)]
enum Stop {
    Job(JobError),
    LimitReached(LimitReached),
}

impl From<JobError> for Stop {
    fn from(error: JobError) -> Self {
        Self::Job(error)
    }
}

struct Ran {
    result: Option<(String, JobInfo)>,
    stop: Option<Stop>,
    asked: Vec<(String, HeaderMap)>,
    took: Duration,
}

fn fetch(replies: Vec<Reply>) -> Ran {
    let get = Answers { replies: Mutex::new(replies.into()), asked: Mutex::default() };
    let clock = Arc::new(Jumping::default());
    let limits = Limits {
        max_outage: Duration::from_mins(15),
        max_requests_per_hour: 100_000,
        max_duration: Duration::from_hours(23),
    };
    let limiter = RateLimiter::new(limits, Arc::clone(&clock) as Arc<dyn Clock>, Stop::LimitReached);
    let job = Job { id: "7".to_owned(), server: Endpoint::of_sandbox("https://td.example".to_owned()) };
    let key = Secret::new("7/never-to-be-seen".to_owned());
    let api = Api::new(&job.server, &key, &get, &limiter);
    let result = api.wait(&job).and_then(|shown| Ok((api.download(&job, MSGPACK)?.0, shown)));
    let result = result.ok().map(|(mut file, shown)| {
        file.rewind().unwrap();
        (io::read_to_string(file).unwrap(), shown)
    });
    Ran { result, stop: limiter.take_stop(), asked: get.asked.into_inner().unwrap(), took: clock.now() }
}

fn body(ran: &Ran) -> &str {
    assert!(ran.stop.is_none(), "{:?}", ran.stop);
    &ran.result.as_ref().unwrap().0
}

#[test]
fn a_job_is_waited_for_and_its_result_fetched_with_the_key() {
    let ran = fetch(vec![
        show("queued"),
        show("running"),
        show("running"),
        show("success"),
        Reply::Answer(200, HeaderMap::new(), b"rows".to_vec()),
    ]);
    assert_eq!((body(&ran), ran.took), ("rows", Duration::from_millis(4750)));
    let (_, shown) = ran.result.as_ref().unwrap();
    assert_eq!((shown.columns().unwrap(), shown.summary.rows), (vec!["user_ids".to_owned()], Some(2)));
    assert_eq!(ran.asked.len(), 5);
    for (address, headers) in &ran.asked {
        assert!(address.starts_with("https://td.example/v3/job/"), "{address}");
        assert_eq!(headers[AUTHORIZATION], "TD1 7/never-to-be-seen");
        assert!(!format!("{headers:?}").contains("never-to-be-seen"));
    }
}

#[rstest]
#[case::a_connection(Reply::Broken(200, headers(&[("content-length", "8"), ("etag", "\"v1\"")]), b"old".to_vec()))]
#[case::a_connection_without_a_length(Reply::Broken(200, HeaderMap::new(), b"a longer body than the whole".to_vec()))]
#[case::an_answer_shorter_than_announced(Reply::Answer(200, headers(&[("content-length", "8")]), b"old".to_vec()))]
fn a_download_that_breaks_begins_anew(#[case] first: Reply) {
    let whole = Reply::Answer(200, headers(&[("content-length", "8")]), b"abcdefgh".to_vec());
    let ran = fetch(vec![show("success"), first, whole]);
    assert_eq!((body(&ran), ran.asked.len()), ("abcdefgh", 3));
    assert!(ran.asked.iter().all(|(_, headers)| !headers.contains_key("range") && !headers.contains_key("if-range")));
}

#[test]
fn an_unrequested_part_is_no_result() {
    let part = Reply::Answer(206, headers(&[("content-range", "bytes 3-7/8")]), b"defgh".to_vec());
    let whole = Reply::Answer(200, HeaderMap::new(), b"abcdefgh".to_vec());
    assert_eq!(body(&fetch(vec![show("success"), part, whole])), "abcdefgh");
}

#[test]
fn a_download_that_breaks_ten_times_is_given_up() {
    let ran = fetch(vec![show("success"), Reply::Broken(200, HeaderMap::new(), b"abc".to_vec())]);
    let Some(Stop::Job(error @ JobError::GaveUp { .. })) = ran.stop else { panic!("{:?}", ran.stop) };
    assert!(
        error.to_string().contains("about job 7 failed 10 times (last: the download broke off at byte 3"),
        "{error}"
    );
    assert_eq!(ran.asked.len(), 1 + 10);
}

#[test]
fn no_answer_at_all_is_an_outage_after_a_minute() {
    let ran = fetch(vec![Reply::Unreachable]);
    assert!(
        matches!(ran.stop, Some(Stop::LimitReached(LimitReached::Outage { answered: false, .. }))),
        "{:?}",
        ran.stop
    );
    assert!(ran.took >= Duration::from_mins(1) && ran.took < Duration::from_mins(2), "{:?}", ran.took);
}

#[test]
fn an_outage_in_the_middle_is_waited_for_a_quarter_of_an_hour() {
    let ran = fetch(vec![show("running"), Reply::Answer(503, HeaderMap::new(), Vec::new())]);
    assert!(
        matches!(ran.stop, Some(Stop::LimitReached(LimitReached::Outage { answered: true, .. }))),
        "{:?}",
        ran.stop
    );
    assert!(ran.took >= Duration::from_mins(15) && ran.took < Duration::from_mins(16), "{:?}", ran.took);
}

#[test]
fn an_announced_pause_is_kept() {
    let limited = Reply::Answer(429, headers(&[("retry-after", "40")]), Vec::new());
    let ran = fetch(vec![limited, show("success"), Reply::Answer(200, HeaderMap::new(), b"rows".to_vec())]);
    assert_eq!((body(&ran), ran.took), ("rows", Duration::from_secs(40)));
}

#[rstest]
#[case::garbage(b"oops".to_vec())]
#[case::endless(vec![b' '; MAX_SHOW_BYTES + 1])]
fn an_unintelligible_answer_is_asked_for_three_times(#[case] bytes: Vec<u8>) {
    let ran = fetch(vec![Reply::Answer(200, HeaderMap::new(), bytes)]);
    let Some(Stop::Job(error @ JobError::NotTreasureData { .. })) = ran.stop else { panic!("{:?}", ran.stop) };
    assert_eq!(ran.asked.len(), 3);
    assert!(error.to_string().contains("is not Treasure Data's"), "{error}");
}

#[rstest]
#[case(&[("content-type", "text/html; charset=utf-8")], "")]
#[case(&[], "\n<!doctype html>")]
fn a_web_page_is_no_result(#[case] lines: &[(&'static str, &str)], #[case] page: &str) {
    let ran = fetch(vec![show("success"), Reply::Answer(200, headers(lines), page.as_bytes().to_vec())]);
    let Some(Stop::Job(error @ JobError::NotTreasureData { .. })) = ran.stop else { panic!("{:?}", ran.stop) };
    assert!(error.to_string().contains("web page"), "{error}");
}

#[test]
fn a_result_that_is_longer_than_the_disk_is_not_begun() {
    let announced = headers(&[("content-length", "1000000000000000000")]);
    let ran = fetch(vec![show("success"), Reply::Broken(200, announced, b"beginning".to_vec())]);
    let Some(Stop::Job(JobError::CannotKeep { error, .. })) = ran.stop else { panic!("{:?}", ran.stop) };
    assert_eq!((error.kind(), ran.asked.len()), (io::ErrorKind::StorageFull, 2));
}

#[test]
fn the_room_of_a_disk_is_known() {
    let file = tempfile::tempfile().unwrap();
    assert!(has_room(&file, 1).is_ok());
    assert_eq!(has_room(&file, u64::MAX).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_job_is_asked_for_ever_more_slowly() {
    let pauses = std::iter::successors(Some(longer(Duration::ZERO)), |pause| Some(longer(*pause)));
    let pauses: Vec<_> = pauses.take(8).map(|pause| pause.as_millis()).collect();
    assert_eq!(pauses, [1000, 1500, 2250, 3375, 5062, 7593, 10_000, 10_000]);
}
