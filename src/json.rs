//! JSON, written: enough for reports without a dependency.

use std::fmt::{self, Write};

/// Writes one JSON value, part by part. Commas and quotes are its own; that every object and array is
/// closed, and that in objects a key comes before every value, is the caller's part.
#[derive(Debug, Default)]
pub(crate) struct JsonWriter {
    text: String,
    /// A value stands right before, so a comma comes first.
    needs_comma: bool,
}

impl JsonWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub(crate) fn finish(self) -> String {
        self.text
    }

    /// An object, whose fields `fields` writes.
    pub(crate) fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.nested('{', fields, '}');
    }

    /// An array of what `value` writes for each item.
    pub(crate) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut value: impl FnMut(&mut Self, T),
    ) {
        let all = |this: &mut Self| items.into_iter().for_each(|item| value(this, item));
        self.nested('[', all, ']');
    }

    /// The name of a field, whose value comes next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self.needs_comma = false;
        self
    }

    pub(crate) fn string(&mut self, value: &str) {
        self.separate();
        self.text.push('"');
        for character in value.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\t' => self.text.push_str("\\t"),
                '\r' => self.text.push_str("\\r"),
                // Control characters, and those that end a line in JavaScript.
                '\0'..='\u{1f}' | '\u{7f}' | '\u{2028}' | '\u{2029}' => {
                    self.push(format_args!("\\u{:04x}", u32::from(character)));
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
        self.needs_comma = true;
    }

    /// What `Display` makes of a value, as a string.
    pub(crate) fn text(&mut self, value: impl fmt::Display) {
        self.string(&value.to_string());
    }

    /// Above 2^53 some readers round it.
    pub(crate) fn number(&mut self, value: u64) {
        self.separate();
        self.push(format_args!("{value}"));
        self.needs_comma = true;
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.separate();
        self.push(format_args!("{value}"));
        self.needs_comma = true;
    }

    pub(crate) fn null(&mut self) {
        self.separate();
        self.text.push_str("null");
        self.needs_comma = true;
    }

    /// What `write` writes of a value, or null if there is none.
    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.null(),
        }
    }

    fn nested(&mut self, open: char, content: impl FnOnce(&mut Self), close: char) {
        self.separate();
        self.text.push(open);
        self.needs_comma = false;
        content(self);
        self.text.push(close);
        self.needs_comma = true;
    }

    fn separate(&mut self) {
        if self.needs_comma {
            self.text.push(',');
        }
    }

    fn push(&mut self, arguments: fmt::Arguments<'_>) {
        self.text
            .write_fmt(arguments)
            .expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_nested_and_separated() {
        let mut json = JsonWriter::new();
        json.object(|json| {
            json.key("numbers").array([1, 2], |json, n| json.number(n));
            json.key("nothing")
                .array([0_u64; 0], |json, n| json.number(n));
            json.key("object").object(|json| {
                json.key("yes").boolean(true);
                json.key("no").null();
            });
            json.key("last").option(Some("x"), JsonWriter::string);
        });
        let expected =
            r#"{"numbers":[1,2],"nothing":[],"object":{"yes":true,"no":null},"last":"x"}"#;
        assert_eq!(json.finish(), expected);
    }

    #[test]
    fn every_character_is_allowed_in_a_string() {
        let mut json = JsonWriter::new();
        json.string("\"\\\n\r\t\0\u{1b}\u{7f}\u{2028}é𝄞/");
        let expected = r#""\"\\\n\r\t\u0000\u001b\u007f\u2028é𝄞/""#;
        assert_eq!(json.finish(), expected);

        let all: String = (0..=0x2030).filter_map(char::from_u32).collect();
        let mut json = JsonWriter::new();
        json.string(&all);
        let read: String = serde_json::from_str(&json.finish()).expect("it is JSON");
        assert_eq!(read, all);
    }
}
