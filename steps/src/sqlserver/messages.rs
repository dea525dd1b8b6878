//! What a server says beside its answer. The client library hands texts of severity 10 and less, and all errors after the first, to
//! `tracing` alone, without number: [`heard`] listens to them while a statement runs.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::instrument::WithSubscriber;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

/// Where the client library tells what it read.
const TOKENS: &str = "tiberius::tds::stream::token";

/// The most texts that are kept: a restore has some, and nobody reads thousands.
const MOST: usize = 200;

/// Runs something that asks a server; what it gives, and the texts that the server said meanwhile. What is told to others goes on to them.
pub(super) async fn heard<T>(work: impl Future<Output = T>) -> (T, Vec<String>) {
    let texts = Arc::<Mutex<Vec<String>>>::default();
    let listener = Listener { texts: texts.clone(), others: dispatcher::get_default(Clone::clone) };
    let done = work.with_subscriber(listener).await;
    let texts = std::mem::take(&mut *texts.lock().unwrap_or_else(PoisonError::into_inner));
    (done, texts)
}

struct Listener {
    texts: Arc<Mutex<Vec<String>>>,
    others: Dispatch,
}

impl Listener {
    fn listens(metadata: &Metadata<'_>) -> bool {
        // The level below shows every row.
        metadata.is_event() && metadata.target() == TOKENS && *metadata.level() <= Level::DEBUG
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::listens(metadata) || self.others.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.others.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.others.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.others.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        if Self::listens(event.metadata()) {
            let mut text = Text::default();
            event.record(&mut text);
            let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
            if !text.0.is_empty() && texts.len() < MOST {
                texts.push(text.0);
            }
        }
        if self.others.enabled(event.metadata()) {
            self.others.event(event);
        }
    }

    fn enter(&self, span: &Id) {
        self.others.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.others.exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.others.clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.others.try_close(span)
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0.push_str(value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a text does not fail.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_client_library_tells_is_heard_and_nothing_else() {
        let (done, texts) = heard(async {
            tracing::event!(target: "tiberius::tds::stream::token", tracing::Level::DEBUG, "10 percent processed.");
            tokio::task::yield_now().await;
            tracing::debug!("of somebody else");
            tracing::event!(target: "tiberius::tds::stream::token", tracing::Level::ERROR, message = %"It is so.", code = 3013);
            7
        })
        .await;
        assert_eq!((done, texts), (7, vec!["10 percent processed.".to_owned(), "It is so.".to_owned()]));
        tracing::event!(target: "tiberius::tds::stream::token", tracing::Level::DEBUG, "too late");
    }
}
