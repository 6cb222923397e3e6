//! The flags that all examples share, and the settings they amount to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use orderflow::config::{ClientConfig, Origin, parse_properties};
use orderflow::{Error, ErrorCode, Result};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::output::{self, Lines};

/// Flags common to all examples.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Brokers; default KAFKA_BOOTSTRAP_SERVERS, then 127.0.0.1:9092
    #[arg(short = 'b', long = "bootstrap-server", value_name = "HOST:PORT[,HOST:PORT...]", global = true)]
    bootstrap: Option<String>,
    /// Any client property by Kafka's own key name; `-X dump` prints all and stops
    #[arg(short = 'X', value_name = "KEY=VALUE", action = ArgAction::Append, global = true)]
    properties: Vec<String>,
    /// A file of client properties
    #[arg(id = "command-config", short = 'F', long = "command-config", value_name = "FILE", global = true)]
    file: Option<PathBuf>,
    /// Write NDJSON to stdout, one object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Nothing on stdout but what --json asks for; no progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More log on stderr (repeatable; RUST_LOG wins)
    #[arg(short, action = ArgAction::Count, global = true)]
    verbose: u8,
    /// The log's form
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    log_format: LogFormat,
    /// How long a clean stop may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 25, global = true)]
    shutdown_timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Flags {
    /// Whether `-b` says where the brokers are.
    pub const fn names_brokers(&self) -> bool {
        self.bootstrap.is_some()
    }

    /// How long a clean stop may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.shutdown_timeout)
    }

    /// Sends the library's log to stderr.
    pub fn start_log(&self) {
        let level = match self.verbose {
            0 => Targets::new().with_default(LevelFilter::WARN).with_target("rskafka", LevelFilter::OFF),
            1 => Targets::new().with_default(LevelFilter::INFO).with_target("rskafka", LevelFilter::WARN),
            2 => Targets::new().with_default(LevelFilter::DEBUG).with_target("rskafka", LevelFilter::INFO),
            _ => Targets::new().with_default(LevelFilter::TRACE),
        };
        let filter = std::env::var("RUST_LOG").ok().and_then(|asked| asked.parse().ok()).unwrap_or(level);
        let colours = std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr());
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
        let log = match self.log_format {
            LogFormat::Text => log.boxed(),
            LogFormat::Json => log.json().boxed(),
        };
        // A second start, in a test, keeps the first log.
        let _ = tracing_subscriber::registry().with(log).with(filter).try_init();
    }

    /// The settings: command line over `-X` over file over environment over default. Oddities are told on stderr.
    /// `None`: `-X dump` has printed them, and there is nothing else to do.
    ///
    /// # Errors
    /// A file that cannot be read, a `-X` that is not key=value, a value that cannot be.
    pub fn settings(&self, lines: &Lines) -> Result<Option<ClientConfig>> {
        let dump = self.properties.iter().any(|property| property == "dump");
        let mut config = ClientConfig::from_env()?;
        if let Some(path) = &self.file {
            config = config.overlay(Origin::File, read_properties(path)?)?;
        }
        config = config.overlay(Origin::Option, self.pairs()?)?;
        if let Some(brokers) = &self.bootstrap {
            config = config.overlay(Origin::Code, [("bootstrap.servers", brokers.as_str())])?;
        }
        let shutdown = self.patience().as_millis().to_string();
        config = config.overlay(Origin::Code, [("shutdown.timeout.ms", shutdown)])?;
        for warning in config.warnings() {
            output::complain(&format!("warning: {warning}"));
        }
        if dump {
            print_all(&config, lines);
            return Ok(None);
        }
        Ok(Some(config))
    }

    fn pairs(&self) -> Result<Vec<(&str, &str)>> {
        let given = self.properties.iter().filter(|property| *property != "dump");
        given
            .map(|property| {
                property
                    .split_once('=')
                    .map(|(key, value)| (key.trim(), value))
                    .ok_or_else(|| Error::new(ErrorCode::ConfigValue, format!("-X {property}: not key=value")))
            })
            .collect()
    }
}

fn read_properties(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        Error::new(ErrorCode::ConfigValue, format!("{} cannot be read", path.display())).caused_by(cause)
    })?;
    parse_properties(&text)
}

/// Prints every effective setting as `key=value`, secrets masked.
fn print_all(config: &ClientConfig, lines: &Lines) {
    for (key, value, _) in config.effective() {
        lines.line(&[key.as_bytes(), b"=", value.as_bytes()]);
    }
    lines.flush();
}
