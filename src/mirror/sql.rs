//! The statements that a mirror has Treasure Data run, for Trino and Presto. Pure: names and values in, text out.
//!
//! A row of a version of the state is one row of the members' table: `row` (its identifiers as text: for each a line break, its
//! kind, a tab and its value; neither can hold a control character), `confirmed` (when, in seconds since 1970, or NULL) and `wanted`
//! (1 if the members' table has this row). An identifier is wanted if one of its rows is, and confirmed if all of them are. The row
//! without identifiers has `total`: how many identifiers were wanted in the last version that was done, so that a run need not
//! count them.
//!
//! A version that job 1 made has more columns: `known` and `was_wanted` (1 if the version before has the row, and if it was wanted
//! there), `was_confirmed` (as in the version before), `due` (1 if it is to be sent again), `members` and `rejected` (how many rows
//! of the members' table are this one, and how many of their cells are rejected) and `built` (when).

use crate::input::TableName;
use crate::members::operation::Operation;

mod cells;

/// Text as a literal.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name in quotes, out of which it cannot break.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table in its database, in quotes.
fn qualified(name: &TableName) -> String {
    format!("{}.{}", quoted(&name.database), quoted(&name.table))
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Text, taken as it is.
    Text,
    /// Whole numbers, whose digits are taken.
    Whole,
}

/// A column of the members' table that holds identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it is called in the table.
    pub name: String,
    /// What it holds: `user_ids`, `device_ids`, or the label of an alias.
    pub kind: String,
    /// Of which type.
    pub column_type: ColumnType,
}

impl Column {
    /// As text, without a CAST: a column that became DOUBLE fails the job instead of becoming other text.
    fn text(&self) -> String {
        match self.column_type {
            ColumnType::Text => quoted(&self.name),
            ColumnType::Whole => format!("to_base({}, 10)", quoted(&self.name)),
        }
    }
}

/// When confirmed identifiers are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Never.
    Off,
    /// Everything, now.
    All,
    /// Within this many seconds, at least 1.
    Every(u64),
}

impl Refresh {
    /// A hash of the row spreads what is due evenly.
    fn is_due(self) -> String {
        let period = |moment: &str, seconds: u64| {
            let hash = r#"abs(from_big_endian_64(xxhash64(to_utf8("row"))) % "#;
            format!("({moment} + {hash}{seconds})) / {seconds}")
        };
        match self {
            Self::Off => "false".to_owned(),
            Self::All => "true".to_owned(),
            Self::Every(seconds) => {
                format!("{} > {}", period(NOW, seconds), period(r#""was_confirmed""#, seconds))
            }
        }
    }
}

/// What separates identifiers, and a kind from its value. Not written into literals, because a statement passes through forms, editors
/// and consoles, which may change line breaks and tabs.
const LINE_BREAK: &str = "chr(10)";
const TAB: &str = "chr(9)";
const NOW: &str = "CAST(floor(to_unixtime(now())) AS BIGINT)";

/// What all statements of one run share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements {
    /// Which cohort, for the comment.
    pub cohort_id: String,
    /// The members' table.
    pub members: TableName,
    /// Its columns; at least one.
    pub columns: Vec<Column>,
    /// The words that count as blank.
    pub null_words: Vec<String>,
    /// When confirmed identifiers are sent again.
    pub refresh: Refresh,
}

impl Statements {
    /// Job 1: the next odd version out of the members' table and the highest version.
    pub fn build(&self, top: Option<&TableName>, work: &TableName) -> String {
        let comment = self.comment("compare the members' table with the last version");
        format!("{comment}CREATE TABLE {} AS\n{}", qualified(work), self.compared(top))
    }

    /// Job 2: what is to be sent, and the counts, as `change`, `kind`, `value`, `before` and `number`. An identifier to be sent has a
    /// row of its own, with the number 1. All others are counted together. Rows and cells of the members' table are counted, and the
    /// identifiers that were wanted before.
    ///
    /// `before` is the number of the version before. If it is odd, how many were wanted in it must be counted.
    pub fn changes(&self, before: Option<u64>, work: &TableName) -> String {
        let comment = self.comment("find what to remove and add");
        format!("{comment}{}", found(before, &qualified(work), "\"change\" IN ('remove', 'beside', 'add', 'refresh')"))
    }

    /// Jobs 1 and 2 as one SELECT, for the counts alone. It reads the tables more than once, so its counts are of several moments
    /// if one of them changes meanwhile.
    pub fn preview(&self, top: Option<(u64, &TableName)>) -> String {
        let work = format!("(\n{}\n)", self.compared(top.map(|(_, table)| table)));
        format!(
            "{}{}",
            self.comment("count what would be removed and added"),
            found(top.map(|(number, _)| number), &work, "false")
        )
    }

