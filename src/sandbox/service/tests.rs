use std::num::NonZeroU64;

use super::*;
use crate::sandbox::store::{CohortView, Page};
use crate::sandbox::tests::options;

const LATENCY: Duration = Duration::from_millis(3);

fn service(fail_every: u64, rate_limit: Option<&str>) -> Service {
    let options = Options {
        partner: Some("td".to_owned()),
        latency: LATENCY,
        fail_every: NonZeroU64::new(fail_every),
        rate_limit: rate_limit.map(|limit| limit.parse().unwrap()),
        ..options()
    };
    Service::new(options, None)
}

fn send(service: &Service, method: &str, path: &str, body: &Value) -> Answer {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (owned, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let body = body.to_string().into_bytes();
    let request =
        Request { method: owned, path, query, is_json: true, is_loopback_host: true, body, ..Request::default() };
    let began = Instant::now();
    let answer = service.answer(&request);
    assert!(method == "GET" || began.elapsed() >= LATENCY, "an API answer takes its time");
    answer
}

fn cohort(service: &Service, id: &str) -> Option<CohortView> {
    service.lock().store.cohort(id, Page::ALL)
}

/// Adds one external ID and removes another.
fn add(service: &Service, id: &str) -> Answer {
    let body = json!({
        "partner_api_key": "partner-key", "client_secret": "import-key", "cohort_id": "c",
        "cohort_changes": [{"user_ids": [id]}, {"user_ids": ["x"], "should_remove": true}],
    });
    send(service, "POST", "/partners/td/cohorts/users", &body)
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

fn members(service: &Service) -> Vec<String> {
    cohort(service, "c").map(|cohort| cohort.user_ids).unwrap_or_default()
}

#[test]
fn calls_are_found_by_path_and_partner() {
    let found = |endpoint, partner: &str| Some((endpoint, partner.to_owned()));
    for (path, partner, expected) in [
        ("/partners/td/cohorts", None, found(Endpoint::Naming, "td")),
        ("/partners/td/cohorts/users", None, found(Endpoint::Users, "td")),
        ("/partners/td/cohorts", Some("td"), found(Endpoint::Naming, "td")),
        ("/partners/t%64/cohorts/users", Some("td"), found(Endpoint::Users, "td")),
        ("/partners/td/cohorts", Some("other"), None),
        ("/partners//cohorts", None, None),
        ("/partners/%ff/cohorts", None, None),
        ("/partners/td/cohorts/", None, None),
        ("/partners/td/cohorts/users/1", None, None),
        ("/", None, None),
        ("*", None, None),
    ] {
        assert_eq!(endpoint(path, partner), expected, "{path} as {partner:?}");
    }
}

#[test]
fn other_methods_are_refused_and_change_nothing() {
    let service = service(9, None);
    let body = json!({
        "partner_api_key": "partner-key", "client_secret": "import-key", "cohort_id": "c", "cohort_changes": [],
    });
    for (method, path, status) in [
        ("PUT", "/partners/td/cohorts/users", 405),
        ("DELETE", "/partners/td/cohorts", 405),
        ("POST", "/cohorts", 404),
        ("DELETE", "/stats", 404),
        ("HEAD", "/", 404),
    ] {
        assert_eq!(send(&service, method, path, &body).status, status, "{method} {path}");
    }
    assert_eq!(cohort(&service, "c"), None);
}

#[test]
fn an_applied_request_is_answered_with_201_and_counted() {
    let service = service(0, None);
    let answer = add(&service, "a");
    assert_eq!((answer.status, answer.body.as_slice()), (201, br#"{"message":"success"}"#.as_slice()));
    assert_eq!(members(&service), ["a"]);
    let stats = service.lock().stats.clone();
    assert_eq!((stats.users_requests, stats.naming_requests, stats.max_in_flight), (1, 0, 1));
    assert_eq!((stats.batch_sizes, stats.identifiers_added, stats.identifiers_removed), (vec![2], 1, 1));
}

#[test]
fn a_refused_request_changes_nothing_and_repeats_nothing_secret() {
    let service = service(0, None);
    let good = json!({"partner_api_key": "partner-key", "client_secret": "import-key", "cohort_id": "c"});
    for (key, value, status) in [
        ("client_secret", json!("guessed"), 401),
        ("cohort_changes", json!([{"user_ids": ["a"]}, {"user_ids": [1]}]), 400),
    ] {
        let mut body = good.clone();
        body[key] = value;
        let answer = send(&service, "POST", "/partners/td/cohorts/users", &body);
        assert_eq!(answer.status, status);
        let text = String::from_utf8(answer.body).unwrap();
        assert!(!text.contains("guessed") && !text.contains("import-key"), "{text}");
    }
    let not_an_object = send(&service, "POST", "/partners/td/cohorts", &json!([good]));
    assert_eq!(not_an_object, Answer::from(Refusal(400, "invalid JSON")));
    assert_eq!(send(&service, "POST", "/partners/other/cohorts", &good).status, 404);
    assert_eq!(cohort(&service, "c"), None);
    let stats = service.lock().stats.clone();
    assert_eq!((stats.statuses[&401], stats.statuses[&400]), (1, 2));
    assert_eq!((stats.users_requests, stats.naming_requests, stats.batch_sizes), (2, 1, vec![]));
}

#[test]
fn every_nth_request_fails_and_is_not_applied() {
    let service = service(2, None);
    let answers = ["a", "b", "c", "d"].map(|id| add(&service, id));
    assert_eq!(statuses(&answers), [201, 503, 201, 503]);
    assert_eq!(members(&service), ["a", "c"]);
    assert_eq!(service.lock().stats.clone().statuses[&503], 2);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "X-RateLimit-Reset is of the wall clock")]
fn a_rate_limit_refuses_and_says_so_in_every_answer() {
    let service = service(2, Some("2/3600"));
    let answers = ["a", "b", "c"].map(|id| add(&service, id));
    assert_eq!(statuses(&answers), [201, 503, 429]);
    let remaining: Vec<_> = answers.iter().map(|answer| answer.headers[2].1.as_str()).collect();
    assert_eq!(remaining, ["1", "0", "0"]);
    let names: Vec<_> = answers[2].headers[1..].iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]);
    assert_eq!(answers[2].body, br#"{"message":"Rate limit exceeded"}"#);
    let reset: u64 = answers[2].headers[3].1.parse().unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((3_590..=3_601).contains(&(reset - now)), "{reset} at {now}");
    assert_eq!(members(&service), ["a"]);
}

#[test]
fn a_look_inside_passes_no_gate_and_is_not_counted() {
    let service = service(1, Some("1/3600"));
    for (path, status, body) in [
        ("/cohorts", 200, json!({"total": 0, "cohorts": []})),
        ("/cohorts/c", 404, json!({"message": "Not Found"})),
        ("/cohorts/%zz", 404, json!({"message": "Not Found"})),
        ("/cohorts/a%2", 404, json!({"message": "Not Found"})),
        ("/cohorts/%ff", 404, json!({"message": "Not Found"})),
        ("/nothing", 404, json!({"message": "Not Found"})),
        ("/search", 404, json!({"message": "Not Found"})),
        ("/search?identifier=x%26", 200, json!({"identifier": "x&", "cohorts": [], "unmatched": []})),
        ("/requests", 200, json!({"total": 0, "requests": []})),
        ("/partners/td/cohorts", 405, json!({"message": "Method Not Allowed"})),
        ("/stats", 200, serde_json::to_value(crate::sandbox::Stats::default()).unwrap()),
    ] {
        let answer = send(&service, "GET", path, &json!(null));
        assert_eq!((answer.status, serde_json::from_slice(&answer.body).ok()), (status, Some(body)), "{path}");
    }
}

fn looked_at(service: &Service, path: &str) -> Value {
    serde_json::from_slice(&send(service, "GET", path, &json!(null)).body).unwrap()
}

#[test]
fn a_look_inside_shows_what_arrived_a_page_at_a_time() {
    let service = service(3, None);
    for id in ["a/b é", "b", "c"] {
        add(&service, id);
    }
    let cohort = looked_at(&service, "/cohorts/c?limit=1&offset=1&x=limit=7");
    assert_eq!((&cohort["user_ids"], &cohort["totals"]["user_ids"]), (&json!(["b"]), &json!(2)));
    assert_eq!(cohort["changes"].as_array().unwrap().len(), 1);
    let requests = looked_at(&service, "/requests?limit=2");
    assert_eq!(requests["total"], 3);
    let shown = |index: usize| {
        let request = &requests["requests"][index];
        ["request", "cohort_id", "add", "remove", "status", "message"].map(|name| request[name].clone())
    };
    assert_eq!(json!(shown(0)), json!([3, null, 0, 0, 503, "Service Unavailable"]));
    assert_eq!(json!(shown(1)), json!([2, "c", 1, 1, 201, "success"]));
    assert_eq!(requests["requests"][2], Value::Null);
    let found = looked_at(&service, "/search?identifier=a%2Fb+%C3%A9");
    assert_eq!(found["cohorts"][0]["since_request"], 1);
    assert_eq!(looked_at(&service, "/stats")["batch_sizes"], json!([2, 2]));
}

#[test]
fn the_page_carries_its_policy() {
    let answer = send(&service(9, None), "GET", "/", &json!(null));
    let header = |name: &str| &answer.headers.iter().find(|(candidate, _)| *candidate == name).unwrap().1;
    assert_eq!(header("Content-Type"), "text/html; charset=utf-8");
    let policy = header("Content-Security-Policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    assert!(!policy.contains("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), "the hash of nothing");
    assert_eq!(header("X-Content-Type-Options"), "nosniff");
}

#[test]
fn a_look_inside_is_for_this_machine_and_only_with_a_page() {
    let mut service = service(9, None);
    add(&service, "a");
    for (page, is_loopback_host, expected) in
        [(true, true, 200), (true, false, 403), (false, true, 404), (false, false, 404)]
    {
        service.options.page = page;
        for path in ["/", "/cohorts", "/cohorts/c", "/requests", "/search?identifier=a", "/stats"] {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let (method, path, query) = ("GET".to_owned(), path.to_owned(), query.to_owned());
            let request = Request { method, path, query, is_loopback_host, ..Request::default() };
            let answer = service.answer(&request);
            assert_eq!(answer.status, expected, "{} {page} {is_loopback_host}", request.path);
        }
    }
}

#[test]
fn a_call_under_a_strange_name_changes_nothing_with_a_page() {
    let naming = json!({
        "partner_api_key": "partner-key", "client_secret": "import-key", "cohort_id": "c", "name": "C", "created_at": "2026-11-23T00:00:00Z",
    });
    for (page, is_loopback_host, expected) in [(true, true, 201), (true, false, 403), (false, false, 201)] {
        let mut service = service(9, None);
        service.options.page = page;
        let (method, path) = ("POST".to_owned(), "/partners/td/cohorts".to_owned());
        let body = naming.to_string().into_bytes();
        let request = Request { method, path, body, is_json: true, is_loopback_host, ..Request::default() };
        assert_eq!(service.answer(&request).status, expected);
        assert_eq!(cohort(&service, "c").is_some(), expected == 201, "{page} {is_loopback_host}");
    }
}
