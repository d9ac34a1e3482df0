//! `/api/v1/events`: the events of the repositories that the caller may pull, as server-sent events.
//!
//! The rights are read again for each batch. A stream ends with the password, session or token of its
//! sign-in, and after a time. The client resumes with `Last-Event-ID`.

use std::time::{Duration, SystemTime};

use accounts::Visible;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use oci::RepositoryName;
use registry::Registry;
use registry::access::Identity;
use registry::events::{Event, EventFilter};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::http::body::Body;
use crate::http::call::Call;
use crate::http::error::Error;
use crate::http::response::Response;
use crate::webhooks::message;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// The number of changes that are read at a time.
const BATCH: usize = 256;
/// Pieces that wait for a slow client.
const QUEUED: usize = 4;
/// The interval of comments that keep the connection open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The time after which a stream ends.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Streams events after `after` or `Last-Event-ID`, or from now on.
pub(crate) async fn get(call: Call<'_>) -> Result<Response, Error> {
    let query = call.query();
    let registry = call.app.registry.clone();
    let expected = "the id of an event";
    let last = match call.request.header("last-event-id").filter(|id| !id.is_empty()) {
        Some(id) => {
            Some(id.parse().map_err(|_| Error::BadParameter { parameter: "Last-Event-ID", expected })?)
        }
        None => None,
    };
    let after: Option<i64> = match last {
        Some(last) => Some(last),
        None => query.parsed::<i64>("after", expected)?,
    };
    let words: Vec<String> = query.all("event").map(|word| word.into_owned()).collect();
    let filter = EventFilter::new(words).map_err(|_| Error::BadParameter {
        parameter: "event",
        expected: "a kind of event, such as push or tag.*",
    })?;
    let repository = query.parsed::<RepositoryName>("repository", "the name of a repository")?;
    let follows = match query.get("follow").as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(Error::BadParameter { parameter: "follow", expected: "true or false" }),
    };
    let newest = registry.watch_events();
    let oldest = registry.oldest_event().await?;
    let cursor = after.unwrap_or_else(|| *newest.borrow());
    let (sender, pieces) = mpsc::channel(QUEUED);
    let stream = Stream {
        accounts: call.app.accounts.clone(),
        identity: call.caller.identity().clone(),
        generation: None,
        since: since(&call).await?,
        closing: call.app.closing.subscribe(),
        registry,
        filter,
        repository,
        sender,
    };
    let lost = (cursor < oldest && after.is_some_and(|after| after > 0)).then_some(oldest);
    tokio::spawn(stream.run(cursor.max(oldest), lost, newest, follows));
    let mut response = Response::new(Body::channel(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx buffers responses otherwise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The time before which the caller sees nothing: its account may have got the name of an earlier one.
async fn since(call: &Call<'_>) -> Result<u64, Error> {
    let made = call.app.accounts.made_at(call.caller.identity()).await?;
    let made = made.and_then(|made| made.duration_since(SystemTime::UNIX_EPOCH).ok());
    Ok(made.map_or(0, |made| u64::try_from(made.as_millis()).unwrap_or(0)))
}

struct Stream {
    accounts: registry::access::Accounts,
    identity: Identity,
    /// The generation of accounts for which `identity` is valid.
    generation: Option<u64>,
    /// The time of the first event that the caller may see, in milliseconds since 1970.
    since: u64,
    closing: watch::Receiver<bool>,
    registry: Registry,
    filter: EventFilter,
    repository: Option<RepositoryName>,
    sender: mpsc::Sender<Bytes>,
}

impl Stream {
    async fn run(
        mut self,
        mut cursor: i64,
        lost: Option<i64>,
        mut newest: watch::Receiver<i64>,
        follows: bool,
    ) {
        let until = Instant::now() + self.lifetime();
        // The head of the response goes out with the first piece.
        let mut first = ": events\n\n".to_owned();
        if let Some(lost) = lost {
            first.push_str(&format!("event: lost\ndata: {}\n\n", json!({ "next": lost + 1 })));
        }
        if self.sender.send(first.into()).await.is_err() {
            return;
        }
        loop {
            newest.borrow_and_update();
            let Ok(page) = self.registry.events(cursor, BATCH).await else { return };
            let is_end = page.cursor == cursor;
            cursor = page.cursor;
            if !self.is_signed_in().await || follows && Instant::now() >= until {
                return;
            }
            if !page.events.is_empty() {
                let Ok(Some(visible)) = self.accounts.listable(&self.identity).await else { return };
                let text: String = page
                    .events
                    .iter()
                    .filter(|event| self.shows(event, &visible))
                    .map(|event| self.line(event))
                    .collect();
                if !text.is_empty() && self.sender.send(text.into()).await.is_err() {
                    return;
                }
            }
            if !is_end {
                continue;
            }
            if !follows {
                return;
            }
            tokio::select! {
                changed = newest.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep_until(until) => return,
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    if self.sender.send(Bytes::from_static(b":\n\n")).await.is_err() {
                        return;
                    }
                }
                () = self.sender.closed() => return,
                // The guard of `wait_for` cannot be held over an await.
                () = async { _ = self.closing.wait_for(|closing| *closing).await } => return,
            }
        }
    }

    /// The time until the stream ends by itself.
    fn lifetime(&self) -> Duration {
        let expires_at = self.identity.account().and_then(|account| account.expires_at);
        let left = expires_at.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
        left.map_or(LIFETIME, |left| left.min(LIFETIME))
    }

    /// Whether the sign-in still holds. Reads it again after a change of accounts.
    async fn is_signed_in(&mut self) -> bool {
        let generation = self.accounts.generation();
        if self.generation == Some(generation) {
            return true;
        }
        let Ok(Some(identity)) = self.accounts.revalidate(&self.identity).await else { return false };
        (self.identity, self.generation) = (identity, Some(generation));
        true
    }

    /// Whether the caller gets an event: of a repository that it may pull, or of the registry as an
    /// administrator.
    fn shows(&self, event: &Event, visible: &Visible) -> bool {
        let is_visible = match &event.repository {
            Some(name) => visible.allows(name),
            None => self.is_administrator(),
        };
        let is_wanted = match &self.repository {
            Some(wanted) => event.repository.as_ref() == Some(wanted),
            None => true,
        };
        is_visible && is_wanted && event.at >= self.since && self.filter.allows(event.kind)
    }

    fn is_administrator(&self) -> bool {
        match &self.identity {
            Identity::Operator => true,
            Identity::Account(account) => account.administrator && account.scope.is_none(),
            Identity::Anonymous => !self.accounts.in_force(),
        }
    }

    fn line(&self, event: &Event) -> String {
        let mut data = match message::data(event) {
            serde_json::Value::Object(data) => data,
            _ => serde_json::Map::new(),
        };
        // The client's address is for administrators.
        if !self.is_administrator() {
            data.remove("address");
        }
        let shown = api::Event { id: event.id, event: event.kind.to_string(), at: event.at / 1000, data };
        let json = serde_json::to_string(&shown).expect("our own types have string keys and no custom code");
        format!("id: {}\nevent: {}\ndata: {json}\n\n", event.id, event.kind)
    }
}
