//! The client of a connection with what drives it: [`Wire`]. It hears what the server says beside its answers, and keeps why it ended.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Config, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failure;

/// The most notices that are kept: a restore has some, and nobody reads thousands.
const MOST: usize = 200;

/// What a server says beside an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    /// Its SQLSTATE.
    pub(super) state: String,
    /// Its words.
    pub(super) message: String,
}

#[derive(Default)]
struct Heard {
    notices: Mutex<Vec<Notice>>,
    end: Mutex<Option<Failure>>,
}

/// A connection. When it is dropped the session ends.
pub(super) struct Wire {
    /// What asks.
    pub(super) client: Client,
    tls: Option<MakeRustlsConnect>,
    heard: Arc<Heard>,
}

/// What stops the statement that a session runs, from beside it.
#[derive(Clone)]
pub(super) struct Stopper {
    token: CancelToken,
    tls: Option<MakeRustlsConnect>,
}

impl Wire {
    /// Connects to the one place that the configuration names.
    ///
    /// # Errors
    /// The cause, not yet in words.
    pub(super) async fn connect(config: &Config, tls: Option<&MakeRustlsConnect>) -> Result<Self, Error> {
        let heard = Arc::<Heard>::default();
        let client = match tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                drive(connection, heard.clone());
                client
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                drive(connection, heard.clone());
                client
            }
        };
        Ok(Self { client, tls: tls.cloned(), heard })
    }

    /// An error of the client, with the reason for which the connection ended where that is all that it says.
    pub(super) fn failure(&self, error: Error) -> Failure {
        let ended = if error.is_closed() { held(&self.heard.end).clone() } else { None };
        ended.unwrap_or_else(|| Failure::from(error))
    }

    /// What was said since it was last asked for.
    pub(super) fn notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *held(&self.heard.notices))
    }

    /// What stops its statement.
    pub(super) fn stopper(&self) -> Stopper {
        Stopper { token: self.client.cancel_token(), tls: self.tls.clone() }
    }
}

impl Stopper {
    /// Asks the server to stop what the session runs. Whether it does is seen by the session alone.
    ///
    /// # Errors
    /// When the server could not be reached.
    pub(super) async fn stop(&self) -> Result<(), Failure> {
        match &self.tls {
            Some(tls) => self.token.cancel_query(tls.clone()).await?,
            None => self.token.cancel_query(NoTls).await?,
        }
        Ok(())
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn drive<S, T>(mut connection: Connection<S, T>, heard: Arc<Heard>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
            match message {
                Ok(AsyncMessage::Notice(notice)) => {
                    let mut notices = held(&heard.notices);
                    if notices.len() < MOST {
                        let (state, message) = (notice.code().code().to_owned(), notice.message().to_owned());
                        notices.push(Notice { state, message });
                    }
                }
                Ok(_) => {}
                // Kept before the connection goes, so that whoever asks it next finds the reason.
                Err(error) => {
                    *held(&heard.end) = Some(Failure::from(error));
                    break;
                }
            }
        }
    });
}
