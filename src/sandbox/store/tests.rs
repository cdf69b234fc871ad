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
    store.apply("td", 7, &Users { cohort_id: "c", changes: changes.to_vec() });
    let view = store.cohort("c", Page::ALL).unwrap();
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
    store.apply("td", 7, &Users { cohort_id: "b", changes: vec![add(ExternalId("a"))] });
    assert_eq!(store.cohort("b", Page::ALL).unwrap().name, None);
    for (cohort_id, name) in [("a", "first"), ("b", "second"), ("b", "third")] {
        store.name("td", &Naming { cohort_id, name, created_at: "2026-11-23" });
    }
    let cohort = |cohort_id, name, members| json!({"cohort_id": cohort_id, "name": name, "partner": "td", "members": members, "unknown": 0});
    let expected = json!({"total": 2, "cohorts": [cohort("a", "first", 0), cohort("b", "third", 1)]});
    assert_eq!(store.cohorts(Page::ALL), expected);
    assert_eq!(store.cohort("b", Page::ALL).unwrap().created_at.as_deref(), Some("2026-11-23"));
    assert_eq!(store.cohort("c", Page::ALL), None);
}

fn users<'a>(cohort_id: &'a str, changes: &[Change<'a>]) -> Users<'a> {
    Users { cohort_id, changes: changes.to_vec() }
}

#[test]
fn a_page_is_a_part_of_each_list_in_the_order_of_arrival() {
    let mut store = Store::new(None);
    let arrived = [
        add(ExternalId("c")),
        add(alias("m", "1")),
        add(ExternalId("a")),
        add(alias("l", "2")),
        add(ExternalId("b")),
        add(alias("l", "1")),
        add(alias("l", "3")),
        remove(ExternalId("x")),
    ];
    store.apply("td", 1, &users("c", &arrived));
    for (offset, limit, ids, aliases) in [
        (0, 2, &["c", "a"][..], &["l:2", "l:1"][..]),
        (2, 2, &["b"], &["l:3", "m:1"]),
        (3, 9, &[], &["m:1"]),
        (4, 1, &[], &[]),
        (0, 0, &[], &[]),
    ] {
        let view = store.cohort("c", Page { offset, limit: Some(limit) }).unwrap();
        assert_eq!(view.user_ids, ids, "{offset}");
        let shown: Vec<_> = view.aliases.iter().map(|a| format!("{}:{}", a.alias_label, a.alias_name)).collect();
        assert_eq!(shown, aliases, "{offset}");
        let expected = Totals { user_ids: 3, device_ids: 0, aliases: 4, unmatched: 0, changes: 8 };
        assert_eq!((view.members, view.totals), (7, expected));
    }
}

#[test]
fn the_last_changes_say_what_came_of_each() {
    use Effect::{Added, AlreadyMember, DeviceOfIdentified, NoSuchUser, NotMember, Removed};

    let mut store = Store::new(Some(KnownUsers::read("external_id,device_id\nann,phone-1\n".as_bytes()).unwrap()));
    store.apply("td", 3, &users("c", &[add(ExternalId("ann")), add(ExternalId("ann")), add(DeviceId("phone-1"))]));
    let gone = [remove(ExternalId("ann")), remove(ExternalId("ann")), remove(ExternalId("eve"))];
    store.apply("other", 4, &users("c", &gone));
    let view = store.cohort("c", Page::ALL).unwrap();
    let effects: Vec<_> = view.changes.iter().map(|change| (change.request, change.effect)).collect();
    let first = [(3, DeviceOfIdentified), (3, AlreadyMember), (3, Added)];
    assert_eq!(effects, [[(4, NoSuchUser), (4, NotMember), (4, Removed)], first].concat());
    let unmatched: Vec<_> = view.unmatched.iter().map(|change| change.identifier.identifier.as_str()).collect();
    assert_eq!((unmatched, view.unknown, view.partner.as_str()), (vec!["eve", "phone-1"], 1, "other"));
    assert_eq!(store.unmatched("eve")[0]["operation"], "remove");
}

#[test]
fn only_the_last_changes_are_kept() {
    let mut store = Store::new(Some(KnownUsers::read("external_id\n".as_bytes()).unwrap()));
    let ids: Vec<_> = (0..1_500).map(|number| format!("member-{number}")).collect();
    for (request, ids) in (1..).zip(ids.chunks(1_000)) {
        let changes: Vec<_> = ids.iter().map(|id| add(ExternalId(id))).collect();
        store.apply("td", request, &users("c", &changes));
    }
    let view = store.cohort("c", Page::ALL).unwrap();
    assert_eq!((view.changes.len(), view.unmatched.len(), view.unknown), (100, 1_000, 1_500));
    assert_eq!((&view.changes[99], &view.unmatched[999].request), (&view.unmatched[99], &1));
}

#[test]
fn a_search_finds_each_cohort_and_since_which_request() {
    let mut store = Store::new(None);
    store.apply("td", 1, &users("a", &[add(ExternalId("zqx")), add(alias("email", "zqx"))]));
    store.apply("td", 2, &users("a", &[add(ExternalId("zqx")), remove(alias("email", "zqx"))]));
    store.apply("td", 3, &users("b", &[add(alias("email", "zqx")), add(DeviceId("other"))]));
    let found = |text| {
        let found = store.memberships(text).into_iter();
        found.map(|found| json!([found["cohort_id"], found["kind"], found["since_request"]])).collect::<Vec<_>>()
    };
    assert_eq!(found("zqx"), [json!(["a", "user_ids", 1]), json!(["b", "aliases", 3])]);
    assert_eq!(found("zq"), [] as [Value; 0]);
}

#[test]
fn with_known_users_a_search_finds_the_user() {
    let rows = "external_id,email\nann,ann@example.com\n,bob@example.com\n";
    let mut store = Store::new(Some(KnownUsers::read(rows.as_bytes()).unwrap()));
    store.apply("td", 5, &users("a", &[add(ExternalId("ann"))]));
    let found = store.memberships("ann@example.com");
    assert_eq!(
        (found.len(), &found[0]["kind"], &found[0]["member"]["identifier"]),
        (1, &json!("aliases"), &json!("ann"))
    );
    assert_eq!(store.memberships("bob@example.com"), [] as [Value; 0]);
}
