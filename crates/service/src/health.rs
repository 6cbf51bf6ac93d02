//! What the process knows about itself: ready parts, the main loop's pulse.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{sync::watch, time};

use crate::Exit;

/// A main loop that did not tick for this long is not alive.
const PULSE: Duration = Duration::from_secs(60);

/// The least that one attempt at start gets.
const SHORTEST: Duration = Duration::from_secs(1);

/// Cheap handle; clones share the state.
///
/// Ready = no part is named as not ready. Alive = the main loop ticked within a minute; never the broker or a destination.
#[derive(Clone, Debug)]
pub struct Health {
    inner: Arc<Mutex<Inner>>,
    /// Why only another start helps.
    again: Arc<watch::Sender<Option<String>>>,
}

#[derive(Debug)]
struct Inner {
    not_ready: BTreeMap<String, String>,
    last_tick: Instant,
}

impl Default for Health {
    fn default() -> Self {
        let not_ready = BTreeMap::from([("start".to_owned(), "starting".to_owned())]);
        let inner = Mutex::new(Inner { not_ready, last_tick: Instant::now() });
        Self { inner: Arc::new(inner), again: Arc::new(watch::Sender::new(None)) }
    }
}

impl Health {
    /// The part works.
    pub fn ready(&self, part: &str) {
        self.lock().not_ready.remove(part);
    }

    /// The part does not work yet, or no longer; `why` is shown on `/readyz`.
    pub fn not_ready(&self, part: &str, why: impl Into<String>) {
        let why = telemetry::secret::scrub(&why.into()).into_owned();
        self.lock().not_ready.insert(part.to_owned(), why);
    }

    /// The main loop turned once.
    pub fn tick(&self) {
        self.lock().last_tick = Instant::now();
    }

    /// What is not ready, with the reasons.
    #[must_use]
    pub fn missing(&self) -> BTreeMap<String, String> {
        self.lock().not_ready.clone()
    }

    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.lock().last_tick.elapsed() < PULSE
    }

    /// Drain, and end with 75: only a process that starts anew has what this one lacks.
    pub fn start_again(&self, why: impl Into<String>) {
        self.again.send_replace(Some(why.into()));
    }

    /// Waits for [`Health::start_again`].
    pub(crate) async fn must_start_again(&self) -> String {
        let mut again = self.again.subscribe();
        match again.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // It is sent from here: it cannot have gone.
            Err(_) => std::future::pending().await,
        }
    }

    /// Tries `attempt` until it answers: at once, then every 0.1 s to 2 s, named on `/readyz` meanwhile. An attempt that is still
    /// under way when the time is up is given up.
    ///
    /// # Errors
    /// [`Exit::unavailable`] with the last reason when `timeout` passed.
    pub async fn wait_for<T, E, F, A>(&self, part: &str, timeout: Duration, mut attempt: A) -> Result<T, Exit>
    where
        A: FnMut() -> F,
        F: Future<Output = Result<T, E>>,
        E: std::fmt::Display,
    {
        let deadline = time::Instant::now() + timeout.max(SHORTEST);
        let mut pause = Duration::from_millis(100);
        let mut told = String::new();
        // Named before the first answer: a dependency that hangs would otherwise not be.
        self.not_ready(part, "no answer yet");
        loop {
            let why = match time::timeout_at(deadline, attempt()).await {
                Ok(Ok(value)) => {
                    self.ready(part);
                    return Ok(value);
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) if told.is_empty() => "no answer".to_owned(),
                Err(_) => told.clone(),
            };
            if time::Instant::now() >= deadline {
                return Err(Exit::unavailable(anyhow::anyhow!("waited {timeout:?} for {part}: {why}")));
            }
            if told != why {
                tracing::warn!(part, error = %why, "waiting at start");
                told.clone_from(&why);
            }
            self.not_ready(part, why);
            self.tick();
            time::sleep_until(deadline.min(time::Instant::now() + pause)).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_no_part_is_named() {
        let health = Health::default();
        assert!(health.missing().contains_key("start"));
        health.not_ready("registry", "connection refused");
        health.ready("start");
        assert_eq!(health.missing().into_iter().collect::<Vec<_>>(), [("registry".into(), "connection refused".into())]);
        health.ready("registry");
        assert!(health.missing().is_empty());
    }

    #[tokio::test]
    async fn what_never_comes_ends_with_69_and_the_last_reason() {
        let health = Health::default();
        let exit = health.wait_for("registry", SHORTEST, || async { Err::<(), _>("connection refused") }).await.unwrap_err();
        assert_eq!(exit.code(), 69);
        assert!(exit.text().contains("registry: connection refused"), "{}", exit.text());
    }

    #[tokio::test]
    async fn what_hangs_is_given_up_in_time() {
        let exit = Health::default().wait_for("kafka", SHORTEST, std::future::pending::<Result<(), &str>>).await.unwrap_err();
        assert_eq!((exit.code(), exit.text().as_str()), (69, "waited 1s for kafka: no answer"));
    }
}
