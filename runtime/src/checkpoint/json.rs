//! JSON as the headers of files have it: a small tree over the events of `json-event-parser`.
//!
//! Invariants: nothing in a file can cause a panic or a deep recursion; an object has every key once.
//!
//! Not here: what the values mean.

use std::fmt::Write;

use json_event_parser::{JsonEvent, SliceJsonParser};

use super::fields::Fields;
use crate::error::{Error, Result};

/// A value. Numbers keep their spelling, which is exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Text(String),
    Number(String),
    List(Vec<Json>),
    Object(Fields<Json>),
    /// `true`, `false` or `null`, which no header uses.
    Other,
}

/// Levels of lists and objects in each other; the headers of tensors have three.
const MAX_DEPTH: usize = 16;

impl Json {
    /// Takes the text of one value apart.
    ///
    /// # Errors
    /// [`ErrorKind::Format`](crate::ErrorKind::Format) with the place of the mistake.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut events = Events(SliceJsonParser::new(text));
        let first = events.next()?;
        let value = events.value(first, MAX_DEPTH)?;
        // The parser itself refuses whatever follows the value.
        events.next()?;
        Ok(value)
    }

    /// The value of a key; `None` where there is none, or this is no object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole numbers of a list, if it is one of those.
    pub fn as_sizes(&self) -> Option<Vec<usize>> {
        let size = |value: &Json| match value {
            Json::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        match self {
            Json::List(values) => values.iter().map(size).collect(),
            _ => None,
        }
    }
}

/// The events of a text, with errors of this crate.
struct Events<'a>(SliceJsonParser<'a>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<JsonEvent<'a>> {
        let event = self.0.parse_next();
        event.map_err(|error| Error::format(format!("not JSON: {error}")).with_source(error))
    }

    /// The value that starts with `event`.
    fn value(&mut self, event: JsonEvent<'a>, depth: usize) -> Result<Json> {
        if depth == 0 {
            let message =
                format!("not JSON of a header: more than {MAX_DEPTH} lists and objects in each other");
            return Err(Error::format(message));
        }
        Ok(match event {
            JsonEvent::String(text) => Json::Text(text.into_owned()),
            JsonEvent::Number(digits) => Json::Number(digits.into_owned()),
            JsonEvent::StartArray => self.list(depth - 1)?,
            JsonEvent::StartObject => self.object(depth - 1)?,
            _ => Json::Other,
        })
    }

    fn list(&mut self, depth: usize) -> Result<Json> {
        let mut values = Vec::new();
        loop {
            match self.next()? {
                JsonEvent::EndArray => return Ok(Json::List(values)),
                event => values.push(self.value(event, depth)?),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json> {
        let mut fields = Vec::new();
        while let JsonEvent::ObjectKey(key) = self.next()? {
            let first = self.next()?;
            let value = self.value(first, depth)?;
            fields.push((key.into_owned(), value));
        }
        let fields = Fields::new(fields).map_err(|key| {
            let key: String = key.chars().take(80).collect();
            Error::format(format!("`{key}` stands twice in one object"))
        })?;
        Ok(Json::Object(fields))
    }
}

/// A text between quotes, as JSON spells it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\u{0}'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_of_every_kind_are_read() {
        let json =
            Json::parse(br#" {"a": [1, 18446744073709551615, -1, 1.5], "b": {"c": "\u00e9\n"}, "d": null} "#)
                .unwrap();
        assert_eq!(
            json.get("b").and_then(|b| b.get("c")).and_then(Json::as_text),
            Some("é\n")
        );
        assert_eq!(json.get("d"), Some(&Json::Other));
        assert_eq!(json.get("a").unwrap().as_sizes(), None);
        assert_eq!(Json::parse(b"[0, 7]").unwrap().as_sizes(), Some(vec![0, 7]));
    }

    #[test]
    fn what_is_no_header_is_said() {
        let deep = "[".repeat(17) + &"]".repeat(17);
        let cases = [
            ("", "not JSON: "),
            ("{\"a\":1", "not JSON: "),
            ("[1] [2]", "not JSON: "),
            ("\"\u{0}\"", "not JSON: "),
            (&deep, "more than 16"),
            (r#"{"a":1,"a":2}"#, "`a` stands twice"),
        ];
        for (text, expected) in cases {
            let error = Json::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
    }

    proptest! {
        #[test]
        fn quoted_texts_come_back(text in ".*|[\\x00-\\x7f]*") {
            prop_assert_eq!(Json::parse(quoted(&text).as_bytes()).unwrap(), Json::Text(text));
        }

        #[test]
        fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Json::parse(&text);
        }
    }
}
