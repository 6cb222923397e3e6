//! Settings by the names that Kafka gives them.
//!
//! A [`ClientConfig`] is what one person or several said, layer over layer: default, environment, file, option, code.
//! Each text is checked when it is set, so that a wrong one is named where it was written.

pub mod address;
#[cfg(feature = "dev-broker")]
mod inside;
#[cfg(test)]
mod names;
pub mod properties;
#[cfg(feature = "postgres-tls")]
pub(crate) mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

pub use address::Address;
#[cfg(feature = "dev-broker")]
pub(crate) use inside::Inside;
#[cfg(test)]
pub(crate) use names::Names;
pub use properties::Property;

use crate::error::{Error, ErrorCode, Result};
use properties::Support;

/// Who said a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody: the default.
    Default,
    /// An environment variable.
    Environment,
    /// A properties file.
    File,
    /// A `-X key=value` option.
    Option,
    /// The program's own code, or a flag of its own.
    Code,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Option => "option",
            Self::Code => "program",
        }
    }
}

/// The settings of a client, by Kafka's own names.
///
/// ```
/// use orderflow::config::{ClientConfig, properties};
/// let config = ClientConfig::new("kafka-1:9092,kafka-2:9092").client_id("shipping").set("linger.ms", "5")?;
/// assert_eq!(config.millis(&properties::LINGER).as_millis(), 5);
/// # Ok::<(), orderflow::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ClientConfig {
    settings: BTreeMap<&'static str, (String, Origin)>,
    warnings: Vec<String>,
    #[cfg(feature = "dev-broker")]
    inside: Option<Inside>,
    #[cfg(test)]
    names: Option<Names>,
}

impl ClientConfig {
    /// Settings with these brokers, `host:port` separated by commas. A text that is no address list is an error when
    /// the client connects.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self::default().with(&properties::BOOTSTRAP_SERVERS, bootstrap_servers.into())
    }

    /// Settings from the environment: `KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_LINGER_MS`, ... For a secret,
    /// `KAFKA_SASL_PASSWORD_FILE` names a file that holds it.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for a value that cannot be, or a file that cannot be read.
    pub fn from_env() -> Result<Self> {
        let mut config = Self::default();
        for property in properties::ALL {
            if let Some(text) = environment(property)? {
                config.put(property, text, Origin::Environment)?;
            }
        }
        Ok(config)
    }

    /// Settings from pairs of key and value. An unknown key is a warning ([`ClientConfig::warnings`]).
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for a value that cannot be.
    pub fn from_properties<K: AsRef<str>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self> {
        Self::default().overlay(Origin::File, pairs)
    }

    /// Lays these pairs over what is set. An unknown key is a warning, and so is a key that two layers set.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for a value that cannot be.
    pub fn overlay<K, V>(mut self, origin: Origin, pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: AsRef<str>,
        V: Into<String>,
    {
        for (key, value) in pairs {
            match properties::find(key.as_ref()) {
                Some(property) => self.put(property, value.into(), origin)?,
                None => self.warnings.push(unknown(key.as_ref())),
            }
        }
        Ok(self)
    }

    /// Sets one key.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] for an unknown key or a value that cannot be.
    pub fn set(mut self, key: &str, value: impl Into<String>) -> Result<Self> {
        let property = properties::find(key).ok_or_else(|| Error::new(ErrorCode::ConfigValue, unknown(key)))?;
        self.put(property, value.into(), Origin::Code)?;
        Ok(self)
    }

    /// Has all connections opened within this process.
    #[cfg(feature = "dev-broker")]
    pub(crate) fn through(self, inside: Inside) -> Self {
        Self { inside: Some(inside), ..self }
    }

    /// How connections are opened within this process, if they are.
    #[cfg(feature = "dev-broker")]
    pub(crate) fn inside(&self) -> Option<&Inside> {
        self.inside.as_ref()
    }

    /// Has names stand for what a test says.
    #[cfg(test)]
    pub(crate) fn naming(self, names: Names) -> Self {
        Self { names: Some(names), ..self }
    }

    #[cfg(test)]
    pub(crate) fn names(&self) -> Option<&Names> {
        self.names.as_ref()
    }

    /// Sets `client.id`: the name that brokers see.
    #[must_use]
    pub fn client_id(self, id: impl Into<String>) -> Self {
        self.with(&properties::CLIENT_ID, id.into())
    }

    fn with(mut self, property: &'static Property, text: String) -> Self {
        self.settings.insert(property.name, (text, Origin::Code));
        self
    }

    fn put(&mut self, property: &'static Property, text: String, origin: Origin) -> Result<()> {
        let text = text.trim().to_owned();
        if let Some(objection) = property.objection(&text) {
            let shown = if property.is_secret() { "the secret" } else { text.as_str() };
            let sentence = format!("{} is `{shown}`, which {objection}", property.name);
            return Err(Error::new(ErrorCode::ConfigValue, sentence).remedy(property.about));
        }
        if property.support == Support::NotYet {
            self.warnings.push(format!("{} is known, but has no effect in this release", property.name));
        }
        if let Some((before, from)) = self.settings.insert(property.name, (text.clone(), origin))
            && before != text
        {
            let (from, to) = (from.as_str(), origin.as_str());
            self.warnings.push(format!("{} is set by {from} and by {to}: {to} counts", property.name));
        }
        Ok(())
    }

    /// What was odd about the settings, a sentence each: unknown keys, keys without effect, keys that were set twice.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Every known setting with its effective text and who said it; secrets are masked.
    pub fn effective(&self) -> impl Iterator<Item = (&'static str, &str, Origin)> {
        properties::ALL.iter().map(|property| {
            let origin = self.settings.get(property.name).map_or(Origin::Default, |(_, origin)| *origin);
            let text = self.text(property);
            (property.name, if property.is_secret() && !text.is_empty() { "********" } else { text }, origin)
        })
    }

    /// A setting's text.
    #[must_use]
    pub fn text(&self, property: &Property) -> &str {
        self.settings.get(property.name).map_or(property.default, |(text, _)| text)
    }

    /// A setting's text in lower case, for choices.
    #[must_use]
    pub fn choice(&self, property: &Property) -> String {
        self.text(property).to_ascii_lowercase()
    }

    /// Whether a flag is on.
    #[must_use]
    pub fn flag(&self, property: &Property) -> bool {
        self.text(property) == "true"
    }

    /// A number's value.
    #[must_use]
    pub fn number(&self, property: &Property) -> u64 {
        self.text(property).parse().or_else(|_| property.default.parse()).unwrap_or_default()
    }

    /// A number of bytes.
    #[must_use]
    pub fn bytes(&self, property: &Property) -> usize {
        usize::try_from(self.number(property)).unwrap_or(usize::MAX)
    }

    /// A span of time.
    #[must_use]
    pub fn millis(&self, property: &Property) -> Duration {
        Duration::from_millis(self.number(property))
    }

    /// The brokers to ask first.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigValue`] if the text names none.
    pub fn bootstrap(&self) -> Result<Vec<Address>> {
        address::parse_list(self.text(&properties::BOOTSTRAP_SERVERS)).map_err(|objection| {
            Error::new(ErrorCode::ConfigValue, format!("bootstrap.servers: {objection}"))
                .remedy("give host:port[,host:port...]")
        })
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.effective().filter(|s| s.2 != Origin::Default).map(|s| (s.0, s.1))).finish()
    }
}

