//! The links of an HTML page.

use html5gum::{DefaultEmitter, HtmlString, StartTag, Token, Tokenizer};
use url::Url;

/// The targets of all links in `html`, which came from `address`: absolute, without fragments,
/// in the order of the page, doubles and other sites included.
pub(crate) fn extract(address: &Url, html: &[u8]) -> Vec<Url> {
    let mut emitter = DefaultEmitter::default();
    // What stands in <script>, <style> or <title> is text, whatever it looks like.
    emitter.naively_switch_states(true);

    let mut base = None;
    let mut links = Vec::new();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        let Token::StartTag(tag) = token else {
            continue;
        };
        match tag.name.as_slice() {
            b"a" | b"area" => {
                let target = attribute(&tag, b"href")
                    .and_then(|href| base.as_ref().unwrap_or(address).join(&href).ok());
                links.extend(target.map(without_fragment));
            }
            // The first <base> moves the point that relative links start from.
            b"base" if base.is_none() => {
                base = attribute(&tag, b"href").and_then(|href| address.join(&href).ok());
            }
            _ => {}
        }
    }
    links
}

fn attribute(tag: &StartTag<()>, name: &[u8]) -> Option<String> {
    let value: &HtmlString = tag.attributes.get(name)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// The part after `#` is for the browser: the server never sees it.
fn without_fragment(mut url: Url) -> Url {
    url.set_fragment(None);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(html: &str) -> Vec<String> {
        let address = Url::parse("http://site/dir/page?q=1").unwrap();
        let links = extract(&address, html.as_bytes());
        links.into_iter().map(String::from).collect()
    }

    #[test]
    fn relative_links_start_from_the_page() {
        let html = r#"<a href="x">1</a> <A HREF='../y'>2</A> <a class=c href=/z>3</a> <a href="?p">4</a>
                      <area href="//other/o">"#;
        let expected = [
            "http://site/dir/x",
            "http://site/y",
            "http://site/z",
            "http://site/dir/page?p",
            "http://other/o",
        ];
        assert_eq!(links(html), expected);
    }

    #[test]
    fn a_base_moves_them() {
        let html = r#"<base href="/there/"><base href="/too-late/"><a href="x">"#;
        assert_eq!(links(html), ["http://site/there/x"]);
    }

    #[test]
    fn entities_are_decoded_and_fragments_dropped() {
        let html = r##"<a href="/s?a=1&amp;b=2#top">1</a><a href="#top">2</a>"##;
        assert_eq!(
            links(html),
            ["http://site/s?a=1&b=2", "http://site/dir/page?q=1"]
        );
    }

    #[test]
    fn what_only_looks_like_a_link_is_none() {
        let html = r#"<!-- <a href="/1"> --><script>"<a href='/2'>"</script><title><a href=/3></title>
                      <a name="4">, <a href="http://[bad/">, &lt;a href="/5"&gt;, <img alt="<a href='/6'>">"#;
        assert!(links(html).is_empty());
    }

    #[test]
    fn tag_soup_and_bytes_that_are_no_text_do_no_harm() {
        let address = Url::parse("http://site/").unwrap();
        let html = b"\xff\xfe<a <a href='/\xff'></p><a href=\"/ok\"><a href=\"/unclosed";
        let found = extract(&address, html);
        assert!(found.iter().any(|url| url.path() == "/ok"));
    }
}
