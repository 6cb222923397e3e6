//! A pgbouncer of the tests' own before the shared server, which hands connections out by transaction.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::server;
use crate::support::program::{Program, Running};
use crate::support::wait;

/// Connections to the server, for however many clients: fewer than one store opens.
const CONNECTIONS: u32 = 3;

/// A running pooler, which ends with the tests.
pub(crate) struct Pooler {
    folder: tempfile::TempDir,
    _running: Running,
}

/// Where the program is, or why there is none.
pub(crate) fn program() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut found = folders.map(|folder| folder.join("pgbouncer"));
    found.find(|program| program.exists()).ok_or_else(|| "there is no pgbouncer: install it".to_owned())
}

/// The shared pooler, which is started by the first that asks.
pub(crate) fn pooler() -> &'static Pooler {
    static POOLER: OnceLock<Pooler> = OnceLock::new();
    POOLER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let here = folder.path().display().to_string();
        let settings = format!(
            "[databases]\n* = host={}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {here}\n\
             pool_mode = transaction\ndefault_pool_size = {CONNECTIONS}\nmax_client_conn = 200\n\
             auth_type = trust\nauth_file = {here}/users\n",
            server().folder(),
        );
        for (name, text) in [("users", "\"postgres\" \"\"\n"), ("pgbouncer.ini", &settings)] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let mut program = Program::new(program().expect("the program was found"));
        if server::give_to_nobody(folder.path()) {
            program = program.args(["-u", "nobody"]);
        }
        let running = program.arg(format!("{here}/pgbouncer.ini")).start();
        let socket = folder.path().join(".s.PGSQL.6432");
        let look = || socket.exists().then_some(());
        wait::until_or(Duration::from_secs(10), look).unwrap_or_else(|| panic!("{:?}", running.stderr()));
        Pooler { folder, _running: running }
    })
}

impl Pooler {
    /// The URL of the server's only database through this pooler, with a schema.
    pub(crate) fn url(&self, schema: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}:6432/postgres?schema={schema}")
    }
}
