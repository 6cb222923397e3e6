//! Recordings as files: when they are written, where, and how many are kept.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::FORMAT;
use super::recorder::{Held, Recorder};
use crate::config::{ClientConfig, properties};
use crate::shutdown::Tasks;
use crate::{Error, ErrorCode, Result};

/// How long after a file that was written by itself no other is: troubles come in swarms.
const LEAST_APART: Duration = Duration::from_secs(60);

/// How long the end of a run waits for files that are being written.
const WRITING_ENDS: Duration = Duration::from_secs(5);

/// Why a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Because {
    /// Something stands still.
    Stall,
    /// Partitions were lost, or somebody else moved a position.
    Fence,
    /// Whether orders were written is not known.
    Doubt,
    /// A task panicked.
    Panic,
    /// Somebody asked for it.
    Asked,
    /// Somebody asked for it by a signal.
    Signal,
}

/// Whether what names an order is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// It is, by a key that no file has and that is drawn anew by each process.
    #[default]
    Hashed,
    /// It is not (`flight.ids=plain`).
    Plain,
}

/// The recorder's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FlightConfig {
    /// `flight.max.bytes`.
    pub(crate) max_bytes: usize,
    /// `flight.files`.
    pub(crate) files: usize,
    /// `flight.ids`.
    pub(crate) ids: Ids,
    /// `flight.dir`.
    pub(crate) folder: Option<PathBuf>,
}

impl FlightConfig {
    pub(crate) fn read(config: &ClientConfig) -> Self {
        let folder = Some(config.text(&properties::FLIGHT_DIR)).filter(|text| !text.is_empty());
        Self {
            max_bytes: config.bytes(&properties::FLIGHT_MAX_BYTES),
            files: config.bytes(&properties::FLIGHT_FILES),
            ids: match config.choice(&properties::FLIGHT_IDS).as_str() {
                "plain" => Ids::Plain,
                _ => Ids::Hashed,
            },
            folder: folder.map(Into::into),
        }
    }
}

/// A recording that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// How many lines it has beside its header.
    pub lines: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Writes what a recorder holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    recorder: Recorder,
    config: FlightConfig,
    /// What the names of files begin with; `None`: nobody said where they belong.
    stem: Option<PathBuf>,
    last: Mutex<Option<Instant>>,
    tasks: Tasks,
}

#[derive(Serialize)]
struct Header {
    flight: u16,
    version: &'static str,
    because: Because,
    written: i64,
    began: i64,
    ids: Ids,
    lost: u64,
}

impl Files {
    /// Files of one consumer: beside its store if it has one, or in `flight.dir` under the group's name.
    pub(crate) fn new(config: FlightConfig, group: &str, store: Option<&Path>) -> Self {
        let stem = match (&config.folder, store) {
            (Some(folder), Some(store)) => store.file_name().map(|name| folder.join(name)),
            (Some(folder), None) => Some(folder.join(group.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))),
            (None, store) => store.map(Path::to_owned),
        };
        let recorder = Recorder::new(config.max_bytes);
        Self(Arc::new(Inner { recorder, config, stem, ..Inner::default() }))
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    pub(crate) fn ids(&self) -> Ids {
        self.0.config.ids
    }

    /// Has a file written because of a trouble, unless one was written shortly before. Nobody waits for it.
    pub(crate) fn trouble(&self, because: Because) {
        if !self.0.recorder.is_on() || self.0.stem.is_none() || !self.is_due() {
            return;
        }
        let files = self.clone();
        self.0.tasks.spawn(async move {
            let written = tokio::task::spawn_blocking(move || files.write(because, None)).await;
            match written.map_err(io::Error::other) {
                Ok(Ok(Written { file, lines, .. })) => {
                    let file = file.display();
                    tracing::warn!(%file, lines, "what led here is recorded; `orders flight replay {file}` shows it");
                }
                Ok(Err(error)) => tracing::warn!(%error, "what led here could not be written to a file"),
                Err(error) => tracing::warn!(%error, "what led here could not be written to a file"),
            }
        });
    }

