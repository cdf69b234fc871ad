//! Formats how many identifiers of a sample Braze knows.

use serde_json::{Value, json};

use super::grouped;
use crate::matching::{Figures, Interval, KindFigures, MAX_REQUESTS, OTHER_WORKSPACE, Variant};
use crate::members::identifier::Kind;

/// A line for each kind, with a warning before them and remarks after them.
pub fn to_text(figures: &Figures) -> String {
    let kinds = &figures.kinds;
    let width =
        |text: fn(&KindFigures) -> String| kinds.iter().map(|kind| text(kind).chars().count()).max().unwrap_or(0);
    let (names, seen) = (width(|kind| kind.name.clone()).max(12), width(|kind| grouped(kind.seen)));
    let is_none = kinds.iter().any(KindFigures::is_none_known);
    let warning = is_none.then(|| OTHER_WORKSPACE.trim_end().to_owned());
    let table = kinds.iter().map(|kind| {
        let (name, seen_text, asked) = (&kind.name, grouped(kind.seen), grouped(kind.asked().into()));
        format!("{name:<names$} {asked:>5} of {seen_text:>seen$} asked   {}", found(kind))
    });
    let nothing = kinds.is_empty().then(|| "the input has no identifiers: nothing to ask".to_owned());
    let lines = warning.into_iter().chain(nothing).chain(table).chain(kinds.iter().flat_map(remarks));
    lines.collect::<Vec<_>>().join("\n")
}

fn found(kind: &KindFigures) -> String {
    let of = |count: u32| 100.0 * f64::from(count) / f64::from(kind.answered().max(1));
    let Interval { low, high } = kind.interval();
    let known = format!("{:.1} %", of(kind.known));
    let range = format!("({:.1} to {:.1})", low * 100.0, high * 100.0);
    let mut parts = vec![if kind.answered() == 0 {
        "no answer".to_owned()
    } else if kind.kind == Kind::DeviceId {
        format!(
            "{known} anonymous {range} (they match), {:.1} % belong to identified users (Braze ignores them), {:.1} % unknown",
            of(kind.identified),
            of(kind.unknown)
        )
    } else {
        format!("{known} known {range}   about {}", grouped(kind.about()))
    }];
    let exist = |(variant, count): &(Variant, u32)| {
        format!("{count} of the {} unknown exist {}", kind.unknown, variant.words())
    };
    parts.extend(kind.exist.iter().map(exist));
    parts.join("   ")
}

fn remarks(kind: &KindFigures) -> Vec<String> {
    let name = &kind.name;
    let left = kind.sampled.saturating_sub(kind.asked());
    let not_asked = (left > 0).then(|| {
        format!(
            "{name}: {left} more of the sample were not asked, because one run makes at most {MAX_REQUESTS} requests"
        )
    });
    let cannot_tell = (kind.cannot_tell > 0)
        .then(|| format!("{name}: {} have contradictory answers from Braze and count as neither", kind.cannot_tell));
    not_asked.into_iter().chain(cannot_tell).chain(kind.advice()).collect()
}

/// The same as JSON, documented in docs/match.md; shares in percent.
pub fn to_json(figures: &Figures) -> Value {
    let kinds: Value = figures.kinds.iter().map(|kind| (kind.name.as_str(), kind_to_json(kind))).collect();
    json!({"kinds": kinds, "requests": figures.requests})
}

fn kind_to_json(kind: &KindFigures) -> Value {
    let Interval { low, high } = kind.interval();
    let percent = |share: f64| (share * 1000.0).round() / 10.0;
    let exist: Value = kind.exist.iter().map(|(variant, count)| (variant.key(), *count)).collect();
    let mut object = json!({
        "identifiers": kind.seen,
        "sampled": kind.sampled,
        "asked": kind.asked(),
        "known": kind.known,
        "unknown": kind.unknown,
        "cannot_tell": kind.cannot_tell,
        "known_percent": (kind.answered() > 0).then(|| percent(kind.share())),
        "low_percent": percent(low),
        "high_percent": percent(high),
        "known_about": kind.about(),
        "asked_again": kind.asked_again,
        "exist": exist,
    });
    if let (Kind::DeviceId, Some(object)) = (kind.kind, object.as_object_mut()) {
        object.insert("of_identified_users".to_owned(), json!(kind.identified));
    }
    object
}
