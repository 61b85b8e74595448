//! A report as one HTML file.
//!
//! | file | noun |
//! |---|---|
//! | `page` | what a page shows, as the data in it |
//! | `lanes` | slices of time, thinned out |
//! | `figures` | histograms, waits, offenders, wakes |
//! | `page/` | the page itself: HTML, style and script |

mod figures;
mod lanes;
mod page;

use std::io::{self, Write};

use self::page::Page;
use crate::trace::analysis::{Timeline, Trace};

const DOCUMENT: &str = include_str!("html/page/page.html");
const STYLE: &str = include_str!("html/page/page.css");
const SCRIPT: &str = include_str!("html/page/page.js");

/// Writes a page that shows the trace in any browser of these years. It is one file, needs no network, and
/// allows itself none.
///
/// It shows how busy each hub was, a timeline of hubs and greenlets to zoom into, histograms of latencies, for what
/// greenlets waited, what took longest, who woke whom, and what looks like a mistake.
///
/// Its size is bounded, to some 5 MB if names are of usual length: figures and histograms are of the whole trace, but the timeline is thinned
/// out. It has at most 300 greenlets (those that ran, waited, were ready or switched most, and the first ones);
/// what is shorter than some duration is joined to what is beside it, and shown as one block that says how many
/// there are and how much of the time is running. The duration is the shortest with which at most 30,000 blocks
/// are left of hubs, and 60,000 of greenlets. There are up to 5,000 spans, and 2,000 values of each of 20 counters.
/// The page says what of this was done.
///
/// # Errors
///
/// Those of `out`.
pub fn html(trace: &Trace, timeline: &Timeline, out: &mut dyn Write) -> io::Result<()> {
    let page = Page::new(trace, timeline);
    let mut rest = DOCUMENT;
    for (place, content) in [
        ("/*STYLE*/", Content::Text(STYLE)),
        ("/*DATA*/", Content::Data(&page)),
        ("/*SCRIPT*/", Content::Text(SCRIPT)),
    ] {
        let (before, behind) = rest.split_once(place).expect("in the document");
        out.write_all(before.as_bytes())?;
        match content {
            Content::Text(text) => out.write_all(text.as_bytes())?,
            Content::Data(page) => serde_json::to_writer(InScript(out), page)?,
        }
        rest = behind;
    }
    out.write_all(rest.as_bytes())
}

enum Content<'a> {
    Text(&'static str),
    Data(&'a Page),
}

/// Writes JSON that ends no script: there is no `<` in it. It can be in strings only, where it may as well be
/// written by its number.
struct InScript<'a>(&'a mut dyn Write);

impl Write for InScript<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut parts = bytes.split(|&byte| byte == b'<');
        if let Some(part) = parts.next() {
            self.0.write_all(part)?;
        }
        for part in parts {
            self.0.write_all(b"\\u003c")?;
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
