use super::*;

type Change = (Operation, Identifier);

fn add(identifier: Identifier) -> Change {
    (Operation::Add, identifier)
}

fn remove(identifier: Identifier) -> Change {
    (Operation::Remove, identifier)
}

fn external_id(id: &str) -> Identifier {
    Identifier::external_id(id.to_owned())
}

fn device_id(id: &str) -> Identifier {
    Identifier::device_id(id.to_owned())
}

fn alias(label: &str, name: &str) -> Identifier {
    Identifier::from(Alias { alias_label: label.to_owned(), alias_name: name.to_owned() })
}

/// What a store with these users holds after these changes, as one line.
fn applied(rows: Option<&str>, changes: &[Change]) -> String {
    let known = rows.map(|rows| KnownUsers::read(rows.as_bytes()).unwrap());
    let mut store = Store::new(known);
    store.apply("td", 7, users("c", changes));
    let view = store.cohort("c", Page::ALL).unwrap();
    let listed = view.user_ids.len() + view.device_ids.len() + view.aliases.len();
    assert_eq!(view.members, listed, "each member is listed once");
    let aliases: Vec<_> = view.aliases.iter().map(|a| format!("{}:{}", a.alias_label, a.alias_name)).collect();
    let sets = [view.user_ids.join(","), view.device_ids.join(","), aliases.join(",")];
    format!("{} unknown {}", sets.join(" | "), view.unknown)
}

#[test]
fn without_known_users_every_identifier_is_a_member() {
    for (changes, expected) in [
        (&[][..], " |  |  unknown 0"),
        (&[add(external_id("b")), add(external_id("a")), add(external_id("b"))], "a,b |  |  unknown 0"),
        (&[add(external_id("a")), add(device_id("a")), add(alias("l", "a"))], "a | a | l:a unknown 0"),
        (&[add(alias("m", "a")), add(alias("l", "b")), add(alias("l", "a"))], " |  | l:a,l:b,m:a unknown 0"),
        (&[add(alias("l", "a")), remove(alias("m", "a")), remove(external_id("a"))], " |  | l:a unknown 0"),
        (&[add(device_id("a")), remove(device_id("a"))], " |  |  unknown 0"),
        (&[remove(external_id("a")), add(external_id("a"))], "a |  |  unknown 0"),
        (&[add(external_id("a")), remove(external_id("a")), remove(external_id("a"))], " |  |  unknown 0"),
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
        (&[add(external_id("ann")), add(alias("email", "ann@example.com"))][..], "ann |  |  unknown 0"),
        (&[add(alias("email", "bob@example.com")), add(device_id("phone-2"))], " | phone-2 |  unknown 0"),
        (&[add(alias("phone", "555"))], " |  | email:cat@example.com unknown 0"),
        (&[add(device_id("phone-1"))], " |  |  unknown 1"),
        (&[add(external_id("eve")), add(external_id("eve")), remove(external_id("eve"))], " |  |  unknown 2"),
        (&[add(alias("phone", "ann@example.com")), add(external_id("phone-2"))], " |  |  unknown 2"),
        (&[add(external_id("ann")), remove(alias("email", "ann@example.com"))], " |  |  unknown 0"),
        (&[add(external_id("ann")), remove(device_id("phone-1"))], "ann |  |  unknown 0"),
    ] {
        assert_eq!(applied(Some(users), changes), expected, "{changes:?}");
    }
}

#[test]
fn naming_creates_and_renames_and_keeps_the_members() {
    let mut store = Store::new(None);
    store.apply("td", 7, users("b", &[add(external_id("a"))]));
    assert_eq!(store.cohort("b", Page::ALL).unwrap().name, None);
    for (cohort_id, name) in [("a", "first"), ("b", "second"), ("b", "third")] {
        let [cohort_id, name, created_at] = [cohort_id, name, "2026-11-23"].map(str::to_owned);
        store.name("td", Naming { cohort_id, name, created_at });
    }
    let cohort = |cohort_id, name, members| json!({"cohort_id": cohort_id, "name": name, "partner": "td", "members": members, "unknown": 0});
    let expected = json!({"total": 2, "cohorts": [cohort("a", "first", 0), cohort("b", "third", 1)]});
    assert_eq!(store.cohorts(Page::ALL), expected);
    assert_eq!(store.cohort("b", Page::ALL).unwrap().created_at.as_deref(), Some("2026-11-23"));
    assert_eq!(store.cohort("c", Page::ALL), None);
}

fn users(cohort_id: &str, changes: &[Change]) -> Users {
    Users { cohort_id: cohort_id.to_owned(), changes: changes.to_vec() }
}

