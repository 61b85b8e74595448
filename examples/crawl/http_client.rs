//! An HTTP/1.1 client for one site, one request at a time.

use std::io::{BufReader, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use url::{Position, Url};

use crate::deadline_stream::DeadlineStream;
use crate::fetch_error::FetchError;
use crate::response::Response;
use crate::site::Site;

/// A client that keeps its connection for the next request.
#[derive(Debug)]
pub(crate) struct HttpClient {
    site: Arc<Site>,
    timeout: Duration,
    /// The connection of the last request, if the server left it open.
    idle: Option<BufReader<DeadlineStream>>,
}

impl HttpClient {
    /// A client that gives each request `timeout`, from connecting to the body's last byte.
    pub(crate) fn new(site: Arc<Site>, timeout: Duration) -> Self {
        Self {
            site,
            timeout,
            idle: None,
        }
    }

    /// Fetches `url`, which is a page of the site. Redirects are answers like others.
    pub(crate) fn get(&mut self, url: &Url) -> Result<Response, FetchError> {
        let deadline = Instant::now() + self.timeout;

        // Servers close idle connections when they like; then the request was not at fault.
        if let Some(mut connection) = self.idle.take() {
            connection.get_mut().set_deadline(deadline);
            match self.exchange(connection, url) {
                Err(error) if error.is_stale_connection() => {}
                answer => return answer,
            }
        }

        let stream = DeadlineStream::connect(&self.site.addresses, deadline)?;
        self.exchange(BufReader::new(stream), url)
    }

    fn exchange(
        &mut self,
        mut connection: BufReader<DeadlineStream>,
        url: &Url,
    ) -> Result<Response, FetchError> {
        let request = format!(
            "GET {} HTTP/1.1\r\n\
             Host: {}\r\n\
             User-Agent: greenlet-crawl/{}\r\n\
             Accept: text/html, */*;q=0.1\r\n\
             Accept-Encoding: identity\r\n\r\n",
            &url[Position::BeforePath..Position::AfterQuery],
            &url[Position::BeforeHost..Position::AfterPort],
            env!("CARGO_PKG_VERSION"),
        );
        connection.get_mut().write_all(request.as_bytes())?;
        let response = Response::read(&mut connection)?;

        // Bytes that nobody asked for would be taken for the next answer.
        if response.keep_alive && connection.buffer().is_empty() {
            self.idle = Some(connection);
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use greenlet::net::{TcpListener, TcpStream};
    use std::io::Read;

    /// A client of a server that handles its first connections with `serve`, one after the other.
    fn client(
        timeout: Duration,
        serve: impl Fn(usize, TcpStream) + Send + 'static,
    ) -> (HttpClient, Url) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = format!("http://{}/", listener.local_addr().unwrap());
        greenlet::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                serve(number, stream.unwrap());
            }
        });
        let site = Arc::new(Site::find(&start).unwrap());
        let start = site.start.clone();
        (HttpClient::new(site, timeout), start)
    }

    #[test]
    fn a_connection_is_used_again() {
        greenlet::run(|| {
            let (mut client, url) = client(Duration::from_secs(10), |number, mut stream| {
                let mut request = [0; 1024];
                while stream.read(&mut request).unwrap() > 0 {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            });
            assert_eq!(client.get(&url).unwrap().body, b"0");
            assert_eq!(client.get(&url).unwrap().body, b"0");
        });
    }

    #[test]
    fn a_connection_that_the_server_has_closed_is_replaced() {
        greenlet::run(|| {
            let (mut client, url) = client(Duration::from_secs(10), |number, mut stream| {
                assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}");
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(client.get(&url).unwrap().body, b"0");
            assert_eq!(client.get(&url).unwrap().body, b"1");
        });
    }

    #[test]
    fn a_server_that_trickles_does_not_stretch_the_time() {
        greenlet::run(|| {
            let (mut client, url) = client(Duration::from_millis(300), |_, mut stream| {
                let mut answer = b"HTTP/1.1 200 OK\r\n\r\n"
                    .iter()
                    .copied()
                    .chain([b'x'].repeat(200));
                while answer
                    .next()
                    .is_some_and(|byte| stream.write_all(&[byte]).is_ok())
                {
                    greenlet::sleep(Duration::from_millis(20));
                }
            });
            let started = Instant::now();
            assert!(matches!(client.get(&url), Err(FetchError::TimedOut)));
            assert!(started.elapsed() >= Duration::from_millis(300));
            assert!(started.elapsed() < Duration::from_secs(3));
        });
    }

    #[test]
    fn a_port_where_nobody_listens_is_an_error() {
        greenlet::run(|| {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let start = format!("http://{}/", free.local_addr().unwrap());
            drop(free);
            let site = Arc::new(Site::find(&start).unwrap());
            let url = site.start.clone();
            let mut client = HttpClient::new(site, Duration::from_secs(10));
            assert!(matches!(client.get(&url), Err(FetchError::Io(_))));
        });
    }
}
