//! Certificates of one stack: an authority that nobody else trusts, and what it issues. Its key never leaves this process.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// When a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday to a month from now: longer than any stack lives.
    Now,
    /// It ended yesterday.
    Expired,
}

/// A certificate and its key, both PEM. No `Debug`: it holds a key.
#[derive(Clone)]
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

/// Issues certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// A new one, which nothing trusts yet.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("making the authority's key")?;
        let mut parameters = parameters(name, &[], Validity::Now)?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key).context("signing the authority's certificate")?.pem();
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// What clients and servers trust, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server on loopback, which may also be a client of its own kind.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn server(&self, name: &str, validity: Validity) -> Result<Certified> {
        self.issue(name, &["127.0.0.1", "localhost"], validity)
    }

    /// A certificate that says who a client is.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn client(&self, name: &str, validity: Validity) -> Result<Certified> {
        self.issue(name, &[], validity)
    }

    fn issue(&self, name: &str, hosts: &[&str], validity: Validity) -> Result<Certified> {
        let key = KeyPair::generate().with_context(|| format!("making the key of {name}"))?;
        let mut parameters = parameters(name, hosts, validity)?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !hosts.is_empty() {
            parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let certificate = parameters.signed_by(&key, &self.issuer);
        let certificate = certificate.with_context(|| format!("signing the certificate of {name}"))?;
        Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

fn parameters(name: &str, hosts: &[&str], validity: Validity) -> Result<CertificateParams> {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut parameters = CertificateParams::new(hosts).with_context(|| format!("describing the certificate of {name}"))?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    let (from, to) = match validity {
        Validity::Now => (now - DAY, now + 30 * DAY),
        Validity::Expired => (now - 10 * DAY, now - DAY),
    };
    parameters.not_before = from.into();
    parameters.not_after = to.into();
    Ok(parameters)
}
