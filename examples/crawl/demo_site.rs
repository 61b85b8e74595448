//! A web site to crawl: a few hundred pages, most of them well-behaved.
//!
//! The server is as plain as the crawler: one greenlet accepts, and each connection gets a
//! greenlet that reads a request, sleeps as long as a busy server would think, and answers.
//!
//! Pages are numbered from 0, which is `/`; page n links to the pages 8n + 1 to 8n + 8, to some
//! others at random, and to the troubles below. Everything follows from the number, so that each
//! run sees the same site. Where something fails "at first", it is every odd request that fails:
//! who comes again later finds the same trouble again.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenlet::JoinHandle;
use greenlet::net::{SocketAddr, TcpListener, TcpStream};

/// As many pages as that have a number.
const PAGES: u32 = 600;
/// As many links down does a page have, if there are so many pages.
const CHILDREN: u32 = 8;

/// A slow page takes so long at first.
const SLOW: Duration = Duration::from_secs(3);

/// The running server.
#[derive(Debug)]
pub(crate) struct DemoSite {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    accepting: JoinHandle<()>,
}

impl DemoSite {
    /// Starts the server on a free port of this machine.
    pub(crate) fn start() -> io::Result<Self> {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
        let address = listener.local_addr()?;
        let accepting = greenlet::spawn({
            let listener = Arc::clone(&listener);
            move || accept_all(&listener)
        });
        Ok(Self {
            address,
            listener,
            accepting,
        })
    }

    /// The address of page 0.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Accepts no more connections. Those that are open end when their clients go.
    pub(crate) fn stop(self) {
        self.listener.shutdown().expect("it is our listener");
        self.accepting.join().expect("accepting does not panic");
    }
}

fn accept_all(listener: &TcpListener) {
    let requests = Arc::new(RequestCounts::default());
    // The loop ends after the error that tells of the shutdown.
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let requests = Arc::clone(&requests);
                greenlet::spawn(move || serve(stream, &requests));
            }
            // No descriptors left, most likely: wait until some are closed.
            Err(_) => greenlet::sleep(Duration::from_millis(10)),
        }
    }
}

/// Answers the requests of one connection until it ends, for whatever reason.
fn serve(stream: TcpStream, requests: &RequestCounts) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(&stream);
    while let Some(path) = read_request(&mut reader)? {
        let page = Page::at(&path, requests.count(&path) % 2 == 1);
        greenlet::sleep(page.delay);
        let Some(answer) = page.answer else {
            break;
        };
        (&stream).write_all(&answer.to_bytes())?;
        if answer.framing == Framing::ToTheEnd {
            break;
        }
    }
    Ok(())
}

/// Reads a request; what is asked for, or `None` at the end of the stream.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 0 && header.trim_end() != "" {
        header.clear();
    }
    // "GET /path HTTP/1.1"
    Ok(first.split(' ').nth(1).map(str::to_owned))
}

/// How often each path was asked for.
#[derive(Debug, Default)]
struct RequestCounts(Mutex<HashMap<String, u32>>);

impl RequestCounts {
    /// Counts a request: 1 is the first.
    fn count(&self, path: &str) -> u32 {
        let mut counts = self.0.lock().expect("nobody panics with this lock");
        let count = counts.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    }
}

/// What is found at a path.
#[derive(Debug)]
struct Page {
    delay: Duration,
    /// None hangs up instead of answering.
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Answer {
    status: &'static str,
    location: Option<String>,
    framing: Framing,
    body: String,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    ToTheEnd,
}

impl Page {
    /// The page at `path`, when it is asked for `at_first`.
    fn at(path: &str, at_first: bool) -> Self {
        let number = path.rsplit('/').next().and_then(|last| last.parse().ok());
        let seed = path
            .bytes()
            .fold(0, |seed, byte| hash(seed ^ u32::from(byte)));
        let mut delay = Duration::from_millis(20 + u64::from(seed % 181));

        let answer = match (path, number) {
            ("/", _) => Some(Answer::page(0)),
            ("/loop/there", _) => Some(Answer::redirect("/loop/back".into())),
            ("/loop/back", _) => Some(Answer::redirect("there".into())),
            ("/away", _) => Some(Answer::redirect("http://elsewhere.invalid/".into())),
            (_, Some(number)) if path.starts_with("/moved/") && number % 2 == 0 => {
                Some(Answer::redirect(format!("/moved-again/{number}")))
            }
            (_, Some(number)) if path.starts_with("/moved") => {
                Some(Answer::redirect(format!("../page/{number}")))
            }
            (_, Some(number)) if path.starts_with("/page/") && number < PAGES => {
                match (number % 100, at_first) {
                    (13, true) => {
                        delay = SLOW;
                        Some(Answer::page(number))
                    }
                    (37, true) => None,
                    (61, true) => Some(Answer::error("503 Service Unavailable")),
                    _ => Some(Answer::page(number)),
                }
            }
            _ if path.starts_with("/search?") => Some(Answer::new("200 OK", search_results())),
            _ => Some(Answer::error("404 Not Found")),
        };
        Self { delay, answer }
    }
}

impl Answer {
    fn new(status: &'static str, body: String) -> Self {
        Self {
            status,
            location: None,
            framing: Framing::Length,
            body,
        }
    }

