//! Whom connections with TLS trust: the certificate authorities of a file.
//!
//! Nothing is assumed of the machine: a container may hold no certificates, and those of an operating system trust far more
//! than one's own servers. All cryptography is Rust (`rustls-graviola`), so nothing here needs a C compiler.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, ErrorCode, Result};

/// The most that is read of a file of certificates; those of a whole operating system are 0.3 MB.
const MOST: u64 = 16 << 20;

/// Settings of connections whose servers must show a certificate that an authority of this file has signed, for the name
/// that was dialled. The file holds certificates in PEM, one or more.
///
/// # Errors
/// [`ErrorCode::ConfigValue`]: the file cannot be read, or holds no certificate. [`ErrorCode::ConfigUnsupported`]: this
/// machine's processor lacks what the cryptography is made of.
pub(crate) fn trusting(authorities: &Path) -> Result<ClientConfig> {
    demand_processor()?;
    let roots = read(authorities)?;
    let broken = |error| Error::new(ErrorCode::Internal, "TLS cannot be set up").caused_by(error);
    let client = ClientConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    Ok(client.with_root_certificates(roots).with_no_client_auth())
}

fn read(path: &Path) -> Result<RootCertStore> {
    let refuse = |what: &str| {
        Error::new(ErrorCode::ConfigValue, format!("{what}: {}", path.display()))
            .remedy("name a file with the certificates of the authorities that sign your servers', in PEM")
    };
    let mut text = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text));
    opened.map_err(|error| refuse("the file of certificates cannot be read").caused_by(error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| refuse("a certificate cannot be read").caused_by(error))?;
        let added = roots.add(certificate);
        added.map_err(|error| refuse("a certificate cannot be of an authority").caused_by(error))?;
    }
    if roots.is_empty() { Err(refuse("the file holds no certificate")) } else { Ok(roots) }
}

/// The cryptography ends the process on a processor that it cannot work on; here that is an error with a way out.
fn demand_processor() -> Result<()> {
    if graviola::util::is_cpu_supported() {
        return Ok(());
    }
    let sentence = "TLS needs a processor with AES, and on x86-64 with ADX, BMI1 and AVX2 as well (2014 and later)";
    Err(Error::new(ErrorCode::ConfigUnsupported, sentence)
        .remedy("put a proxy that speaks TLS beside the process, and say sslmode=disable to it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let code = |path: &Path| {
            let error = trusting(path).unwrap_err();
            assert!(error.to_string().contains("ca.pem"), "{error}");
            error.code()
        };
        assert_eq!(code(&path), ErrorCode::ConfigValue);
        let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA", nothing] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(code(&path), ErrorCode::ConfigValue, "{text}");
        }
    }
}