    /// Job 3: the next even version out of our odd one, in which `wanted` identifiers are wanted, without what was refused. A refused
    /// addition gets a row of its own: it alone is not confirmed.
    pub fn commit(
        &self,
        ours: &TableName,
        refused: &[(Operation, &str, &str)],
        wanted: u64,
        next: &TableName,
    ) -> String {
        let listed = |operation| {
            let found = refused.iter().filter(move |(of, ..)| *of == operation);
            found.map(|(_, kind, value)| format!("{} || {TAB} || {}", literal(kind), literal(value)))
        };
        let additions = listed(Operation::Add).map(|one| format!(", ({LINE_BREAK} || {one}, 1, NULL)"));
        let removals: Vec<_> = listed(Operation::Remove).collect();
        let is_kept = if removals.is_empty() {
            "false".to_owned()
        } else {
            format!("arrays_overlap({}, ARRAY[{}])", identifiers(), removals.join(", "))
        };
        format!(
            r#"{}CREATE TABLE {} AS
WITH new ("row", "wanted", "total") AS (VALUES ('', 0, CAST({wanted} AS BIGINT)){})
SELECT "row", CASE WHEN "wanted" = 1 THEN "built" END AS "confirmed", "wanted", CAST(NULL AS BIGINT) AS "total"
FROM {}
WHERE ("wanted" = 1 OR {is_kept}) AND "row" NOT IN (SELECT "row" FROM new)
UNION ALL
SELECT "row", NULL, "wanted", "total" FROM new"#,
            self.comment("confirm what is wanted, except what was refused"),
            qualified(next),
            additions.collect::<String>(),
            qualified(ours),
        )
    }

    /// The identifiers of the members' table, unchanged, for an upload: columns of their kinds' names.
    pub fn select(&self) -> String {
        let columns: Vec<_> =
            self.columns.iter().map(|column| format!("{} AS {}", column.text(), quoted(&column.kind))).collect();
        let comment = self.comment("read the members of the table");
        format!("{comment}SELECT {} FROM {}", columns.join(", "), qualified(&self.members))
    }

    /// How far the state is: when it was committed with changes last, in seconds since 1970, and counts in identifiers.
    pub fn status(&self, top: &TableName) -> String {
        format!(
            r#"{}SELECT "name", to_base("number", 10) AS "number"
FROM (
  SELECT ARRAY[
    coalesce(max("confirmed"), 0), count_if("wanted"), count_if(NOT "wanted"), count_if("wanted" AND "confirmed" IS NULL)
  ] AS "numbers"
  FROM (
    SELECT
      "identifier", max("wanted") = 1 AS "wanted", CASE WHEN count("confirmed") = count(*) THEN min("confirmed") END AS "confirmed"
    FROM {} AS version CROSS JOIN UNNEST({}) AS line ("identifier")
    WHERE "row" <> ''
    GROUP BY "identifier"
  ) AS "identifiers"
) AS "all"
CROSS JOIN UNNEST(ARRAY['committed', 'wanted', 'to_remove', 'to_add'], "numbers") AS "count" ("name", "number")"#,
            self.comment("count how far the state is"),
            qualified(top),
            identifiers(),
        )
    }

    /// Who issues it, for which cohort, and what it does: what the console shows first.
    fn comment(&self, step: &str) -> String {
        let cohort: String =
            self.cohort_id.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        format!("-- td-braze-cohort, cohort {cohort}: {step}\n")
    }