    fn page(number: u32) -> Self {
        let framing = match number % 10 {
            1..=4 => Framing::Chunked,
            9 => Framing::ToTheEnd,
            _ => Framing::Length,
        };
        Self {
            framing,
            ..Self::new("200 OK", html(number))
        }
    }

    fn redirect(target: String) -> Self {
        Self {
            location: Some(target),
            ..Self::new("302 Found", String::new())
        }
    }

    fn error(status: &'static str) -> Self {
        Self::new(status, format!("<h1>{status}</h1>"))
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {}\r\nContent-Type: text/html\r\n", self.status);
        if let Some(target) = &self.location {
            text += &format!("Location: {target}\r\n");
        }
        match self.framing {
            Framing::Length => {
                text += &format!("Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
            }
            Framing::ToTheEnd => text += &format!("Connection: close\r\n\r\n{}", self.body),
            Framing::Chunked => {
                text += "Transfer-Encoding: chunked\r\n\r\n";
                for chunk in self.body.as_bytes().chunks(1000) {
                    let chunk = str::from_utf8(chunk).expect("the pages are ASCII");
                    text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
                }
                text += "0\r\n\r\n";
            }
        }
        text.into_bytes()
    }
}

/// The text of page `number`.
fn html(number: u32) -> String {
    let mut links = String::new();
    let mut link = |target: &str| {
        writeln!(links, "<li><a href=\"{target}\">{target}</a>").expect("strings take all");
    };

    let first_child = CHILDREN * number + 1;
    for child in (first_child..first_child + CHILDREN).filter(|&child| child < PAGES) {
        link(&path_to(child));
    }
    // Pages that others link to, and addresses that are no page of this site.
    link("/");
    link("#top");
    link(&format!("/page/{}#notes", 1 + hash(number) % (PAGES - 1)));
    link(&format!(
        "/page/../page/{}",
        1 + hash(!number) % (PAGES - 1)
    ));
    link("http://elsewhere.invalid/");
    link("https://elsewhere.invalid/");
    link("mailto:nobody@elsewhere.invalid");
    match number {
        4 => link("/away"),
        5 => link("/loop/there"),
        _ if number % 60 == 1 => link(&format!("/missing/{number}")),
        _ if number % 60 == 2 => link(&format!("/search?topic={number}&amp;part=1")),
        _ => {}
    }

    format!(
        "<!DOCTYPE html>\n<html><head><title>Page {number} <a href=\"/trap/1\"></title>\n\
         <script>document.write('<a href=\"/trap/2\">')</script></head>\n\
         <body id=\"top\"><!-- <a href=\"/trap/3\"> --><h1>Page {number}</h1>\n\
         <ul>\n{links}</ul>\n{}</body></html>\n",
        "<p>Nothing on this page is worth the time that it took to load.</p>\n"
            .repeat(1 + hash(number) as usize % 100),
    )
}

/// One of the ways to write the path of a page. Some pages can only be reached by a redirect.
fn path_to(number: u32) -> String {
    match number % 30 {
        7 | 22 => format!("/moved/{number}"),
        n if n % 3 == 0 => format!("../page/{number}"),
        _ => format!("/page/{number}"),
    }
}

fn search_results() -> String {
    "<p>Nothing found. <a href=/>Back</a></p>".to_owned()
}

/// A number that looks like chance.
fn hash(number: u32) -> u32 {
    let number = (number ^ (number >> 16))
        .wrapping_mul(0x45d9_f3b5)
        .wrapping_add(1);
    let number = (number ^ (number >> 15)).wrapping_mul(0x2c1b_3c6d);
    number ^ (number >> 13)
}
