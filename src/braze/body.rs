//! The body of a request, written byte by byte: no string and no JSON value for an identifier.

use crate::members::batch::Batch;
use crate::members::identifier::Kind;
use crate::members::operation::Operation;
use crate::secret::Secret;

/// Both keys of a request.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The data import key.
    pub client_secret: Secret,
    /// The key of the partner under whose name the cohort stands.
    pub partner_api_key: Secret,
}

/// Writes the bodies of one upload. What is the same in each of them is escaped once.
pub struct BodyWriter {
    head: Vec<u8>,
    /// For each alias: its object up to the name.
    alias_heads: Vec<Vec<u8>>,
}

impl BodyWriter {
    /// For this cohort, with the aliases' labels in the order of [`Kind::Alias`].
    pub fn new(credentials: &Credentials, cohort_id: &str, aliases: &[String]) -> Self {
        let mut head = Vec::with_capacity(256);
        write_credentials(&mut head, credentials, cohort_id);
        head.extend_from_slice(b",\"cohort_changes\":[");
        let alias_heads = aliases
            .iter()
            .map(|label| {
                let mut object = b"{\"alias_label\":".to_vec();
                write_string(&mut object, label.as_bytes());
                object.extend_from_slice(b",\"alias_name\":");
                object
            })
            .collect();
        Self { head, alias_heads }
    }

    /// The body for `cohorts` that creates or renames the cohort.
    pub fn naming(credentials: &Credentials, cohort_id: &str, name: &str, created_at: &str) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        write_credentials(&mut body, credentials, cohort_id);
        body.extend_from_slice(b",\"name\":");
        write_string(&mut body, name.as_bytes());
        body.extend_from_slice(b",\"created_at\":");
        write_string(&mut body, created_at.as_bytes());
        body.push(b'}');
        body
    }

    /// The body for `cohorts/users` that changes nothing: Braze checks everything else of it.
    pub fn no_changes(&self) -> Vec<u8> {
        [self.head.as_slice(), b"]}"].concat()
    }

    /// The body for `cohorts/users` with the identifiers of a batch; `body` is overwritten.
    pub fn write(&self, batch: &Batch, body: &mut Vec<u8>) {
        body.clear();
        body.reserve(self.head.len() + batch.byte_len() + batch.len() * 8 + 128);
        body.extend_from_slice(&self.head);
        body.push(b'{');
        let nothing = b"".as_slice();
        let user_ids = write_list(body, "user_ids", batch, |kind| (kind == Kind::UserId).then_some((nothing, nothing)));
        // Most batches hold external IDs alone; they need not be looked through for others.
        if user_ids < batch.len() {
            write_list(body, "device_ids", batch, |kind| (kind == Kind::DeviceId).then_some((nothing, nothing)));
            write_list(body, "aliases", batch, |kind| match kind {
                Kind::Alias(index) => {
                    self.alias_heads.get(usize::from(index)).map(|head| (head.as_slice(), b"}".as_slice()))
                }
                _ => None,
            });
        }
        body.extend_from_slice(match batch.operation() {
            Operation::Add => b"\"should_remove\":false}]}",
            Operation::Remove => b"\"should_remove\":true}]}",
        });
    }
}

/// Writes `"name":[...],` with the identifiers for which `around` gives what stands before and behind them; nothing where
/// there are none. Returns how many there are.
fn write_list<'a>(
    body: &mut Vec<u8>,
    name: &str,
    batch: &Batch,
    around: impl Fn(Kind) -> Option<(&'a [u8], &'a [u8])>,
) -> usize {
    let mut written = 0;
    for (kind, identifier) in batch.identifiers() {
        let Some((before, behind)) = around(kind) else { continue };
        if written == 0 {
            body.push(b'"');
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b"\":[");
        } else {
            body.push(b',');
        }
        body.extend_from_slice(before);
        write_string(body, identifier);
        body.extend_from_slice(behind);
        written += 1;
    }
    if written > 0 {
        body.extend_from_slice(b"],");
    }
    written
}

fn write_credentials(body: &mut Vec<u8>, credentials: &Credentials, cohort_id: &str) {
    body.extend_from_slice(b"{\"partner_api_key\":");
    write_string(body, credentials.partner_api_key.expose().as_bytes());
    body.extend_from_slice(b",\"client_secret\":");
    write_string(body, credentials.client_secret.expose().as_bytes());
    body.extend_from_slice(b",\"cohort_id\":");
    write_string(body, cohort_id.as_bytes());
}

/// Writes a JSON string of UTF-8 text. One pass decides whether anything needs escaping; nearly always a copy is all.
fn write_string(body: &mut Vec<u8>, text: &[u8]) {
    body.push(b'"');
    // Without a way out in the middle the pass takes many bytes at once.
    if text.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        for byte in text {
            write_escaped(body, *byte);
        }
    } else {
        body.extend_from_slice(text);
    }
    body.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escaped(body: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => body.extend_from_slice(&[b'\\', byte]),
        0..0x20 => {
            body.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]);
        }
        _ => body.push(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

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
            let mut written = Vec::new();
            write_string(&mut written, text.as_bytes());
            prop_assert_eq!(parsed(&written), Value::from(text));
        }
    }
}
