//! One HTTP listener of a simulated system, which can be closed and opened again on the same port.
//!
//! Closing is real: every opening runs on a runtime of its own, and with the runtime go the listener **and** the connections
//! that clients keep open, so that a system that is down refuses instead of answering on an old connection.

use std::{
    sync::{Mutex, PoisonError},
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use axum::Router;
use tokio::sync::oneshot;

use crate::ports;

/// A listener on a fixed loopback port.
pub(crate) struct Server {
    port: u16,
    router: Router,
    open: Mutex<Option<Open>>,
}

struct Open {
    close: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Opens on a free port.
    ///
    /// # Errors
    /// When no port is free or the listener cannot be opened.
    pub(crate) fn start(router: Router) -> Result<Self> {
        let server = Self { port: ports::free()?, router, open: Mutex::new(None) };
        server.open()?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Listens; nothing happens when it does already.
    ///
    /// # Errors
    /// When the port cannot be had back.
    pub(crate) fn open(&self) -> Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_some() {
            return Ok(());
        }
        // Bound before there is a runtime: the caller may run inside one, and nothing may block or drop a second one there.
        let listener = std::net::TcpListener::bind(("127.0.0.1", self.port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .with_context(|| format!("listening on port {}", self.port))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a simulator's runtime")?;
        let (close, closed) = oneshot::channel::<()>();
        let router = self.router.clone();
        let thread = std::thread::Builder::new()
            .name("simulated system".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let serving = async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await };
                    tokio::select! {
                        _ = closed => {}
                        _ = serving => {}
                    }
                });
                runtime.shutdown_background();
            })
            .context("starting a simulator's thread")?;
        *open = Some(Open { close, thread });
        Ok(())
    }

    /// Refuses connections from now on and drops those that are open.
    pub(crate) fn close(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(open) = open {
            open.close.send(()).ok();
            open.thread.join().ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}
