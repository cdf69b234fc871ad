//! One number for many identifiers.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Adds up (wrapping) to the same for the same identifiers, in any order and in any division into requests.
pub fn digest(label: &str, identifier: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (label, identifier).hash(&mut hasher);
    hasher.finish()
}