#[test]
fn a_page_is_a_part_of_each_list_in_the_order_of_the_alphabet() {
    let mut store = Store::new(None);
    let arrived = [
        add(external_id("c")),
        add(alias("m", "1")),
        add(external_id("a")),
        add(alias("l", "2")),
        add(external_id("b")),
        add(alias("l", "1")),
        add(alias("l", "3")),
        remove(external_id("x")),
    ];
    store.apply("td", 1, users("c", &arrived));
    for (offset, limit, ids, aliases) in [
        (0, 2, &["a", "b"][..], &["l:1", "l:2"][..]),
        (2, 2, &["c"], &["l:3", "m:1"]),
        (3, 9, &[], &["m:1"]),
        (4, 1, &[], &[]),
        (0, 0, &[], &[]),
    ] {
        let view = store.cohort("c", Page { offset, limit: Some(limit) }).unwrap();
        assert_eq!(view.user_ids, ids, "{offset}");
        let shown: Vec<_> = view.aliases.iter().map(|a| format!("{}:{}", a.alias_label, a.alias_name)).collect();
        assert_eq!(shown, aliases, "{offset}");
        let expected = [("user_ids", 3), ("device_ids", 0), ("aliases", 4), ("unmatched", 0), ("changes", 8)];
        assert_eq!((view.members, view.totals), (7, expected.into()));
    }
}

#[test]
fn the_last_changes_say_what_came_of_each() {
    use Effect::{Added, AlreadyMember, DeviceOfIdentified, NoSuchUser, NotMember, Removed};

    let mut store = Store::new(Some(KnownUsers::read("external_id,device_id\nann,phone-1\n".as_bytes()).unwrap()));
    store.apply("td", 3, users("c", &[add(external_id("ann")), add(external_id("ann")), add(device_id("phone-1"))]));
    let gone = [remove(external_id("ann")), remove(external_id("ann")), remove(external_id("eve"))];
    store.apply("other", 4, users("c", &gone));
    let view = store.cohort("c", Page::ALL).unwrap();
    let effects: Vec<_> = view.changes.iter().map(|change| (change.request, change.effect)).collect();
    let first = [(3, DeviceOfIdentified), (3, AlreadyMember), (3, Added)];
    assert_eq!(effects, [[(4, NoSuchUser), (4, NotMember), (4, Removed)], first].concat());
    let unmatched: Vec<_> = view.unmatched.iter().map(|change| change.identifier.identifier.as_str()).collect();
    assert_eq!((unmatched, view.unknown, view.partner.as_str()), (vec!["eve", "phone-1"], 1, "other"));
    assert_eq!(store.search("eve")["unmatched"][0]["operation"], "remove");
}

#[test]
fn only_the_last_changes_are_kept() {
    let mut store = Store::new(Some(KnownUsers::read("external_id\n".as_bytes()).unwrap()));
    let ids: Vec<_> = (0..1_500).map(|number| format!("member-{number}")).collect();
    for (request, ids) in (1..).zip(ids.chunks(1_000)) {
        let changes: Vec<_> = ids.iter().map(|id| add(external_id(id))).collect();
        store.apply("td", request, users("c", &changes));
    }
    let view = store.cohort("c", Page::ALL).unwrap();
    assert_eq!((view.changes.len(), view.unmatched.len(), view.unknown), (100, 1_000, 1_500));
    assert_eq!((&view.changes[99], &view.unmatched[999].request), (&view.unmatched[99], &1));
}

#[test]
fn a_search_finds_each_cohort_and_since_which_request() {
    let mut store = Store::new(None);
    store.apply("td", 1, users("a", &[add(external_id("zqx")), add(alias("email", "zqx"))]));
    store.apply("td", 2, users("a", &[add(external_id("zqx")), remove(alias("email", "zqx"))]));
    store.apply("td", 3, users("b", &[add(alias("email", "zqx")), add(device_id("other"))]));
    let found = |text| {
        let found = store.search(text)["cohorts"].as_array().unwrap().clone();
        let shown = |found: Value| json!([found["cohort_id"], found["kind"], found["since_request"]]);
        found.into_iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(found("zqx"), [json!(["a", "user_ids", 1]), json!(["b", "aliases", 3])]);
    assert_eq!(found("zq"), [] as [Value; 0]);
}

#[test]
fn with_known_users_a_search_finds_the_user() {
    let rows = "external_id,email\nann,ann@example.com\n,bob@example.com\n";
    let mut store = Store::new(Some(KnownUsers::read(rows.as_bytes()).unwrap()));
    store.apply("td", 5, users("a", &[add(external_id("ann"))]));
    let found = &store.search("ann@example.com")["cohorts"];
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((&found[0]["kind"], &found[0]["member"]["identifier"]), (&json!("aliases"), &json!("ann")));
    assert_eq!(store.search("bob@example.com")["cohorts"], json!([]));
}
