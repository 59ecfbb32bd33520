//! Text to records of fields: quotes, line ends and line numbers.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// A field and the line on which it starts, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) line: usize,
}

/// A cursor over the records of a text, all of which have as many fields as the first.
pub(super) struct Records<'a> {
    rest: &'a str,
    separator: char,
    line: usize,
    n_fields: Option<usize>,
}

/// What stands behind a field.
enum End {
    Field,
    Record,
}

impl<'a> Records<'a> {
    /// The records of a text whose fields are separated by an ASCII byte.
    pub(super) fn new(text: &'a str, separator: u8) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest,
            separator: separator.into(),
            line: 1,
            n_fields: None,
        }
    }

    /// Replaces `record` by the fields of the next record that is no blank line; false at the end.
    pub(super) fn next_into(&mut self, record: &mut Vec<Field<'a>>) -> Result<bool> {
        record.clear();
        self.skip_blank_lines();
        if self.rest.is_empty() {
            return Ok(false);
        }
        let line = self.line;
        loop {
            let (field, end) = self.field(record.len())?;
            record.push(field);
            if matches!(end, End::Record) {
                break;
            }
        }
        let n_expected = *self.n_fields.get_or_insert(record.len());
        if record.len() != n_expected {
            let message = format!(
                "line {line}: expected {n_expected} fields, found {}",
                record.len()
            );
            return Err(Error::format(message).hint("every record has as many fields as the first"));
        }
        Ok(true)
    }

    fn skip_blank_lines(&mut self) {
        while let Some((line, rest)) = self.rest.split_once('\n') {
            if !self.is_blank(line) {
                return;
            }
            (self.rest, self.line) = (rest, self.line + 1);
        }
        if self.is_blank(self.rest) {
            self.rest = "";
        }
    }

    /// Whether a line holds only spaces; a tab may be a separator and then stands for two empty fields.
    fn is_blank(&self, line: &str) -> bool {
        line.chars()
            .all(|letter| letter.is_ascii_whitespace() && letter != self.separator)
    }

    /// Takes the next field and what ends it.
    fn field(&mut self, index: usize) -> Result<(Field<'a>, End)> {
        let line = self.line;
        let separator = self.separator;
        let unpadded = self
            .rest
            .trim_start_matches(|letter| letter == ' ' && letter != separator);
        let Some(quoted) = unpadded.strip_prefix('"') else {
            let len = self.rest.find([separator, '\n']).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(len);
            self.rest = rest;
            return Ok((
                Field {
                    text: text.trim_end_matches('\r').into(),
                    line,
                },
                self.end(),
            ));
        };
        let text = self.quoted(quoted).ok_or_else(|| {
            Error::format(format!(
                "line {line}: the quote that opens field {} is never closed",
                index + 1
            ))
        })?;
        let after = self
            .rest
            .trim_start_matches(|letter| matches!(letter, ' ' | '\r') && letter != separator);
        if !(after.is_empty() || after.starts_with([separator, '\n'])) {
            let message = format!(
                "line {}: field {} goes on after its closing quote",
                self.line,
                index + 1
            );
            return Err(Error::format(message).hint("a quote inside a quoted field is written twice"));
        }
        self.rest = after;
        Ok((Field { text, line }, self.end()))
    }

    /// Takes a quoted field up to its closing quote; `text` starts behind the opening one.
    fn quoted(&mut self, text: &'a str) -> Option<Cow<'a, str>> {
        let mut from = 0;
        loop {
            let quote = from + text[from..].find('"')?;
            if text[quote + 1..].starts_with('"') {
                from = quote + 2;
                continue;
            }
            let (field, rest) = (&text[..quote], &text[quote + 1..]);
            self.rest = rest;
            self.line += field.matches('\n').count();
            return Some(match field.contains('"') {
                true => field.replace("\"\"", "\"").into(),
                false => field.into(),
            });
        }
    }

    /// Takes the separator or the line end that the rest starts with.
    fn end(&mut self) -> End {
        let mut letters = self.rest.chars();
        let end = match letters.next() {
            Some(letter) if letter == self.separator => End::Field,
            Some(_) => {
                self.line += 1;
                End::Record
            }
            None => End::Record,
        };
        self.rest = letters.as_str();
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, separator: u8) -> Vec<Vec<(String, usize)>> {
        let mut records = Records::new(text, separator);
        let (mut record, mut all) = (Vec::new(), Vec::new());
        while records.next_into(&mut record).unwrap() {
            all.push(
                record
                    .iter()
                    .map(|field| (field.text.to_string(), field.line))
                    .collect(),
            );
        }
        all
    }

    #[test]
    fn lines_are_counted_through_quotes_and_blank_lines() {
        let expected = [
            [("a".to_owned(), 1), ("b".to_owned(), 1)],
            [("x\ny".to_owned(), 3), ("z".to_owned(), 4)],
            [("1".to_owned(), 6), (String::new(), 6)],
        ];
        assert_eq!(all("a,b\n\n\"x\ny\",z\n  \r\n1,\r\n\n", b','), expected);
    }

    #[test]
    fn tabs_and_spaces_may_separate() {
        assert_eq!(all("1\t\t3\n\t\t\n", b'\t').len(), 2);
        assert_eq!(
            all("1 \"2 3\"", b' '),
            [[("1".to_owned(), 1), ("2 3".to_owned(), 1)]]
        );
    }

    #[test]
    fn a_separator_at_the_end_opens_an_empty_field() {
        assert_eq!(all("1,", b',')[0].len(), 2);
        assert_eq!(
            all("\"\",\"\"\"\"", b','),
            [[(String::new(), 1), ("\"".to_owned(), 1)]]
        );
    }
}
