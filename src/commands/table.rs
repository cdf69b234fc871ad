//! A table of members in Treasure Data, and which of its columns are read.

use log::info;
use thiserror::Error;

use crate::commands::outcome::Stop;
use crate::input::TableName;
use crate::input::columns::{Columns, Names};
use crate::mirror::sql::{Column, ColumnType};
use crate::retry::Stopped;
use crate::treasure_data::show::SchemaColumn;
use crate::treasure_data::tables::Api;

/// Why a table cannot be read.
#[derive(Debug, Error)]
pub enum TableError {
    /// It does not exist.
    #[error(
        "Treasure Data has no table {table}: check table (database.table), that the task before created it, that TD_API_SERVER is its \
         site, and that the user of TD_API_KEY may read it"
    )]
    Unknown {
        /// As set.
        table: TableName,
    },
    /// A column's type is neither text nor whole numbers.
    #[error(
        "the table {table}: the column '{column}' is {found}, but identifiers must be text or whole numbers: write {} in its query",
        cast(.column, .found)
    )]
    ColumnType {
        /// As set.
        table: TableName,
        /// Which column.
        column: String,
        /// Its type in Treasure Data.
        found: String,
    },
}

fn cast(column: &str, found: &str) -> String {
    if found.starts_with("array") {
        return format!("ELEMENT_AT(\"{column}\", 1) AS \"{column}\"");
    }
    let whole = if matches!(found, "double" | "float") {
        format!("CAST(\"{column}\" AS BIGINT)")
    } else {
        format!("\"{column}\"")
    };
    format!("CAST({whole} AS VARCHAR) AS \"{column}\"")
}

/// Asks for a table's columns. Also returns those that are read, for SQL. If the table cannot be read, the limiter has
/// the reason.
pub fn columns(api: &Api<'_, Stop>, table: &TableName, names: &Names) -> Result<(Columns, Vec<Column>), Stopped> {
    let schema = api.schema(&table.database, &table.table)?;
    let found = schema.ok_or_else(|| TableError::Unknown { table: table.clone() }.into());
    let (columns, used) = found.and_then(|schema| usable(table, &schema, names)).map_err(|error| {
        api.limiter().stop(error);
        Stopped
    })?;
    info!("the table {table} has {} columns, of which {} are read", columns.width, used.len());
    Ok((columns, used))
}

fn usable(table: &TableName, schema: &[SchemaColumn], names: &Names) -> Result<(Columns, Vec<Column>), Stop> {
    let header: Vec<_> = schema.iter().map(|(name, _)| name.clone()).collect();
    let found = names.find_all(&header);
    let name = || format!("the table {table}");
    let columns = found.map_err(|error| Stop::Header { name: name(), error: Box::new(error) })?;
    let operation = columns.operation.zip(names.operation.as_deref());
    let wanted = columns.used.iter().map(|(index, kind)| (*index, kind.column(&names.aliases))).chain(operation);
    let used = wanted.map(|(index, kind)| {
        let (name, found) = &schema[index];
        let column_type = match found.as_str() {
            "string" | "varchar" => ColumnType::Text,
            "long" | "int" | "bigint" | "integer" | "smallint" | "tinyint" => ColumnType::Whole,
            _ => {
                let (column, found) = (name.clone(), found.clone());
                return Err(Stop::from(TableError::ColumnType { table: table.clone(), column, found }));
            }
        };
        Ok(Column { name: name.clone(), kind: kind.to_owned(), column_type })
    });
    let used = used.collect::<Result<_, _>>()?;
    Ok((columns, used))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn found(columns: &[(&str, &str)], names: &Names) -> Result<Vec<(String, ColumnType)>, String> {
        let schema: Vec<_> = columns.iter().map(|(name, of)| ((*name).to_owned(), (*of).to_owned())).collect();
        let table = TableName::parse("marketing.gold").unwrap();
        let (_, used) = usable(&table, &schema, names).map_err(|error| error.to_string())?;
        Ok(used.into_iter().map(|column| (column.kind, column.column_type)).collect())
    }

    fn names() -> Names {
        let mapping = vec![("mail".to_owned(), "email".to_owned())];
        Names { aliases: vec!["email".to_owned()], mapping, ..Names::default() }
    }

    #[test]
    fn text_and_whole_numbers_are_read_and_the_rest_is_left_alone() {
        let columns = found(&[("time", "long"), ("user_ids", "long"), ("mail", "string"), ("x", "double")], &names());
        let expected = [("user_ids", ColumnType::Whole), ("email", ColumnType::Text)];
        assert_eq!(columns, Ok(expected.map(|(kind, of)| (kind.to_owned(), of)).to_vec()));
    }

    #[rstest]
    #[case::double(&[("user_ids", "double"), ("email", "string")], "CAST(CAST(\"user_ids\" AS BIGINT) AS VARCHAR)")]
    #[case::list(&[("user_ids", "array<string>"), ("email", "string")], "is array<string>")]
    #[case::renamed(&[("user_ids", "string"), ("emial", "string")], "SELECT \"emial\" AS email")]
    #[case::none(&[("user_id", "string"), ("email", "string")], "")]
    #[case::no_identifier(&[("user_id", "string")], "did you mean 'user_ids'")]
    fn a_column_that_cannot_be_read_is_named(#[case] columns: &[(&str, &str)], #[case] said: &str) {
        match found(columns, &Names { mapping: Vec::new(), ..names() }) {
            Ok(_) => assert!(said.is_empty()),
            Err(error) => assert!(!said.is_empty() && error.contains(said), "{error}"),
        }
    }
}
