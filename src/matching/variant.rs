//! Common differences between an identifier in the input and in Braze, and how to change the query. Pure.

use crate::members::identifier::Kind;

/// Another spelling of an unknown identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Without outer white space.
    Trimmed,
    /// In lower case.
    LowerCase,
    /// In upper case; devices only.
    UpperCase,
    /// A whole number without the `.0` of a DOUBLE.
    WithoutFraction,
    /// Digits without leading zeros.
    WithoutLeadingZeros,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Trimmed, Self::LowerCase, Self::UpperCase, Self::WithoutFraction, Self::WithoutLeadingZeros];

    /// Its key in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::Trimmed => "trimmed",
            Self::LowerCase => "lower_case",
            Self::UpperCase => "upper_case",
            Self::WithoutFraction => "without_fraction",
            Self::WithoutLeadingZeros => "without_leading_zeros",
        }
    }

    /// The words after "exist".
    pub fn words(self) -> &'static str {
        match self {
            Self::Trimmed => "without the spaces around them",
            Self::LowerCase => "in lower case",
            Self::UpperCase => "in upper case",
            Self::WithoutFraction => "without .0",
            Self::WithoutLeadingZeros => "without leading zeros",
        }
    }

    /// What to write in the query instead of this column.
    pub fn in_query(self, column: &str) -> String {
        match self {
            Self::Trimmed => format!("TRIM({column})"),
            Self::LowerCase => format!("LOWER({column})"),
            Self::UpperCase => format!("UPPER({column})"),
            Self::WithoutFraction => format!(r"REGEXP_REPLACE({column}, '\.0+$')"),
            Self::WithoutLeadingZeros => format!("REGEXP_REPLACE({column}, '^0+(?=.)')"),
        }
    }

    /// The identifier in this spelling; none if it is the same or makes no sense.
    pub fn of(self, kind: Kind, identifier: &str) -> Option<String> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let written = match self {
            Self::Trimmed => identifier.trim().to_owned(),
            Self::LowerCase => identifier.to_lowercase(),
            Self::UpperCase if kind == Kind::DeviceId => identifier.to_uppercase(),
            Self::WithoutFraction => {
                let (whole, fraction) = identifier.split_once('.')?;
                let is_nothing = !fraction.is_empty() && fraction.bytes().all(|byte| byte == b'0');
                if is_number(whole) && is_nothing { whole.to_owned() } else { return None }
            }
            Self::WithoutLeadingZeros if is_number(identifier) => {
                let digits = identifier.trim_start_matches('0');
                if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }
            }
            Self::UpperCase | Self::WithoutLeadingZeros => return None,
        };
        (written != identifier && !written.is_empty()).then_some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(Kind::UserId, " Zoë ", &[(Variant::Trimmed, "Zoë"), (Variant::LowerCase, " zoë ")])]
    #[case(Kind::DeviceId, "aB", &[(Variant::LowerCase, "ab"), (Variant::UpperCase, "AB")])]
    #[case(Kind::Alias(0), "aB", &[(Variant::LowerCase, "ab")])]
    #[case(Kind::UserId, "7.0", &[(Variant::WithoutFraction, "7")])]
    #[case(Kind::UserId, "7.05", &[])]
    #[case(Kind::UserId, "v.0", &[])]
    #[case(Kind::UserId, "007", &[(Variant::WithoutLeadingZeros, "7")])]
    #[case(Kind::UserId, "00", &[(Variant::WithoutLeadingZeros, "0")])]
    #[case(Kind::UserId, "0", &[])]
    #[case(Kind::UserId, "7", &[])]
    fn only_what_changes_something_is_asked(
        #[case] kind: Kind,
        #[case] identifier: &str,
        #[case] expected: &[(Variant, &str)],
    ) {
        let found = Variant::ALL.into_iter().filter_map(|variant| Some((variant, variant.of(kind, identifier)?)));
        let expected = expected.iter().map(|(variant, text)| (*variant, (*text).to_owned()));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
