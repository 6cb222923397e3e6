//! What protects the connections to a database.
//!
//! Two answers only: nothing, where the URL says so or the server is on this machine; or TLS whose server shows a
//! certificate for the name that was dialled, of an authority that the URL names. What lies between protects from nobody who
//! can answer in the server's place, so `require` and `verify-ca` are taken for more than they ask, never for less.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::{Error, ErrorCode, Result};

/// The protection of new connections.
#[derive(Clone)]
pub(super) enum Protection {
    Plain,
    #[cfg(feature = "postgres-tls")]
    Verified(tokio_postgres_rustls::MakeRustlsConnect),
}

impl Protection {
    /// What a URL asks for by `sslmode` and `sslrootcert`, whose names are libpq's.
    pub(super) fn of(config: &Config, mode: Option<&str>, authorities: Option<&str>) -> Result<Self> {
        let hosts = config.get_hosts();
        match mode {
            Some("disable") => Ok(Self::Plain),
            None | Some("allow" | "prefer") if authorities.is_some() => {
                Err(Error::new(ErrorCode::ConfigValue, "sslrootcert protects nothing without sslmode=verify-full")
                    .remedy("say sslmode=verify-full as well"))
            }
            None | Some("allow" | "prefer") if hosts.iter().all(is_here) => Ok(Self::Plain),
            None | Some("allow" | "prefer") => {
                let sentence = "the connection to a database elsewhere would not be protected";
                let remedy = "say sslmode=verify-full&sslrootcert=FILE with the certificate of the authority that signed the \
                              server's, or sslmode=disable where the network is trusted";
                Err(Error::new(ErrorCode::ConfigUnsupported, sentence).remedy(remedy))
            }
            // No server speaks TLS on these.
            Some("require" | "verify-ca" | "verify-full") if hosts.iter().all(is_socket) => Ok(Self::Plain),
            Some(mode @ ("require" | "verify-ca" | "verify-full")) => verified(mode, authorities),
            Some(mode) => Err(Error::new(ErrorCode::ConfigValue, format!("`{}` is no sslmode", mode.escape_debug()))),
        }
    }

    /// What the driver is to demand.
    pub(super) const fn mode(&self) -> SslMode {
        match self {
            Self::Plain => SslMode::Disable,
            #[cfg(feature = "postgres-tls")]
            Self::Verified(_) => SslMode::Require,
        }
    }
}

#[cfg(feature = "postgres-tls")]
fn verified(mode: &str, authorities: Option<&str>) -> Result<Protection> {
    let unnamed = || {
        let sentence = format!("sslmode={mode} does not say whose certificates are trusted");
        Error::new(ErrorCode::ConfigValue, sentence).remedy(
            "add sslrootcert=FILE, in PEM: the certificate of the authority that signed the server's. None is assumed of \
             this machine",
        )
    };
    let named = authorities.filter(|path| !path.is_empty() && *path != "system").ok_or_else(unnamed)?;
    let unreadable = |_| Error::new(ErrorCode::ConfigValue, "the path of sslrootcert is no text");
    let path = percent_encoding::percent_decode_str(named).decode_utf8().map_err(unreadable)?;
    let client = crate::config::tls::trusting(std::path::Path::new(path.as_ref()))?;
    Ok(Protection::Verified(tokio_postgres_rustls::MakeRustlsConnect::new(client)))
}

#[cfg(not(feature = "postgres-tls"))]
fn verified(mode: &str, _authorities: Option<&str>) -> Result<Protection> {
    let sentence = format!("sslmode={mode} needs the feature `postgres-tls`, which this build has not");
    let remedy = "build with it; or put a proxy that speaks TLS beside the process, and say sslmode=disable to it";
    Err(Error::new(ErrorCode::ConfigUnsupported, sentence).remedy(remedy))
}

/// Why no protected connection came about, and what to do about it.
#[cfg(feature = "postgres-tls")]
pub(super) fn lacking(error: &tokio_postgres::Error) -> Option<(String, &'static str)> {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    for cause in causes {
        let within = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let cause = within.map_or(cause, |within| within as &(dyn std::error::Error + 'static));
        if cause.to_string() == "server does not support TLS" {
            let remedy = "set ssl=on at the server; sslmode=disable is for networks that are trusted";
            return Some(("the database's server speaks no TLS".to_owned(), remedy));
        }
        match cause.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(why)) => {
                let sentence = format!("the certificate of the database's server is not accepted: {why}");
                return Some((
                    sentence,
                    "dial the server by a name of its certificate; sslrootcert names its authority",
                ));
            }
            Some(other) => return Some((format!("no TLS with the database's server: {other}"), "look into its log")),
            None => {}
        }
    }
    None
}

#[cfg(not(feature = "postgres-tls"))]
pub(super) const fn lacking(_error: &tokio_postgres::Error) -> Option<(String, &'static str)> {
    None
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1"),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn is_socket(host: &Host) -> bool {
    match host {
        Host::Tcp(_) => false,
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::Address;
    use super::*;

    fn code(url: &str) -> Option<ErrorCode> {
        url.parse::<Address>().err().map(|error| error.code())
    }

    #[test]
    fn what_is_not_protected_is_refused_unless_the_url_says_so() {
        assert_eq!(code("postgres://db.example/shop"), Some(ErrorCode::ConfigUnsupported));
        assert_eq!(code("postgres://db.example/shop?sslmode=prefer"), Some(ErrorCode::ConfigUnsupported));
        assert_eq!(code("postgres://localhost,db.example/shop"), Some(ErrorCode::ConfigUnsupported));
        assert_eq!(code("postgres://localhost/shop?sslmode=always"), Some(ErrorCode::ConfigValue));
        assert_eq!(code("postgres://db.example/shop?sslrootcert=ca.pem"), Some(ErrorCode::ConfigValue));
        assert_eq!(code("postgres://db.example/shop?sslmode=disable"), None);
        assert_eq!(code("postgres://%2Ftmp%2Fsocket/shop"), None);
        assert_eq!(code("postgres://%2Ftmp%2Fsocket/shop?sslmode=verify-full"), None);
    }

    /// Without the feature all of them are refused; with it the file of authorities must be named, and be there.
    #[test]
    fn a_server_is_verified_by_a_named_authority_only() {
        let [unnamed, lacking] = if cfg!(feature = "postgres-tls") {
            [ErrorCode::ConfigValue; 2]
        } else {
            [ErrorCode::ConfigUnsupported; 2]
        };
        for mode in ["require", "verify-ca", "verify-full"] {
            let url = format!("postgres://localhost/shop?sslmode={mode}");
            assert_eq!(code(&url), Some(unnamed));
            for none in ["", "system", "/nowhere/ca.pem", "%FF"] {
                assert_eq!(code(&format!("{url}&sslrootcert={none}")), Some(lacking), "{none}");
            }
        }
    }
}
