//! The statements that a mirror has Treasure Data run, for Trino and Presto. Pure: names and values in, text out.
//!
//! A line of a version of the state is one identifier of one row: `kind`, `value`, `row` (a hash of the row's identifiers),
//! `confirmed` (when, in seconds since 1970, or NULL) and `wanted` (1 if the members' table has this line). An identifier is wanted
//! if one of its lines is, and confirmed if all of them are. A version that job 1 made has more columns: `known` and `was_wanted`
//! (1 if the version before has the line, and if it was wanted there), `was_confirmed` (as in the version before) and `built`
//! (when). Its lines with an empty kind count rows and cells of the members' table, in `members`.

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

/// When what was confirmed is sent again.
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
    /// A hash of the identifier spreads what is due evenly.
    fn is_due(self) -> String {
        let period = |moment: &str, seconds: u64| {
            let hash = r#"abs(from_big_endian_64(xxhash64(to_utf8("kind" || ' ' || "value"))) % "#;
            format!("({moment} + {hash}{seconds})) / {seconds}")
        };
        match self {
            Self::Off => "false".to_owned(),
            Self::All => "true".to_owned(),
            Self::Every(seconds) => {
                format!("{} > {}", period(NOW, seconds), period(r#""confirmed""#, seconds))
            }
        }
    }
}

const NOW: &str = "CAST(floor(to_unixtime(now())) AS BIGINT)";

/// What the statements of one run have in common.
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
    /// When what was confirmed is sent again.
    pub refresh: Refresh,
}

impl Statements {
    /// Job 1: the next odd version out of the members' table and the highest version.
    pub fn build(&self, top: Option<&TableName>, work: &TableName) -> String {
        let comment = self.comment("what is wanted now, beside the version before");
        format!("{comment}CREATE TABLE {} AS\n{}", qualified(work), self.joined(top))
    }

    /// Job 2: what is to be sent, and the counts, as `change`, `kind`, `value`, `before` and `number`. An identifier to be sent has a
    /// row of its own, with the number 1. All others are counted together, as are rows and cells of the members' table.
    pub fn changes(&self, work: &TableName) -> String {
        let comment = self.comment("what is to be removed and added, and how many");
        format!("{comment}{}", self.found(&qualified(work), "\"change\" IN ('remove', 'beside', 'add', 'refresh')"))
    }

    /// Jobs 1 and 2 as one SELECT, for the counts alone. It reads the tables more than once, so its counts are of several moments
    /// if one of them changes meanwhile.
    pub fn preview(&self, top: Option<&TableName>) -> String {
        let work = format!("(\n{}\n)", self.joined(top));
        format!("{}{}", self.comment("how many would be removed and added"), self.found(&work, "false"))
    }

    /// Job 3: the next even version out of our odd one, without what was refused.
    pub fn commit(&self, ours: &TableName, refused: &[(Operation, &str, &str)], next: &TableName) -> String {
        let (ours, next) = (qualified(ours), qualified(next));
        let listed = |operation| {
            let pairs: Vec<_> = refused
                .iter()
                .filter(|(of, ..)| *of == operation)
                .map(|(_, kind, value)| format!("({}, {})", literal(kind), literal(value)))
                .collect();
            if pairs.is_empty() {
                return "false".to_owned();
            }
            format!("(\"kind\", \"value\") IN ({})", pairs.join(", "))
        };
        format!(
            r#"{}CREATE TABLE {next} AS
SELECT
  "kind", "value", "row",
  CASE WHEN "wanted" = 1 AND NOT ({}) THEN "built" END AS "confirmed",
  "wanted"
FROM {ours}
WHERE "kind" <> '' AND ("wanted" = 1 OR "row" IN (
  SELECT "row" FROM {ours} WHERE "wanted" = 0 AND ({})
))"#,
            self.comment("what is wanted, confirmed, except what was refused"),
            listed(Operation::Add),
            listed(Operation::Remove),
        )
    }

