//! One small blocking GET on loopback: probes run inside and outside of runtimes, and need no client for it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Status and body of `GET http://127.0.0.1:<port><path>`.
///
/// # Errors
/// When nobody listens there, or the answer is none of HTTP.
pub fn get(port: u16, path: &str, limit: Duration) -> io::Result<(u16, String)> {
    get_at(SocketAddr::from(([127, 0, 0, 1], port)), path, limit)
}

/// As [`get`], for an address of one's own on loopback, as each pod has one.
///
/// # Errors
/// When nobody listens there, or the answer is none of HTTP.
pub fn get_at(address: SocketAddr, path: &str, limit: Duration) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // 1.0: the answer ends with the connection and comes in one piece.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("an answer without a header"))?;
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.ok_or_else(|| io::Error::other("an answer without a status"))?, body.to_owned()))
}
