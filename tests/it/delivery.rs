//! Every member arrives, exactly, in the fewest requests.

use std::collections::BTreeSet;
use std::time::Duration;

use td_braze_cohort::sandbox::{CohortView, Sandbox};

use crate::report::Report;
use crate::support::{Run, braze, braze_with, user_ids};

/// Members by kind, as sets: what was written, or what the sandbox holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members {
    user_ids: BTreeSet<String>,
    device_ids: BTreeSet<String>,
    aliases: BTreeSet<(String, String)>,
}

impl From<CohortView> for Members {
    fn from(view: CohortView) -> Self {
        Self {
            user_ids: view.user_ids.into_iter().collect(),
            device_ids: view.device_ids.into_iter().collect(),
            aliases: view.aliases.into_iter().map(|alias| (alias.alias_label, alias.alias_name)).collect(),
        }
    }
}

impl Members {
    fn of(braze: &Sandbox) -> Self {
        braze.cohort("vip").unwrap().into()
    }

    fn len(&self) -> usize {
        self.user_ids.len() + self.device_ids.len() + self.aliases.len()
    }

    fn label(&self, label: &str) -> u64 {
        self.aliases.iter().filter(|(known, _)| known == label).count() as u64
    }
}

const ROWS: usize = 4_300;

/// The cells of one row: blank ones, quoted ones, ones that are not ASCII. Every 500th row is blank throughout.
fn cells(number: usize) -> [String; 4] {
    let unless = |every: usize, cell: String| {
        if number.is_multiple_of(every) || number.is_multiple_of(500) { String::new() } else { cell }
    };
    let email = match number % 3 {
        0 => format!("\"zoë, \\ {number}\"@例え.jp"),
        1 => format!("MiXed.{number}@Example.com"),
        _ => format!("{number}+😀@example.com"),
    };
    let device = if number.is_multiple_of(5) { "  ".to_owned() } else { format!("DEVICE-{number:08x}") };
    [unless(7, format!("00{number}")), unless(11, device), unless(13, email), unless(3, format!("+49 {number}"))]
}

fn identifiers(cells: &[String; 4]) -> [Option<&str>; 4] {
    cells.each_ref().map(|cell| Some(cell.as_str()).filter(|cell| !cell.trim().is_empty()))
}

