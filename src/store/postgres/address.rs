//! Which server, database and schema a URL names.
//!
//! `postgres://user:password@host:port/database?schema=orderflow_inventory&sslmode=...`. Beside what the driver knows, three
//! parameters are ours: `schema`; `sslmode`, whose values the driver has fewer of; `sslrootcert`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use super::protection::Protection;
use crate::{Error, ErrorCode, Result};

/// Whether a store's name is the URL of a database.
pub(super) fn is_url(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

/// A server's address with all that is needed to connect. It shows no password.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    /// The schema, if the URL names it.
    pub(super) schema: Option<String>,
    pub(super) protection: Protection,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        for (at, host) in self.config.get_hosts().iter().enumerate() {
            f.write_str(if at > 0 { "," } else { "" })?;
            match host {
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let refuse = |sentence: String| Error::new(ErrorCode::ConfigValue, sentence);
        if !is_url(url) {
            let example = "give postgres://user@host/database?sslmode=disable";
            return Err(refuse("the store's URL does not begin with postgres://".to_owned()).remedy(example));
        }
        let (server, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut schema, mut mode, mut authorities, mut rest) = (None, None, None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("schema", name)) => schema = Some(schema_name(name)?),
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => authorities = Some(value),
                Some((name @ ("sslcert" | "sslkey" | "sslcrl"), _)) => {
                    return Err(Error::new(ErrorCode::ConfigUnsupported, format!("`{name}` is not known yet")));
                }
                _ => rest.push(parameter),
            }
        }
        let joined = if rest.is_empty() { server.to_owned() } else { format!("{server}?{}", rest.join("&")) };
        // The driver's error may quote the URL, and the password with it.
        let mut config = Config::from_str(&joined).map_err(|_| refuse("the store's URL cannot be read".to_owned()))?;
        if config.get_hosts().is_empty() {
            return Err(refuse("the store's URL names no host".to_owned()));
        }
        let protection = Protection::of(&config, mode.as_deref(), authorities)?;
        config.ssl_mode(protection.mode());
        if config.get_application_name().is_none() {
            config.application_name("orderflow");
        }
        Ok(Self { config, schema, protection })
    }
}

impl Address {
    pub(super) fn with_timeout(mut self, connect: Duration) -> Self {
        self.config.connect_timeout(connect);
        self
    }
}

/// A schema's name as it stands in statements: so plain that it needs no quotes.
fn schema_name(text: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if begins && text.len() <= 63 && text.bytes().all(plain) && !text.starts_with("pg_") {
        return Ok(text.to_owned());
    }
    let sentence = format!("`{}` cannot be the schema of a store", text.escape_debug());
    Err(Error::new(ErrorCode::ConfigValue, sentence).remedy("give at most 63 of a-z, 0-9 and _, a letter first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_schema_and_shows_no_password() {
        let address: Address =
            "postgres://joe:secret@localhost:5433/shop?schema=s1&application_name=x".parse().unwrap();
        assert_eq!(address.schema.as_deref(), Some("s1"));
        assert_eq!(address.config.get_application_name(), Some("x"));
        assert_eq!(format!("{address} {address:?}"), "postgres://localhost/shop Address(postgres://localhost/shop)");
        let error = "postgres://joe:secret@localhost:port/shop".parse::<Address>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_url_that_says_what_is_not_known_is_refused() {
        let code = |url: &str| url.parse::<Address>().err().map(|error| error.code());
        assert_eq!(code("postgres://localhost/shop?sslcert=me.pem"), Some(ErrorCode::ConfigUnsupported));
        for schema in ["", "Shop", "a-b", "1a", "pg_x", "a;drop", &"a".repeat(64)] {
            assert_eq!(code(&format!("postgres://localhost/shop?schema={schema}")), Some(ErrorCode::ConfigValue));
        }
    }
}