    /// The identifiers of the members' table as they stand, for an upload: columns of their kinds' names.
    pub fn select(&self) -> String {
        let columns: Vec<_> =
            self.columns.iter().map(|column| format!("{} AS {}", column.text(), quoted(&column.kind))).collect();
        let comment = self.comment("the members of the table");
        format!("{comment}SELECT {} FROM {}", columns.join(", "), qualified(&self.members))
    }

    /// How far the state is: when it was committed with changes last, in seconds since 1970, and counts in identifiers, as
    /// [`Self::changes`] has them.
    pub fn status(&self, top: &TableName) -> String {
        format!(
            r#"{}SELECT "name", to_base("number", 10) AS "number"
FROM (
  SELECT ARRAY[
    coalesce(max("confirmed"), 0), count_if("wanted"), count_if(NOT "wanted"), count_if("wanted" AND "confirmed" IS NULL)
  ] AS "numbers"
  FROM (
    SELECT
      "kind", "value", max("wanted") = 1 AS "wanted",
      CASE WHEN count("confirmed") = count(*) THEN min("confirmed") END AS "confirmed"
    FROM {} WHERE "kind" <> '' GROUP BY "kind", "value"
  ) AS "identifiers"
) AS "all"
CROSS JOIN UNNEST(ARRAY['committed', 'wanted', 'to_remove', 'to_add'], "numbers") AS "count" ("name", "number")"#,
            self.comment("how far the state is"),
            qualified(top)
        )
    }

    /// Who issues it, for which cohort, and what it does: what the console shows first.
    fn comment(&self, step: &str) -> String {
        let cohort: String =
            self.cohort_id.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        format!("-- td-braze-cohort, cohort {cohort}: {step}\n")
    }

    /// The lines of the members' table and of the version before. Reads each once. The lines that are gone from the table stay: what
    /// is to be removed is among them. They are unconfirmed, so that an identifier of a row that is gone is not confirmed before
    /// the next commit.
    fn joined(&self, top: Option<&TableName>) -> String {
        let before = top.map_or_else(String::new, |top| {
            format!(
                r#"
    UNION ALL
    SELECT "kind", "value", "row", 0, 1, "wanted", "confirmed" FROM {} WHERE "kind" <> ''"#,
                qualified(top)
            )
        });
        format!(
            r#"SELECT
  "kind", "value", "row",
  CASE WHEN "wanted" = 1 AND "known" = 1 THEN "was_confirmed" END AS "confirmed",
  "wanted", "known", "was_wanted", "was_confirmed", "members",
  {NOW} AS "built"
FROM (
  SELECT
    "kind", "value", "row", max("is_new") AS "wanted", max("was_there") AS "known", max("was_wanted") AS "was_wanted",
    min("confirmed") AS "was_confirmed", count(*) AS "members"
  FROM (
{}{before}
  ) AS "both" ("kind", "value", "row", "is_new", "was_there", "was_wanted", "confirmed")
  GROUP BY "kind", "value", "row"
) AS "lines""#,
            self.members(),
        )
    }

