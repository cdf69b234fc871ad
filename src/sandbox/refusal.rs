//! Every way in which a request is refused, with the status and message of Braze's answer.

use thiserror::Error;

/// Why a request was not applied. Its text is the answer's `message`; it never holds anything from the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("Content-Type must be application/json")]
    ContentType,
    #[error("invalid JSON")]
    InvalidJson,
    #[error("Invalid Partner API key")]
    PartnerApiKey,
    #[error("Invalid client secret")]
    ClientSecret,
    #[error("cohort_id must be a valid string")]
    CohortId,
    #[error("name must be a non-empty string")]
    Name,
    #[error("created_at must be ISO-8601")]
    CreatedAt,
    #[error("cohort_changes must be an array of objects")]
    CohortChanges,
    #[error("{0} must be an array of strings")]
    Strings(&'static str),
    #[error("{0} must be an array of objects with the strings alias_label and alias_name")]
    Aliases(&'static str),
    #[error("should_remove must be a boolean")]
    ShouldRemove,
    #[error("Only 1,000 user_ids, device_ids, and aliases allowed per request")]
    TooManyIdentifiers,
    #[error("Invalid API key")]
    RestApiKey,
    #[error("Access denied: this API key has not the permission users.export.ids")]
    Permission,
    #[error("external_ids, user_aliases or device_id must be given")]
    NobodyAskedFor,
    #[error("device_id must be a string")]
    DeviceId,
    #[error("at most 50 external_ids and 50 user_aliases are allowed per request")]
    TooManyUsers,
    #[error("fields_to_export must be a non-empty array of names of fields")]
    FieldsToExport,
    #[error("the Host header must be a loopback name, such as 127.0.0.1")]
    Host,
    #[error("Not Found")]
    NotFound,
    #[error("Method Not Allowed")]
    OnlyPost,
    #[error("Rate limit exceeded")]
    RateLimited,
    #[error("Service Unavailable")]
    Unavailable,
}

impl Refusal {
    /// The answer's HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::PartnerApiKey | Self::ClientSecret | Self::RestApiKey => 401,
            Self::Host | Self::Permission => 403,
            Self::NotFound => 404,
            Self::OnlyPost => 405,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
            _ => 400,
        }
    }
}
