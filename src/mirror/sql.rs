//! The statements that a mirror has Treasure Data run, for Trino and Presto. Pure: names and values in, text out.
//!
//! A line of a version of the state is one identifier of one row: `kind`, `value`, `row` (a hash of all that the row holds),
//! `confirmed` (when, in seconds since 1970, or NULL) and `wanted` (0 or 1). A version that job 1 made has more columns:
//! `kept` (1 in a row that left and stays for a removal), `change` (what is to be sent, and why), `counted` (1 in one line of each
//! identifier), `known` and `was_wanted` (1 as of the version before), and `built` (when). Its lines with an empty kind count the
//! members' table.

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
    /// Text, taken as it stands.
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
    /// Within so many seconds, more than none.
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

    /// Job 2: the counts, and what is to be sent, as `change`, `kind`, `value`. A count has the change `count`.
    pub fn changes(&self, work: &TableName) -> String {
        let (comment, work) = (self.comment("what is to be removed and added, and how many"), qualified(work));
        format!(
            "{comment}{}\nUNION ALL\nSELECT \"change\", \"kind\", \"value\" FROM {work} WHERE \"counted\" = 1 AND \"change\" IS NOT NULL",
            counts(&work)
        )
    }

    /// Jobs 1 and 2 as one SELECT that gives the counts alone.
    pub fn preview(&self, top: Option<&TableName>) -> String {
        let work = format!("(\n{}\n)", self.joined(top));
        format!("{}{}", self.comment("how many would be removed and added"), counts(&work))
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
WHERE "kind" <> '' AND ("kept" = 0 OR "row" IN (
  SELECT "row" FROM {ours} WHERE "kept" = 1 AND "wanted" = 0 AND ({})
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
            r#"{}SELECT 'count' AS "change", "name" AS "kind", to_base("number", 10) AS "value"
FROM (
  SELECT ARRAY[
    coalesce(max("confirmed"), 0), count_if("wanted"), count_if(NOT "wanted"), count_if("wanted" AND "confirmed" IS NULL)
  ] AS "numbers"
  FROM (
    SELECT "kind", "value", max("wanted") = 1 AS "wanted", min("confirmed") AS "confirmed"
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

    /// Reads the members' table once, and the version before once. What an identifier is does not depend on the line: it is
    /// wanted if the members' table has it; a row of the version before is kept if one of its identifiers is not wanted; and
    /// an identifier of a kept row is no longer confirmed.
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
            r#"WITH lines AS (
  SELECT
    "kind", "value", "row", max("is_new") AS "is_new", max("was_there") AS "known", max("was_wanted") AS "was_wanted",
    min("confirmed") AS "confirmed", count(*) AS "members"
  FROM (
{}{before}
  ) AS "both" ("kind", "value", "row", "is_new", "was_there", "was_wanted", "confirmed")
  GROUP BY "kind", "value", "row"
), identifiers AS (
  SELECT
    "kind", "value", "row", "is_new", "members",
    max("is_new") OVER (PARTITION BY "kind", "value") AS "wanted",
    max("known") OVER (PARTITION BY "kind", "value") AS "known",
    max("was_wanted") OVER (PARTITION BY "kind", "value") AS "was_wanted",
    min("confirmed") OVER (PARTITION BY "kind", "value") AS "confirmed",
    min("row") OVER (PARTITION BY "kind", "value") AS "first",
    min(CASE WHEN "is_new" = 1 THEN "row" END) OVER (PARTITION BY "kind", "value") AS "first_new"
  FROM lines
), marked AS (
  SELECT *, max("kept") OVER (PARTITION BY "kind", "value") AS "beside"
  FROM (SELECT *, max(1 - "wanted") OVER (PARTITION BY "row") AS "kept" FROM identifiers) AS "rows"
)
{}"#,
            self.members(),
            self.version()
        )
    }

    /// The lines of the next version, out of all that are known.
    fn version(&self) -> String {
        format!(
            r#"SELECT
  "kind", "value", "row",
  CASE WHEN "beside" = 0 THEN "confirmed" END AS "confirmed",
  "wanted", "kept",
  CASE
    WHEN "kind" = '' THEN NULL
    WHEN "wanted" = 0 THEN 'remove'
    WHEN "beside" = 1 THEN 'beside'
    WHEN "confirmed" IS NULL THEN 'add'
    WHEN {} THEN 'refresh'
  END AS "change",
  CASE WHEN "kind" = '' THEN "members" WHEN "row" = coalesce("first_new", "first") THEN 1 ELSE 0 END AS "counted",
  "known", "was_wanted",
  {NOW} AS "built"
FROM marked
WHERE "is_new" = 1 OR "kept" = 1"#,
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
        let verdicts =
            each(&|index, _| format!("{} AS \"v{index}\"", cells::verdict(&format!("\"c{index}\""), &self.null_words)))
                .join(",\n          ");
        let values = each(&|index, _| format!("CASE WHEN \"v{index}\" = 1 THEN \"c{index}\" END AS \"i{index}\""));
        let parts = each(&|index, _| format!("coalesce(\"i{index}\", '')")).join(" || chr(10) || ");
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

/// One line a count of the version that `work` is, as `change`, `kind`, `value`.
fn counts(work: &str) -> String {
    let identifiers = |condition: &str| format!(r#"sum(CASE WHEN "kind" <> '' AND {condition} THEN "counted" END)"#);
    let members = |line: &str| format!(r#"sum(CASE WHEN "kind" = '' AND "value" = '{line}' THEN "counted" END)"#);
    let (names, numbers): (Vec<_>, Vec<_>) = [
        ("before", identifiers(r#""was_wanted" = 1"#)),
        ("wanted", identifiers(r#""wanted" = 1"#)),
        ("entered", identifiers(r#""wanted" = 1 AND "known" = 0"#)),
        ("left", identifiers(r#""wanted" = 0 AND "was_wanted" = 1"#)),
        ("removals", identifiers(r#""change" = 'remove'"#)),
        ("additions", identifiers(r#""change" IN ('add', 'refresh', 'beside')"#)),
        ("refreshed", identifiers(r#""change" = 'refresh'"#)),
        ("beside", identifiers(r#""change" = 'beside'"#)),
        ("with_identifier", members("with_identifier")),
        ("without_identifier", members("without_identifier")),
        ("rejected", members("rejected")),
    ]
    .into_iter()
    .map(|(name, number)| (literal(name), format!("coalesce({number}, 0)")))
    .unzip();
    format!(
        r#"SELECT 'count' AS "change", "name" AS "kind", to_base("number", 10) AS "value"
FROM (
  SELECT ARRAY[{}] AS "numbers"
  FROM {work} AS "version"
) AS "all"
CROSS JOIN UNNEST(ARRAY[{}], "numbers") AS "count" ("name", "number")"#,
        numbers.join(
            ",
    "
        ),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests;
