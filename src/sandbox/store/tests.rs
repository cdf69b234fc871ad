use super::*;

const fn add(identifier: Identifier<&str>) -> Change<'_> {
    Change { operation: Operation::Add, identifier }
}

const fn remove(identifier: Identifier<&str>) -> Change<'_> {
    Change { operation: Operation::Remove, identifier }
}

const fn alias<'a>(label: &'a str, name: &'a str) -> Identifier<&'a str> {
    Identifier::Alias { label, name }
}

/// What a store with these users holds after these changes, as one line.
fn applied(users: Option<&str>, changes: &[Change]) -> String {
    let known = users.map(|users| KnownUsers::read(users.as_bytes()).unwrap());
    let mut store = Store::new(known);
    store.apply(&Users { cohort_id: "c", changes: changes.to_vec() });
    let view = store.cohort("c").unwrap();
    let listed = view.user_ids.len() + view.device_ids.len() + view.aliases.len();
    assert_eq!(view.members, listed, "each member is listed once");
    let aliases: Vec<_> = view.aliases.iter().map(|a| format!("{}:{}", a.alias_label, a.alias_name)).collect();
    let sets = [view.user_ids.join(","), view.device_ids.join(","), aliases.join(",")];
    format!("{} unknown {}", sets.join(" | "), view.unknown)
}

use Identifier::{DeviceId, ExternalId};

#[test]
fn without_known_users_every_identifier_is_a_member() {
    for (changes, expected) in [
        (&[][..], " |  |  unknown 0"),
        (&[add(ExternalId("b")), add(ExternalId("a")), add(ExternalId("b"))], "a,b |  |  unknown 0"),
        (&[add(ExternalId("a")), add(DeviceId("a")), add(alias("l", "a"))], "a | a | l:a unknown 0"),
        (&[add(alias("m", "a")), add(alias("l", "b")), add(alias("l", "a"))], " |  | l:a,l:b,m:a unknown 0"),
        (&[add(alias("l", "a")), remove(alias("m", "a")), remove(ExternalId("a"))], " |  | l:a unknown 0"),
        (&[add(DeviceId("a")), remove(DeviceId("a"))], " |  |  unknown 0"),
        (&[remove(ExternalId("a")), add(ExternalId("a"))], "a |  |  unknown 0"),
        (&[add(ExternalId("a")), remove(ExternalId("a")), remove(ExternalId("a"))], " |  |  unknown 0"),
    ] {
        assert_eq!(applied(None, changes), expected, "{changes:?}");
    }
}

#[test]
fn with_known_users_every_user_is_a_member_once() {
    let users = "external_id,device_id,email,phone\n\
        ann,phone-1,ann@example.com,\n\
        ,phone-2,bob@example.com,\n\
        ,,cat@example.com,555\n";
    for (changes, expected) in [
        (&[add(ExternalId("ann")), add(alias("email", "ann@example.com"))][..], "ann |  |  unknown 0"),
        (&[add(alias("email", "bob@example.com")), add(DeviceId("phone-2"))], " | phone-2 |  unknown 0"),
        (&[add(alias("phone", "555"))], " |  | email:cat@example.com unknown 0"),
        (&[add(DeviceId("phone-1"))], " |  |  unknown 1"),
        (&[add(ExternalId("eve")), add(ExternalId("eve")), remove(ExternalId("eve"))], " |  |  unknown 2"),
        (&[add(alias("phone", "ann@example.com")), add(ExternalId("phone-2"))], " |  |  unknown 2"),
        (&[add(ExternalId("ann")), remove(alias("email", "ann@example.com"))], " |  |  unknown 0"),
        (&[add(ExternalId("ann")), remove(DeviceId("phone-1"))], "ann |  |  unknown 0"),
    ] {
        assert_eq!(applied(Some(users), changes), expected, "{changes:?}");
    }
}

#[test]
fn naming_creates_and_renames_and_keeps_the_members() {
    let mut store = Store::new(None);
    store.apply(&Users { cohort_id: "b", changes: vec![add(ExternalId("a"))] });
    assert_eq!(store.cohort("b").unwrap().name, None);
    for (cohort_id, name) in [("a", "first"), ("b", "second"), ("b", "third")] {
        store.name(&Naming { cohort_id, name, created_at: "2026-11-23" });
    }
    let summaries: Vec<_> = store.cohorts().into_iter().map(|c| (c.cohort_id, c.name.unwrap(), c.members)).collect();
    assert_eq!(summaries, [("a".into(), "first".into(), 0), ("b".into(), "third".into(), 1)]);
    assert_eq!(store.cohort("b").unwrap().created_at.as_deref(), Some("2026-11-23"));
    assert_eq!(store.cohort("c"), None);
}