    /// The rows of the members' table and of the version before. Reads each once. The rows that are gone from the table stay: what is
    /// to be removed is among them. They are unconfirmed, so that an identifier of a row that is gone is not confirmed before the
    /// next commit.
    fn compared(&self, top: Option<&TableName>) -> String {
        let before = match top {
            Some(top) => format!(r#"SELECT "row", "confirmed", "wanted", "total" FROM {}"#, qualified(top)),
            None => r#"SELECT CAST(NULL AS VARCHAR) AS "row", CAST(NULL AS BIGINT) AS "confirmed", 0 AS "wanted", CAST(NULL AS BIGINT) AS "total" WHERE false"#.to_owned(),
        };
        format!(
            r#"SELECT
  "row", "wanted", "known", "was_wanted", "was_confirmed",
  CASE WHEN "wanted" = 1 AND "known" = 1 THEN "was_confirmed" END AS "confirmed",
  CASE WHEN {} THEN 1 ELSE 0 END AS "due",
  "members", "rejected", "total", {NOW} AS "built"
FROM (
  SELECT
    coalesce(new."row", old."row") AS "row",
    CASE WHEN new."row" IS NULL THEN 0 ELSE 1 END AS "wanted",
    CASE WHEN old."row" IS NULL THEN 0 ELSE 1 END AS "known",
    coalesce(old."wanted", 0) AS "was_wanted", old."confirmed" AS "was_confirmed",
    coalesce("members", 0) AS "members", coalesce("rejected", 0) AS "rejected", "total"
  FROM (
{}
  ) AS new
  FULL OUTER JOIN ({before}) AS old ON new."row" = old."row"
) AS "rows""#,
            self.refresh.is_due(),
            self.members(),
        )
    }

    /// The different rows of the members' table, as text, with how many there are of each and how many of their cells are rejected.
    fn members(&self) -> String {
        let each = |text: &dyn Fn(usize, &Column) -> String| {
            self.columns.iter().enumerate().map(|(index, column)| text(index, column)).collect::<Vec<_>>()
        };
        let texts = each(&|index, column| format!("{} AS \"c{index}\"", column.text())).join(", ");
        let verdicts = each(&|index, column| {
            let cell = format!("\"c{index}\"");
            format!("{} AS \"v{index}\"", cells::verdict(&cell, column.column_type, &self.null_words))
        });
        // A row is the same row whatever columns without a value it has, and in whatever order.
        let mut in_order: Vec<_> = self.columns.iter().enumerate().collect();
        in_order.sort_by_key(|(_, column)| &column.kind);
        let parts: Vec<_> = in_order
            .into_iter()
            .map(|(index, column)| {
                let begin = format!("{LINE_BREAK} || {} || {TAB}", literal(&column.kind));
                format!("CASE WHEN \"v{index}\" = 1 THEN {begin} || \"c{index}\" ELSE '' END")
            })
            .collect();
        let rejected = each(&|index, _| format!("CASE WHEN \"v{index}\" = 2 THEN 1 ELSE 0 END")).join(" + ");
        format!(
            r#"    SELECT "row", count(*) AS "members", sum("rejected") AS "rejected"
    FROM (
      SELECT {} AS "row", {rejected} AS "rejected"
      FROM (
        SELECT *,
          {}
        FROM (SELECT {texts} FROM {}) AS texts
      ) AS verdicts
    ) AS cells
    GROUP BY "row""#,
            parts.join(" || "),
            verdicts.join(",\n          "),
            qualified(&self.members),
        )
    }
}

/// The identifiers of a row, as an array of text.
fn identifiers() -> String {
    format!(r#"split(substr("row", 2), {LINE_BREAK})"#)
}

/// What is to be done with the identifiers of a version that job 1 made. What `own` holds for has a row of its own. Only the
/// identifiers of rows that changed, are not confirmed or are due are looked at, in all rows that have them.
fn found(before: Option<u64>, work: &str, own: &str) -> String {
    let identifiers = identifiers();
    let number_before = if before.is_some_and(|number| number % 2 == 1) {
        format!(
            r#"(SELECT count(DISTINCT "identifier") FROM {work} AS version CROSS JOIN UNNEST({identifiers}) AS line ("identifier") WHERE "row" <> '' AND "was_wanted" = 1)"#
        )
    } else {
        r#"coalesce(max("total"), 0)"#.to_owned()
    };
    // On a first run no row is gone, and all lines are looked at.
    let marked = match before {
        None => r#"SELECT *, 0 AS "has_removed" FROM lines"#,
        Some(_) => {
            r#"SELECT *, max(1 - "stays") OVER (PARTITION BY "row") AS "has_removed"
  FROM (SELECT *, max("wanted") OVER (PARTITION BY "identifier") AS "stays" FROM lines) AS "staying""#
        }
    };
    format!(
        r#"WITH lines AS (
  SELECT "row", "wanted", "known", "was_wanted", "was_confirmed", "due", "identifier"
  FROM {work} AS version
  CROSS JOIN UNNEST({identifiers}) AS line ("identifier")
  WHERE "row" <> '' AND "identifier" IN (
    SELECT "changed" FROM {work} AS version CROSS JOIN UNNEST({identifiers}) AS line ("changed")
    WHERE "row" <> '' AND ("confirmed" IS NULL OR "due" = 1)
  )
), marked AS (
  {marked}
), judged AS (
  SELECT
    CASE
      WHEN max("wanted") = 0 THEN 'remove'
      WHEN max("has_removed") = 1 THEN 'beside'
      WHEN sum("known") = 0 OR count("was_confirmed") < sum("known") THEN 'add'
      WHEN max("due") = 1 THEN 'refresh'
      ELSE 'moved'
    END AS "change",
    "identifier",
    CASE WHEN max("known") = 0 THEN 'unknown' WHEN max("was_wanted") = 1 THEN 'wanted' ELSE 'unwanted' END AS "before"
  FROM marked
  GROUP BY "identifier"
)
SELECT
  "change", split_part("identifier", {TAB}, 1) AS "kind", substr("identifier", strpos("identifier", {TAB}) + 1) AS "value", "before",
  to_base(count(*), 10) AS "number"
FROM (SELECT "change", CASE WHEN {own} THEN "identifier" ELSE '' END AS "identifier", "before" FROM judged) AS "changes"
GROUP BY "change", "identifier", "before"
UNION ALL
SELECT "name", '', '', '', to_base("number", 10)
FROM (
  SELECT ARRAY[
    coalesce(sum(CASE WHEN "row" = '' THEN 0 ELSE "members" END), 0), coalesce(sum(CASE WHEN "row" = '' THEN "members" END), 0),
    coalesce(sum("rejected"), 0), {number_before}
  ] AS "numbers"
  FROM {work} AS version
) AS "all"
CROSS JOIN UNNEST(ARRAY['with_identifier', 'without_identifier', 'rejected', 'before'], "numbers") AS "count" ("name", "number")"#
    )
}

#[cfg(test)]
mod tests;