    /// What is to be done with each identifier of a version that job 1 made. What `own` holds for has a row of its own. The lines
    /// that are gone are few in most runs, so only they are searched for removals and their rows.
    fn found(&self, work: &str, own: &str) -> String {
        format!(
            r#"WITH gone AS (
  SELECT "kind", "value", "row" FROM {work} AS "version" WHERE "wanted" = 0
), removed AS (
  SELECT "kind", "value"
  FROM {work} AS "version"
  JOIN (SELECT DISTINCT "kind" AS "gone_kind", "value" AS "gone_value" FROM gone) AS "gone"
    ON "kind" = "gone_kind" AND "value" = "gone_value"
  GROUP BY "kind", "value"
  HAVING max("wanted") = 0
), beside AS (
  SELECT DISTINCT "kind" AS "beside_kind", "value" AS "beside_value"
  FROM gone
  WHERE "row" IN (
    SELECT gone."row" FROM gone JOIN removed ON gone."kind" = removed."kind" AND gone."value" = removed."value"
  )
), identifiers AS (
  SELECT
    "kind", "value", max("wanted") AS "wanted", max("known") AS "known", max("was_wanted") AS "was_wanted",
    CASE WHEN count("was_confirmed") = sum("known") THEN min("was_confirmed") END AS "confirmed",
    max(CASE WHEN "wanted" <> "known" THEN 1 ELSE 0 END) AS "moved", sum("members") AS "members"
  FROM {work} AS "version"
  GROUP BY "kind", "value"
), judged AS (
  SELECT
    CASE
      WHEN "kind" = '' THEN "value"
      WHEN "wanted" = 0 THEN 'remove'
      WHEN "beside_kind" IS NOT NULL THEN 'beside'
      WHEN "confirmed" IS NULL THEN 'add'
      WHEN {} THEN 'refresh'
      WHEN "moved" = 1 THEN 'moved'
      ELSE 'unchanged'
    END AS "change",
    "kind", "value",
    CASE WHEN "known" = 0 THEN 'unknown' WHEN "was_wanted" = 1 THEN 'wanted' ELSE 'unwanted' END AS "before",
    CASE WHEN "kind" = '' THEN "members" ELSE 1 END AS "number"
  FROM identifiers
  LEFT JOIN beside ON "kind" = "beside_kind" AND "value" = "beside_value"
)
SELECT "change", "kind", "value", "before", to_base(sum("number"), 10) AS "number"
FROM (
  SELECT
    "change", CASE WHEN {own} THEN "kind" ELSE '' END AS "kind", CASE WHEN {own} THEN "value" ELSE '' END AS "value",
    "before", "number"
  FROM judged
) AS "changes"
GROUP BY "change", "kind", "value", "before""#,
            self.refresh.is_due(),
        )
    }

    /// The lines of the members' table: of each row one for each identifier, one for each rejected cell, and one that says
    /// whether it has an identifier.
    fn members(&self) -> String {
        let each = |text: &dyn Fn(usize, &Column) -> String| {
            self.columns.iter().enumerate().map(|(index, column)| text(index, column)).collect::<Vec<_>>()
        };
        let texts = each(&|index, column| format!("{} AS \"c{index}\"", column.text())).join(", ");
        let verdicts = each(&|index, column| {
            let cell = format!("\"c{index}\"");
            format!("{} AS \"v{index}\"", cells::verdict(&cell, column.column_type, &self.null_words))
        })
        .join(",\n          ");
        let values = each(&|index, _| format!("CASE WHEN \"v{index}\" = 1 THEN \"c{index}\" END AS \"i{index}\""));
        let mut parts =
            each(&|index, column| format!("coalesce({} || \"i{index}\", '')", literal(&format!("\n{} ", column.kind))));
        // A row is the same row whatever columns without a value it has, and in whatever order.
        parts.sort();
        let parts = parts.join(" || ");
        let kinds =
            each(&|index, column| format!("CASE WHEN \"v{index}\" = 2 THEN '' ELSE {} END", literal(&column.kind)));
        let cells = each(&|index, _| format!("CASE WHEN \"v{index}\" = 2 THEN 'rejected' ELSE \"i{index}\" END"));
        let rows = each(&|index, _| format!("CASE WHEN \"v{index}\" = 2 THEN 0 ELSE \"hash\" END"));
        let is_somebody = each(&|index, _| format!("\"i{index}\" IS NOT NULL")).join(" OR ");
        format!(
            r"    SELECT line.kind, line.value, line.row_hash AS row_hash, 1, 0, 0, CAST(NULL AS BIGINT)
    FROM (
      SELECT *, from_big_endian_64(xxhash64(to_utf8({parts}))) AS hash
      FROM (SELECT *, {} FROM (
        SELECT *,
          {verdicts}
        FROM (SELECT {texts} FROM {}) AS texts
      ) AS verdicts) AS cells
    ) AS members
    CROSS JOIN UNNEST(
      ARRAY[{}, ''],
      ARRAY[{}, CASE WHEN {is_somebody} THEN 'with_identifier' ELSE 'without_identifier' END],
      ARRAY[{}, 0]
    ) AS line (kind, value, row_hash)
    WHERE line.value IS NOT NULL",
            values.join(", "),
            qualified(&self.members),
            kinds.join(", "),
            cells.join(", "),
            rows.join(", "),
        )
    }
}

#[cfg(test)]
mod tests;
