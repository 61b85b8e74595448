//! The one web site that is crawled.

use std::net::SocketAddr;

use greenlet::net::ToSocketAddrs;
use url::Url;

/// A site: a scheme, a host and a port, and the page to start from.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) start: Url,
    /// Where its server listens; never empty. The name is looked up once, for all connections.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Site {
    /// Looks up the site of `start`.
    pub(crate) fn find(start: &str) -> Result<Self, String> {
        let mut start = Url::parse(start)
            .map_err(|error| format!("{start:?} is not an address: {error}; write http://host/"))?;
        start.set_fragment(None);
        match start.scheme() {
            "http" => {}
            "https" => return Err(format!("cannot crawl {start}: TLS is not supported")),
            other => return Err(format!("cannot crawl {start}: {other} is not HTTP")),
        }

        let port = start.port_or_known_default().expect("http has a port");
        // Brackets are the URL's way of writing an IPv6 address, not the resolver's.
        let host = start.host_str().expect("http has a host");
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = (name, port)
            .to_socket_addrs()
            .map_err(|error| format!("cannot find {host}: {error}"))?
            .collect();
        if addresses.is_empty() {
            return Err(format!("{host} has no address"));
        }
        Ok(Self { start, addresses })
    }

    /// Whether `url` is on this site, so that it may be fetched.
    pub(crate) fn contains(&self, url: &Url) -> bool {
        url.scheme() == self.start.scheme()
            && url.host_str() == self.start.host_str()
            && url.port_or_known_default() == self.start.port_or_known_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_refused_by_name() {
        assert!(
            Site::find("https://127.0.0.1/")
                .unwrap_err()
                .contains("TLS")
        );
    }

    #[test]
    fn what_is_no_http_address_is_refused() {
        for start in ["", "127.0.0.1", "ftp://127.0.0.1/", "http://", "mailto:a@b"] {
            assert!(Site::find(start).is_err(), "{start}");
        }
    }

    #[test]
    fn another_port_or_scheme_is_another_site() {
        let site = Site::find("http://127.0.0.1/").unwrap();
        let contains = |url| site.contains(&Url::parse(url).unwrap());
        assert!(contains("http://127.0.0.1:80/a?b"));
        assert!(!contains("http://127.0.0.1:81/"));
        assert!(!contains("https://127.0.0.1/"));
        assert!(!contains("http://127.0.0.2/"));
        assert!(!contains("mailto:somebody@127.0.0.1"));
    }

    #[test]
    fn an_ipv6_address_is_found() {
        let site = Site::find("http://[::1]:8080/").unwrap();
        assert_eq!(site.addresses, ["[::1]:8080".parse().unwrap()]);
    }
}