/// The rows as `td>` writes them, with a column that the settings do not use.
fn table(rows: impl Iterator<Item = usize>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(["email", "user_ids", "comment", "phone", "device_ids"]).unwrap();
    for number in rows {
        let [user_id, device_id, email, phone] = cells(number);
        writer.write_record([&email, &user_id, "says \"no\",\r\nloudly", &phone, &device_id]).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

fn expected() -> Members {
    let mut members = Members::default();
    for number in 0..ROWS {
        let cells = cells(number);
        let [user_id, device_id, email, phone] = identifiers(&cells);
        members.user_ids.extend(user_id.map(str::to_owned));
        members.device_ids.extend(device_id.map(str::to_owned));
        members.aliases.extend(email.map(|email| ("email".to_owned(), email.to_owned())));
        members.aliases.extend(phone.map(|phone| ("phone".to_owned(), phone.to_owned())));
    }
    members
}

fn upload_everything(braze: &Sandbox) -> Report {
    let run = Run::upload().to(braze).set("aliases", "[email, phone]").set("thread_count", "3");
    run.rows(table(0..ROWS)).arg("--json").exits(0).report()
}

#[test]
fn every_member_of_4300_rows_arrives_exactly() {
    let braze = braze();
    let report = upload_everything(&braze);
    let expected = expected();
    assert_eq!(Members::of(&braze), expected);

    let blank_rows = (0..ROWS).filter(|number| identifiers(&cells(*number)).iter().all(Option::is_none)).count() as u64;
    assert!(blank_rows >= 9);
    let blank_cells = (ROWS * 4 - expected.len()) as u64;
    let total = expected.len() as u64;
    report.has(&[
        ("/rows_read", ROWS as u64),
        ("/rows_used", ROWS as u64 - blank_rows),
        ("/rows_without_identifier", blank_rows),
        ("/rows_rejected", 0),
        ("/cells_blank", blank_cells),
        ("/identifiers/total", total),
        ("/identifiers/user_ids", expected.user_ids.len() as u64),
        ("/identifiers/device_ids", expected.device_ids.len() as u64),
        ("/identifiers/aliases/email", expected.label("email")),
        ("/identifiers/aliases/phone", expected.label("phone")),
        ("/delivered", total),
        ("/retries", 0),
        ("/exit_code", 0),
    ]);
}

#[test]
fn the_requests_are_as_few_as_possible_and_thread_count_at_once() {
    let braze = braze_with(|options| options.latency = Duration::from_millis(50));
    let report = upload_everything(&braze);
    let identifiers = expected().len();
    let batches = identifiers.div_ceil(1000);
    let stats = braze.stats();
    report.has(&[("/requests", batches as u64 + 1)]);
    assert_eq!((stats.naming_requests, stats.users_requests), (1, batches as u64));
    let mut sizes = stats.batch_sizes;
    sizes.sort_unstable();
    let rest = sizes.remove(0);
    assert_eq!(rest, identifiers - (batches - 1) * 1000);
    assert!(sizes.iter().all(|size| *size == 1000), "{sizes:?}");
    assert_eq!(stats.max_in_flight, 3);
}

#[test]
fn a_remove_by_alias_takes_out_just_those() {
    let braze = braze();
    upload_everything(&braze);
    let leaving = |number: &usize| number.is_multiple_of(3);
    let mut left = expected();
    let mut gone = 0;
    for email in (0..ROWS).filter(leaving).map(|number| cells(number)[2].clone()).filter(|email| !email.is_empty()) {
        assert!(left.aliases.remove(&("email".to_owned(), email)));
        gone += 1;
    }
    let remove = Run::upload().to(&braze).set("operation", "remove").set("aliases", "email");
    let rows = table((0..ROWS).filter(leaving)).replacen("user_ids", "user", 1).replacen("device_ids", "device", 1);
    let report = remove.rows(rows).arg("--json").exits(0).report();
    report.has(&[("/identifiers/total", gone), ("/identifiers/aliases/email", gone), ("/delivered", gone)]);
    assert_eq!(Members::of(&braze), left);
    assert_eq!(braze.stats().identifiers_removed, gone);
}

#[test]
fn a_multiple_of_a_thousand_leaves_no_empty_batch() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows(user_ids(2000)).arg("--json").exits(0);
    run.report().has(&[("/requests", 3), ("/delivered", 2000)]);
    assert_eq!(braze.stats().batch_sizes, [1000, 1000]);
}

#[test]
fn the_report_as_text_says_the_same() {
    let braze = braze();
    let run = Run::upload().to(&braze).rows("user_ids,device_ids\r\nmember-1,device-1\r\n,\r\nmember-2,\r\n").exits(0);
    for (name, number) in
        [("rows_read", 3), ("rows_without_identifier", 1), ("delivered", 3), ("refused", 0), ("undelivered", 0)]
    {
        assert_eq!(number_behind(&run.stdout, name), Some(number), "{name}{run}");
    }
    run.hides(&["member-1", "member-2", "device-1"]);
}

/// The number at the end of the line with this label.
fn number_behind(table: &str, label: &str) -> Option<u64> {
    table.lines().find_map(|line| {
        let (text, number) = line.rsplit_once("  ")?;
        text.trim().ends_with(label).then(|| number.trim().replace(',', "").parse().ok())?
    })
}

#[test]
fn the_report_as_json_names_the_cohort_and_the_outcome() {
    let braze = braze();
    let report = Run::upload().to(&braze).rows(user_ids(1)).arg("--json").exits(0).report();
    let texts = ["/cohort_id", "/operation", "/outcome"].map(|pointer| report.text(pointer));
    assert_eq!(texts, ["vip", "add", "delivered"]);
    assert_eq!(report.0["input_read_to_end"], true);
    assert!(report.0["seconds"].is_number());
}
