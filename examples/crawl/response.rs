//! One HTTP/1 response, read from a stream.

use std::io::{BufRead, Read};

use crate::fetch_error::FetchError;

/// Status line and headers may be so long. Nobody's are; the limit is for servers gone mad.
const MAX_HEAD: u64 = 64 << 10;
/// As many headers as that.
const MAX_HEADERS: usize = 100;
/// A body may be so long.
const MAX_BODY: u64 = 8 << 20;

/// One answer of a server, body included.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// The target of a redirect, as the server wrote it.
    pub(crate) location: Option<String>,
    /// Whether the body is a page that can have links.
    pub(crate) is_html: bool,
    /// Whether the server will take another request on the connection.
    pub(crate) keep_alive: bool,
    pub(crate) body: Vec<u8>,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Empty,
    Length(u64),
    Chunked,
    ToTheEnd,
}

impl Response {
    /// Reads the answer to a GET, and not a byte more.
    pub(crate) fn read(stream: &mut impl BufRead) -> Result<Self, FetchError> {
        loop {
            let (mut response, framing) = parse_head(&read_head(stream)?)?;
            // "100 Continue" and its like only announce the answer.
            if (100..200).contains(&response.status) {
                continue;
            }
            response.body = match framing {
                Framing::Empty => Vec::new(),
                Framing::Length(length) => read_length(stream, length)?,
                Framing::Chunked => read_chunks(stream)?,
                Framing::ToTheEnd => read_to_the_end(stream)?,
            };
            return Ok(response);
        }
    }
}

/// Reads up to and with the empty line that ends the head.
fn read_head(stream: &mut impl BufRead) -> Result<Vec<u8>, FetchError> {
    let mut stream = stream.take(MAX_HEAD);
    let mut head = Vec::new();
    loop {
        let line = head.len();
        stream.read_until(b'\n', &mut head)?;
        match &head[line..] {
            b"\r\n" | b"\n" => return Ok(head),
            // Who speaks another protocol may wait for us to go on.
            first if line == 0 && !first.is_empty() && !first.starts_with(b"HTTP/") => {
                return Err(FetchError::Malformed("not HTTP"));
            }
            [.., b'\n'] => {}
            _ if stream.limit() == 0 => return Err(FetchError::TooLarge),
            _ if head.is_empty() => return Err(FetchError::NoAnswer),
            _ => return Err(FetchError::CutOff),
        }
    }
}

/// Everything of the response but its body, and where that ends.
fn parse_head(head: &[u8]) -> Result<(Response, Framing), FetchError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(FetchError::Malformed("no status line")),
        Err(httparse::Error::TooManyHeaders) => return Err(FetchError::TooLarge),
        Err(_) => return Err(FetchError::Malformed("not an HTTP/1 head")),
    }

    let mut response = Response {
        status: parsed.code.expect("a complete head has a status"),
        location: None,
        is_html: true,
        keep_alive: parsed.version == Some(1),
        body: Vec::new(),
    };
    let mut length = None;
    let mut chunked = false;
    for header in parsed.headers {
        let value = header.value.trim_ascii();
        match header.name.to_ascii_lowercase().as_str() {
            "location" => response.location = Some(String::from_utf8_lossy(value).into_owned()),
            "content-type" => response.is_html = is_html(value),
            "connection" => {
                for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                    if option.eq_ignore_ascii_case(b"close") {
                        response.keep_alive = false;
                    } else if option.eq_ignore_ascii_case(b"keep-alive") {
                        response.keep_alive = true;
                    }
                }
            }
            "content-length" => {
                let new = parse_length(value)?;
                if length.is_some_and(|length| length != new) {
                    return Err(FetchError::Malformed("two content lengths"));
                }
                length = Some(new);
            }
            "transfer-encoding" => {
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(FetchError::Malformed("unknown transfer encoding"));
                }
                chunked = true;
            }
            _ => {}
        }
    }

    let framing = match (response.status, length) {
        (100..200 | 204 | 304, _) => Framing::Empty,
        _ if chunked => Framing::Chunked,
        (_, Some(length)) => Framing::Length(length),
        (_, None) => Framing::ToTheEnd,
    };
    response.keep_alive &= framing != Framing::ToTheEnd;
    Ok((response, framing))
}

/// Digits and nothing else: `u64`'s own parser would take "+5", too.
fn parse_length(value: &[u8]) -> Result<u64, FetchError> {
    str::from_utf8(value)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or(FetchError::Malformed("content length is not a number"))
}

fn is_html(content_type: &[u8]) -> bool {
    let mime = content_type.split(|&byte| byte == b';').next();
    let mime = mime.unwrap_or_default().trim_ascii();
    mime.eq_ignore_ascii_case(b"text/html") || mime.eq_ignore_ascii_case(b"application/xhtml+xml")
}

fn read_length(stream: &mut impl BufRead, length: u64) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    append(stream, length, &mut body)?;
    Ok(body)
}

fn read_to_the_end(stream: &mut impl BufRead) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    if stream.take(MAX_BODY + 1).read_to_end(&mut body)? as u64 > MAX_BODY {
        return Err(FetchError::TooLarge);
    }
    Ok(body)
}

fn read_chunks(stream: &mut impl BufRead) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let Ok(httparse::Status::Complete((_, size))) = httparse::parse_chunk_size(&line) else {
            return Err(FetchError::Malformed("chunk without a size"));
        };
        // The last chunk is empty. Trailers may follow: headers up to an empty line.
        if size == 0 {
            return read_trailers(stream).map(|()| body);
        }
        append(stream, size, &mut body)?;
        if !read_line(stream)?.trim_ascii().is_empty() {
            return Err(FetchError::Malformed("chunk longer than its size"));
        }
    }
}

