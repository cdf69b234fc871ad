//! A run that sends nothing.

use crate::http::{Answer, HeaderMap, HttpError, Post};

pub(super) struct Nowhere;

impl Post for Nowhere {
    fn post(&self, _: &str, _: &[u8]) -> Result<Answer, HttpError> {
        Ok(Answer { status: 201, headers: HeaderMap::new(), body: br#"{"message":"success"}"#.to_vec() })
    }

    fn cut(&self) {}
}