fn environment(property: &Property) -> Result<Option<String>> {
    let variable = property.variable();
    let from_file = std::env::var_os(format!("{variable}_FILE")).filter(|_| property.is_secret());
    let Some(path) = from_file else { return Ok(std::env::var(&variable).ok()) };
    let text = std::fs::read_to_string(&path).map_err(|cause| {
        Error::new(ErrorCode::ConfigValue, format!("{variable}_FILE names a file that cannot be read")).caused_by(cause)
    })?;
    Ok(Some(text.trim_end().to_owned()))
}

fn unknown(key: &str) -> String {
    match properties::nearest(key) {
        Some(near) => format!("`{key}` is no setting: did you mean `{near}`?"),
        None => format!("`{key}` is no setting"),
    }
}

/// Reads a properties file's text: `key=value` lines, `#` and `!` comments, `\` at a line's end joins the next.
///
/// # Errors
/// [`ErrorCode::ConfigValue`] with the line that is neither.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut joined = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if joined.is_empty() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            joined.push_str(part);
            continue;
        }
        joined.push_str(line);
        let Some((key, value)) = joined.split_once(['=', ':']) else {
            let sentence = format!("line {}: `{line}` is not key=value", number + 1);
            return Err(Error::new(ErrorCode::ConfigValue, sentence));
        };
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
        joined.clear();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_layer_counts_and_the_clash_is_told() {
        let config = ClientConfig::from_properties([("linger.ms", "5")])
            .and_then(|config| config.overlay(Origin::Option, [("linger.ms", "9"), ("linger.sm", "1")]))
            .unwrap();
        assert_eq!(config.millis(&properties::LINGER), Duration::from_millis(9));
        assert_eq!(config.warnings().len(), 2, "{:?}", config.warnings());
        assert!(config.warnings().iter().any(|warning| warning.contains("did you mean `linger.ms`")));
    }

    #[test]
    fn a_bad_value_is_an_error_that_names_key_and_value() {
        let error = ClientConfig::default().set("linger.ms", "soon").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ConfigValue);
        assert!(error.to_string().contains("linger.ms is `soon`"), "{error}");
        assert!(ClientConfig::default().set("no.such.key", "1").is_err());
        assert!(ClientConfig::new("").bootstrap().is_err());
    }

    #[test]
    fn no_output_shows_a_secret() {
        let config = ClientConfig::default().set("sasl.password", "hunter2").unwrap();
        assert_eq!(config.text(&properties::SASL_PASSWORD), "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(config.effective().all(|(_, text, _)| text != "hunter2"));
    }

    #[test]
    fn a_properties_file_reads_comments_joined_lines_and_both_separators() {
        let pairs = parse_properties("# c\n\nlinger.ms = 5\nclient.id: a\\\n  b\n! x\n").unwrap();
        assert_eq!(pairs, [("linger.ms".into(), "5".into()), ("client.id".into(), "ab".into())]);
        assert!(parse_properties("a=1\nnonsense").unwrap_err().to_string().contains("line 2"));
    }
}
