//! A delta that removes more than anybody is likely to mean is not sent.

use rstest::rstest;
use serde_json::json;

use crate::support::{Run, assert_untouched, braze};

/// So many rows that remove somebody, and one that adds somebody.
fn changes(removals: usize) -> String {
    let rows = (0..removals).map(|number| format!("u{number},remove\n"));
    ["user_ids,change\n".to_owned(), "new,add\n".to_owned()].into_iter().chain(rows).collect()
}

fn delta(possible: &str, wanted: &str) -> Run {
    let run = Run::upload().unset("operation").set("operation_column", "change");
    run.set("possible_count", possible).set("wanted_count", wanted)
}

#[rstest]
#[case::nobody_is_wanted("3", "0", 3, "nobody is wanted")]
#[case::under_half("4", "1", 3, "of the 4 possible ones fewer than half are wanted (1)")]
#[case::a_large_share("2500", "1500", 1001, "more than 20 % of the 2500 possible ones")]
fn a_delta_past_a_safety_limit_is_not_sent(
    #[case] possible: &str,
    #[case] wanted: &str,
    #[case] removals: usize,
    #[case] message: &str,
) {
    let braze = braze();
    let way_out = format!("allow_removals: {removals}");
    delta(possible, wanted).to(&braze).rows(changes(removals)).exits(6).says(&[message, &way_out, "nothing was sent"]);
    assert_untouched(&braze);
    let dry = delta(possible, wanted).rows(changes(removals)).arg("--dry-run").arg("--json").exits(6);
    dry.says(&[message]).account().has(&[("/identifiers/total", removals as u64 + 1), ("/requests", 0)]);
    let exact = delta(possible, wanted).set("allow_removals", &removals.to_string());
    let account = exact.to(&braze).rows(changes(removals)).arg("--json").exits(0).account();
    account.has(&[("/by_operation/remove/delivered", removals as u64), ("/by_operation/add/delivered", 1)]);
}

#[test]
fn another_number_than_the_exact_one_allows_nothing() {
    let braze = braze();
    let run = delta("3", "0").set("allow_removals", "4").to(&braze).rows(changes(3));
    run.exits(6).says(&["3 members would be removed where allow_removals says 4"]);
    assert_untouched(&braze);
}

#[test]
fn within_the_limits_the_account_counts_each_row_once() {
    let braze = braze();
    let account = delta("10", "9").to(&braze).rows(changes(2)).arg("--json").exits(0).account();
    account.has(&[("/rows_read", 3), ("/rows_used", 3), ("/delivered", 3)]);
}

#[test]
fn an_input_that_breaks_off_in_the_first_look_is_not_sent() {
    let braze = braze();
    delta("10", "9").to(&braze).rows("user_ids,change\nu1,remove\n\"u2,remove\n").exits(3);
    assert_untouched(&braze);
}

#[test]
fn as_a_task_the_exact_number_is_a_parameter_of_the_run() {
    let braze = braze();
    let parameters = |allowed: serde_json::Value| {
        json!({
            "cohort_id": "vip", "operation_column": "change", "input": "members.csv", "endpoint": braze.endpoint(),
            "possible_count": 3, "wanted_count": 0, "allow_removals": allowed,
        })
    };
    let refused = Run::operator(&parameters(json!(null))).rows(changes(3)).exits(6).output();
    assert_eq!(refused["error"]["class"], "SafetyLimitError");
    Run::operator(&parameters(json!("3"))).rows(changes(3)).exits(0);
}
