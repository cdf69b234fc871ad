//! The body of a request. Identifiers are copied directly, without a string or JSON value for each.

use serde_json::{Value, json};

use crate::members::batch::Batch;
use crate::members::identifier::{COLUMNS, Kind, all_bytes};
use crate::members::operation::Operation;
use crate::secret::Secret;

/// Both keys of a request.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The data import key.
    pub client_secret: Secret,
    /// The key of the cohort's partner.
    pub partner_api_key: Secret,
}

/// Writes the bodies of one upload. Their common parts are escaped once.
pub struct BodyWriter {
    head: Vec<u8>,
    /// The object of each alias, up to the name.
    alias_heads: Vec<Vec<u8>>,
}

impl BodyWriter {
    /// A writer for this cohort. `aliases` are the labels, in the order of [`Kind::Alias`].
    pub fn new(credentials: &Credentials, cohort_id: &str, aliases: &[String]) -> Self {
        let mut head = common(credentials, cohort_id).to_string();
        head.pop();
        head += ",\"cohort_changes\":[";
        let alias_head = |label: &String| format!("{{\"alias_label\":{},\"alias_name\":\"", json!(label)).into_bytes();
        Self { head: head.into_bytes(), alias_heads: aliases.iter().map(alias_head).collect() }
    }

    /// The body for `cohorts` that creates or renames the cohort.
    pub fn naming(credentials: &Credentials, cohort_id: &str, name: &str, created_at: &str) -> Vec<u8> {
        let mut body = common(credentials, cohort_id);
        body["name"] = json!(name);
        body["created_at"] = json!(created_at);
        body.to_string().into_bytes()
    }

    /// The body for `cohorts/users` without changes. Braze checks the rest of it.
    pub fn no_changes(&self) -> Vec<u8> {
        [self.head.as_slice(), b"]}"].concat()
    }

    /// The body for `cohorts/users` with the identifiers of a batch; `body` is overwritten.
    pub fn write(&self, batch: &Batch, body: &mut Vec<u8>) {
        body.clear();
        body.reserve(self.head.len() + batch.bytes().len() + batch.len() * 8 + 128);
        body.extend_from_slice(&self.head);
        body.push(b'{');
        // Nearly always this one pass shows that nothing needs escaping.
        let are_plain = all_bytes(batch.bytes(), is_plain);
        let mut left = batch.len();
        for (kind, name) in COLUMNS {
            // Most batches hold only external IDs, so one list is enough.
            if left > 0 {
                let around = |other| (other == kind).then_some((b"\"".as_slice(), b"\","));
                left -= write_list(body, name, batch, are_plain, around);
            }
        }
        if left > 0 {
            write_list(body, "aliases", batch, are_plain, |kind| match kind {
                Kind::Alias(index) => self.alias_heads.get(usize::from(index)).map(|head| (head.as_slice(), b"\"},")),
                _ => None,
            });
        }
        body.extend_from_slice(match batch.operation() {
            Operation::Add => b"\"should_remove\":false}]}",
            Operation::Remove => b"\"should_remove\":true}]}",
        });
    }
}

/// Writes `"name":[...],` with the identifiers for which `around` gives a text before and one after, which ends with a
/// comma. Writes nothing if there are none. If they `are_plain`, none is escaped. Returns their number.
fn write_list<'a, const BEHIND: usize>(
    body: &mut Vec<u8>,
    name: &str,
    batch: &Batch,
    are_plain: bool,
    around: impl Fn(Kind) -> Option<(&'a [u8], &'a [u8; BEHIND])>,
) -> usize {
    let mut written = 0;
    for (kind, identifier) in batch.identifiers() {
        let Some((before, behind)) = around(kind) else { continue };
        if written == 0 {
            body.push(b'"');
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b"\":[");
        }
        body.extend_from_slice(before);
        if are_plain || all_bytes(identifier, is_plain) {
            body.extend_from_slice(identifier);
        } else {
            write_escaped(body, identifier);
        }
        body.extend_from_slice(behind);
        written += 1;
    }
    if written > 0 {
        body.pop();
        body.extend_from_slice(b"],");
    }
    written
}

fn common(credentials: &Credentials, cohort_id: &str) -> Value {
    json!({
        "partner_api_key": credentials.partner_api_key.expose(),
        "client_secret": credentials.client_secret.expose(),
        "cohort_id": cohort_id,
    })
}

/// Whether JSON allows the byte without escaping.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

#[cold]
fn write_escaped(body: &mut Vec<u8>, text: &[u8]) {
    let quoted = json!(String::from_utf8_lossy(text)).to_string();
    body.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credentials() -> Credentials {
        Credentials { client_secret: Secret::new("s\"e".to_owned()), partner_api_key: Secret::new("p\\k".to_owned()) }
    }

    fn parsed(body: &[u8]) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn a_body_holds_each_kind_in_its_own_list() {
        let writer = BodyWriter::new(&credentials(), "vip", &["email".to_owned(), "ph\"one".to_owned()]);
        let mut batch = Batch::new(Operation::Add);
        batch.push(Kind::Alias(1), b"+49");
        batch.push(Kind::UserId, b"u1");
        batch.push(Kind::Alias(0), "ü@example.com".as_bytes());
        batch.push(Kind::UserId, b"a\"b\\c");
        let mut body = b"left over".to_vec();
        writer.write(&batch, &mut body);
        assert_eq!(
            parsed(&body),
            json!({
                "partner_api_key": "p\\k", "client_secret": "s\"e", "cohort_id": "vip",
                "cohort_changes": [{
                    "user_ids": ["u1", "a\"b\\c"],
                    "aliases": [
                        {"alias_label": "ph\"one", "alias_name": "+49"},
                        {"alias_label": "email", "alias_name": "ü@example.com"},
                    ],
                    "should_remove": false,
                }],
            })
        );
    }

    #[test]
    fn removing_says_so() {
        let writer = BodyWriter::new(&credentials(), "vip", &[]);
        let mut batch = Batch::new(Operation::Remove);
        batch.push(Kind::DeviceId, b"d1");
        let mut body = Vec::new();
        writer.write(&batch, &mut body);
        assert_eq!(parsed(&body)["cohort_changes"], json!([{"device_ids": ["d1"], "should_remove": true}]));
    }

    #[test]
    fn the_calls_without_identifiers_are_json_too() {
        let writer = BodyWriter::new(&credentials(), "v\"ip", &[]);
        assert_eq!(parsed(&writer.no_changes())["cohort_changes"], json!([]));
        let naming = parsed(&BodyWriter::naming(&credentials(), "v\"ip", "V.I.P. \\", "2026-11-23T00:00:00Z"));
        assert_eq!(naming["name"], "V.I.P. \\");
        assert_eq!(naming["created_at"], "2026-11-23T00:00:00Z");
        assert_eq!(naming["cohort_id"], "v\"ip");
    }

    proptest! {
        #[test]
        fn any_text_survives_the_escaping(text in any::<String>()) {
            let mut batch = Batch::new(Operation::Add);
            batch.push(Kind::Alias(0), text.as_bytes());
            let mut written = Vec::new();
            BodyWriter::new(&credentials(), "vip", std::slice::from_ref(&text)).write(&batch, &mut written);
            let aliases = json!([{"alias_label": text, "alias_name": text}]);
            prop_assert_eq!(&parsed(&written)["cohort_changes"][0]["aliases"], &aliases);
        }
    }
}
