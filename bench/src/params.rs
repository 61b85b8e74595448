//! The parameters of a benchmark, as in `w=1,t=1000`.

use std::fmt;
use std::str::FromStr;

/// Which parameters there are, and what they mean.
pub(crate) const NAMES: [(&str, &str); 5] = [
    ("w", "workers, and the processors that they are pinned to"),
    ("t", "tasks that yield, or share a mutex"),
    (
        "n",
        "tasks that are spawned, sleep or idle; or idle connections",
    ),
    ("c", "connections that are busy"),
    ("cap", "messages that a channel has room for"),
];

/// Names and values, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, usize)>);

impl Params {
    /// The value of a parameter that the row has.
    ///
    /// # Panics
    ///
    /// If it has no such parameter.
    pub(crate) fn get(&self, name: &str) -> usize {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .unwrap_or_else(|| panic!("this row has no parameter {name}"))
            .1
    }

    pub(crate) fn workers(&self) -> usize {
        self.get("w")
    }

    /// Replaces a value; whether there is such a parameter.
    pub(crate) fn set(&mut self, name: &str, value: usize) -> bool {
        let found = self.0.iter_mut().find(|(known, _)| known == name);
        found.map(|(_, old)| *old = value).is_some()
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Params {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(parse_one)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Parses `NAME=VALUE`.
pub(crate) fn parse_one(text: &str) -> Result<(String, usize), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or(format!("{text:?} is not PARAM=VALUE"))?;
    let value: usize = value
        .parse()
        .map_err(|_| format!("{value:?} is not a number"))?;
    match value {
        0 => Err(format!("nothing can be measured with {name}=0")),
        _ => Ok((name.to_owned(), value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn params_are_shown_as_they_are_written() {
        let params: Params = "w=2,t=1000".parse().unwrap();
        assert_eq!(params.get("t"), 1000);
        assert_eq!(params.to_string(), "w=2,t=1000");
    }

    #[test]
    fn only_what_the_row_has_can_be_set() {
        let mut params: Params = "w=1,t=2".parse().unwrap();
        assert!(params.set("t", 10));
        assert!(!params.set("n", 10));
        assert_eq!(params.to_string(), "w=1,t=10");
    }

    #[test]
    fn zero_and_nonsense_are_refused() {
        assert!("w=0".parse::<Params>().is_err());
        assert!("w".parse::<Params>().is_err());
        assert!("w=two".parse::<Params>().is_err());
    }
}
