//! A client's connection: prelogin, TLS, login, then requests until it ends. Main function: [`serve`].

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::Attention;
use super::error::SqlError;
use super::exec::output::{Ending, Output, Piece};
use super::exec::session::{Client, Session};
use super::store::instance::{Instance, VERSION};
use super::store::logins::Role;
use super::store::sessions::{Reason, Stop};
use super::tds::login::Login;
use super::tds::packet::{DEFAULT_SIZE, Kind, Message, ReadError, Writer, next_message};
use super::tds::prelogin::{self, Encryption};
use super::tds::request::Request;
use super::tds::tls_stream::HandshakeStream;
use super::tds::tokens::{self, Change, Command, Done, ERROR};
use crate::faults::Fault;
use crate::ledger::Line;
use crate::tls::Identity;

/// A statement may nest deeply; the stack is only reserved, not used, until one does.
const STACK: usize = 128 << 20;

/// The first byte of a TLS handshake; PRELOGIN begins with another.
const TLS_HANDSHAKE: u8 = 0x16;

/// Anything that bytes can be read from and written to.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Serves one client to its end.
///
/// # Errors
/// When the connection breaks or the client does not speak TDS.
pub(super) async fn serve(
    instance: Arc<Instance>,
    identity: Identity,
    attention: Attention,
    mut tcp: TcpStream,
) -> Result<(), ReadError> {
    tcp.set_nodelay(true)?;
    let mut first = [0];
    let is_strict = tcp.peek(&mut first).await? == 1 && first == [TLS_HANDSHAKE];
    let (login, wire) = if is_strict {
        // TDS 8: TLS from the first byte on, and everything else inside of it.
        let mut tls = TlsAcceptor::from(strict(&identity)).accept(tcp).await?;
        if greeted(&mut tls).await?.is_none() {
            return Ok(());
        }
        (login_message(&mut tls).await?, Box::new(tls) as Box<dyn Wire>)
    } else {
        let Some(asked) = greeted(&mut tcp).await? else { return Ok(()) };
        secured(tcp, &identity, asked).await?
    };
    let Some((login, mut wire)) = login.map(|login| (login, wire)) else { return Ok(()) };
    let Some(session) = logged_in(&instance, &login, &mut wire).await? else { return Ok(()) };
    requests(session, attention, wire, packet_size(&login)).await
}