    fn is_due(&self) -> bool {
        let (mut last, now) = (self.0.last.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= LEAST_APART);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    /// Writes a file because somebody asked for it, a panic hook perhaps.
    ///
    /// # Errors
    /// As [`Files::write`].
    pub(crate) fn asked(&self, to: Option<&Path>) -> Result<Written> {
        self.write(if std::thread::panicking() { Because::Panic } else { Because::Asked }, to)
    }

    /// Writes a file because a signal asked for it.
    ///
    /// # Errors
    /// As [`Files::write`].
    pub(crate) fn at_signal(&self) -> Result<Written> {
        self.write(Because::Signal, None)
    }

    /// Writes a file now: this one, or one beside the store. It waits for the disk.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigUnsupported`] if nothing is recorded or nobody said where files belong;
    /// [`ErrorCode::Input`] if the file exists or cannot be written.
    pub(crate) fn write(&self, because: Because, to: Option<&Path>) -> Result<Written> {
        let Some(held) = self.0.recorder.held() else {
            return Err(Error::new(ErrorCode::ConfigUnsupported, "nothing is recorded")
                .remedy("flight.max.bytes says how much is; 0 is nothing"));
        };
        let written = chrono::Utc::now();
        let header = Header {
            flight: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            because,
            written: written.timestamp_millis(),
            began: held.began,
            ids: self.0.config.ids,
            lost: held.lost,
        };
        let file = match (to, &self.0.stem) {
            (Some(to), _) => to.to_owned(),
            (None, Some(stem)) => with_suffix(stem, &written.format(".flight-%Y%m%dT%H%M%S%.6fZ.jsonl").to_string()),
            (None, None) => {
                return Err(Error::new(ErrorCode::ConfigUnsupported, "there is no place for a recording")
                    .remedy("name a file, or a folder by flight.dir"));
            }
        };
        let written = write_new(&file, &header, &held).map_err(|cause| {
            Error::new(ErrorCode::Input, format!("{} cannot be written", file.display())).caused_by(cause)
        })?;
        if to.is_none() {
            self.forget_old();
        }
        Ok(written)
    }

    /// Removes the oldest files beyond `flight.files`.
    fn forget_old(&self) {
        let Some(stem) = &self.0.stem else { return };
        let folder = stem.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let prefix = with_suffix(stem, ".flight-").file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(prefix) = prefix else { return };
        let is_ours = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with(&prefix) && name.ends_with(".jsonl")
        };
        let mut ours: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_ours).collect();
        // Their names have the time in them.
        ours.sort();
        let surplus = ours.len().saturating_sub(self.0.config.files.max(1));
        for old in ours.into_iter().take(surplus) {
            if let Err(error) = fs::remove_file(&old) {
                tracing::debug!(file = %old.display(), %error, "an old recording was not removed");
            }
        }
    }

    /// What writes a file when it is dropped by a panic.
    pub(crate) fn witness(&self) -> Witness {
        Witness(self.clone())
    }

    /// Waits for files that are being written.
    ///
    /// # Cancel safety
    /// They are written all the same.
    pub(crate) async fn finish(&self) {
        if !self.0.tasks.finish(WRITING_ENDS).await {
            tracing::warn!("a recording was not written in time");
        }
    }
}

/// Writes a file when a panic drops it, where panics unwind.
#[derive(Debug)]
pub(crate) struct Witness(Files);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() && self.0.0.stem.is_some() {
            drop(self.0.write(Because::Panic, None));
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn write_new(file: &Path, header: &Header, held: &Held) -> io::Result<Written> {
    let mut first = serde_json::to_vec(header).map_err(io::Error::other)?;
    first.push(b'\n');
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(file)?;
    out.write_all(&first)?;
    out.write_all(&held.lines)?;
    out.sync_all()?;
    let (lines, bytes) = (memchr::memchr_iter(b'\n', &held.lines).count(), first.len() + held.lines.len());
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    Ok(Written { file: file.to_owned(), lines: number(lines), bytes: number(bytes) })
}
