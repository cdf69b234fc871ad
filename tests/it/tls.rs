//! Certificates: which servers the binary sends its keys to.

use rcgen::IsCa;
use rstest::rstest;
use serde_json::json;

use crate::front::{Ca, Front, Identity};
use crate::support::{Run, assert_untouched, braze, user_ids};

#[rstest]
#[case::self_signed(|_: &Ca| Identity::self_signed("127.0.0.1"), &["signed by an unknown CA"])]
#[case::unknown_ca(|ca: &Ca| ca.identity("127.0.0.1"), &["signed by an unknown CA"])]
#[case::expired(|ca: &Ca| ca.expired("127.0.0.1"), &[])]
#[case::another_host(|ca: &Ca| ca.identity("rest.iad-01.braze.com"), &[])]
fn a_certificate_that_is_not_trusted_ends_the_run_at_once(
    #[case] identity: fn(&Ca) -> Identity,
    #[case] words: &[&str],
) {
    let (braze, ca) = (braze(), Ca::new());
    let front = Front::start(&braze, identity(&ca));
    let run = Run::upload().set("endpoint", &front.endpoint()).rows(user_ids(3000)).exits(2);
    run.says(&["127.0.0.1", "certificate", "ca_file"]).says(words);
    assert_eq!(front.connections(), 1);
    assert_untouched(&braze);
}

#[rstest]
#[case::expired(|ca: &Ca| ca.expired("127.0.0.1"), "it has expired")]
#[case::another_host(|ca: &Ca| ca.identity("rest.iad-01.braze.com"), "it belongs to another host")]
#[case::of_the_ca_itself(Ca::as_server, "it is a CA's own certificate")]
#[case::another_ca(|_: &Ca| Ca::new().identity("127.0.0.1"), "signed by an unknown CA")]
fn a_ca_file_makes_no_bad_certificate_good(#[case] identity: fn(&Ca) -> Identity, #[case] reason: &str) {
    let (braze, ca) = (braze(), Ca::new());
    let front = Front::start(&braze, identity(&ca));
    let run = Run::upload().set("endpoint", &front.endpoint()).file("ca.pem", ca.pem()).set("ca_file", "ca.pem");
    run.rows(user_ids(3000)).exits(2).says(&["127.0.0.1", "certificate", reason]);
    assert_eq!(front.connections(), 1);
    assert_untouched(&braze);
}

#[test]
fn with_its_ca_in_ca_file_an_encrypted_endpoint_gets_everything() {
    let (braze, ca) = (braze(), Ca::new());
    let front = Front::start(&braze, ca.identity("localhost"));
    let endpoint = format!("https://localhost:{}", front.address.port());
    // Several certificates in one file, in any order.
    let pem = Ca::new().pem() + &ca.pem();
    let run = Run::upload().set("endpoint", &endpoint).file("ca.pem", pem).set("ca_file", "ca.pem");
    run.rows(user_ids(6500)).arg("--json").exits(0).report().has(&[("/delivered", 6500), ("/retries", 0)]);
    assert_eq!(braze.cohort("vip").unwrap().members, 6500);
    assert!(front.connections() <= 4, "{} connections for 4 threads", front.connections());
}

#[test]
fn a_self_signed_certificate_is_trusted_if_ca_file_names_it() {
    let braze = braze();
    let identity = Identity::self_signed("127.0.0.1");
    let pem = identity.pem.clone();
    let front = Front::start(&braze, identity);
    let run = Run::upload().set("endpoint", &front.endpoint()).file("own.pem", pem).set("ca_file", "own.pem");
    run.rows(user_ids(10)).exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 10);
}

#[rstest]
#[case::silent(IsCa::NoCa)]
#[case::explicit(IsCa::ExplicitNoCa)]
fn a_certificate_in_ca_file_that_is_no_ca_signs_nothing(#[case] is_ca: IsCa) {
    let braze = braze();
    let (pem, identity) = Identity::signed_by_no_ca("127.0.0.1", is_ca);
    let front = Front::start(&braze, identity);
    let run = Run::upload().set("endpoint", &front.endpoint()).file("own.pem", pem).set("ca_file", "own.pem");
    run.rows(user_ids(10)).exits(2).says(&["127.0.0.1", "signed by an unknown CA"]);
    assert_eq!(front.connections(), 1);
    assert_untouched(&braze);
}

#[test]
fn a_servers_own_certificate_is_trusted_for_its_host_alone() {
    let braze = braze();
    let identity = Identity::self_signed("rest.iad-01.braze.com");
    let pem = identity.pem.clone();
    let front = Front::start(&braze, identity);
    let run = Run::upload().set("endpoint", &front.endpoint()).file("own.pem", pem).set("ca_file", "own.pem");
    run.rows(user_ids(10)).exits(2).says(&["127.0.0.1", "another host"]);
    assert_untouched(&braze);
}

#[test]
fn check_and_the_operator_know_ca_file_too() {
    let (braze, ca) = (braze(), Ca::new());
    let front = Front::start(&braze, ca.identity("127.0.0.1"));
    let check = || Run::check().set("endpoint", &front.endpoint()).rows(user_ids(1));
    check().exits(2).says(&["credentials", "ca_file"]);
    check().file("ca.pem", ca.pem()).set("ca_file", "ca.pem").exits(0);
    let parameters = json!({
        "cohort_id": "vip", "operation": "add", "input": "members.csv", "endpoint": front.endpoint(), "config": "cohort.yml",
    });
    let run = || Run::operator(&parameters).file("ca.pem", ca.pem()).rows(user_ids(2));
    run().file("cohort.yml", "ca_file: ca.pem\n").exits(0);
    run().file("cohort.yml", "").env("TD_BRAZE_COHORT_CA_FILE", "ca.pem").exits(0);
    assert_eq!(braze.cohort("vip").unwrap().members, 2);
}

#[rstest]
#[case::missing("nowhere.pem", "", &["nowhere.pem", "cannot be read"])]
#[case::empty("ca.pem", "", &["ca.pem", "no PEM certificate"])]
#[case::key("ca.pem", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n", &["ca.pem", "no PEM certificate"])]
#[case::broken("ca.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", &["ca.pem", "number 1"])]
fn a_ca_file_that_adds_no_ca_is_named(#[case] path: &str, #[case] pem: &str, #[case] words: &[&str]) {
    let braze = braze();
    let run = || Run::upload().to(&braze).file("ca.pem", pem).set("ca_file", path).rows(user_ids(1));
    run().exits(2).says(&["ca_file"]).says(words);
    assert_untouched(&braze);
}

#[test]
fn plain_http_instead_of_tls_is_no_matter_of_certificates() {
    let braze = braze();
    let endpoint = braze.endpoint().replace("http://", "https://");
    let run = Run::upload().set("endpoint", &endpoint).set("max_outage", "500ms").rows(user_ids(1)).exits(75);
    run.says(&["did not answer with TLS"]).hides(&["certificate"]);
    assert_eq!(braze.stats().users_requests + braze.stats().naming_requests, 0);
}