/// Answers PRELOGIN; nothing when something else came.
async fn greeted(wire: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<Option<Encryption>, ReadError> {
    let Some(hello) = next_message(wire).await? else { return Ok(None) };
    if hello.kind != Kind::Prelogin {
        return Ok(None);
    }
    let asked = prelogin::parse(&hello.body)?;
    let mut writer = Writer::new(DEFAULT_SIZE);
    writer.put(wire, &prelogin::reply(VERSION, asked), false).await?;
    writer.end(wire).await?;
    Ok(Some(asked))
}

/// The server's side of the TLS stack for TDS 8.
fn strict(identity: &Identity) -> Arc<ServerConfig> {
    let mut config = (*identity.server_config()).clone();
    config.alpn_protocols = vec![b"tds/8.0".to_vec()];
    Arc::new(config)
}

fn packet_size(login: &Login) -> usize {
    usize::try_from(login.packet_size).unwrap_or(DEFAULT_SIZE).clamp(512, 32_767)
}

/// The login, read through TLS where the client wants that, and the wire to go on with.
async fn secured(
    mut tcp: TcpStream,
    identity: &Identity,
    asked: Encryption,
) -> Result<(Option<Login>, Box<dyn Wire>), ReadError> {
    if asked == Encryption::NotSupported {
        let login = login_message(&mut tcp).await?;
        return Ok((login, Box::new(tcp)));
    }
    let acceptor = TlsAcceptor::from(identity.server_config());
    let mut tls = acceptor.accept(HandshakeStream::new(tcp)).await?;
    tls.get_mut().0.handshake_is_over();
    let login = login_message(&mut tls).await?;
    if asked == Encryption::LoginOnly {
        // Only the login was to be hidden: what follows is plain again.
        return Ok((login, Box::new(tls.into_inner().0.into_inner())));
    }
    Ok((login, Box::new(tls)))
}

async fn login_message(wire: &mut (impl AsyncRead + Unpin)) -> Result<Option<Login>, ReadError> {
    match next_message(wire).await? {
        Some(Message { kind: Kind::Login, body }) => Ok(Some(Login::parse(&body)?)),
        _ => Ok(None),
    }
}

/// Answers the login; nothing when it was refused.
async fn logged_in(
    instance: &Arc<Instance>,
    login: &Login,
    wire: &mut Box<dyn Wire>,
) -> Result<Option<Session>, ReadError> {
    let attempt = login.application.strip_prefix("drydock ");
    let fault = instance.faults.hit("sqlserver", attempt, "login");
    let checked = match &fault {
        Some(Fault::CutBefore) => return Ok(None),
        Some(Fault::Error { code, message }) => {
            let number = i32::try_from(*code).unwrap_or(18_456);
            Err(vec![SqlError::new(number, message.clone()).class(14)])
        }
        Some(Fault::Slow { ms }) => {
            tokio::time::sleep(std::time::Duration::from_millis(*ms)).await;
            check_login(instance, login)
        }
        _ => check_login(instance, login),
    };
    let (server, attempt) = ("sqlserver".to_owned(), attempt.map(str::to_owned));
    let held = fault == Some(Fault::Hold);
    instance.ledger.record(Line { server, attempt, op: "login".into(), held, ..Line::default() });
    if held {
        let mut nothing = [0];
        let _ = tokio::io::AsyncReadExt::read(wire, &mut nothing).await;
        return Ok(None);
    }
    if fault == Some(Fault::CutAfter) {
        return Ok(None);
    }
    let mut answer = Vec::new();
    let session = match checked {
        Ok(session) => {
            put_welcome(&mut answer, instance, &session, login);
            Some(session)
        }
        Err(errors) => {
            errors
                .iter()
                .for_each(|error| tokens::put_error(&mut answer, error, &instance.setup.server_name));
            tokens::put_done(&mut answer, Done::Statement, ERROR, Command::None, 0);
            None
        }
    };
    let mut writer = Writer::new(DEFAULT_SIZE);
    writer.put(wire, &answer, false).await?;
    writer.end(wire).await?;
    if session.is_none() {
        wire.shutdown().await?;
    }
    Ok(session)
}

fn put_welcome(answer: &mut Vec<u8>, instance: &Instance, session: &Session, login: &Login) {
    let server = &instance.setup.server_name;
    let database = instance.catalog().databases.get(&session.current).map(|found| found.name.clone());
    let database = database.unwrap_or_default();
    let entered =
        SqlError::new(5701, format!("Changed database context to '{database}'.")).state(2).class(10);
    let language = SqlError::new(5703, "Changed language setting to us_english.").class(10);
    tokens::put_change(answer, &Change::Database(database, "master".into()));
    tokens::put_error(answer, &entered, server);
    tokens::put_change(answer, &Change::Collation);
    tokens::put_error(answer, &language, server);
    tokens::put_login_ack(answer, VERSION);
    tokens::put_change(answer, &Change::PacketSize(packet_size(login), DEFAULT_SIZE));
    tokens::put_done(answer, Done::Statement, 0, Command::None, 0);
}

/// Opens a session for a login whose name and password are right and whose database can be entered.
fn check_login(instance: &Arc<Instance>, login: &Login) -> Result<Session, Vec<SqlError>> {
    let refused = || SqlError::new(18_456, format!("Login failed for user '{}'.", login.user)).class(14);
    let known = instance.catalog().login(&login.user).cloned();
    let Some(known) = known.filter(|known| known.has_password(&login.password)) else {
        return Err(vec![refused()]);
    };
    if known.is_disabled {
        let text = format!("Login failed for user '{}'. Reason: The account is disabled.", login.user);
        return Err(vec![SqlError::new(18_470, text).class(14)]);
    }
    let is_let_in = {
        let catalog = instance.catalog();
        catalog.has_role(&known.name, Role::SysAdmin) || catalog.allows(&known.name, "CONNECT SQL")
    };
    if !is_let_in {
        return Err(vec![refused()]);
    }
    let client = Client { login: known.name, host: login.host.clone(), program: login.application.clone() };
    let mut session = Session::open(instance, client).map_err(|error| vec![error])?;
    if login.database.is_empty() {
        return Ok(session);
    }
    let id = instance.catalog().named(&login.database).map(|database| database.id);
    let entered = id.is_some_and(|id| session.attach(id).is_ok());
    match id.filter(|_| entered) {
        Some(id) => {
            super::exec::databases::move_to(&mut session, id);
            Ok(session)
        }
        None => {
            session.close();
            let text = format!(
                "Cannot open database \"{}\" requested by the login. The login failed.",
                login.database
            );
            Err(vec![SqlError::new(4060, text).class(11), refused()])
        }
    }
}

/// A request on its way to the session's thread, and where its answer goes.
type Job = (Request, mpsc::Sender<Piece>);

/// The session's own thread: SQLite does not wait asynchronously. It ends, and the session with it, when the
/// connection drops its end of the channel.
fn start_thread(mut session: Session, jobs: std::sync::mpsc::Receiver<Job>) -> io::Result<()> {
    let work = move || {
        for (request, to) in jobs {
            let in_procedure = matches!(request, Request::Call { .. });
            let out = Output::new(Some(to), &session.instance.setup.server_name, in_procedure);
            session.run(&request, out);
        }
        session.close();
    };
    std::thread::Builder::new().name("sqlserver session".into()).stack_size(STACK).spawn(work).map(|_| ())
}

/// Reads requests as they come, so that an attention is seen while an answer is on its way.
async fn read_all(mut from: ReadHalf<Box<dyn Wire>>, to: mpsc::Sender<Result<Request, ReadError>>) {
    loop {
        let read = match next_message(&mut from).await {
            Ok(None) => return,
            Ok(Some(message)) => Request::parse(&message).map_err(ReadError::from),
            Err(error) => Err(error),
        };
        let is_over = read.is_err();
        if to.send(read).await.is_err() || is_over {
            return;
        }
    }
}

async fn requests(
    session: Session,
    attention: Attention,
    wire: Box<dyn Wire>,
    size: usize,
) -> Result<(), ReadError> {
    let stop = Arc::clone(&session.stop);
    let (jobs, queue) = std::sync::mpsc::channel();
    start_thread(session, queue)?;
    let (from, mut to) = tokio::io::split(wire);
    let (incoming, mut requests) = mpsc::channel(4);
    let reader = tokio::spawn(read_all(from, incoming));
    let mut writer = Writer::new(size);
    let done = loop {
        let request = tokio::select! {
            request = requests.recv() => request,
            () = stop.killed.notified() => break Ok(()),
        };
        match request {
            None => break Ok(()),
            Some(Err(error)) => break Err(error),
            Some(Ok(Request::Attention)) => acknowledge(&mut writer, &mut to).await?,
            Some(Ok(request)) => {
                let (pieces, mut answer) = mpsc::channel(16);
                if jobs.send((request, pieces)).is_err() {
                    break Ok(());
                }
                match relay(&stop, attention, &mut requests, &mut answer, &mut writer, &mut to).await {
                    Ok(true) => {}
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        }
    };
    stop.ask(Reason::Gone);
    reader.abort();
    let _ = to.shutdown().await;
    done
}

/// The acknowledgement of an attention, as a message of its own.
async fn acknowledge(writer: &mut Writer, to: &mut WriteHalf<Box<dyn Wire>>) -> Result<(), ReadError> {
    let mut token = Vec::new();
    tokens::put_done(&mut token, Done::Statement, tokens::ATTENTION, Command::Compile, 0);
    writer.put(to, &token, false).await?;
    Ok(writer.end(to).await?)
}

/// Carries one answer to the client; false when the connection is to be closed.
async fn relay(
    stop: &Stop,
    attention: Attention,
    requests: &mut mpsc::Receiver<Result<Request, ReadError>>,
    answer: &mut mpsc::Receiver<Piece>,
    writer: &mut Writer,
    to: &mut WriteHalf<Box<dyn Wire>>,
) -> Result<bool, ReadError> {
    let mut attended = false;
    let mut peer_is_there = true;
    let ending = loop {
        tokio::select! {
            biased;
            request = requests.recv(), if peer_is_there => match request {
                Some(Ok(Request::Attention)) => {
                    attended = true;
                    stop.ask(Reason::Attention);
                }
                // A client waits for its answer before it asks again; whatever else comes ends the work.
                _ => {
                    peer_is_there = false;
                    stop.ask(Reason::Gone);
                }
            },
            piece = answer.recv() => match piece {
                Some(Piece::Tokens(tokens, now)) if peer_is_there => writer.put(to, &tokens, now).await?,
                Some(Piece::Tokens(..)) => {}
                Some(Piece::End(ending)) => break ending,
                None => break Ending::Cut,
            },
        }
    };
    if !peer_is_there {
        return Ok(false);
    }
    match ending {
        Ending::Cut => return Ok(false),
        Ending::Hold => {
            // Only the peer's going ends this.
            while let Some(Ok(_)) = requests.recv().await {}
            return Ok(false);
        }
        Ending::Message | Ending::Close => {}
    }
    if attended {
        stop.attention_answered();
        if attention == Attention::Joined {
            acknowledge(writer, to).await?;
        } else {
            writer.end(to).await?;
            acknowledge(writer, to).await?;
        }
    } else {
        writer.end(to).await?;
    }
    Ok(ending == Ending::Message)
}
