//! What a dump tells of greenlets.

use std::collections::HashMap;

use greenlet::trace::Greenlet as Number;
use serde_json::Value;

/// A dump: its greenlets.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    greenlets: HashMap<Number, Value>,
}

impl Dump {
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let dump: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let runtimes = dump["runtimes"].as_array().ok_or("a dump of no runtimes")?;
        let greenlets = runtimes
            .iter()
            .filter_map(|runtime| runtime["greenlets"].as_array())
            .flatten()
            .filter_map(|greenlet| Some((greenlet["id"].as_u64()?, greenlet.clone())))
            .collect();
        Ok(Self { greenlets })
    }

    /// What it tells of a greenlet, line by line.
    pub(crate) fn lines(&self, number: Number) -> Vec<String> {
        let Some(greenlet) = self.greenlets.get(&number) else {
            return vec!["it has ended, or was not started yet".into()];
        };
        let mut lines = Vec::new();
        let text = |key: &str| greenlet[key].as_str();
        let what = text("what").map(|what| format!(" {what}"));
        let mut state = text("state").unwrap_or("?").to_owned() + &what.unwrap_or_default();
        if let Some(since) = greenlet["since_ns"].as_u64() {
            state += &format!(", for {}", crate::text::duration(since));
        }
        lines.push(format!("state       {state}"));
        let owner = &greenlet["owner"];
        if let Some(owner) = owner["greenlet"].as_u64() {
            lines.push(format!(
                "held by     greenlet #{owner}{}",
                self.called(owner)
            ));
        } else if owner["thread"].as_bool() == Some(true) {
            lines.push("held by     a thread that is no greenlet".into());
        } else if let Some(readers) = owner["readers"].as_u64() {
            lines.push(format!("held by     {readers} readers"));
        }
        if let Some(parent) = greenlet["parent"].as_u64() {
            lines.push(format!("spawned by  #{parent}{}", self.called(parent)));
        }
        if let Some(place) = text("spawned_at") {
            lines.push(format!("spawned at  {place}"));
        }
        if let Some(hub) = greenlet["pinned"].as_u64() {
            lines.push(format!("pinned to   hub {hub}"));
        }
        if let (Some(used), Some(size)) = (
            greenlet["stack_used"].as_u64(),
            greenlet["stack_size"].as_u64(),
        ) {
            let (used, size) = (crate::text::bytes(used), crate::text::bytes(size));
            lines.push(format!("stack       {used} of {size} in use"));
        }
        lines.push(String::new());
        let frames = greenlet["stack"].as_array();
        let frames = frames.into_iter().flatten().filter_map(Value::as_str);
        let before = lines.len();
        for (number, frame) in frames.enumerate() {
            let mut parts = frame.lines();
            lines.push(format!("{number:>3}  {}", parts.next().unwrap_or_default()));
            lines.extend(parts.map(|part| format!("     {}", part.trim_start())));
        }
        if lines.len() == before {
            lines.push("its stack could not be had".into());
        }
        lines
    }

    fn called(&self, number: Number) -> String {
        let greenlet = self.greenlets.get(&number);
        let name = greenlet.and_then(|greenlet| greenlet["name"].as_str());
        name.map_or_else(String::new, |name| format!(" '{name}'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greenlet_is_told_with_its_stack() {
        let dump = Dump::parse(
            r#"{"version":1,"runtimes":[{"greenlets":[
                {"id":7,"name":"holder","state":"running","stack":[]},
                {"id":8,"name":null,"parent":7,"spawned_at":"a.rs:1:2","state":"waiting",
                 "what":"for the Mutex at 0x7f","since_ns":1500000,"owner":{"greenlet":7},
                 "stack_used":4096,"stack_size":262144,"stack":["inner","outer\n  at b.rs:3"]}
            ]}]}"#,
        )
        .unwrap();
        assert_eq!(
            dump.lines(8),
            [
                "state       waiting for the Mutex at 0x7f, for 1.5 ms",
                "held by     greenlet #7 'holder'",
                "spawned by  #7 'holder'",
                "spawned at  a.rs:1:2",
                "stack       4.0 KiB of 256 KiB in use",
                "",
                "  0  inner",
                "  1  outer",
                "     at b.rs:3",
            ]
        );
        assert_eq!(dump.lines(9), ["it has ended, or was not started yet"]);
        assert!(Dump::parse("{}").is_err() && Dump::parse("x").is_err());
    }
}
