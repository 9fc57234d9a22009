//! The event stream: what happens, as server-sent events.
//!
//! Each stream begins with the whole view, so that a client that connects again is right at once and no history has to
//! be kept for `Last-Event-ID`. Then items come as they happen. A reader slower than the stream loses the oldest items
//! and is told how many (`lagged`), followed by a fresh view to stand on.
//!
//! Invariant: a stream holds its place in the count of streams until it ends, however it ends.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    extract::State,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::{
    backend::StreamItem,
    extract::Params,
    limits::{KEEP_ALIVE, RECONNECT, SUBSCRIBERS_MAX},
    problem::Problem,
    shared::Shared,
};

/// What a client wants to hear.
#[derive(Deserialize)]
pub(crate) struct EventsQuery {
    /// Kinds separated by commas; all when absent.
    types: Option<String>,
}

/// Data of a `lagged` event.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Lagged {
    /// Items that this reader missed.
    pub(crate) missed: u64,
}

/// Kinds of items that can be asked for.
#[derive(Clone, Copy)]
struct Wanted {
    traffic: bool,
    view: bool,
    command: bool,
}

impl Wanted {
    fn parse(types: Option<&str>) -> Result<Self, Problem> {
        let Some(types) = types else { return Ok(Self { traffic: true, view: true, command: true }) };
        let mut wanted = Self { traffic: false, view: false, command: false };
        for name in types.split(',') {
            match name.trim() {
                "traffic" => wanted.traffic = true,
                "view" => wanted.view = true,
                "command" => wanted.command = true,
                other => {
                    let detail = format!("`{other}` is not a kind of event; there are `traffic`, `view` and `command`");
                    return Err(Problem::bad_request(detail));
                }
            }
        }
        Ok(wanted)
    }

    const fn has(self, item: &StreamItem) -> bool {
        match item {
            StreamItem::Traffic { .. } => self.traffic,
            StreamItem::View(_) => self.view,
            StreamItem::Command { .. } => self.command,
        }
    }
}

/// One subscriber.
struct Feed {
    shared: Arc<Shared>,
    wanted: Wanted,
    items: broadcast::Receiver<Arc<StreamItem>>,
    /// What goes out before the next item; two events at most.
    ahead: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.shared.counters.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) async fn events(
    State(shared): State<Arc<Shared>>,
    Params(query): Params<EventsQuery>,
) -> Result<Response, Problem> {
    let wanted = Wanted::parse(query.types.as_deref())?;
    let Ok(place) = Arc::clone(&shared.subscribers).try_acquire_owned() else {
        shared.counters.subscribers_refused.fetch_add(1, Ordering::Relaxed);
        return Err(Problem::unavailable(format!("{SUBSCRIBERS_MAX} event streams are open, no more are served")));
    };
    shared.counters.subscribers.fetch_add(1, Ordering::Relaxed);
    // Subscribed before the view is read: nothing can fall between the two.
    let items = shared.backend.subscribe();
    let mut feed = Feed { shared, wanted, items, ahead: VecDeque::new(), _place: place };
    feed.show_view();
    let stream = futures_util::stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

impl Feed {
    /// The next event; `None` when the server stops or the source is gone.
    async fn next(&mut self) -> Option<Event> {
        let stop = self.shared.stop.clone();
        loop {
            if let Some(event) = self.ahead.pop_front() {
                return Some(event);
            }
            match stop.run_until_cancelled(self.items.recv()).await? {
                Ok(item) if self.wanted.has(&item) => return event(&item),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.shared.counters.items_missed.fetch_add(missed, Ordering::Relaxed);
                    self.ahead.extend(Event::default().event("lagged").json_data(Lagged { missed }));
                    self.show_view();
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn show_view(&mut self) {
        if self.wanted.view {
            self.ahead.extend(event(&StreamItem::View(self.shared.backend.view())).map(|event| event.retry(RECONNECT)));
        }
    }
}

/// An item's event; `None` only if it cannot be written as JSON, which its types rule out.
fn event(item: &StreamItem) -> Option<Event> {
    let name = match item {
        StreamItem::Traffic { .. } => "traffic",
        StreamItem::View(_) => "view",
        StreamItem::Command { .. } => "command",
    };
    Event::default().event(name).json_data(item).ok()
}