fn read_trailers(stream: &mut impl BufRead) -> Result<(), FetchError> {
    for _ in 0..MAX_HEADERS {
        if read_line(stream)?.trim_ascii().is_empty() {
            return Ok(());
        }
    }
    Err(FetchError::TooLarge)
}

/// A line of at most 4 KiB, with its end.
fn read_line(stream: &mut impl BufRead) -> Result<Vec<u8>, FetchError> {
    let mut line = Vec::new();
    let mut stream = stream.take(4096);
    stream.read_until(b'\n', &mut line)?;
    match line.last() {
        Some(b'\n') => Ok(line),
        _ if stream.limit() == 0 => Err(FetchError::Malformed("line without an end")),
        _ => Err(FetchError::CutOff),
    }
}

/// Appends exactly `length` bytes of the stream to `body`.
fn append(stream: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> Result<(), FetchError> {
    // A length is only a promise: check it before, and reserve nothing for it.
    if length > MAX_BODY - body.len() as u64 {
        return Err(FetchError::TooLarge);
    }
    if (stream.take(length).read_to_end(body)? as u64) < length {
        return Err(FetchError::CutOff);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one response; also gives back what it left in the stream.
    fn read(bytes: &[u8]) -> (Result<Response, FetchError>, Vec<u8>) {
        let mut stream = bytes;
        let response = Response::read(&mut stream);
        (response, stream.to_vec())
    }

    fn body(bytes: &[u8]) -> Vec<u8> {
        read(bytes).0.unwrap().body
    }

    fn error(bytes: &[u8]) -> FetchError {
        read(bytes).0.unwrap_err()
    }

    #[test]
    fn a_body_with_a_length_ends_there() {
        let (response, rest) = read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1");
        let response = response.unwrap();
        assert_eq!((response.status, response.keep_alive), (200, true));
        assert_eq!(response.body, b"hello");
        assert_eq!(rest, b"HTTP/1.1");
    }

    #[test]
    fn chunks_are_put_together() {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 999\r\n\r\n";
        let chunks = b"5;name=value\r\nhello\r\n007\r\n, world\r\n0\r\nTrailer: x\r\n\r\nrest";
        let (response, rest) = read(&[&head[..], chunks].concat());
        assert_eq!(response.unwrap().body, b"hello, world");
        assert_eq!(rest, b"rest");
    }

    #[test]
    fn without_either_the_body_ends_with_the_connection() {
        let (response, _) = read(b"HTTP/1.1 200 OK\r\n\r\nall of it");
        let response = response.unwrap();
        assert_eq!(response.body, b"all of it");
        assert!(!response.keep_alive);
    }

    #[test]
    fn some_answers_have_no_body() {
        let (response, rest) = read(b"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nrest");
        assert!(response.unwrap().body.is_empty());
        assert_eq!(rest, b"rest");
    }

    #[test]
    fn announcements_are_skipped() {
        let bytes = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(bytes).0.unwrap().status, 404);
    }

    #[test]
    fn headers_are_understood_in_any_case() {
        let (response, _) = read(
            b"HTTP/1.0 301 Moved\nLOCATION:  /there \ncontent-type: Text/HTML; charset=x\nCONNECTION: Keep-Alive\ncontent-length: 0\n\n",
        );
        let response = response.unwrap();
        assert_eq!(response.location.as_deref(), Some("/there"));
        assert!(response.is_html);
        assert!(response.keep_alive);
    }

    #[test]
    fn only_html_is_html() {
        for (content_type, expected) in [
            ("text/html", true),
            ("application/xhtml+xml", true),
            ("text/plain", false),
            ("image/png", false),
            ("text/html5", false),
        ] {
            let head = format!("HTTP/1.1 204 x\r\nContent-Type: {content_type}\r\n\r\n");
            assert_eq!(read(head.as_bytes()).0.unwrap().is_html, expected);
        }
    }

    #[test]
    fn an_old_or_closing_server_gets_no_second_request() {
        for head in [
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: foo, Close\r\n\r\n",
        ] {
            assert!(!read(head.as_bytes()).0.unwrap().keep_alive);
        }
    }

    #[test]
    fn nonsense_is_malformed() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
            b"\x15\x03\x01\x00\x02\x02\x16",
            b"\r\n\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert!(matches!(error(bytes), FetchError::Malformed(_)), "{text}");
        }
    }

    #[test]
    fn an_end_in_the_middle_is_cut_off() {
        assert!(matches!(error(b""), FetchError::NoAnswer));
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Len"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert!(matches!(error(bytes), FetchError::CutOff), "{text}");
        }
    }

    #[test]
    fn what_has_no_end_is_too_large() {
        let endless = |head: &str, again: &[u8]| {
            let bytes = [head.as_bytes(), &again.repeat(1 << 20)].concat();
            Response::read(&mut &bytes[..]).unwrap_err()
        };
        let large = |error| matches!(error, FetchError::TooLarge);
        assert!(large(endless("HTTP/1.1 ", b"no line ends here")));
        assert!(large(endless("HTTP/1.1 200 OK\r\n", b"Header: value\r\n")));
        assert!(large(endless(
            "HTTP/1.1 200 OK\r\n\r\n",
            b"to the end of the world"
        )));
        assert!(large(endless(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"9\r\nand so on\r\n",
        )));
        assert!(large(endless(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"Trailer: value\r\n",
        )));
        assert!(large(endless(
            "HTTP/1.1 200 OK\r\nContent-Length: 8388609\r\n\r\n",
            b""
        )));
    }

    #[test]
    fn the_largest_body_is_read() {
        let mut bytes =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + MAX_BODY as usize, b'x');
        assert_eq!(body(&bytes).len() as u64, MAX_BODY);
    }
}
