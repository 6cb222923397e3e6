//! A PostgreSQL server of the tests' own: in a folder that is removed, on a Unix socket, without a network.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user for servers when the tests run as root, whom PostgreSQL refuses.
const NOBODY: u32 = 65_534;

/// A running server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: String,
}

/// Where the server's programs are, or why there are none.
pub(crate) fn programs() -> Result<PathBuf, String> {
    let is_there = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    let named = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found = named.chain(std::env::split_paths(&path)).chain(installed.map(|entry| entry.path().join("bin")));
    found
        .find(is_there)
        .ok_or_else(|| "there is no initdb: install postgresql, or name its folder in PG_BIN".to_owned())
}

impl Server {
    /// Makes a server and starts it. `settings` are `name=value`.
    pub(crate) fn start(programs: &Path, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        give_to_nobody(folder.path());
        let port = settings.iter().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432").to_owned();
        let server = Self { folder, programs: programs.to_owned(), port };
        let data = server.data();
        server.run("initdb", &["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C", "-D", &data]);
        let mut conf = format!("listen_addresses=''\nunix_socket_directories='{}'\n", server.folder.path().display());
        settings.iter().for_each(|setting| conf.push_str(&format!("{setting}\n")));
        std::fs::write(server.folder.path().join("data/postgresql.auto.conf"), conf).expect("a file");
        server.up();
        server
    }

    fn up(&self) {
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "-t", "60", "start"]);
    }

    /// Ends the server as a crash does, and starts it again.
    pub(crate) fn crash(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
        self.up();
    }

    /// Ends it. Its folder is removed.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
        drop(std::fs::remove_dir_all(self.folder.path()));
    }

    /// Where its socket is.
    pub(crate) fn folder(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The URL of its only database, with a schema.
    pub(crate) fn url(&self, schema: &str) -> String {
        self.url_of("postgres", schema)
    }

    /// The URL for a role.
    pub(crate) fn url_of(&self, role: &str, schema: &str) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{role}@{socket}/postgres?schema={schema}")
    }

    /// Runs statements with psql.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let host = self.folder.path().display().to_string();
        let arguments = [
            "-h",
            &host,
            "-p",
            &self.port,
            "-U",
            "postgres",
            "-d",
            "postgres",
            "-Atq",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statements,
        ];
        self.run("psql", &arguments)
    }

    /// Runs statements with psql, and says nothing more in the transaction that they have begun until it is told to end.
    pub(crate) fn held(&self, statements: &str, end: &std::sync::mpsc::Receiver<()>) {
        use std::io::Write;
        let mut command = Command::new(self.program("psql"));
        command.args(["-h", &self.folder.path().display().to_string(), "-U", "postgres", "-d", "postgres", "-q"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut session = command.spawn().expect("psql starts");
        let mut input = session.stdin.take().expect("its input");
        input.write_all(statements.as_bytes()).and_then(|()| input.write_all(b";\n")).expect("it reads");
        end.recv_timeout(std::time::Duration::from_secs(60)).expect("it is told to end");
        drop(input);
        session.wait().expect("psql ends");
    }

    /// Gives it a certificate with its key, both in PEM, and lets it speak TLS.
    pub(crate) fn protect(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            self.write(name, text);
        }
        self.sql("ALTER SYSTEM SET ssl = on");
        self.reload();
    }

    /// Puts a line before all others that say who may connect, and how.
    pub(crate) fn admit(&self, line: &str) {
        let others = std::fs::read_to_string(self.folder.path().join("data/pg_hba.conf")).expect("a file");
        self.write("pg_hba.conf", &format!("{line}\n{others}"));
        self.reload();
    }

    /// Writes a file that only the server may read.
    fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.path().join("data").join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        give_to_nobody(&path);
    }

    /// Lets it read its files again, and waits until it has.
    fn reload(&self) {
        let loaded = || self.sql("SELECT pg_conf_load_time()");
        let before = loaded();
        self.sql("SELECT pg_reload_conf()");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while loaded() == before {
            assert!(std::time::Instant::now() < deadline, "the server does not read its files again");
        }
    }

    /// A program of the server's, or of its clients, which may be installed elsewhere.
    fn program(&self, name: &str) -> PathBuf {
        let beside = self.programs.join(name);
        if beside.exists() { beside } else { PathBuf::from(name) }
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.program(program));
        command.args(arguments).current_dir(self.folder.path()).env_remove("PGOPTIONS").stdin(Stdio::null());
        if is_root(Path::new("/proc/self")) {
            command.uid(NOBODY).gid(NOBODY);
        }
        // What a server inherits stays open, so its output goes to a file.
        let log = self.folder.path().join(format!("{program}.{}", next_name()));
        let out = std::fs::File::create(&log).expect("a file");
        command.stdout(out.try_clone().expect("a file")).stderr(out);
        let status = command.status().expect("the program starts");
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let logged = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(status.success(), "{program} {arguments:?}: {said}\n{}", logged());
        said
    }
}

/// Gives a file or folder to the user of the servers, if this is root.
pub(crate) fn give_to_nobody(path: &Path) -> bool {
    let is_root = is_root(Path::new("/proc/self"));
    if is_root {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("a file of nobody");
    }
    is_root
}

fn is_root(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).is_ok_and(|found| found.uid() == 0)
}

fn next_name() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
