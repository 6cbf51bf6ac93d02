//! Who may ask: names and bearer tokens of machine clients, from a file that may change while the tracker runs.
//!
//! A line is `<name> <token>`; empty lines and lines that begin with `#` are left out. What is kept in memory and compared is a digest, so
//! neither a comparison's time nor a dump of this process says much about a token. A file that can no longer be read leaves the tokens that
//! were read before in force; messages name lines, never tokens.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use sha2::{Digest as _, Sha256};

/// The shortest token that nobody guesses: 32 characters of base 32 are 160 bits.
const SHORTEST: usize = 32;
/// How long a changed file may go unnoticed.
const FRESH: Duration = Duration::from_secs(1);

/// A tokens file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading the tokens of --api-tokens {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}: {what}; a line is `<name> <token>`, the token at least {SHORTEST} characters")]
    Line { path: PathBuf, line: usize, what: &'static str },
    #[error("{path} holds no token; a line is `<name> <token>`")]
    Empty { path: PathBuf },
}

/// The tokens of a file, read again when it changes.
pub struct Tokens {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    known: Vec<(String, [u8; 32])>,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl Tokens {
    /// # Errors
    /// When the file cannot be read, a line is wrong, or there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let known = read(path)?;
        let inner = Inner { known, modified: modified(path), looked: Instant::now() };
        Ok(Self { path: path.to_owned(), inner: Mutex::new(inner) })
    }

    /// The name that a token belongs to.
    pub fn name_of(&self, token: &str) -> Option<String> {
        let digest = digest(token);
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.looked.elapsed() >= FRESH {
            inner.looked = Instant::now();
            let now = modified(&self.path);
            if now != inner.modified {
                inner.modified = now;
                match read(&self.path) {
                    Ok(known) => {
                        tracing::info!(tokens = known.len(), "the API's tokens were read again");
                        inner.known = known;
                    }
                    Err(error) => tracing::error!(error = %error, "the API's tokens stay what they were"),
                }
            }
        }
        // All are compared, whichever fits.
        inner.known.iter().fold(None, |found, (name, known)| {
            let differs = known.iter().zip(digest).fold(0, |bits, (known, asked)| bits | (known ^ asked));
            if differs == 0 { Some(name.clone()) } else { found }
        })
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn read(path: &Path) -> Result<Vec<(String, [u8; 32])>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut known = Vec::new();
    let mut names = BTreeSet::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what| Error::Line { path: path.to_owned(), line: number + 1, what };
        let mut parts = line.split_whitespace();
        let (Some(name), Some(token), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong("not a name and a token"));
        };
        if token.len() < SHORTEST {
            return Err(wrong("the token is too short"));
        }
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)) {
            return Err(wrong("a name has letters, digits and - _ . @ only"));
        }
        if !names.insert(name) {
            return Err(wrong("this name was given a token above"));
        }
        known.push((name.to_owned(), digest(token)));
    }
    if known.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(known) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GOOD: &str = "# clients\nops aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n\ngrafana bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_token_has_one_name_and_nothing_else_has_one() {
        let (_folder, path) = file(GOOD);
        let tokens = Tokens::open(&path).unwrap();
        assert_eq!(tokens.name_of(&"a".repeat(32)).as_deref(), Some("ops"));
        assert_eq!(tokens.name_of(&"b".repeat(34)).as_deref(), Some("grafana"));
        for stranger in ["", "ops", &"a".repeat(31), &"a".repeat(33)] {
            assert_eq!(tokens.name_of(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_its_token_is_not() {
        for (text, part) in [
            ("ops short-secret", ":1: the token is too short"),
            ("\nops", ":2: not a name and a token"),
            ("a/b cccccccccccccccccccccccccccccccccccc", ":1: a name has letters"),
            ("a cccccccccccccccccccccccccccccccc\na dddddddddddddddddddddddddddddddd", ":2: this name was given"),
            ("# nobody\n", "holds no token"),
        ] {
            let (_folder, path) = file(text);
            let error = Tokens::open(&path).err().unwrap().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("short-secret") && !error.contains("cccc"), "{error}");
        }
    }

    #[test]
    fn tokens_change_without_a_restart_and_a_broken_file_changes_nothing() {
        let (_folder, path) = file(GOOD);
        let tokens = Tokens::open(&path).unwrap();
        let rewrite = |text: &str, age: u64| {
            std::fs::write(&path, text).unwrap();
            // Another time than before, however fast this test is; and the last look is long ago.
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
            tokens.inner.lock().unwrap().looked = Instant::now() - FRESH;
        };
        rewrite("new cccccccccccccccccccccccccccccccc\n", 100);
        assert_eq!(tokens.name_of(&"c".repeat(32)).as_deref(), Some("new"));
        assert_eq!(tokens.name_of(&"a".repeat(32)), None);
        rewrite("new too-short\n", 200);
        assert_eq!(tokens.name_of(&"c".repeat(32)).as_deref(), Some("new"));
    }
}
