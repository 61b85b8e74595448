//! Visits to pages: fetch, try again, find the links.

use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use crate::fetch_error::FetchError;
use crate::http_client::HttpClient;
use crate::links;
use crate::response::Response;
use crate::site::Site;

/// The pause before the first retry; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Visits one page after the other.
#[derive(Debug)]
pub(crate) struct Visitor {
    site: Arc<Site>,
    client: HttpClient,
    retries: u32,
}

/// What a visit took and what came of it.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) url: Url,
    pub(crate) elapsed: Duration,
    pub(crate) retries: u32,
    pub(crate) outcome: Result<Answer, FetchError>,
}

/// An answer that is no error.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A page with a body of so many bytes, and its links to pages of the site.
    Page { bytes: usize, links: Vec<Url> },
    /// The page is elsewhere on the site.
    Redirect(Url),
    /// The page is on another site.
    OffSite(Url),
}

impl Visitor {
    pub(crate) fn new(site: Arc<Site>, timeout: Duration, retries: u32) -> Self {
        let client = HttpClient::new(Arc::clone(&site), timeout);
        Self {
            site,
            client,
            retries,
        }
    }

    /// Fetches `url`, again and again if there is hope.
    pub(crate) fn visit(&mut self, url: Url) -> Visit {
        let started = Instant::now();
        let mut retries = 0;
        let mut pause = FIRST_PAUSE;
        let outcome = loop {
            match self.try_once(&url) {
                Err(error) if error.is_transient() && retries < self.retries => {
                    retries += 1;
                    greenlet::sleep(pause);
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                outcome => break outcome,
            }
        };
        Visit {
            url,
            elapsed: started.elapsed(),
            retries,
            outcome,
        }
    }

    fn try_once(&mut self, url: &Url) -> Result<Answer, FetchError> {
        let response = self.client.get(url)?;
        match response.status {
            200..=299 => Ok(Answer::Page {
                bytes: response.body.len(),
                links: self.links_of(url, &response),
            }),
            301 | 302 | 303 | 307 | 308 => self.redirect(url, &response),
            status => Err(FetchError::Status(status)),
        }
    }

    fn links_of(&self, url: &Url, response: &Response) -> Vec<Url> {
        if !response.is_html {
            return Vec::new();
        }
        let mut links = links::extract(url, &response.body);
        links.retain(|link| self.site.contains(link));
        links
    }

    fn redirect(&self, url: &Url, response: &Response) -> Result<Answer, FetchError> {
        let location = response.location.as_deref();
        let location = location.ok_or(FetchError::Malformed("redirect without a target"))?;
        let mut target = url
            .join(location)
            .map_err(|_| FetchError::Malformed("redirect to no address"))?;
        target.set_fragment(None);
        if self.site.contains(&target) {
            Ok(Answer::Redirect(target))
        } else {
            Ok(Answer::OffSite(target))
        }
    }
}
