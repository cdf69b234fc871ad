use std::cell::Cell;

use serde_json::Value;

use super::super::http::Length;
use super::*;

fn service(fail_every: u64, rate_limit: Option<&str>) -> Service {
    Service::new(Settings {
        credentials: Credentials { partner_api_key: "partner-key".into(), client_secret: "import-key".into() },
        rest_api_key: "rest-key".into(),
        partner: Some("td".to_owned()),
        latency: Duration::from_secs(7),
        fail_every: NonZeroU64::new(fail_every),
        rate_limit: rate_limit.map(|limit| limit.parse().unwrap()),
        store: Store::new(None),
    })
}

fn send(service: &Service, method: &str, path: &str, body: &Value) -> Answer {
    let head = Head {
        method: method.to_owned(),
        path: path.to_owned(),
        is_json: true,
        bearer: Some("rest-key".to_owned()),
        keep_alive: true,
        expects_continue: false,
        length: Length::Known(0),
    };
    let paused = Cell::new(Duration::ZERO);
    let answer = service.answer(&head, body.to_string().as_bytes(), |latency| paused.set(latency));
    assert_eq!(paused.get().is_zero(), method == "GET", "an API answer takes its time");
    answer
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
    service.cohort("c").map(|cohort| cohort.user_ids).unwrap_or_default()
}

#[test]
fn routes_are_found_by_method_and_path() {
    let cohort = |id: &str| Ok(Route::Cohort(id.to_owned()));
    let not_found = || Err(Refusal::NotFound);
    let only = |allow| Err(Refusal::MethodNotAllowed { allow });
    for (method, path, partner, expected) in [
        ("POST", "/partners/td/cohorts", None, Ok(Route::Naming)),
        ("POST", "/partners/td/cohorts/users", None, Ok(Route::Users)),
        ("POST", "/partners/td/cohorts", Some("td"), Ok(Route::Naming)),
        ("POST", "/partners/t%64/cohorts/users", Some("td"), Ok(Route::Users)),
        ("POST", "/partners/td/cohorts", Some("other"), not_found()),
        ("POST", "/partners//cohorts", None, not_found()),
        ("POST", "/partners/td/cohorts/", None, not_found()),
        ("POST", "/partners/td/cohorts/users/1", None, not_found()),
        ("POST", "/", None, not_found()),
        ("OPTIONS", "*", None, not_found()),
        ("GET", "/partners/td/cohorts", None, only("POST")),
        ("PUT", "/partners/td/cohorts/users", None, only("POST")),
        ("GET", "/partners/td/cohorts", Some("other"), not_found()),
        ("GET", "/cohorts", Some("td"), Ok(Route::Cohorts)),
        ("GET", "/cohorts/a%2Fb%20c%C3%A9", None, cohort("a/b cé")),
        ("GET", "/cohorts/%ff", None, not_found()),
        ("GET", "/cohorts/100%", None, cohort("100%")),
        ("GET", "/stats", None, Ok(Route::Stats)),
        ("DELETE", "/stats", None, only("GET")),
    ] {
        assert_eq!(route(method, path, partner), expected, "{method} {path} as {partner:?}");
    }
}

#[test]
fn an_applied_request_is_answered_with_201_and_counted() {
    let service = service(0, None);
    let answer = add(&service, "a");
    assert_eq!(answer, Answer::message(201, "success"));
    assert_eq!(members(&service), ["a"]);
    let stats = service.stats();
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
    assert_eq!(not_an_object, Answer::message(400, "invalid JSON"));
    assert_eq!(send(&service, "POST", "/partners/other/cohorts", &good).status, 404);
    assert_eq!(service.cohort("c"), None);
    let stats = service.stats();
    assert_eq!((stats.unauthorized, stats.bad_requests), (1, 2));
    assert_eq!((stats.users_requests, stats.naming_requests, stats.batch_sizes), (2, 1, vec![]));
}

#[test]
fn every_nth_request_fails_and_is_not_applied() {
    let service = service(2, None);
    let answers = ["a", "b", "c", "d"].map(|id| add(&service, id));
    assert_eq!(statuses(&answers), [201, 503, 201, 503]);
    assert_eq!(members(&service), ["a", "c"]);
    assert_eq!(service.stats().failed, 2);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "X-RateLimit-Reset is of the wall clock")]
fn a_rate_limit_refuses_and_says_so_in_every_answer() {
    let service = service(2, Some("2/3600"));
    let answers = ["a", "b", "c"].map(|id| add(&service, id));
    assert_eq!(statuses(&answers), [201, 503, 429]);
    let remaining: Vec<_> = answers.iter().map(|answer| answer.headers[1].1.as_str()).collect();
    assert_eq!(remaining, ["1", "0", "0"]);
    let names: Vec<_> = answers[2].headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]);
    assert_eq!(answers[2].body, br#"{"message":"Rate limit exceeded"}"#);
    let reset: u64 = answers[2].headers[2].1.parse().unwrap();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!((3_590..=3_601).contains(&(reset - now)), "{reset} at {now}");
    assert_eq!(members(&service), ["a"]);
}

#[test]
fn a_look_inside_passes_no_gate_and_is_not_counted() {
    let service = service(1, Some("1/3600"));
    for (path, status, body) in [
        ("/cohorts", 200, json!({"cohorts": []})),
        ("/cohorts/c", 404, json!({"message": "Not Found"})),
        ("/cohorts/%zz", 404, json!({"message": "Not Found"})),
        ("/cohorts/a%2", 404, json!({"message": "Not Found"})),
        ("/nothing", 404, json!({"message": "Not Found"})),
        ("/partners/td/cohorts", 405, json!({"message": "Method Not Allowed"})),
        ("/stats", 200, serde_json::to_value(Stats::default()).unwrap()),
    ] {
        let answer = send(&service, "GET", path, &json!(null));
        assert_eq!((answer.status, serde_json::from_slice(&answer.body).ok()), (status, Some(body)), "{path}");
    }
}
