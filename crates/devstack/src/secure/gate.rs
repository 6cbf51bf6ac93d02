//! TLS and basic authentication in front of the schema registry, which has neither by itself.
//!
//! Whoever has an account may read; only the provisioner may register schemas and set levels, so a service that tried would be seen.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
    serve::Listener,
};
use data_encoding::BASE64;
use tokio::{net::TcpStream, sync::oneshot};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use super::{PROVISIONER, authority::Certified};
use crate::ports;

/// Name → password of whom it lets in.
type Passwords = BTreeMap<String, String>;

const LIMIT: Duration = Duration::from_secs(30);
/// A peer that begins no TLS in this time is not waited for.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// A running gate; it closes when it is dropped.
pub struct Gate {
    /// Base address of the Confluent API behind it.
    pub url: String,
    passwords: Arc<Mutex<Passwords>>,
    close: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Behind {
    client: reqwest::Client,
    registry: String,
    passwords: Arc<Mutex<Passwords>>,
}

impl Gate {
    /// Opens a gate before `registry` on a free port.
    pub(super) fn open(certified: &Certified, registry: &str, passwords: Passwords) -> Result<Self> {
        let port = ports::free()?;
        let acceptor = TlsAcceptor::from(Arc::new(tls(certified)?));
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("listening on port {port} before the registry"))?;
        let (base, path) = registry.split_once("/apis").context("reading the registry's address")?;
        let passwords = Arc::new(Mutex::new(passwords));
        let behind = Behind {
            client: reqwest::Client::builder().timeout(LIMIT).build().context("making the gate's client")?,
            registry: base.to_owned(),
            passwords: passwords.clone(),
        };
        let (close, closed) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the gate")?;
        let thread = std::thread::Builder::new().name("registry gate".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let router = Router::new().fallback(pass).with_state(behind);
                let serving = async {
                    let listener = Encrypted::new(tokio::net::TcpListener::from_std(listener)?, acceptor);
                    axum::serve(listener, router).await
                };
                tokio::select! {
                    _ = closed => {}
                    _ = serving => {}
                }
            });
            runtime.shutdown_background();
        });
        let thread = Some(thread.context("starting the gate's thread")?);
        Ok(Self { url: format!("https://127.0.0.1:{port}/apis{path}"), passwords, close: Some(close), thread })
    }

    /// Lets these in from now on, and nobody else.
    pub(super) fn admit(&self, passwords: Passwords) {
        *self.passwords.lock().unwrap_or_else(PoisonError::into_inner) = passwords;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(close) = self.close.take() {
            close.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn tls(certified: &Certified) -> Result<ServerConfig> {
    let certificate =
        CertificateDer::from_pem_slice(certified.certificate.as_bytes()).context("reading the gate's certificate")?;
    let key = PrivateKeyDer::from_pem_slice(certified.key.as_bytes()).context("reading the gate's key")?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    config.context("setting up the gate's TLS")
}

/// Accepts TLS. Handshakes run beside each other: a peer that never finishes one holds nobody up.
struct Encrypted {
    arrived: tokio::sync::mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Encrypted {
    fn new(listener: tokio::net::TcpListener, acceptor: TlsAcceptor) -> Self {
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 0)));
        let (arrive, arrived) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let mut listener = listener;
            loop {
                let (stream, peer) = Listener::accept(&mut listener).await;
                let (acceptor, arrive) = (acceptor.clone(), arrive.clone());
                tokio::spawn(async move {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        arrive.send((stream, peer)).await.ok();
                    }
                });
            }
        });
        Self { arrived, address }
    }
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.arrived.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn pass(State(behind): State<Behind>, request: Request<Body>) -> Response {
    let Some(name) = who(&behind.passwords, request.headers()) else {
        let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"schema registry\""))];
        return (StatusCode::UNAUTHORIZED, challenge, refusal(401, "who are you?")).into_response();
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let reads = request.method() == Method::GET || path.contains("/compatibility/");
    if !reads && name != PROVISIONER {
        return (StatusCode::FORBIDDEN, refusal(403, &format!("{name} may only read"))).into_response();
    }
    match forward(&behind, request, &path).await {
        Ok(response) => response,
        Err(error) => {
            (StatusCode::BAD_GATEWAY, refusal(502, &format!("the registry behind the gate: {error:#}"))).into_response()
        }
    }
}

/// The account that a request proves to be of.
fn who(passwords: &Mutex<Passwords>, headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let given = String::from_utf8(BASE64.decode(given.as_bytes()).ok()?).ok()?;
    let (name, password) = given.split_once(':')?;
    let passwords = passwords.lock().unwrap_or_else(PoisonError::into_inner);
    (passwords.get(name).is_some_and(|known| known == password)).then(|| name.to_owned())
}

/// As a registry answers: a code and a sentence.
fn refusal(code: u16, message: &str) -> String {
    serde_json::json!({ "error_code": code, "message": message }).to_string()
}

async fn forward(behind: &Behind, request: Request<Body>, path: &str) -> Result<Response> {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 16 * 1024 * 1024).await.context("reading the request")?;
    let mut onward = behind.client.request(head.method, format!("{}{path}", behind.registry)).body(body);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = head.headers.get(&name) {
            onward = onward.header(name, value);
        }
    }
    let answer = onward.send().await.context("asking")?;
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let mut response = (status, answer.bytes().await.context("reading the answer")?).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    Ok(response)
}

/// The registry's passwords of these accounts, from their files.
pub(super) fn passwords<'a>(
    file: impl Fn(&str) -> std::path::PathBuf,
    names: impl Iterator<Item = &'a str>,
) -> Result<Passwords> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
    names.map(|name| Ok((name.to_owned(), read(&file(name))?))).collect()
}
