//! Schemas that a worker lacks. They are asked for in the background and all at once: a registry that is slow, or denies one of them,
//! holds up the slots that need it and nothing else.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use model::Transient;
use tokio::{runtime::Handle, task::JoinHandle};

use crate::shared::Shared;

/// How long a worker itself waits for an answer. A registry that is well needs less.
const FIRST: Duration = Duration::from_millis(500);

/// The questions of one worker.
#[derive(Default)]
pub(crate) struct Questions {
    running: Option<JoinHandle<Result<(), registry::Error>>>,
    trouble: Option<Transient>,
}

impl Questions {
    /// Nothing: there is an answer for each of these, be it that there is no such schema. Otherwise why somebody has to wait.
    pub(crate) fn ask(&mut self, shared: &Arc<Shared>, ids: &BTreeSet<i32>) -> Option<Transient> {
        let open: BTreeSet<i32> = ids.iter().copied().filter(|id| !shared.reader.knows(*id)).collect();
        if open.is_empty() {
            return None;
        }
        self.collect();
        let is_unanswered = |shared: &Shared| open.iter().any(|id| !shared.reader.has_answer(*id));
        if self.running.is_none() {
            let asking = Arc::clone(shared);
            let ids = open.clone();
            self.running = Some(tokio::spawn(async move { asking.registry.teach_all(&asking.reader, ids).await }));
            // One that was denied for good may be there by now; nobody waits for that.
            if is_unanswered(shared) {
                self.wait();
            }
        }
        let id = open.iter().find(|id| !shared.reader.has_answer(**id))?;
        let asking = || Transient { what: "registry", detail: format!("asking for schema {id}") };
        Some(self.trouble.clone().unwrap_or_else(asking))
    }

    fn wait(&mut self) {
        let Some(running) = &mut self.running else { return };
        if let Ok(ended) = Handle::current().block_on(async { tokio::time::timeout(FIRST, running).await }) {
            self.running = None;
            self.heard(ended);
        }
    }

    fn collect(&mut self) {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait();
        }
    }

    fn heard(&mut self, ended: Result<Result<(), registry::Error>, tokio::task::JoinError>) {
        self.trouble = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.into()),
            Err(error) => Some(Transient { what: "registry", detail: error.to_string() }),
        };
    }
}
